"""Connections to MySQL that do not talk more than they must.

Most requests only read. By PyMySQL's rules, each would begin a transaction and roll it back, and
a pool would ask before each whether the server is still there: three exchanges beside the one or
two that are asked for.
"""

import hashlib
import time
from typing import Any

import sqlalchemy as sa
from pymysql.connections import Connection
from pymysql.constants import CR, SERVER_STATUS
from pymysql.err import MySQLError, OperationalError
from sqlalchemy.exc import DBAPIError, DisconnectionError

from microblog import database

# Statements that need no transaction: they change nothing, or are about transactions. What is prepared is a
# SELECT.
_ALONE = (
    b"SELECT",
    b"SHOW",
    b"SET",
    b"EXPLAIN",
    b"BEGIN",
    b"COMMIT",
    b"ROLLBACK",
    b"START",
    b"PREPARE",
    b"EXECUTE",
)
# Unless they lock: FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE. If it is but a word of a text, no harm is done.
_LOCKS = (b"UPDATE", b"SHARE")
# A connection that was idle for longer is asked whether it still stands, in seconds.
_IDLE = 5.0
# Statements of which a connection knows the words, of some 230 KB each in the server: those that are asked
# most have their place soon.
_PREPARED_MOST = 6


class LazyConnection(Connection):  # type: ignore[misc]
    """Begins a transaction with the first statement that is more than a SELECT, as Python's sqlite3 does.

    Reads before it see what is committed by then; in the transaction, MySQL's isolation holds.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "autocommit": True})
        if self.ssl and not self._secure:
            # PyMySQL would go on in the clear.
            self.close()
            raise OperationalError(CR.CR_SSL_CONNECTION_ERROR, "the server offers no TLS")
        # MySQL takes no values with it, but variables alone, which are a statement more.
        self._may_prepare = "MariaDB" in self.server_version
        self._prepared: dict[str, str] = {}

    @property
    def _in_transaction(self) -> bool:
        return bool(self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    def query(self, sql: Any, unbuffered: bool = False) -> Any:
        if not self._in_transaction and not _is_alone(sql):
            self.begin()
        return super().query(sql, unbuffered)

    def execute_again(self, cursor: Any, text: str, values: tuple[Any, ...]) -> bool:
        """Ask by a SELECT that is the same each time but for its values: MariaDB reads its words once for
        each connection. That is a fifth of what a page takes of its processor.

        :param text: with question marks for the values.
        :return: False if this is not done here: it is to be sent whole.
        """
        if not self._may_prepare:
            return False
        name = self._prepared.get(text)
        if name is None and len(self._prepared) >= _PREPARED_MOST:
            return False
        try:
            if name is None:
                # Whoever else is behind a proxy: what has this name has these words.
                name = f"m{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"
                cursor.execute(f"PREPARE {name} FROM %s", (text,))
                self._prepared[text] = name
            cursor.execute(f"EXECUTE {name} USING {', '.join(['%s'] * len(values))}", values)
        except MySQLError:
            # Too many of all connections, or another server than the one that knew it.
            self._may_prepare = False
            raise
        return True

    def commit(self) -> None:
        if self._in_transaction:
            try:
                super().commit()
            except MySQLError as error:
                setattr(error, database.AT_COMMIT, True)
                raise

    def rollback(self) -> None:
        if not self._in_transaction:
            return
        try:
            super().rollback()
        except MySQLError as error:
            if error.args[:1] == (database.DEADLOCK,):
                # In a cluster another one's commit has undone it, while nothing was said here: this is how
                # that is told. Once more, for it says no word of whether there is a transaction by now.
                super().rollback()
            elif self.open:
                raise
            # Who is gone has undone it, too.


def _is_alone(sql: Any) -> bool:
    text = (sql.encode("utf-8", "surrogateescape") if isinstance(sql, str) else bytes(sql)).lstrip().upper()
    return text.startswith(_ALONE) and not any(word in text for word in _LOCKS)


def prepare(engine: "sa.engine.Engine") -> None:
    """Let an engine use such connections."""

    @sa.event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> LazyConnection:
        return LazyConnection(*arguments, **options)

    @sa.event.listens_for(engine, "handle_error")
    def leave(context: Any) -> None:
        """A server that is cut off from its cluster still answers: with nothing but that."""
        error = context.sqlalchemy_exception
        if isinstance(error, DBAPIError) and database.code(error) in database.CUT_OFF:
            context.is_disconnect = True

    @sa.event.listens_for(engine, "checkin")
    def note_time(_connection: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, _proxy: Any) -> None:
        """The server may have been restarted, or a firewall may have dropped an idle connection."""
        rested = time.monotonic() - record.info.get("idle_since", time.monotonic()) > _IDLE
        if connection.open and not rested:
            return
        try:
            connection.ping(reconnect=False)
        except (MySQLError, OSError):
            # The pool then makes a new one.
            raise DisconnectionError from None
