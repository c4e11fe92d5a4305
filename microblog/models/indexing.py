"""What the search engine, where there is one, has yet to be told: kept in the database until it has it all.

A change is noted in the transaction that makes it. One thread of one process at a time works them off: it
reads what the post is by then, so that the order does not matter, and doing it twice does no harm.
"""

import hashlib
import threading
import time
import weakref
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import Flask, current_app
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from microblog.database import TABLE_OPTIONS, db, field, shared_clock, utc_now
from microblog.elasticsearch import REST, Elasticsearch, Unavailable
from microblog.models.paging import pieces

_KEY = "microblog.elasticsearch"
# Posts that are sent at once.
CHUNK = 500
# How long one process alone sends, unless it says that it goes on.
_LEASE = timedelta(seconds=90)
# With a change that has waited for longer, the database answers instead.
_LATE = timedelta(seconds=60)


class Change(db.Model):  # type: ignore[name-defined, misc]
    """A post that was written, or is to be found no longer, since the search engine was told."""

    __tablename__ = "search_changes"

    id = field(sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)
    # Of a post that may be gone.
    post_id = field(sa.BigInteger, nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = TABLE_OPTIONS


class IndexState(db.Model):  # type: ignore[name-defined, misc]
    """How far the search engine's index is. One row, or none."""

    __tablename__ = "search_index"
    __table_args__ = TABLE_OPTIONS

    id = field(sa.Integer, primary_key=True, autoincrement=False)
    # Which index: another server, or another way to store words, begins anew.
    which = field(sa.String(64), nullable=False)
    # All posts up to this number were sent once.
    filled_to = field(sa.BigInteger, nullable=False)
    is_whole = field(sa.Boolean, nullable=False)
    leased_until = field(sa.DateTime, nullable=False)


def init_app(app: Flask, url: str) -> None:
    """:param url: of Elasticsearch; empty: the database alone searches."""
    found = app.extensions[_KEY] = Elasticsearch(url) if url else None
    if found:
        sender = app.extensions[f"{_KEY}.sender"] = _Sender(app)
        app.before_request(sender.start)


def engine() -> Elasticsearch | None:
    """The search engine of the application at hand."""
    found: Elasticsearch | None = current_app.extensions.get(_KEY)
    return found


def changed(*post_ids: int) -> None:
    """Posts were written or removed, or are to be found from now on or no longer; the caller commits."""
    if engine() is not None:
        now = utc_now()
        rows = [{"post_id": post_id, "created_at": now} for post_id in post_ids]
        db.session.execute(sa.insert(Change.__table__), rows)
        _wake_after_commit()
    else:
        _forget()


def _forget() -> None:
    """Without the engine nothing is noted: if it is used again, it begins anew."""
    if current_app.extensions.get(f"{_KEY}.forgotten"):
        return
    if db.session.execute(sa.select(IndexState.id)).first() is None:
        current_app.extensions[f"{_KEY}.forgotten"] = True
        return
    db.session.execute(sa.delete(IndexState.__table__))
    db.session.execute(sa.delete(Change.__table__))


def is_current() -> bool:
    """Whether the engine's index has all posts, but for the last minute's."""
    found = engine()
    late = sa.select(sa.func.min(Change.created_at)).scalar_subquery()
    row = db.session.execute(sa.select(IndexState.which, IndexState.is_whole, late)).first()
    if found is None or row is None or row[0] != _which(found) or not row[1]:
        return False
    return row[2] is None or row[2] > utc_now() - _LATE


def begin_anew() -> None:
    """Let the engine's index be made afresh, by who sends next; who sends now stops."""
    db.session.rollback()
    with db.engine.begin() as connection:
        connection.execute(sa.update(IndexState.__table__).values(which="", filled_to=0, is_whole=False))


def catch_up() -> bool:
    """Send what there is to be sent, unless somebody else does.

    :return: whether the engine has it all.
    :raises Unavailable: it does not answer.
    """
    found = engine()
    assert found is not None  # noqa: S101 - else nobody calls this
    if not _lease():
        return False
    try:
        (state,) = _rows(sa.select(IndexState.which, IndexState.filled_to, IndexState.is_whole))
        if state.which == _which(found):
            goes_on = state.is_whole or _fill(found, state.filled_to)
        else:
            found.recreate()
            _save(which=_which(found), filled_to=0, is_whole=False)
            goes_on = _fill(found, 0)
        while goes_on and _send_changes(found):
            goes_on = _go_on(found)
    finally:
        # A whole second that is over: MySQL rounds, and would keep it for half a second more.
        _save(leased_until=_clock().replace(microsecond=0))
    return goes_on


def pending() -> int:
    """How many posts the engine has yet to be told about."""
    return int(db.session.execute(sa.select(sa.func.count()).select_from(Change)).scalar_one())


def settle() -> None:
    """Wait until what was to be sent is sent, or cannot be: for tests."""
    try:
        while not catch_up():
            time.sleep(0.05)
    except Unavailable:
        pass


def _which(found: Elasticsearch) -> str:
    return hashlib.sha256(f"1 {found.where}".encode()).hexdigest()


def _rows(query: Any) -> list[Any]:
    # Past the session of a request: this is a thread of its own, or a command.
    with db.engine.connect() as connection:
        return list(connection.execute(query).all())


def _clock() -> datetime:
    return shared_clock(db.engine.connect)


def _save(**values: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(sa.update(IndexState.__table__).values(values))


def _go_on(found: Elasticsearch, **values: Any) -> bool:
    """Note how far the index is, and hold the lease.

    :return: False if it is to be made afresh, or for another server, since.
    """
    table = IndexState.__table__
    row, now = sa.update(table).where(table.c.which == _which(found)), _clock()
    with db.engine.begin() as connection:
        done = connection.execute(row.values(leased_until=now + _LEASE, **values))
        return bool(done.rowcount)


def _lease() -> bool:
    """Whether this process is the one that sends, for a while."""
    table, now = IndexState.__table__, _clock()
    with db.engine.begin() as connection:
        free = sa.update(table).where(table.c.leased_until <= now).values(leased_until=now + _LEASE)
        if connection.execute(free).rowcount:
            return True
    new = {"id": 1, "which": "", "filled_to": 0, "is_whole": False, "leased_until": now + _LEASE}
    try:
        with db.engine.begin() as connection:
            connection.execute(sa.insert(table).values(new))
    except IntegrityError:
        return False
    return True


def _fill(found: Elasticsearch, filled_to: int) -> bool:
    """Send the posts that were there before, oldest first.

    :return: False if that is to begin anew.
    """
    from microblog.models.post import Post

    for rows in pieces(_rows, sa.select(Post.id), Post.id, bound=filled_to, size=CHUNK):
        _send(found, [row.id for row in rows])
        if not _go_on(found, filled_to=rows[-1].id):
            return False
    return _go_on(found, is_whole=True)


def _send_changes(found: Elasticsearch) -> bool:
    """Send some of the changes.

    :return: whether there were any.
    """
    changes = _rows(sa.select(Change.id, Change.post_id, Change.created_at).order_by(Change.id).limit(CHUNK))
    if changes:
        _send(found, sorted({change.post_id for change in changes}))
        sent = Change.id.in_([change.id for change in changes])
        # By their times, too: where another process has sent these meanwhile, for this one was asleep, SQLite
        # has given their numbers again.
        latest = max(change.created_at for change in changes)
        done = sa.delete(Change.__table__).where(sent, Change.created_at <= latest)
        with db.engine.begin() as connection:
            connection.execute(done)
    return bool(changes)


def _send(found: Elasticsearch, ids: list[int]) -> None:
    """Tell the engine what these posts are by now."""
    from microblog.models.post import PublicPost

    # Later than what another process has read before: the engine keeps the latest.
    version = (_clock() - datetime(1970, 1, 1)) // timedelta(milliseconds=1)
    query = sa.select(PublicPost.post_id, PublicPost.words).where(PublicPost.post_id.in_(ids))
    public = {row.post_id: row.words for row in _rows(query)}
    found.send([(number, public.get(number)) for number in ids], version)


def _wake_after_commit() -> None:
    db.session.info[_KEY] = True


@sa.event.listens_for(db.session, "after_commit")
def _wake(session: Any) -> None:
    if session.info.pop(_KEY, False) and (sender := current_app.extensions.get(f"{_KEY}.sender")):
        sender.start()
        sender.wake.set()


@sa.event.listens_for(db.session, "after_soft_rollback")
def _no_wake(session: Any, _previous: Any) -> None:
    session.info.pop(_KEY, None)


class _Sender:
    """The thread that sends. After a failure it tries again, and now and then looks for others' changes."""

    def __init__(self, app: Flask) -> None:
        # An application that is gone has nothing to send.
        self._app = weakref.ref(app)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._ended = False
        self.wake = threading.Event()

    def start(self) -> None:
        """Started by the process that uses it: a thread does not live through a fork, and a connection that
        it has open would be shared."""
        app = self._app()
        if app is None or self._ended or app.config.get("WARMING_UP"):
            return
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="elasticsearch", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Send nothing from now on; what is being sent is waited for: for tests, which share a database."""
        self._ended = True
        self.wake.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._ended and self._catch_up():
            self.wake.wait(REST)
            self.wake.clear()

    def _catch_up(self) -> bool:
        app = self._app()
        if app is None:
            return False
        with app.app_context():
            try:
                catch_up()
            except Unavailable as error:
                app.logger.warning("the search engine is told later: %s", error)
            except SQLAlchemyError as error:
                app.logger.warning("the search engine is told later: %s", type(error).__name__)
            except Exception:
                app.logger.exception("the search engine is told later")
        return True
