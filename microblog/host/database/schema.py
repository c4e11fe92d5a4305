"""The database's schema: whether it is current, and bringing it there."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import microblog
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.database import kinds, server
from microblog.host.machine import files, layout, privileges
from microblog.revisions import all_expand
from microblog.revisions import known as known

_EXCEPTION = re.compile(r"(\w+\.)*\w*(Error|Exception|Timeout)\b.*:")
_LOG = layout.LOGS / "migration.log"


def migrations() -> Path:
    """The directory of the migrations of the installed version."""
    return Path(microblog.__file__).parent / "migrations" / "versions"


def ensure(
    url: str,
    say: Callable[[str], None],
    before: Callable[[set[str], bool], None] = lambda _present, _expands: None,
    wait_seconds: "float | None" = None,
    beginning: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> bool:
    """Make the database where it is ours to make, and its schema current.

    :param url: ``DATABASE_URL``.
    :param before: called before a schema that is there is changed, with the revisions it is at, and whether
        the version before goes on serving on what is made.
    :param wait_seconds: how long to wait for a server that is starting; None: as long as that may take.
    :param beginning: entered while the tables of a database are made that was made just now.
    :return: whether anything was missing.
    :raises HostError: if the database cannot be reached, is newer than this version and no other machine's
        to share, or a migration fails.
    """
    made: list[str] = []
    database = kinds.of(url)
    wait = server.WAIT_SECONDS if wait_seconds is None else wait_seconds
    present_now = database.revisions(say, made, wait)
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
        if database.elsewhere and min(strange) > max(all_revisions):
            # Another machine that shares it is ahead. The application goes by the same: microblog.web.health.
            ahead = ", ".join(sorted(strange))
            say(f"The database's schema is a newer version's ({ahead}): this one serves on it")
            return bool(made)
        raise HostError(
            f"the database is from a newer version (its schema is at {', '.join(sorted(strange))})",
            "install that version again, or restore a backup from before it",
        )
    if present_now:
        before(present_now, all_expand(present_now, migrations()))
    else:
        # MariaDB's own words for a full disk are "No more room in record file".
        kinds.check_space(database, 0)
    say("Bringing the database's schema up to date ...")
    with beginning() if made else nullcontext():
        done, text = privileges.call(_upgrade)
    if not done:
        files.write(_LOG, text, 0o640)
        raise HostError(
            f"the schema could not be brought up to date: {_reason(text)}",
            f"see {_LOG}; then: microblog setup",
        )
    say("The database's schema is up to date")
    return True


def _reason(text: str) -> str:
    """The line of a traceback that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # SQLAlchemy adds the statement and a link below the database's own words.
    errors = [line for line in lines if _EXCEPTION.match(line)]
    return [*errors[-1:], *lines[-1:], "it was killed"][0]


def back(revisions: list[str], say: Callable[[str], None]) -> None:
    """Undo migrations that expand: what they have made goes, and nothing else.

    :param revisions: those that the schema was at before.
    :raises HostError: that fails.
    """
    say("Taking back what the upgrade has added to the schema ...")
    done, text = privileges.call(partial(_downgrade, revisions))
    if not done:
        files.write(_LOG, text, 0o640)
        raise HostError(f"the schema could not be taken back: {_reason(text)}", f"see {_LOG}")


def _downgrade(revisions: list[str]) -> str:
    from flask_migrate import downgrade

    with _application():
        for revision in revisions:
            downgrade(revision=revision)
    return ""


def _upgrade() -> str:
    """``flask db upgrade``, in this process."""
    from flask_migrate import upgrade

    with _application():
        upgrade()
    return ""


def _application() -> AbstractContextManager[object]:
    """What migrations need of the application: its database, and no pages, which take seconds to import where
    this runs at a first boot."""
    from flask import Flask

    from microblog import database

    bare = Flask("microblog")
    database.init_app(bare, Config.load().database_url)
    return bare.app_context()
