"""The database's schema: whether it is current, and bringing it there."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import microblog
from microblog.errors import HostError
from microblog.host.database import server, staging
from microblog.host.machine import files, layout, privileges

_REVISION = re.compile(r"^(down_)?revision\b[^=\n]*=\s*(.*)$", re.MULTILINE)
_QUOTED = re.compile(r"""["']([^"']+)["']""")
_EXCEPTION = re.compile(r"(\w+\.)*\w*(Error|Exception|Timeout)\b.*:")
_LOG = layout.LOGS / "migration.log"


def migrations() -> Path:
    """The directory of the migrations of the installed version."""
    return Path(microblog.__file__).parent / "migrations" / "versions"


def known(directory: Path) -> tuple[set[str], set[str]]:
    """The revisions in a directory of migrations, and those of them that nothing builds on.

    Read, not imported: Alembic would take seconds to come up on a slow machine.

    :return: all, heads.
    """
    all_revisions: set[str] = set()
    built_on: set[str] = set()
    for path in directory.glob("*.py"):
        for down, value in _REVISION.findall(path.read_text(encoding="utf-8")):
            (built_on if down else all_revisions).update(_QUOTED.findall(value))
    return all_revisions, all_revisions - built_on


def ensure(
    url: str,
    say: Callable[[str], None],
    before: Callable[[], None] = lambda: None,
    wait_seconds: "float | None" = None,
) -> bool:
    """Make the database where it is ours to make, and its schema current.

    :param url: ``DATABASE_URL``.
    :param before: called before a schema that is there is changed.
    :param wait_seconds: how long to wait for a server that is starting; None: as long as that may take.
    :return: whether anything was missing.
    :raises HostError: if the database cannot be reached, is newer than this version, or
        a migration fails.
    """
    made: list[str] = []
    wait = server.WAIT_SECONDS if wait_seconds is None else wait_seconds
    present_now = present(url, say, made, wait)
    if made:
        say(f"Made the {', the '.join(made)}")
    all_revisions, heads = known(migrations())
    if present_now == heads:
        return bool(made)
    if strange := present_now - all_revisions:
        if not all(re.fullmatch(r"\d{4}", revision) for revision in strange):
            # Another program's, of those that use Alembic: the tutorial's, deployed by hand, for one.
            raise HostError(
                f"the database is another program's (its schema is at {', '.join(sorted(strange))})",
                "nothing was changed; name another database in DATABASE_URL; then: microblog setup",
            )
        raise HostError(
            f"the database is from a newer version (its schema is at {', '.join(sorted(strange))})",
            "install that version again, or restore a backup from before it",
        )
    if present_now:
        before()
    else:
        # MariaDB's own words for a full disk are "No more room in record file".
        staging.check_space(url, 0)
    say("Bringing the database's schema up to date ...")
    done, text = privileges.call(_upgrade)
    if not done:
        files.write(_LOG, text, 0o640)
        raise HostError(
            f"the schema could not be brought up to date: {_reason(text)}",
            f"see {_LOG}; then: microblog setup",
        )
    say("The database's schema is up to date")
    return True


def present(
    url: str,
    say: Callable[[str], None],
    made: "list[str] | None" = None,
    wait_seconds: float = server.WAIT_SECONDS,
) -> set[str]:
    """The revisions the database is at; none for an empty one.

    :param made: given, the database is made where it is missing and ours to make, and what
        was made is added here.
    :param wait_seconds: how long to wait for a server that is starting.
    :raises HostError: if the database cannot be reached.
    """
    target = server.Target.parse(url)
    if target is None:
        return _sqlite_revisions(url)
    connection = server.connect(target, say, as_root=target.ours, wait_seconds=wait_seconds)
    import pymysql

    try:
        if target.ours and made is not None:
            made += server.ensure(connection, target)
        found = server.revisions(connection, target)
        if not found:
            server.refuse_strangers(f"the database {target.name}", server.tables(connection, target.name))
        return found
    except pymysql.err.MySQLError as error:
        raise HostError(
            f"the database server refuses: {error.args[-1]}", "mend that; then: microblog setup"
        ) from None
    finally:
        connection.close()


def _reason(text: str) -> str:
    """The line of a traceback that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # SQLAlchemy adds the statement and a link below the database's own words.
    errors = [line for line in lines if _EXCEPTION.match(line)]
    return [*errors[-1:], *lines[-1:], "it was killed"][0]


def _upgrade() -> str:
    """``flask db upgrade``, in this process."""
    from flask_migrate import upgrade

    with microblog.create_app().app_context():
        upgrade()
    return ""


def _sqlite_revisions(url: str) -> set[str]:
    path = Path(unquote(urlsplit(url).path)[1:])

    def look() -> str:
        if not path.exists():
            return ""
        # Read only, and as the application's user: root would leave files of its own beside it.
        with sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=60) as connection:
            found = {
                str(row[0])
                for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if "alembic_version" not in found:
                server.refuse_strangers(f"the database {path}", found)
                return ""
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return " ".join(str(row[0]) for row in rows)

    try:
        return set(privileges.ask(f"the database {path} cannot be read", look).split())
    except HostError as error:
        if error.hint:
            raise
        raise HostError(error.message, f"it must be a SQLite file of the user {layout.USER}'s") from None
