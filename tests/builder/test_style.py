"""The tree's form: each tool's opinion is nothing to say."""

import subprocess
import sys
from pathlib import Path

import pytest

from builder import packer, paths

_SHELL = [
    *paths.PACKER.glob("provision/*.sh"),
    *(paths.DEFINITIONS / "bases").glob("*.sh"),
    paths.ROOT / ".ci/run",
    paths.ROOT / "tests/stranger/bare-root",
]

_MAINTAINER = [
    paths.ROOT / "debian" / f"microblog.{name}" for name in ("config", "postinst", "prerm", "postrm")
]


def _tool(name):
    return str(Path(sys.executable).parent / name)


@pytest.mark.parametrize(
    "command",
    [
        [_tool("ruff"), "format", "--check", "."],
        [_tool("ruff"), "check", "."],
        [_tool("mypy")],
        [_tool("shellcheck"), "--exclude=SC1091", *_SHELL, *_MAINTAINER],
        ["packer", "fmt", "-check", paths.PACKER],
    ],
    ids=["ruff format", "ruff check", "mypy", "shellcheck", "packer fmt"],
)
def test_has_nothing_to_say(command):
    command = [packer.find() if word == "packer" else word for word in command]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_shell_stops_at_errors():
    for script in _SHELL:
        assert "\nset -eu\n" in script.read_text(), script
