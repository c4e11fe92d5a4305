"""The database's rows, out of one kind of database and into another.

Nothing here knows the schema: tables and columns are read from the database itself, so that
a backup can be taken at any revision. Rows travel as JSON lines, in chunks that fit into
memory; the first line of each chunk names its table and columns.
"""

import base64
import json
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from microblog import idle
from microblog.errors import HostError

if TYPE_CHECKING:
    import sqlalchemy as sa

# Kept by Alembic, and by who migrates: the schema that rows are loaded into has its own.
REVISIONS, LEASE = "alembic_version", "migration_lease"
# Begin the names of tables beside the site's (:mod:`microblog.host.database.aside`): a backup's, on their way
# in, and the site's own, on their way out.
ASIDE = ("microblog_restored_", "microblog_replaced_")
# What of a backup is loaded, where that is done in pieces.
JOURNAL = "restore_pieces"
# A constraint's or a value's errors: MariaDB's check (4025), MySQL's (3819), and those of both: a duplicate,
# null, a reference to nothing, bad characters, out of range, too long.
_BAD_ROW = {4025, 3819, 1062, 1048, 1452, 1366, 1264, 1406}
_ORPHAN = 1452
# More than this are no accident.
_BAD_MAX = 100
_CHUNK_BYTES = 4 * 2**20
# A chunk ends with a row of every so many, told by what is in it: where one is added or goes, those after
# it stay as they were, and what stores only what is new (restic, rsync) finds them again.
_CHUNK_LEAST_BYTES = 2**20
_CHUNK_ENDS = 4096
_BATCH_ROWS = 500
# Where SQLite's full-text search keeps an index (https://www.sqlite.org/fts5.html#fts5_data_structures):
# it is made anew by triggers as rows arrive.
_SHADOWS = ("data", "idx", "docsize", "config", "content")


@contextmanager
def connection(url: str, *, snapshot: bool = False) -> "Iterator[sa.engine.Connection]":
    """A connection of its own.

    :param snapshot: for reading: all of it sees the database as it is at the beginning,
        while others go on writing.
    """
    import sqlalchemy as sa

    sqlite = url.startswith("sqlite:")
    options: dict[str, Any] = {"timeout": 60} if sqlite else {"charset": "utf8mb4", "connect_timeout": 10}
    # "future": SQLAlchemy 1.4 would otherwise commit after each INSERT.
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=options, future=True)
    try:
        with engine.connect() as opened:
            raw: Any = opened.connection.dbapi_connection
            if sqlite:
                # Python's sqlite3 begins transactions where it sees fit.
                raw.isolation_level = None
                begin = ["BEGIN"] if snapshot else ["PRAGMA foreign_keys = ON", "BEGIN IMMEDIATE"]
            elif snapshot:
                begin = [
                    idle.allowed(0),
                    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
                ]
            else:
                begin = [idle.allowed(0), "START TRANSACTION"]
            cursor = raw.cursor()
            for statement in begin:
                cursor.execute(statement)
            cursor.close()
            yield opened
    finally:
        engine.dispose()


def journal(prefix: str, backup: str) -> list[str]:
    """The statements that begin to load a backup in pieces. :param backup: no quotes in it."""
    name = f"`{prefix}{JOURNAL}`"
    return [
        f"CREATE TABLE {name} (id INT NOT NULL PRIMARY KEY, backup VARCHAR(64) NOT NULL,"
        " pieces INT NOT NULL, state MEDIUMTEXT NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4",
        f"INSERT INTO {name} VALUES (1, '{backup}', 0, '')",  # noqa: S608
        "COMMIT",
    ]


def plain_name(table: "sa.Table") -> str:
    """As the site has it."""
    return str(table.name).removeprefix(ASIDE[0])


