"""The database: its connections, and who may migrate it."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

MIGRATIONS = Path(__file__).parent / "migrations"

# Compiled statements that each connection to SQLite keeps.
STATEMENTS = 32
# How long a machine waits for another one that is migrating, in seconds.
MIGRATION_WAIT = 600

# Every constraint has a name, the same on all databases, so that a migration can drop it.
db = SQLAlchemy(
    metadata=sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
)

# MySQL's own default may be latin1, or a collation that finds "resume" equal to "résumé".
TABLE_OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def field(*arguments: Any, **options: Any) -> Any:
    """A column of a model. On the class it is one, and on what was read a value: no one type is both, and
    SQLAlchemy 1.4 knows no ``Mapped``."""
    return sa.Column(*arguments, **options)


# The full-text index of searches, which SQLAlchemy has no words for: the migrations make it.
_FULLTEXT = ("public_posts_fts", "ft_public_posts_words")


def is_modelled(_object: object, name: str | None, _type: str, reflected: bool, _other: object) -> bool:
    """Whether Alembic is to compare this part of a database with the models."""
    # sqlite_sequence: SQLite's own. migration_lease: there before the first migration.
    return not (
        reflected and name is not None and name.startswith((*_FULLTEXT, "sqlite_", "migration_lease"))
    )


@contextmanager
def reading() -> Iterator[Any]:
    """A connection for statements that read rows, not objects.

    The session's, if this request has one: what was written in it is seen. Else one of its own, for as long
    as the statements take: to begin and end a session costs as much as to ask the database.
    """
    if db.session.registry.has():
        yield db.session.connection()
    else:
        with db.engine.connect() as connection:
            yield connection


def first_row(query: Any, values: dict[str, Any], often: bool = False) -> Any:
    """The first row of what a statement finds, if there is one. For what every page asks: SQLAlchemy takes
    longer over a statement than the driver, so it gives but the words.

    :param query: reads texts and numbers alone, as the database gives them, and was made once.
    :param often: whether it is one of a few that are asked most.
    """
    with reading() as connection:
        asked = _asked(query, connection.dialect)
        if asked is not None:
            # What to make of an error, SQLAlchemy says, which is asked then.
            with suppress(connection.dialect.dbapi.Error):
                return _first(connection, asked, asked.all(values), often)
        return connection.execute(query, values).first()


def _first(connection: Any, asked: "_Asked", values: dict[str, Any], often: bool) -> Any:
    in_order = tuple(values[name] for name in asked.order)
    text, parameters = asked.text, in_order if asked.positional else values
    cursor = connection.connection.cursor()
    try:
        # SQLAlchemy's, which may change it.
        for listener in connection.dispatch.before_cursor_execute:
            text, parameters = listener(connection, cursor, text, parameters, None, False)
        again = getattr(connection.connection.dbapi_connection, "execute_again", None)
        if again is None or not often or text != asked.text or not again(cursor, asked.marked, in_order):
            cursor.execute(text, parameters)
        return cursor.fetchone()
    finally:
        cursor.close()


class _Asked(NamedTuple):
    """A statement for a driver.

    :ivar positional: whether the driver takes its values in order, and not by their names.
    :ivar marked: with question marks for the values.
    :ivar order: the names of these, as often as they are in it.
    :ivar fixed: the values that are the same each time.
    :ivar made: what makes the driver's value of another one.
    """

    text: str
    positional: bool
    marked: str
    order: list[str]
    fixed: dict[str, Any]
    made: dict[str, Any]

    def all(self, values: dict[str, Any]) -> dict[str, Any]:
        found = {**self.fixed, **values}
        for name, make in self.made.items():
            found[name] = make(found[name])
        return found


# A value, or a per cent sign.
_VALUE = re.compile(r"%\((\w+)\)s|%%")


@lru_cache(maxsize=256)
def _asked(query: Any, dialect: Any) -> _Asked | None:
    """:return: None for a statement whose words depend on its values: a list of them."""
    compiled = query.compile(dialect=dialect)
    names = compiled.bind_names
    if any(bind.expanding or bind.literal_execute for bind in names):
        return None
    fixed = {name: bind.effective_value for bind, name in names.items() if not bind.required}
    made = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for bind, name in names.items()}
    made = {name: make for name, make in made.items() if make}
    text = marked = str(compiled)
    if compiled.positional:
        order = compiled.positiontup
    else:
        order = [match[1] for match in _VALUE.finditer(text) if match[1]]
        marked = _VALUE.sub(lambda match: "?" if match[1] else "%", text)
    return _Asked(text, compiled.positional, marked, order, fixed, made)


def upsert(connection: Any, table: Any, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Make a row, or change the one that has this key.

    In one statement: who looks first for a row that is not there, to lock or delete it, keeps others from
    making theirs, on MySQL and MariaDB.
    """
    if connection.dialect.name == "sqlite":
        insert: Any = sqlite.insert(table).values({**key, **values})
        statement = insert.on_conflict_do_update(index_elements=list(key), set_=values)
    else:
        statement = mysql.insert(table).values({**key, **values}).on_duplicate_key_update(values)
    connection.execute(statement)


