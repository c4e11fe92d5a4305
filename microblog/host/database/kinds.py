"""The two kinds of database, behind one form: SQLite's file, and a server of MySQL's or MariaDB's.

What differs between them on a server is here, or in what this calls; callers ask, and do not branch.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from microblog.errors import HostError
from microblog.host.database import aside, server, staging
from microblog.host.machine import layout, privileges

# What empty tables take, and the server's own files while it fills them.
_SPARE_BYTES = 32 * 2**20
# Whether there is an owner, or anybody else; with the name of the database before each table.
_CLAIMED = (
    "SELECT EXISTS (SELECT 1 FROM {0}settings WHERE name = 'claimed') OR EXISTS (SELECT 1 FROM {0}users)"
)


class Database(Protocol):
    """The site's, as ``DATABASE_URL`` names it.

    :ivar name: for people, without a password.
    :ivar kind: ``sqlite`` or ``mysql``.
    :ivar ours: whether it is this site's alone, for setup to make and to put back.
    :ivar elsewhere: whether it is on another machine.
    :ivar undoes_migrations: whether one that fails has changed nothing.
    :ivar data: the folder of this machine that its data are in; None if they are elsewhere.
    :ivar file: what it is, where it is one file of the application's.
    """

    name: str
    kind: str
    ours: bool
    elsewhere: bool
    undoes_migrations: bool
    data: Path | None
    file: Path | None

    def revisions(
        self,
        say: Callable[[str], None],
        made: "list[str] | None" = None,
        wait_seconds: float = server.WAIT_SECONDS,
    ) -> set[str]:
        """The revisions that its schema is at; none for an empty one.

        :param made: given, the database is made where it is missing and ours to make, and what
            was made is added here.
        :param wait_seconds: how long to wait for a server that is starting.
        :raises HostError: if it cannot be reached, or is somebody else's.
        """

    def is_new(self, wait_seconds: float) -> bool:
        """Whether nobody has claimed the site in it, as :mod:`microblog.models.claim` has it; not so where it
        has no such tables.

        :raises HostError: if it cannot be reached.
        """

    def size(self) -> int:
        """How much it holds, in bytes, roughly; 0 where that is not known."""

    def beside(self, say: Callable[[str], None], begun: int = staging.FORMAT) -> staging.Staging:
        """The place for a second one. :param begun: the format of the restore that has begun it, for one that
        another version may have begun."""


def of(url: str) -> Database:
    """:param url: ``DATABASE_URL``."""
    target = server.Target.parse(url)
    return Sqlite(url) if target is None else Mysql(url, target)


def check_space(database: Database, size: int) -> None:
    """Where the data are this machine's, see whether a second database fits beside the first.

    :param size: of the data, in bytes; with their indexes they take up to three times as much.
    :raises HostError: if the disk has no room for it.
    """
    if database.data is None or not database.data.is_dir():
        return
    needed, free = 3 * size + _SPARE_BYTES, shutil.disk_usage(database.data).free
    if free < needed:
        raise HostError(
            f"{database.data} has {free // 2**20} MiB free, {needed // 2**20} MiB are needed",
            "nothing was changed: delete something there, and try again",
        )


class Sqlite:
    """A file of the application's user, in whose name all is done."""

    kind = "sqlite"
    ours = True
    elsewhere = False
    undoes_migrations = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = staging.sqlite_path(url)
        self.file: Path | None = self._path
        self.data: Path | None = self._path.parent
        self.name = f"SQLite, {self._path}"

    def revisions(
        self,
        say: Callable[[str], None],
        made: "list[str] | None" = None,
        wait_seconds: float = server.WAIT_SECONDS,
    ) -> set[str]:
        path = self._path
        try:
            return set(privileges.ask(f"the database {path} cannot be read", self._look).split())
        except HostError as error:
            if error.hint:
                raise
            raise HostError(error.message, f"it must be a SQLite file of the user {layout.USER}'s") from None

    def _look(self) -> str:
        if not self._path.exists():
            return ""
        # Read only, and as the application's user: root would leave files of its own beside it.
        uri = f"file:{quote(str(self._path))}?mode=ro"
        with sqlite3.connect(uri, uri=True, timeout=60) as connection:
            found = {
                str(row[0])
                for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if server.REVISIONS not in found:
                server.refuse_strangers(f"the database {self._path}", found)
                return ""
            rows = connection.execute(f"SELECT version_num FROM {server.REVISIONS}").fetchall()  # noqa: S608
        return " ".join(str(row[0]) for row in rows)

    def is_new(self, wait_seconds: float) -> bool:
        return privileges.ask(f"the database {self._path} cannot be read", self._is_new)

    def _is_new(self) -> bool:
        if not self._path.exists():
            return False
        uri = f"file:{quote(str(self._path))}?mode=ro"
        with sqlite3.connect(uri, uri=True, timeout=60) as connection:
            try:
                return not connection.execute(_CLAIMED.format("")).fetchone()[0]
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return False
                raise

    def size(self) -> int:
        with suppress(OSError):
            return self._path.stat().st_size
        return 0

    def beside(self, say: Callable[[str], None], begun: int = staging.FORMAT) -> staging.Staging:
        return staging.Sqlite(self._path, begun < 2)


class Mysql:
    """A database of a server's: as its root where that is ours, else as the user in the URL."""

    kind = "mysql"
    undoes_migrations = False
    file: Path | None = None

    def __init__(self, url: str, target: server.Target) -> None:
        self._url = url
        self.target = target
        self.ours = target.ours
        self.elsewhere = not target.socket
        self.data: Path | None = None if self.elsewhere else server.data()
        self.name = f"MySQL, {target.name} on {target.host}"

    def revisions(
        self,
        say: Callable[[str], None],
        made: "list[str] | None" = None,
        wait_seconds: float = server.WAIT_SECONDS,
    ) -> set[str]:
        target = self.target
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

    def is_new(self, wait_seconds: float) -> bool:
        target = self.target
        connection = server.connect(target, lambda _: None, as_root=target.ours, wait_seconds=wait_seconds)
        import pymysql

        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(_CLAIMED.format(f"`{target.name}`."))
                return not cursor.fetchone()[0]
        except pymysql.err.MySQLError as error:
            if error.args[0] in server.NOTHING_THERE:
                return False
            raise HostError(f"the database server refuses: {error.args[-1]}") from None

    def size(self) -> int:
        connection = server.connect(self.target, lambda _: None, as_root=self.ours)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT SUM(data_length) FROM information_schema.tables WHERE table_schema = %s",
                (self.target.name,),
            )
            return int(cursor.fetchone()[0] or 0)

    def beside(self, say: Callable[[str], None], begun: int = staging.FORMAT) -> staging.Staging:
        # Before that, all had a second database.
        if self.ours or begun < 3:
            return staging.Mysql(self._url, self.target, say, begun < 2)
        return aside.Aside(self._url, self.target, say)
