"""Makes the reference from the code: the manual page, the shell's completion, and two pages of docs.

Run it after a change of a command or a setting:

    PYTHONPATH=. python3 docs/reference.py
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from microblog import create_app
from microblog.cli import server
from microblog.config import SETTINGS, Config

ROOT = Path(__file__).resolve().parent.parent
# Flask's own, of those that somebody may need: their options are Flask's, and differ by its version.
FLASKS = {
    "db upgrade": "Bring the database's schema to the installed version; microblog setup does it, too.",
    "routes": "The application's addresses.",
    "shell": "A Python shell with the application loaded.",
}
INTRODUCTION = (
    "Commands of the server, and those of Flask with the server's environment loaded. Run by root, Flask's"
    " commands run as the user microblog. The exit status is 0 on success, and 1 where something has to be"
    " mended: the last line says how."
)
FILES = {
    "/etc/microblog/microblog.env": "The site's settings and secrets.",
    "/etc/microblog/tls/": "Certificate and key.",
    "/var/lib/microblog/": "State; the database where it is SQLite.",
    "/var/backups/microblog/": "Backups, for root alone.",
    "/etc/microblog/ledger/": "What was changed on the server, and what was there before.",
    "/var/log/microblog/gunicorn.log": "What the application says.",
}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Each command and group that people are told of, by its words, in the order of the alphabet."""
    # Nothing is opened before the first query.
    app = create_app(Config("x" * 32, "sqlite:////nowhere"))
    groups = {**server.commands, **{name: app.cli.commands[name] for name in ("search", "user")}}
    yield from _walk("", groups)


def _walk(before: str, found: "dict[str, click.Command]") -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(found.items()):
        if command.hidden:
            continue
        yield f"{before}{name}", command
        if isinstance(command, click.Group):
            yield from _walk(f"{before}{name} ", command.commands)


def paragraphs(command: click.Command) -> list[str]:
    """What it is for."""
    return [" ".join(part.split()) for part in (command.help or "").split("\n\n")]


def arguments(command: click.Command) -> str:
    """As a line of usage has them."""
    found = []
    for one in command.params:
        if isinstance(one, click.Argument):
            name = one.metavar or str(one.name).upper()
            found.append(name if one.metavar or one.required else f"[{name}]")
    return " ".join(found)


def options(command: click.Command) -> list[tuple[str, str, str]]:
    """Those that people are told of: name, what follows it, what it is for."""
    found = []
    for one in command.params:
        if isinstance(one, click.Option) and not one.hidden:
            value = "" if one.is_flag else one.metavar or str(one.name).upper()
            found.append((", ".join(one.opts), value, one.help or ""))
    return found


def manual() -> str:
    """debian/microblog.1 (man(7))."""
    lines = ['.TH MICROBLOG 1 "" Microblog "User Commands"', ".SH NAME"]
    lines += [r"microblog \- look after a Microblog server"]
    lines += [".SH SYNOPSIS", ".B microblog", ".I COMMAND", ".RI [ ARGUMENT ...]"]
    lines += [".SH DESCRIPTION", *_filled(INTRODUCTION), ".SH COMMANDS"]
    for name, command in commands():
        lines += [".TP", f"{_bold(name)} {_plain(arguments(command))}".rstrip()]
        for number, text in enumerate(paragraphs(command)):
            lines += [*([".IP"] if number else []), *_filled(text)]
        if told := options(command):
            lines += [".RS"]
            for option, value, text in told:
                lines += [".TP", " ".join([_bold(option), *([_italic(value)] if value else [])])]
                lines += _filled(text)
            lines += [".RE"]
    for name, text in FLASKS.items():
        lines += [".TP", _bold(name), *_filled(text)]
    lines += [".SH FILES"]
    for name, text in FILES.items():
        lines += [".TP", _italic(name), *_filled(text)]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """As roff prints it as it is (groff_char(7))."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


def _bold(text: str) -> str:
    return rf"\fB{_plain(text)}\fR"


def _italic(text: str) -> str:
    return rf"\fI{_plain(text)}\fR"


def _filled(text: str) -> list[str]:
    lines = textwrap.wrap(_plain(text), 100, break_long_words=False, break_on_hyphens=False)
    # A line that began so would be an instruction of roff's.
    return [f"\\&{line}" if line.startswith((".", "'")) else line for line in lines]


def completion() -> str:
    """debian/completion.bash."""
    cases: dict[str, str] = {}
    first = set(FLASKS.keys() - {"db upgrade"}) | {"db"}
    groups = {name: command for name, command in commands() if isinstance(command, click.Group)}
    for name, command in commands():
        if " " not in name:
            first.add(name)
        words = [option.split(", ")[0] for option, _, _ in options(command)]
        if name in groups:
            words += sorted(word for word, one in groups[name].commands.items() if not one.hidden)
        cases[name] = " ".join(words)
    cases["db"] = "current history upgrade"
    branches = "".join(
        f'        {_pattern(name, name not in groups)}) words="{words}" ;;\n'
        for name, words in sorted(cases.items())
        if words
    )
    return f"""\
