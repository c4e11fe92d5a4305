"""The tree's form: each tool's opinion is nothing to say."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from builder import bootstrap
from builder.bake import packer
from builder.core import paths

_SHELL = [
    *paths.PACKER.glob("provision/*.sh"),
    *(
        file
        for file in paths.PACKER.glob("files/**/*")
        if file.is_file() and file.read_bytes()[:9] == b"#!/bin/sh"
    ),
    *(paths.DEFINITIONS / "bases").glob("*.sh"),
    paths.ROOT / ".ci/run",
    paths.ROOT / "tests/stranger/bare-root",
]

_MAINTAINER = [
    paths.ROOT / "debian" / f"microblog.{name}" for name in ("config", "postinst", "prerm", "postrm")
]


# All that is Python.
_PYTHON = [
    *(
        paths.ROOT / name
        for name in ("build.py", "builder", "debian", "docs", "images", "microblog", "packer", "tests")
    ),
    paths.PACKER / "files/tune/usr/local/sbin/user-data-check",
    paths.PACKER / "files/database/usr/local/sbin/fleet-health",
]
# Methods' keywords that point releases brought: Debian 12's own Python, 3.11.2, does not have them.
_TOO_NEW = {("extract", "filter"), ("extractall", "filter")}


def _tool(name):
    return str(Path(sys.executable).parent / name)


def _oldest_python():
    return _setup()["options"]["python_requires"].removeprefix(">=")


def _setup():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(paths.ROOT / "setup.cfg", encoding="utf-8")
    return setup


@pytest.mark.parametrize(
    "command",
    [
        [_tool("ruff"), "format", "--check", "."],
        [_tool("ruff"), "check", "."],
        [_tool("mypy")],
        [_tool("shellcheck"), "--exclude=SC1091", *_SHELL, *_MAINTAINER],
        ["packer", "fmt", "-check", paths.PACKER],
        # The oldest Python's library; its grammar ruff knows.
        [_tool("vermin"), f"--target={_oldest_python()}-", "--violations", "--no-tips", *_PYTHON],
    ],
    ids=["ruff format", "ruff check", "mypy", "shellcheck", "packer fmt", "vermin"],
)
def test_has_nothing_to_say(command):
    command = [packer.find() if word == "packer" else word for word in command]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_shell_stops_at_errors():
    for script in _SHELL:
        assert "\nset -eu\n" in script.read_text(), script


def test_nothing_is_newer_than_a_distributions_python():
    found = [
        f"{file.relative_to(paths.ROOT)}:{call.lineno}: {call.func.attr}({keyword.arg}=)"
        for place in _PYTHON
        for file in (place.rglob("*.py") if place.is_dir() else [place])
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        for keyword in call.keywords
        if (call.func.attr, keyword.arg) in _TOO_NEW
    ]
    assert found == []


def test_the_oldest_python_is_the_same_everywhere():
    oldest = _oldest_python()
    assert f'target-version = "py{oldest.replace(".", "")}"' in (paths.ROOT / "ruff.toml").read_text()
    assert tuple(int(number) for number in oldest.split(".")) == bootstrap._OLDEST_PYTHON
    assert _setup()["mypy"]["python_version"] == oldest
