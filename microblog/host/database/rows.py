"""The database's rows, out of one kind of database and into another.

Nothing here knows the schema: tables and columns are read from the database itself, so that
a backup can be taken at any revision. Rows travel as JSON lines, in chunks that fit into
memory; the first line of each chunk names its table and columns.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from microblog.errors import HostError

if TYPE_CHECKING:
    import sqlalchemy as sa

# Kept by Alembic: the schema that rows are loaded into has its own.
REVISIONS = "alembic_version"
_CHUNK_BYTES = 4 * 2**20
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
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=options)
    try:
        with engine.connect() as opened:
            raw: Any = opened.connection.dbapi_connection
            if sqlite:
                # Python's sqlite3 begins transactions where it sees fit.
                raw.isolation_level = None
                begin = ["BEGIN"] if snapshot else ["PRAGMA foreign_keys = ON", "BEGIN IMMEDIATE"]
            elif snapshot:
                begin = [
                    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
                ]
            else:
                begin = ["START TRANSACTION"]
            cursor = raw.cursor()
            for statement in begin:
                cursor.execute(statement)
            cursor.close()
            yield opened
    finally:
        engine.dispose()


def tables(opened: "sa.engine.Connection") -> "list[sa.Table]":
    """The tables with rows of their own, those that others refer to first."""
    import sqlalchemy as sa

    inspector = sa.inspect(opened)
    # sqlite_sequence is SQLite's own.
    names = {name for name in inspector.get_table_names() if not name.startswith("sqlite_")} - {REVISIONS}
    if opened.dialect.name == "sqlite":
        virtual = opened.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%'"
        )
        for name in [str(row[0]) for row in virtual]:
            names -= {name, *(f"{name}_{shadow}" for shadow in _SHADOWS)}
    metadata = sa.MetaData()
    metadata.reflect(opened, only=sorted(names))
    return [table for table in metadata.sorted_tables if table.name in names]


def dump(opened: "sa.engine.Connection", table: "sa.Table") -> Iterator[tuple[bytes, int]]:
    """A table's rows in the order of their keys.

    :return: chunks, and how many rows are in each; at least one chunk.
    """
    import sqlalchemy as sa

    columns = [column for column in table.columns if column.computed is None]
    header = json.dumps({"table": table.name, "columns": [column.name for column in columns]}) + "\n"
    query = sa.select(*columns).order_by(*table.primary_key.columns)
    lines, size, count = [header], len(header), 0
    # Neither side keeps the whole answer.
    for row in opened.execution_options(stream_results=True).execute(query):
        line = json.dumps([_plain(value) for value in row], ensure_ascii=False) + "\n"
        lines.append(line)
        size += len(line)
        count += 1
        if size > _CHUNK_BYTES:
            yield "".join(lines).encode(), count
            lines, size, count = [header], len(header), 0
    yield "".join(lines).encode(), count


class Loader:
    """Puts chunks into a database whose tables are there, and empties those first."""

    def __init__(self, opened: "sa.engine.Connection") -> None:
        self._opened = opened
        found = tables(opened)
        self._tables = {table.name: table for table in found}
        # A migration may have written rows of its own: the backup has them too.
        for table in reversed(found):
            opened.execute(table.delete())

    def add(self, chunk: bytes) -> tuple[str, int]:
        """Insert a chunk's rows.

        :return: the table's name, and how many were inserted; -1 for a table that the
            schema does not have: not one of ours.
        :raises HostError: if the schema has no such column.
        """
        # Not splitlines(): it would also split at characters that JSON leaves as they are.
        lines = chunk.decode().split("\n")[:-1]
        header = json.loads(lines[0])
        table = self._tables.get(header["table"])
        if table is None:
            return header["table"], -1
        names = header["columns"]
        if strange := set(names) - set(table.columns.keys()):
            raise HostError(
                f"the backup's table {table.name} has a column that its schema lacks: {min(strange)}",
                "restore it with the version that made it",
            )
        kinds = [table.columns[name].type for name in names]
        batch: list[dict[str, Any]] = []
        for line in lines[1:]:
            values = json.loads(line)
            batch.append({name: _typed(v, kind) for name, v, kind in zip(names, values, kinds, strict=True)})
            if len(batch) >= _BATCH_ROWS:
                self._opened.execute(table.insert(), batch)
                batch = []
        if batch:
            self._opened.execute(table.insert(), batch)
        return table.name, len(lines) - 1

    def forget(self, *names: str) -> None:
        """Empty these tables, where there are such: what they say is of another time."""
        for name in names:
            if name in self._tables:
                self._opened.execute(self._tables[name].delete())

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
                self._opened.exec_driver_sql(f"ALTER TABLE `{name}` AUTO_INCREMENT = {last + count + 1}")
            elif self._has_sequences():
                # https://www.sqlite.org/autoinc.html
                self._opened.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
                row = (name, last + count)
                self._opened.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", row)
        self.commit()

    def _has_sequences(self) -> bool:
        query = "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"
        return self._opened.exec_driver_sql(query).first() is not None


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
