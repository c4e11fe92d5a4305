"""A second database beside the site's, filled in peace and then put in its place.

SQLite: a file beside the file, renamed over it. MySQL and MariaDB, where the server is this site's: a
database beside the database, its tables moved in and the old ones out by one RENAME TABLE, which the server
does wholly or not at all (https://dev.mysql.com/doc/refman/8.0/en/atomic-ddl.html,
https://mariadb.com/kb/en/atomic-ddl/). Elsewhere: :mod:`microblog.host.database.aside`.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from microblog.errors import HostError
from microblog.host.database import rows, server
from microblog.host.machine import files, privileges

if TYPE_CHECKING:
    import sqlalchemy as sa

# What is added to the name of the site's own.
RESTORED, _REPLACED = "_microblog_restored", "_microblog_replaced"
# Of a restore's plan: since 2 these names, since 3 aside where the server is not ours.
FORMAT = 3
_MARK = "made_by_microblog_restore"


class Staging(Protocol):
    """:ivar url: the second database's, as DATABASE_URL would have it.
    :ivar prefix: what its tables' names begin with there.
    :ivar in_pieces: whether it is noted there how much of a backup is loaded.
    """

    url: str
    prefix: str
    in_pieces: bool

    def attach(self, engine: "sa.engine.Engine") -> None:
        """Have an engine's statements, which name the site's tables, be about this one's."""

    def refuse_ties(self) -> None:
        """See that nothing of somebody else's hangs on the site's tables: it would go with the old ones, or
        hold them, when there is no way back any more.

        :raises HostError: something does.
        """

    def make(self, backup: str) -> bool:
        """Make it, empty; what another backup has left by an interruption goes.

        :param backup: which one is to be loaded, like no other.
        :return: whether its loading was begun before, and can go on.
        """

    def leftover(self) -> bool:
        """Whether it is there."""

    def live_tables(self) -> list[str]:
        """The tables that the site has."""

    def swap(self, strays: list[str]) -> None:
        """Put it in the site's place, the application being stopped; again after an interruption.

        :param strays: tables of the site that go though it has none of that name.
        """

    def discard(self) -> None:
        """Remove what is left of it, and of what the site had before."""


class Sqlite:
    """All of it as the application's user, whose directory it is."""

    prefix = ""
    in_pieces = False

    def __init__(self, live: Path, earlier: bool) -> None:
        self.live = live
        self.path = self.live.with_name(
            f"{self.live.name}{'.restored' if earlier else '.microblog-restored'}"
        )
        self.url = f"sqlite:///{self.path}"

    def attach(self, engine: "sa.engine.Engine") -> None:
        pass

    def refuse_ties(self) -> None:
        pass

    def make(self, backup: str) -> bool:
        self.discard()
        return False

    def leftover(self) -> bool:
        return self.path.exists()

    def live_tables(self) -> list[str]:
        return []

    def swap(self, strays: list[str]) -> None:
        privileges.ask("the restored database cannot be put in place", self._swap)

    def _swap(self) -> None:
        # Whole in one file, and on the disk, before it gets its name.
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
        with self.path.open("rb+") as file:
            files.sync(file)
        # A log of the old database would be played into the new one.
        for suffix in ("-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                Path(f"{self.live}{suffix}").unlink()
        files.replace(self.path, self.live)

    def discard(self) -> None:
        def remove() -> None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").unlink()

        privileges.ask("a restored database cannot be removed", remove)


class OnServer:
    """What those on a server share.

    :ivar _needs: what to do where the server refuses.
    """

    _needs: str
    prefix = ""
    in_pieces = True

    def __init__(self, target: server.Target, say: Callable[[str], None]) -> None:
        self.target, self.say = target, say

    def attach(self, engine: "sa.engine.Engine") -> None:
        pass

    def _connect(self) -> Any:
        return server.connect(self.target, self.say, as_root=self.target.ours)

    def refuse_ties(self) -> None:
        from microblog.host.database.aside import known_tables

        own, name = sorted(known_tables()), self.target.name
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT 'trigger', trigger_name, event_object_table FROM information_schema.triggers"
                " WHERE event_object_schema = %s AND event_object_table IN %s"
                " UNION SELECT 'foreign key', CONCAT_WS('.', table_schema, table_name, constraint_name),"
                " referenced_table_name FROM information_schema.key_column_usage"
                " WHERE referenced_table_schema = %s AND referenced_table_name IN %s"
                " AND NOT (table_schema = %s AND table_name IN %s)",
                (name, own) * 3,
            )
            found = cursor.fetchall()
        if found:
            kind, what, table = found[0]
            raise HostError(
                f"the {kind} {what}, which is none of this version's, hangs on the site's table {table}",
                "nothing was changed; drop it, and make it again afterwards",
            )

    def _begun(self, journal: str, backup: str) -> bool:
        """Whether loading this backup was begun there, and not finished."""
        import pymysql

        with self._connect() as connection, connection.cursor() as cursor:
            try:
                query = f"SELECT 1 FROM {journal} WHERE backup = %s AND pieces > 0"  # noqa: S608
                return bool(cursor.execute(query, (backup,)))
            except pymysql.err.MySQLError as error:
                if error.args[0] in server.NOTHING_THERE:
                    return False
                raise

    def _tables(self, name: str) -> list[str]:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name FROM information_schema.tables"
                " WHERE table_schema = %s AND table_type = 'BASE TABLE'",
                (name,),
            )
            return sorted({str(row[0]) for row in cursor.fetchall()} - {_MARK, rows.JOURNAL})

    def _run(self, *statements: str) -> None:
        import pymysql

        with self._connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                try:
                    cursor.execute(statement)
                except pymysql.err.MySQLError as error:
                    raise HostError(
                        f"the database server refuses {' '.join(statement.split()[:3])}: {error.args[-1]}",
                        self._needs,
                    ) from None