def tables(
    opened: "sa.engine.Connection", prefix: str = "", without: Collection[str] = ()
) -> "list[sa.Table]":
    """The tables with rows of their own, those that others refer to first.

    :param prefix: of those that are wanted, if it is not the site's.
    :param without: somebody else's, which are not even looked at.
    """
    import sqlalchemy as sa

    names = table_names(opened, prefix) - set(without)
    metadata = sa.MetaData()
    metadata.reflect(opened, only=sorted(names))
    return [table for table in metadata.sorted_tables if table.name in names]


def table_names(opened: "sa.engine.Connection", prefix: str = "") -> set[str]:
    """Of the tables with rows of their own. :param prefix: likewise."""
    import sqlalchemy as sa

    inspector = sa.inspect(opened)
    # sqlite_sequence is SQLite's own.
    found = inspector.get_table_names()
    if prefix:
        names = {name for name in found if name.startswith(prefix)}
    else:
        names = {name for name in found if not name.startswith(("sqlite_", *ASIDE))}
    names -= {f"{prefix}{name}" for name in (REVISIONS, LEASE, JOURNAL)}
    if opened.dialect.name == "sqlite":
        virtual = opened.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%'"
        )
        for name in [str(row[0]) for row in virtual]:
            names -= {name, *(f"{name}_{shadow}" for shadow in _SHADOWS)}
    return names


def dump(opened: "sa.engine.Connection", table: "sa.Table") -> Iterator[tuple[bytes, int]]:
    """A table's rows in the order of their keys.

    :return: chunks, and how many rows are in each; at least one chunk.
    """
    import sqlalchemy as sa

    columns = [column for column in table.columns if column.computed is None]
    header = json.dumps({"table": plain_name(table), "columns": [column.name for column in columns]}) + "\n"
    query = sa.select(*columns).order_by(*table.primary_key.columns)
    lines, size, count = [header], len(header), 0
    # Neither side keeps the whole answer.
    for row in opened.execution_options(stream_results=True).execute(query):
        line = json.dumps([_plain(value) for value in row], ensure_ascii=False) + "\n"
        lines.append(line)
        size += len(line)
        count += 1
        if size > _CHUNK_BYTES or (size > _CHUNK_LEAST_BYTES and not zlib.crc32(line.encode()) % _CHUNK_ENDS):
            yield "".join(lines).encode(), count
            lines, size, count = [header], len(header), 0
    yield "".join(lines).encode(), count


