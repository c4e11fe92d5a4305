"""The manual page, the shell's completion, and two pages of docs are made from the code, and up to date."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from builder.core import paths
from builder.core.needs import Program
from microblog import config
from microblog.commands import machine

NEEDS = (Program("bash", "bash"),)


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", paths.ROOT / "docs/reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = load()


@pytest.mark.parametrize("path", REFERENCE.pages(), ids=lambda path: path.name)
def test_what_is_made_from_the_code_is_up_to_date(path: Path) -> None:
    assert path.read_text() == REFERENCE.pages()[path], "PYTHONPATH=. python3 docs/reference.py"


def test_every_command_and_option_is_told_and_explained() -> None:
    told = dict(REFERENCE.commands())
    assert {command.name for command in machine.COMMANDS} < set(told)
    assert {"user add", "translate compile", "search reindex"} < set(told)
    assert "card" not in told
    for name, command in told.items():
        assert REFERENCE.paragraphs(command), name
        assert all(text.endswith((".", ")")) for _, _, text in REFERENCE.options(command)), name
    page = REFERENCE.command_page()
    assert "--daily" not in page
    assert "| `--relay HOST[:PORT]` |" in page


def test_settings_are_told_and_asked_for() -> None:
    """What the reader asks for is what the table has, and no more."""
    asked = {"WEB_CONCURRENCY", "WEB_THREADS", "DRAIN_SECONDS"}

    class Recorder(config._Reader):
        def get(self, key: str) -> str:
            asked.add(key)
            return super().get(key)

    least = {"SECRET_KEY": "x" * 32, "DATABASE_URL": "sqlite:////x", "MAIL_SERVER": "localhost"}
    Recorder(Path("/dev/null"), least).config()
    assert asked == config.known_settings()
    assert all(setting.meaning for setting in config.SETTINGS)


def complete(*words: str) -> set[str]:
    """What bash offers for the last of these words."""
    script = (
        f'. {paths.ROOT}/debian/completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        ' _microblog; echo "${COMPREPLY[@]}"'
    )
    said = subprocess.run(
        ["bash", "-euc", script, "-", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return set(said.stdout.split())


def test_the_shell_completes() -> None:
    assert complete("microblog", "st") == {"status"}
    assert complete("microblog", "restore", "--f") == {"--from", "--force"}
    assert complete("microblog", "restore", "--check", "--fo") == {"--force"}
    assert {"add", "delete"} < complete("microblog", "user", "")
    assert complete("microblog", "user", "add", "--a") == {"--admin"}
    assert complete("microblog", "backup", "--output", "/x", "--j") == {"--json"}
    assert complete("microblog", "user", "su") == {"suspend"}
