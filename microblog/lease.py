"""The right to migrate a server's database: a row, that one machine has for a while.

Not a lock of the server's: in a cluster, each server has its own. Who has the right says so again and again;
where it dies, or is frozen, or cut off, the right ends by itself and another one goes on. Each holder has a
higher number than the one before: one that comes back sees before its next statement that its turn is over.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from microblog.database import is_conflict, is_lost

# Seconds that it lasts, by the server's clock, and after which it is said again.
SECONDS, AGAIN = 60, 5.0
_POLL = 0.5
# In seconds: a statement that takes longer keeps others waiting, in a cluster all who write. Before the next
# one they have so much time, more than the longest pause of a unit of work.
LONG, OTHERS = 1.0, 1.0
# No migration makes it: it is there before the first one.
TABLE = "migration_lease"
_MAKE = (
    "CREATE TABLE IF NOT EXISTS migration_lease (id INT NOT NULL PRIMARY KEY, holder VARCHAR(32) NOT NULL,"
    " fence BIGINT NOT NULL, leased_until DATETIME NOT NULL) ENGINE=InnoDB"
)
_ROW = "INSERT IGNORE INTO migration_lease VALUES (1, '', 0, '2000-01-01 00:00:00')"
_TAKE = sa.text(
    "UPDATE migration_lease SET holder = :holder, fence = fence + 1,"
    " leased_until = UTC_TIMESTAMP() + INTERVAL :seconds SECOND"
    " WHERE id = 1 AND leased_until <= UTC_TIMESTAMP()"
)
_FENCE = sa.text("SELECT fence FROM migration_lease WHERE id = 1 AND holder = :holder")
_HOLD = sa.text(
    "UPDATE migration_lease SET leased_until = UTC_TIMESTAMP() + INTERVAL :seconds SECOND"
    " WHERE id = 1 AND fence = :fence AND holder = :holder"
)

Result = TypeVar("Result")


class Lost(RuntimeError):
    """Another machine has taken over."""


@contextmanager
def held(connection: "sa.engine.Connection", wait: float) -> Iterator[int]:
    """Have the right, while statements are made on a connection.

    :param wait: seconds to wait for who has it.
    :return: the number of this holder.
    :raises TimeoutError: another one has had it all the time.
    :raises Lost: from a statement: it was this one's turn, and is no longer.
    """
    lease = _Lease(connection.engine)
    lease.take(wait)
    sa.event.listen(connection, "before_cursor_execute", lease.before)
    sa.event.listen(connection, "after_cursor_execute", lease.after)
    thread = threading.Thread(target=lease.keep, name="lease", daemon=True)
    thread.start()
    try:
        yield lease.fence
    finally:
        lease.ended.set()
        thread.join()
        sa.event.remove(connection, "before_cursor_execute", lease.before)
        sa.event.remove(connection, "after_cursor_execute", lease.after)
        lease.give_back()


class _Lease:
    def __init__(self, engine: "sa.engine.Engine") -> None:
        self._engine = engine
        self._holder = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._said = 0.0
        self._began, self._took = 0.0, 0.0
        self.fence = 0
        self.ended = threading.Event()

    def take(self, wait: float) -> None:
        ends = time.monotonic() + wait
        self._patiently(lambda: self._execute(sa.text(_MAKE)))
        self._patiently(lambda: self._execute(sa.text(_ROW)))
        while not self._patiently(self._take):
            if time.monotonic() > ends:
                raise TimeoutError(f"another migration of this database has been running for {wait} seconds")
            time.sleep(_POLL)

    def _take(self) -> bool:
        began = time.monotonic()
        self._execute(_TAKE, holder=self._holder, seconds=SECONDS)
        # By what is there, not by what was answered: a COMMIT's answer may have been lost.
        with self._engine.connect() as connection:
            fence = connection.execute(_FENCE, {"holder": self._holder}).scalar()
        if fence is not None:
            self.fence, self._said = int(fence), began
        return fence is not None

    def before(self, *_statement: Any) -> None:
        """Before a statement."""
        if self._took > LONG:
            time.sleep(OTHERS)
        self.check()
        self._began = time.monotonic()

    def after(self, *_statement: Any) -> None:
        """After it."""
        self._took = time.monotonic() - self._began

    def check(self) -> None:
        """Whether it is this one's turn."""
        with self._lock:
            if time.monotonic() - self._said > AGAIN:
                self._patiently(self._say)

    def _say(self) -> None:
        began = time.monotonic()
        if not self._execute(_HOLD, holder=self._holder, fence=self.fence, seconds=SECONDS):
            raise Lost("another machine has taken this migration over: it finishes it")
        self._said = began

    def keep(self) -> None:
        """Say it again beside statements that take long."""
        while not self.ended.wait(AGAIN):
            # The next statement meets what is wrong.
            with suppress(Lost, DBAPIError):
                self.check()

    def give_back(self) -> None:
        # If this cannot be said, it ends by itself.
        with suppress(DBAPIError):
            self._execute(_HOLD, holder=self._holder, fence=self.fence, seconds=0)

    def _execute(self, statement: Any, **values: Any) -> int:
        with self._engine.begin() as connection:
            return int(connection.execute(statement, values).rowcount)

    @staticmethod
    def _patiently(work: Callable[[], Result]) -> Result:
        """In a cluster, who asks for it at the same moment is told to try again."""
        ends = time.monotonic() + SECONDS / 2
        while True:
            try:
                return work()
            except DBAPIError as error:
                if not (is_conflict(error) or is_lost(error)) or time.monotonic() > ends:
                    raise
            time.sleep(_POLL)
