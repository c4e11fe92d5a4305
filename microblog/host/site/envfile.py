"""The environment file: settings and secrets, made on the machine they are for."""

import io
import os
import re
import secrets
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from microblog import claiming
from microblog.errors import HostError
from microblog.host.machine import files, layout

_HEADER = """\
# Settings of this Microblog server; restart it after a change:
#   supervisorctl restart microblog
"""
_MODE = 0o640
_PLAIN = re.compile(r"[\w./:@+-]*", re.ASCII)
# What can do without quotes and has to: to python-dotenv, a \ before the last quote is that quote's.
_BARE = re.compile(r"(?![\s'\"])(?!.*\s#).*")


def missing(
    present: Mapping[str, "str | None"],
    environ: Mapping[str, str],
    database_url: str,
    proxied: bool,
    new: bool = False,
) -> dict[str, str]:
    """What has to be added to the file.

    :param present: the file's values.
    :param environ: the caller's environment; what it gives is written down, not made up.
    :param database_url: the database to use where nobody has named one.
    :param proxied: whether a web server on this machine stands in front.
    :param new: whether this machine was never set up. What an older version has set up, and lacks nothing,
        stays as it is: it is not to be claimed.
    """
    wanted = {"SECRET_KEY": "", "DATABASE_URL": database_url}
    if proxied:
        wanted["TRUSTED_PROXIES"] = "1"
    made = {
        name: environ.get(name, "").strip() or default or secrets.token_hex(32)
        for name, default in wanted.items()
        if not (present.get(name) or "").strip()
    }
    if (new or made) and not (present.get(claiming.SETTING) or "").strip():
        key = made.get("SECRET_KEY") or (present.get("SECRET_KEY") or "").strip()
        made[claiming.SETTING] = environ.get(claiming.SETTING, "").strip() or claiming.code(key)
    return made


def is_first(path: Path) -> bool:
    """Whether this machine has no secret key yet, and has been given none: it was never set up."""
    _, lacks = lacking(path, "", proxied=False)
    return "SECRET_KEY" in lacks and not os.environ.get("SECRET_KEY")


def complete(
    path: Path,
    database_url: str,
    proxied: bool,
    environ: Mapping[str, str] = os.environ,
    new: bool = False,
) -> list[str]:
    """Add to the environment file what it lacks; leave what it has, comments included.

    :return: the names that were added.
    :raises HostError: if the file cannot be read.
    """
    _, gid = layout.user_ids()
    old, added = lacking(path, database_url, proxied, environ, new)
    if added:
        _write(path, old, added, gid)
    else:
        protect(path, gid)
    # Not without need: everything may be read-only.
    if layout.ANSWERED.exists():
        layout.ANSWERED.unlink()
    return list(added)


def lacking(
    path: Path,
    database_url: str,
    proxied: bool,
    environ: Mapping[str, str] = os.environ,
    new: bool = False,
) -> tuple[str, dict[str, str]]:
    """What has to be added to the environment file, or changed in it.

    :return: the file's text; names and values.
    :raises HostError: if the file cannot be read.
    """
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else _HEADER
        present = dotenv_values(path, interpolate=False) if path.exists() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(
            f"{path} cannot be read: {error}", "mend it or move it away; then: microblog setup"
        ) from None
    see_whole(path, old, present)
    changes = {name: value for name, value in _answers().items() if present.get(name) != value}
    present.update(changes)
    return old, {**changes, **missing(present, environ, database_url, proxied, new)}


def _answers() -> dict[str, str]:
    """What the administrator has answered to debconf, not yet taken over."""
    if not layout.ANSWERED.exists():
        return {}
    values = dotenv_values(layout.ANSWERED, interpolate=False)
    return {name: value or "" for name, value in values.items()}


def change(path: Path, values: Mapping[str, str]) -> None:
    """Set values in the environment file; the rest of it, comments included, stays."""
    _, gid = layout.user_ids()
    _write(path, path.read_text(encoding="utf-8"), values, gid)


def _write(path: Path, old: str, values: Mapping[str, str], gid: int) -> None:
    lines = "".join(f"{name}={quote(value)}\n" for name, value in values.items())
    old = without(old, values)
    if old and not old.endswith("\n"):
        old += "\n"
    read = dotenv_values(stream=io.StringIO(old + lines), interpolate=False)
    for name, value in values.items():
        if read.get(name) != value:
            raise HostError(
                f"{path}: {name} would not be read as it is written: a quote above it is not closed",
                "close it, or write \\\\ for a \\ before it; nothing was changed",
            )
    files.write(path.resolve(), old + lines, _MODE, 0, gid)


def without(text: str, names: Collection[str]) -> str:
    """An environment file's text less these settings, however many lines each has; the rest stays."""
    kept = []
    for binding in parse_stream(io.StringIO(text)):
        piece = binding.original.string
        if binding.key in names:
            # The empty lines above it.
            piece = re.match(r"(?:\s*\n)?", piece)[0]  # type: ignore[index]
        elif binding.error:
            # A quote that is not closed: the line it is in alone, not what it took with it.
            piece = re.sub(
                rf"^[ \t]*(export[ \t]+)?({'|'.join(names)})[ \t]*=.*\n?", "", piece, flags=re.MULTILINE
            )
        kept.append(piece)
    return "".join(kept)


def protect(path: Path, gid: int) -> None:
    """Close a file that somebody (cloud-init, an editor) left open to others or closed to the site."""
    status = path.stat()
    if (status.st_uid, status.st_gid) != (0, gid):
        os.chown(path, 0, gid)
    if status.st_mode & 0o777 != _MODE:
        path.chmod(_MODE)


def quote(value: str) -> str:
    """A value as python-dotenv, the one that reads the file, has it: nothing in it is anything but itself.

    :raises HostError: if it has more than one line; the file is edited by hand, and read line by line.
    """
    if "".join(value.splitlines()) != value or "\0" in value:
        raise HostError("a setting's value has more than one line", "write it in one; nothing was changed")
    if _PLAIN.fullmatch(value) or (value.endswith("\\") and _BARE.fullmatch(value)):
        return value
    return "'" + re.sub(r"(['\\])", r"\\\1", value) + "'"


def see_whole(path: Path, text: str, values: Mapping[str, "str | None"]) -> None:
    """See that no line is lost in another's value, where a quote was not closed.

    :param values: what was read.
    :raises HostError: naming the line.
    """
    for number, line in enumerate(text.splitlines(), 1):
        name = re.match(r"\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=", line)
        if name and name[1] not in values:
            raise HostError(
                f"{path}, line {number}: {name[1]} cannot be read: a quote there, or above, is not closed",
                "close it, or write \\\\ for a \\ before it; then: microblog setup",
            )


def main() -> None:
    """For the package's scripts: a setting's line, of its name and its value on standard input."""
    try:
        print(f"{sys.argv[1]}={quote(sys.stdin.read())}")
    except HostError as error:
        # An installation goes on without.
        print(f"microblog: {sys.argv[1]}: {error.message}", file=sys.stderr)


if __name__ == "__main__":
    main()
