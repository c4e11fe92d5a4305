"""The database's schema: whether it is current, and bringing it there."""

import re
from collections.abc import Callable
from pathlib import Path

import microblog
from microblog.errors import HostError
from microblog.host.database import kinds, server
from microblog.host.machine import files, layout, privileges
from microblog.revisions import known as known

_EXCEPTION = re.compile(r"(\w+\.)*\w*(Error|Exception|Timeout)\b.*:")
_LOG = layout.LOGS / "migration.log"


def migrations() -> Path:
    """The directory of the migrations of the installed version."""
    return Path(microblog.__file__).parent / "migrations" / "versions"


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
        raise HostError(
            f"the database is from a newer version (its schema is at {', '.join(sorted(strange))})",
            "install that version again, or restore a backup from before it",
        )
    if present_now:
        before()
    else:
        # MariaDB's own words for a full disk are "No more room in record file".
        kinds.check_space(database, 0)
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