def insert_new(connection: Any, table: Any, rows: list[dict[str, Any]]) -> int:
    """Make rows, but for those that are there, by their unique keys: two clicks at once are one.

    :return: how many were made.
    """
    insert = (
        sa.insert(table).prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
    )
    return int(connection.execute(insert.values(rows)).rowcount) if rows else 0


def utc_now() -> datetime:
    """Now, as it is stored: UTC, without a zone, in whole seconds (MySQL's DATETIME rounds fractions up)."""
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)


def shared_now() -> datetime:
    """Likewise, by the clock that all machines share: a database server's. For what is removed when it is
    over, and for what is good for minutes: one machine's clock may be wrong, by a year too."""
    return shared_clock(reading).replace(microsecond=0)


def shared_clock(connected: Callable[[], AbstractContextManager[Any]]) -> datetime:
    """Likewise, to the millisecond, as the database has it.

    :param connected: where to ask, if that is a server.
    """
    if db.engine.dialect.name == "sqlite":
        return datetime.now(timezone.utc).replace(tzinfo=None)
    with connected() as connection:
        now: datetime = connection.execute(sa.text("SELECT UTC_TIMESTAMP(3)")).scalar_one()
    return now


def utc_text(moment: datetime) -> str:
    """A moment of those that are stored, as programs read it (RFC 3339)."""
    return f"{moment.isoformat()}Z"


def init_app(app: Flask, url: str) -> None:
    """Connect the application to its database; nothing is opened before the first query."""
    sqlite = url.startswith("sqlite:")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    # Errors are logged and mailed, without what the statements were about.
    options = {"hide_parameters": True, **(_sqlite_options() if sqlite else _mysql_options())}
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options
    # Flask-SQLAlchemy 2 warns unless told.
    app.config["SQLALCHEMY_TRACK_MODIFICATIONS"] = False
    db.init_app(app)
    app.extensions["migrate"] = _Migrations(app)
    app.cli.add_command(_MigrationCommands("db", help="Perform database migrations."))
    with app.app_context():
        if sqlite:
            sa.event.listen(db.engine, "connect", _prepare_sqlite)
        else:
            from microblog import mysql

            mysql.prepare(db.engine)


class _Migrations:
    """Stands where Flask-Migrate keeps its settings until it is asked for them.

    Serving pages needs no Alembic, which would take 10 MB and half a second of a small machine.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        from flask_migrate import Migrate

        # Takes this place itself.
        Migrate(self._app, db, directory=str(MIGRATIONS))
        return getattr(self._app.extensions["migrate"], name)


class _MigrationCommands(click.Group):
    """Stands for Flask-Migrate's commands likewise."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        from flask_migrate import cli

        context: click.Context = cli.db.make_context(*arguments, **options)
        return context


def _sqlite_options() -> dict[str, Any]:
    # A pool, not SQLAlchemy 1.4's new connection for each request: whenever SQLite's last
    # connection closes, it folds its log back into the database, with a sync each time.
    # Each keeps its latest statements, compiled, of some 15 kB each. The pages that are read most take 27;
    # with sqlite3's own 128, those of programs' calls and of seldom pages would stay in memory for good.
    arguments = {"check_same_thread": False, "cached_statements": STATEMENTS}
    return {"poolclass": QueuePool, "connect_args": arguments}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # First: the next line may already have to wait for another process.
    cursor.execute("PRAGMA busy_timeout = 10000")
    cursor.execute("PRAGMA journal_mode = WAL")
    # With WAL, NORMAL would not sync at commit: a power cut could take back posts whose
    # writers have seen them saved (https://www.sqlite.org/pragma.html#pragma_synchronous).
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    # Each thread of each worker has a connection, and each its own pages: 512 KiB instead of 2 MB.
    # What they do not keep, the system does, once for all.
    cursor.execute("PRAGMA cache_size = -512")
    cursor.close()


