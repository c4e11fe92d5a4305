"""Units of work: what is done again, whole, where the database undid it or went away meanwhile.

In a cluster, two machines that change one row meet at COMMIT, and one of them is told to begin anew; and a
server that is stopped takes the connections to it along, while another one is there within seconds. Neither
is the visitor's concern. What may have been done is not done again, unless to do it twice does no harm.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from flask import g, has_app_context
from sqlalchemy.exc import DBAPIError

from microblog.database import db, is_conflict, is_lost, may_be_done

# How often a unit is begun, where its database is lost, and where it meets others: as often as its patience
# allows.
TRIES, MEETINGS = 10, 200
# Seconds until it is begun again, at most: the first time, then each time twice as long; and never more.
_CONFLICT, _LOST = (0.02, 0.5), (0.1, 2.0)
# Seconds after which no unit is begun again: its database is lost; it meets others. In a cluster, whoever
# writes to a table while an index of it is made meets that until it is done. A balancer waits for a minute.
PATIENCE, MEETS = 10.0, 45.0

# Since when this thread has been in a unit.
_running = threading.local()

Result = TypeVar("Result")
Work = TypeVar("Work", bound=Callable[..., Any])

# What a view has that is safe to run twice; an error that was met with all patience; a session that has
# committed something.
_TWICE, _IN_VAIN, _COMMITTED = "may_run_twice", "was_in_vain", "microblog.committed"


def safe_twice(work: Work) -> Work:
    """Decorates a view that ends as it should also where it is run again after it was done."""
    setattr(work, _TWICE, True)
    return work


def is_safe_twice(work: Callable[..., Any] | None) -> bool:
    return getattr(work, _TWICE, False)


def run(work: Callable[[], Result], *, twice: bool = False) -> Result:
    """Do something that reads and writes, again where the database undid it or was lost meanwhile.

    :param work: commits what it does by itself, once and at its end. Within another unit, it must have a
        connection of its own: the session's work is the outer one's.
    :param twice: whether it may be done again though it was, or may have been, done.
    :raises sqlalchemy.exc.DBAPIError: at last, as the database said it.
    """
    outer: float | None = getattr(_running, "since", None)
    # One within another has what is left of its patience.
    _running.since = began = time.monotonic() if outer is None else outer
    try:
        return _run(work, twice, began, inner=outer is not None)
    finally:
        _running.since = outer


def _run(work: Callable[[], Result], twice: bool, began: float, *, inner: bool) -> Result:
    tries = 0
    while True:
        try:
            result = work()
        except DBAPIError as error:
            tries += 1
            pause = _pause(error, began, tries) if twice or not is_done(error) else None
            if pause is None:
                # One unit within another is patient enough for both.
                setattr(error, _IN_VAIN, True)
                raise
        else:
            if tries:
                _outage.over()
            return result
        if not inner:
            if db.session.registry.has():
                db.session.rollback()
                db.session.info.pop(_COMMITTED, None)
            g.begun_again = True
        time.sleep(pause)


def is_again() -> bool:
    """Whether a unit of this request, or of this job, was begun before."""
    return has_app_context() and "begun_again" in g


def is_done(error: DBAPIError) -> bool:
    """Whether a part of what ended so is in the database, or may be."""
    return may_be_done(error) or bool(db.session.registry.has() and db.session.info.get(_COMMITTED))


@sa.event.listens_for(db.session, "after_commit")
def _note(session: Any) -> None:
    session.info[_COMMITTED] = True


def _pause(error: DBAPIError, began: float, tries: int) -> float | None:
    """Seconds to wait before it is begun again; None: it is not."""
    now = time.monotonic()
    most_tries, patience = (MEETINGS, MEETS) if is_conflict(error) else (TRIES, PATIENCE)
    if tries >= most_tries or now - began > patience or getattr(error, _IN_VAIN, False):
        return None
    if is_lost(error):
        lasted = _outage.lasted(now)
        # However many ask: where nobody has answered for so long, each would wait for nothing. Once more all
        # the same: it may be a connection from before, and the server is back.
        if tries > 1 and lasted > PATIENCE:
            return None
        first, most = _LOST
    elif is_conflict(error):
        first, most = _CONFLICT
    else:
        return None
    # Those that met do not meet again.
    return random.uniform(0.5, 1) * min(first * 2.0 ** (tries - 1), most)  # noqa: S311


class _Outage:
    """Since when this process has been losing its database, again and again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = self._latest = float("-inf")

    def lasted(self, now: float) -> float:
        """Note a loss. :return: seconds since the first of those that followed one another."""
        with self._lock:
            if now - self._latest > PATIENCE:
                self._since = now
            self._latest = now
            return now - self._since

    def over(self) -> None:
        """Who had lost it has it again."""
        with self._lock:
            self._latest = float("-inf")


_outage = _Outage()