class Loader:
    """Puts chunks into a database whose tables are there, and empties those first.

    :ivar pieces: how many were there already, of a loading that was cut short.
    """

    def __init__(self, opened: "sa.engine.Connection", prefix: str = "", *, in_pieces: bool = False) -> None:
        """:param prefix: of the tables; :param in_pieces: whether there is a :func:`journal` of them."""
        self._opened = opened
        self._journal = f"`{prefix}{JOURNAL}`" if in_pieces else ""
        # What the database did not take: of each table how many; and, but for what belonged to one of
        # these, which and why.
        self.missing: dict[str, int] = {}
        self.left_out: list[str] = []
        self.counts: dict[str, int] = {}
        self.pieces = 0
        found = tables(opened, prefix)
        self._tables = {plain_name(table): table for table in found}
        if self._goes_on():
            return
        # A migration may have written rows of its own: the backup has them too.
        for table in reversed(found):
            opened.execute(table.delete())

    def _goes_on(self) -> bool:
        if not self._journal:
            return False
        row = self._opened.exec_driver_sql(f"SELECT pieces, state FROM {self._journal}").one()  # noqa: S608
        if not row[0]:
            return False
        self.pieces = int(row[0])
        self.counts, self.missing, self.left_out = json.loads(row[1])
        return True

    def keep(self, pieces: int) -> None:
        """Keep what was loaded by now, whatever becomes of the rest. :param pieces: how many that is."""
        if not self._journal:
            return
        state = json.dumps([self.counts, self.missing, self.left_out])
        self._opened.exec_driver_sql(
            f"UPDATE {self._journal} SET pieces = %s, state = %s",  # noqa: S608
            (pieces, state),
        )
        self.commit()
        self._opened.exec_driver_sql("START TRANSACTION")

    def end(self) -> None:
        """What is there is no longer to be gone on with, as the tables are about to change."""
        if self._journal:
            self._opened.exec_driver_sql(f"UPDATE {self._journal} SET pieces = 0")  # noqa: S608
            self.commit()

    def add(self, chunk: bytes) -> tuple[str, int]:
        """Insert a chunk's rows; one that the database refuses is left out, and noted.

        :return: the table's name, and how many were inserted; -1 for a table that the
            schema does not have: not one of ours.
        :raises HostError: if the schema has no such column.
        """
        # Not splitlines(): it would also split at characters that JSON leaves as they are.
        lines = chunk.decode().split("\n")[:-1]
        header = json.loads(lines[0])
        table = self._tables.get(header["table"])
        if table is None:
            self.counts[header["table"]] = -1
            return header["table"], -1
        names = header["columns"]
        if strange := set(names) - set(table.columns.keys()):
            raise HostError(
                f"the backup's table {header['table']} has a column that its schema lacks: {min(strange)}",
                "restore it with the version that made it",
            )
        kinds = [table.columns[name].type for name in names]
        count = 0
        for start in range(1, len(lines), _BATCH_ROWS):
            batch = [
                {
                    name: _typed(value, kind)
                    for name, value, kind in zip(names, json.loads(line), kinds, strict=True)
                }
                for line in lines[start : start + _BATCH_ROWS]
            ]
            count += self._insert(table, batch)
        self.counts[header["table"]] = self.counts.get(header["table"], 0) + count
        return header["table"], count

    def _insert(self, table: "sa.Table", batch: list[dict[str, Any]]) -> int:
        """:return: how many of them the database took."""
        import sqlalchemy as sa

        try:
            with self._savepoint():
                self._opened.execute(table.insert(), batch)
            return len(batch)
        except sa.exc.DBAPIError as error:
            if not _is_of_a_row(error):
                raise
            if len(batch) == 1:
                self._leave_out(table, batch[0], error)
                return 0
        # One of them is bad: the others are not.
        return sum(self._insert(table, [row]) for row in batch)

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        self._opened.exec_driver_sql("SAVEPOINT batch")
        try:
            yield
        except BaseException:
            self._opened.exec_driver_sql("ROLLBACK TO SAVEPOINT batch")
            raise
        self._opened.exec_driver_sql("RELEASE SAVEPOINT batch")

    def _leave_out(self, table: "sa.Table", row: dict[str, Any], error: Any) -> None:
        """Note a row that the database does not take; what belongs to one that is not there goes with it."""
        name = plain_name(table)
        self.missing[name] = self.missing.get(name, 0) + 1
        if _is_orphan(error):
            return
        key = ", ".join(f"{column.name} {row.get(column.name)}" for column in table.primary_key.columns)
        why = str(error.orig.args[-1])[:200]
        self.left_out.append(f"{name} {key}: {why}")
        if len(self.left_out) > _BAD_MAX:
            raise HostError(
                f"more than {_BAD_MAX} rows cannot be stored, the first: {self.left_out[0]}",
                "restore it with the version, and into the kind of database, that made it",
            )

    def forget(self, *names: str) -> None:
        """Empty these tables, where there are such: what they say is of another time."""
        for name in names:
            if name in self._tables:
                self._opened.execute(self._tables[name].delete())

    def recount(self, column: str, of: str, by: str, other: str = "") -> None:
        """Set a number of each account's to how many rows of a table name it; where that table, or the
        column, is not there yet, nothing is done.

        :param by: the column that names it, :param other: the one that names who else it is about: only
            those count who are not suspended.
        """
        import sqlalchemy as sa

        if not {"users", of} <= set(self._tables):
            return
        users, named = self._tables["users"], self._tables[of]
        if column not in users.columns:
            return
        count = sa.select(sa.func.count()).select_from(named).where(named.c[by] == users.c.id)
        if other and "suspended_at" in users.columns:
            they = users.alias("they")
            count = count.where(they.c.id == named.c[other], they.c.suspended_at.is_(None))
        query = sa.select(users.c.id, users.c[column], count.correlate(users).scalar_subquery())
        wrong = [
            {"who": number, "is": now} for number, before, now in self._opened.execute(query) if before != now
        ]
        if wrong:
            change = users.update().where(users.c.id == sa.bindparam("who"))
            self._opened.execute(change.values({column: sa.bindparam("is")}), wrong)

    def recount_posts(self, column: str, of: str, by: str) -> None:
        """Likewise a number of each post's, which has a row where it is not nothing."""
        import sqlalchemy as sa

        if not {"posts", "post_counts", of} <= set(self._tables):
            return
        posts, kept, named = (self._tables[name] for name in ("posts", "post_counts", of))
        if column not in kept.columns or by not in named.columns:
            return
        counts = (
            sa.select(named.c[by].label("post"), sa.func.count().label("number"))
            .where(named.c[by].is_not(None))
            .group_by(named.c[by])
            .subquery("counts")
        )
        number = sa.func.coalesce(counts.c.number, 0)
        wrong = (
            sa.select(kept.c.post_id.label("which"), number.label("is"))
            .select_from(kept.outerjoin(counts, counts.c.post == kept.c.post_id))
            .where(kept.c[column] != number)
        )
        # What is counted may be about a post that was left out.
        lost = (
            sa.select(counts.c.post.label("which"), counts.c.number.label("is"))
            .select_from(
                counts.join(posts, posts.c.id == counts.c.post).outerjoin(
                    kept, kept.c.post_id == counts.c.post
                )
            )
            .where(kept.c.post_id.is_(None))
        )
        change = kept.update().where(kept.c.post_id == sa.bindparam("which"))
        new = kept.insert().values({"post_id": sa.bindparam("which"), column: sa.bindparam("is")})
        for query, statement in ((wrong, change.values({column: sa.bindparam("is")})), (lost, new)):
            found = [dict(row) for row in self._opened.execute(query).mappings()]
            for start in range(0, len(found), _BATCH_ROWS):
                self._opened.execute(statement, found[start : start + _BATCH_ROWS])

    def commit(self) -> None:
        raw: Any = self._opened.connection.dbapi_connection
        raw.commit()

    def skip_numbers(self, counts: dict[str, int]) -> None:
        """Let the next rows of these tables have numbers that are so much higher than their last one: a
        backup does not know which were given since, or before to rows that were deleted by then."""
        import sqlalchemy as sa

        for name, count in counts.items():
            if name not in self._tables:
                continue
            last = self._opened.execute(sa.select(sa.func.max(self._tables[name].c.id))).scalar() or 0
            if self._opened.dialect.name != "sqlite":
                table = self._tables[name].name
                self._opened.exec_driver_sql(f"ALTER TABLE `{table}` AUTO_INCREMENT = {last + count + 1}")
            elif self._has_sequences():
                # https://www.sqlite.org/autoinc.html
                self._opened.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
                row = (name, last + count)
                self._opened.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", row)
        self.commit()

    def _has_sequences(self) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"
        return self._opened.exec_driver_sql(query).first() is not None


def _is_of_a_row(error: Any) -> bool:
    """Whether the database refuses a row for what is in it, and would take others."""
    import sqlalchemy as sa

    return isinstance(error, sa.exc.IntegrityError) or error.orig.args[0] in _BAD_ROW


def _is_orphan(error: Any) -> bool:
    return error.orig.args[0] in (_ORPHAN, "FOREIGN KEY constraint failed")


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (date, time, Decimal)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    return value


def _typed(value: Any, kind: Any) -> Any:
    """As a column of this type takes it."""
    import sqlalchemy as sa

    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    if isinstance(value, str) and isinstance(kind, sa.DateTime):
        return datetime.fromisoformat(value)
    if isinstance(value, str) and isinstance(kind, sa.Date):
        return date.fromisoformat(value)
    return value
