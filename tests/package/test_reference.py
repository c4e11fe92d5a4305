"""What the manual page and the shell's completion say of the command is what it has."""

import re

import click
import pytest

from builder.core import paths
from microblog.commands import machine

MANUAL = (paths.ROOT / "debian/microblog.1").read_text().replace("\\-", "-")
COMPLETION = (paths.ROOT / "debian/completion.bash").read_text()
PAGE = (paths.ROOT / "docs/package.md").read_text()


def options(command: click.Command) -> set[str]:
    """Those that people are told of."""
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in parameter.opts
    }


@pytest.mark.parametrize("command", machine.COMMANDS, ids=lambda command: str(command.name))
def test_every_option_is_told_and_no_other(command: click.Command) -> None:
    section = re.search(rf"(?ms)^\.(?:B|BR) {command.name}\b(.*?)^\.TP$", MANUAL)
    assert section, "the manual page knows no such command"
    assert set(re.findall(r"--[a-z][a-z-]*", section[1])) == options(command)
    case = re.search(rf"(?m)^ +(?:\w+\|)*{command.name}(?:\|\w+)*\) words=\"([^\"]*)\"", COMPLETION)
    assert case, "the completion knows no such command"
    assert set(case[1].split()) == options(command)
    assert re.search(rf"\b{command.name}\b", re.search(r'words="(.*)"', COMPLETION)[1])  # type: ignore[index]
    assert f"microblog {command.name}" in PAGE