# bash completion for microblog(1): commands, then each command's options and files.
# Made by docs/reference.py.

_microblog()
{{
    local current=${{COMP_WORDS[COMP_CWORD]}}
    local words="{" ".join(sorted(first))}"
    local before="${{COMP_WORDS[*]:1:COMP_CWORD-1}}"
    case $before in
        "") ;;
{branches}        *) words="" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words --help" -- "$current")
}}
complete -o default -F _microblog microblog
"""


def _pattern(name: str, more: bool) -> str:
    """Of what stands before the word that is completed. :param more: options may follow options."""
    quoted = f'"{name}"' if " " in name else name
    return f'{quoted}|"{name} "*' if more else quoted


def command_page() -> str:
    """docs/command.md."""
    text = "# The command\n\nMade from the code by `docs/reference.py`; `man microblog` says the same.\n\n"
    text += _wrapped(INTRODUCTION)
    for name, command in commands():
        if isinstance(command, click.Group):
            text += f"\n## microblog {name}\n\n" + "\n".join(map(_wrapped, paragraphs(command)))
            continue
        depth = "###" if " " in name else "##"
        usage = " ".join(
            ["microblog", name, *(["[OPTIONS]"] if options(command) else []), arguments(command)]
        )
        text += f"\n{depth} microblog {name}\n\n    {usage.strip()}\n\n"
        text += "\n".join(map(_wrapped, paragraphs(command)))
        if told := options(command):
            text += "\n| option | |\n|---|---|\n"
            for option, value, meaning in told:
                text += f"| `{option}{f' {value}' if value else ''}` | {meaning} |\n"
    text += "\n## Flask's own\n\n| command | |\n|---|---|\n"
    return text + "".join(f"| `microblog {name}` | {meaning} |\n" for name, meaning in FLASKS.items())


def settings_page() -> str:
    """docs/settings.md."""
    text = "# The settings\n\nMade from the code by `docs/reference.py`.\n\n"
    text += _wrapped(
        "Lines `NAME=value` in `/etc/microblog/microblog.env`; the environment overrules them. In single"
        " quotes every character is itself, but `\\'` and `\\\\`. `microblog setup` takes changes over: it"
        " restarts the application, and has nginx follow names and addresses. `microblog doctor` tells names"
        " that nobody reads, and which was meant."
    )
    text += "\n| name | if not set | meaning |\n|---|---|---|\n"
    return text + "".join(f"| `{one.name}` | {one.default} | {one.meaning} |\n" for one in SETTINGS)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def pages() -> dict[Path, str]:
    """Each file, and what is to be in it."""
    return {
        ROOT / "debian/microblog.1": manual(),
        ROOT / "debian/completion.bash": completion(),
        ROOT / "docs/command.md": command_page(),
        ROOT / "docs/settings.md": settings_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