def _mysql_options() -> dict[str, Any]:
    return {
        "pool_recycle": 1800,
        # Flask-SQLAlchemy 2 puts MySQL's three-byte utf8 into the URL; this wins.
        "connect_args": {
            "charset": "utf8mb4",
            "connect_timeout": 10,
            # MySQL's own is 1,024 bytes, and what is longer is cut without a word: the numbers of a page.
            "init_command": "SET SESSION group_concat_max_len = 1048576",
        },
    }


# It undid the transaction: a deadlock, or in Galera another node's commit.
DEADLOCK = 1213
# The database's numbers (https://mariadb.com/kb/en/mariadb-error-code-reference/). It undid the transaction:
# a deadlock, or in Galera another node's commit; a row was changed since the transaction began (MariaDB), or
# another member's came first (MySQL's group replication); a lock was waited for in vain.
_CONFLICT = {DEADLOCK, 1020, 3101, 1205}
# The server has too many connections, shuts down, or ended this one; it is not, or no longer, the one that
# takes changes; in Galera it is not part of the cluster. And PyMySQL's own: no server, or no longer.
_LOST = {1040, 1053, 1927, 1290, 1792, 1836, 4031, 1047, 1180, 2002, 2003, 2006, 2013, 2014, 2055}
# Such a one may do for others, but no longer for who heard it: a proxy leads to another one.
CUT_OFF = frozenset({1053, 1290, 1792, 1836, 1047, 1180})


def is_conflict(error: DBAPIError) -> bool:
    """Whether the database undid a transaction for another one's sake: done again, it may well succeed."""
    return code(error) in _CONFLICT


def is_lost(error: DBAPIError) -> bool:
    """Whether the server went away: there may be another one, or it comes back."""
    return not is_conflict(error) and (code(error) in _LOST or bool(error.connection_invalidated))


def is_busy(error: DBAPIError) -> bool:
    """Whether somebody else kept the database for too long: later, it may well succeed."""
    return is_conflict(error) or "database is locked" in str(error.orig)


def may_be_done(error: DBAPIError) -> bool:
    """Whether it was a COMMIT that was not answered, so that nobody knows whether it was done."""
    # In a conflict it was not. Any other error may be of a server whose cluster has done it all the same.
    return bool(getattr(error.orig, AT_COMMIT, False)) and not is_conflict(error)


# How a connection marks an error of its COMMIT.
AT_COMMIT = "at_commit"


def code(error: DBAPIError) -> object:
    """The number that the database gave its error."""
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None


@contextmanager
def sole_migration(connection: sa.engine.Connection) -> Iterator[None]:
    """Hold the right to migrate the database; others wait, and then find nothing left to do.

    :param connection: the migrating connection; it is closed for good afterwards.
    :raises TimeoutError: if another migration has not ended within ``MIGRATION_WAIT``.
    """
    sole = _sole_on_sqlite if connection.dialect.name == "sqlite" else _sole_on_mysql
    with sole(connection):
        yield


@contextmanager
def _sole_on_sqlite(connection: sa.engine.Connection) -> Iterator[None]:
    """One transaction around all of it: it locks out others, and undoes a migration that fails.

    Python's sqlite3 would begin none before DDL, so this begins it by hand.
    """
    connection.detach()
    raw: Any = connection.connection.dbapi_connection
    raw.isolation_level = None
    # A table is altered by a copy and a drop, which must not cascade. This is ignored inside
    # a transaction, so it comes before (https://www.sqlite.org/lang_altertable.html).
    raw.execute("PRAGMA foreign_keys = OFF")
    raw.execute(f"PRAGMA busy_timeout = {MIGRATION_WAIT * 1000}")
    raw.execute("BEGIN IMMEDIATE")
    with connection.begin():
        yield
        if broken := raw.execute("PRAGMA foreign_key_check").fetchone():
            raise RuntimeError(f"the migration would leave a dangling reference: {broken}")


@contextmanager
def _sole_on_mysql(connection: sa.engine.Connection) -> Iterator[None]:
    """A row that says whose turn it is: its statements cannot be undone together, so whoever takes over
    from a machine that died finishes what it had begun."""
    from microblog import idle, lease

    # It computes between statements; one that says nothing for so long has lost its turn.
    raw: Any = connection.connection.dbapi_connection
    with raw.cursor() as cursor:
        cursor.execute(idle.allowed(lease.SECONDS))
    with lease.held(connection, MIGRATION_WAIT):
        yield
