"""Read the tutorial's database: its tables as they are, nothing of them changed.

https://github.com/miguelgrinberg/microblog, app/models.py: ``user``, ``post``, ``followers``; each
chapter adds columns, so those that are not there are None.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from microblog.errors import HostError
from microblog.host.database import rows
from microblog.host.machine import privileges

if TYPE_CHECKING:
    import sqlalchemy as sa

# What cannot be done without, and what is taken where it is there.
NEEDED = {"user": {"id", "username", "email", "password_hash"}, "post": {"id", "body", "user_id"}}
_WANTED = {
    "user": ("id", "username", "email", "password_hash", "about_me", "last_seen"),
    "post": ("id", "body", "timestamp", "user_id", "language"),
    "followers": ("follower_id", "followed_id"),
}
# What has no place here.
_LEFT = {"message": "private messages", "notification": "notifications", "task": "tasks"}
_AT_ONCE = 500

Row = dict[str, Any]


class Old:
    """The old site's database, as it was when it was opened, whoever writes to it meanwhile."""

    def __init__(self, opened: "sa.engine.Connection") -> None:
        import sqlalchemy as sa

        self._opened = opened
        inspector = sa.inspect(opened)
        names = set(inspector.get_table_names())
        self._columns = {
            table: {str(column["name"]) for column in inspector.get_columns(table)}
            for table in (*_WANTED, *_LEFT)
            if table in names
        }
        if {"users", "posts", rows.REVISIONS} <= names:
            raise HostError(
                "that is a database of this package's own, not one of the tutorial's",
                "microblog backup there, and microblog restore here, take it over",
            )
        for table, columns in NEEDED.items():
            if lacking := columns - self._columns.get(table, set()):
                raise HostError(
                    f"that is no database of the tutorial's: {table} lacks {', '.join(sorted(lacking))}",
                    "name the old site's folder, its DATABASE_URL or its app.db",
                )

    def rows(self, table: str) -> Iterator[Row]:
        """A table's rows in the order of their numbers."""
        wanted = [name for name in _WANTED[table] if name in self._columns.get(table, ())]
        if not wanted:
            return
        listed = ", ".join(f"`{name}`" for name in wanted)
        # Names of ours alone. By the driver itself: SQLAlchemy would stumble over what is no date.
        query = f"SELECT {listed} FROM `{table}` ORDER BY `{wanted[0]}`"  # noqa: S608
        found = self._opened.execution_options(stream_results=True).exec_driver_sql(query)
        while batch := found.fetchmany(_AT_ONCE):
            for row in batch:
                yield {**dict.fromkeys(_WANTED[table]), **dict(zip(wanted, row, strict=True))}

    def left(self) -> list[str]:
        """What there is that has no place here, each in a few words."""
        found = []
        for table, what in _LEFT.items():
            if table in self._columns:
                count = self._opened.exec_driver_sql(f"SELECT COUNT(*) FROM `{table}`").scalar()  # noqa: S608
                if count:
                    found.append(f"{count} {what}")
        return found


@contextmanager
def opened(url: str) -> Iterator[Old]:
    """The old database, for reading alone.

    A SQLite file is opened as its owner: what SQLite lays beside it must not be root's.

    :raises HostError: it does not open, or is none of the tutorial's.
    """
    from sqlalchemy.exc import DBAPIError

    path = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:") else None
    if path is not None:
        url = f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true"
    try:
        with privileges.as_owner(path), rows.connection(url, snapshot=True) as connection:
            if path is not None:
                raw: Any = connection.connection.dbapi_connection
                raw.text_factory = lambda data: data.decode("utf-8", "replace")
            yield Old(connection)
    except (DBAPIError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        said = str(cause.args[-1]) if cause.args else str(cause)
        raise HostError(
            f"the old database cannot be read: {said.splitlines()[0][:200]}",
            "see that it runs, and that its DATABASE_URL is right; nothing was changed",
        ) from None
    except RuntimeError as error:
        if "cryptography" not in str(error):
            raise
        # A password of MySQL 8's goes by TCP over TLS, or with the help of that.
        raise HostError(
            f"the old database cannot be logged in to: {error}",
            "apt-get install python3-cryptography; then try again; nothing was changed",
        ) from None