class Mysql(OnServer):
    """As the server's root where it is ours, else as the user in DATABASE_URL.

    Both databases hold a table that marks them as made here: one without is somebody else's, whatever
    it is called.
    """

    def __init__(self, url: str, target: server.Target, say: Callable[[str], None], earlier: bool) -> None:
        super().__init__(target, say)
        self.earlier, self.live = earlier, target.name
        new, old = ("_restored", "_replaced") if earlier else (RESTORED, _REPLACED)
        self.name, self.old = f"{target.name}{new}", f"{target.name}{old}"
        self.url = server.renamed(url, self.name)
        self._needs = (
            f"a restore makes a second database: let {target.user} make and drop {self.name} and {self.old}"
        )

    def make(self, backup: str) -> bool:
        if self._begun(f"`{self.name}`.{rows.JOURNAL}", backup):
            return True
        self.discard()
        with self._connect() as connection:
            server.ensure(connection, replace(self.target, name=self.name))
        self._run(
            f"CREATE TABLE `{self.name}`.`{_MARK}` (x INT)",
            f"USE `{self.name}`",
            *rows.journal("", backup),
        )
        return False

    def leftover(self) -> bool:
        return bool(self._tables(self.name))

    def live_tables(self) -> list[str]:
        return self._tables(self.live)

    def swap(self, strays: list[str]) -> None:
        new = self._tables(self.name)
        if not new:
            return  # done before an interruption
        away = [name for name in self._tables(self.live) if name in {*new, *strays}]
        self._drop(self.old)
        self._run(
            f"CREATE DATABASE `{self.old}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            f"CREATE TABLE `{self.old}`.`{_MARK}` (x INT)",
            "SET SESSION foreign_key_checks = 0",
            "RENAME TABLE "
            + ", ".join(
                [f"`{self.live}`.`{name}` TO `{self.old}`.`{name}`" for name in away]
                + [f"`{self.name}`.`{name}` TO `{self.live}`.`{name}`" for name in new]
            ),
        )

    def discard(self) -> None:
        self._drop(self.name)
        self._drop(self.old)
        if self.target.ours:
            # The grant outlives its database.
            pattern = self.name.replace("_", "\\_")
            with suppress(HostError):
                self._run(f"REVOKE ALL PRIVILEGES ON `{pattern}`.* FROM '{self.target.user}'@'localhost'")

    def _drop(self, name: str) -> None:
        with self._connect() as connection:
            found = server.tables(connection, name)
        if found and _MARK not in found and not self.earlier:
            raise HostError(
                f"the database {name} is somebody else's: it has {len(found)} tables, none a restore's",
                f"nothing was changed; a restore needs that name: rename or drop {name}",
            )
        self._run(f"DROP DATABASE IF EXISTS `{name}`")


def sqlite_path(url: str) -> Path:
    """The file in a ``sqlite:`` URL, as SQLAlchemy has it, which would take a slow machine seconds to ask."""
    return Path(url.removeprefix("sqlite:///").partition("?")[0])
