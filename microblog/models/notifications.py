"""What somebody is to know of."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, shared_now, utc_now, utc_text
from microblog.models import barriers, preferences
from microblog.models.paging import Cut, cut, filled, pieces
from microblog.models.post import BigId, Post
from microblog.models.preferences import Preferences
from microblog.models.user import User

# Each of them can be switched off.
KINDS = ("follow", "reply", "mention", "like", "repost", "message")
# So many of somebody's are kept, for so long.
KEPT, _AGE = 1000, timedelta(days=90)
# Rows that are removed in one transaction; notifications in which a sweep looks for who has many, and how
# many of those.
_CHUNK, _SWEPT, _LOOKED_AT = 500, 10_000, 500
# More than so many that are unread are not counted.
MANY = 100


class Notification(db.Model):  # type: ignore[name-defined, misc]
    """Something that somebody is to know of. A later one has a higher id."""

    __tablename__ = "notifications"

    id = field(BigId, primary_key=True)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    # follow, reply, mention, like, repost, message
    kind = field(sa.String(16), nullable=False)
    actor_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    # Of a post that may be gone; 0: of none. Not null, so that one is unique.
    post_id = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = (
        sa.UniqueConstraint(user_id, kind, actor_id, post_id),
        sa.Index(None, user_id, id),
        sa.Index(None, actor_id),
        sa.Index(None, post_id),
        sa.Index(None, created_at),
        # A number is never given again: up to which somebody has seen them is kept by one.
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )


_NOTIFICATIONS: Any = Notification.__table__


def notify(kind: str, actor_id: int, user_ids: Collection[int], post_id: int = 0) -> None:
    """Let some people know what somebody did; the caller commits. Two statements, whatever their number.

    Nobody hears of what they did themselves, of a kind that they have silenced, of whom they do not see, or
    who does not see them; nor of who is suspended, nor twice of one thing. To be called last in what is
    done: it waits for nobody who reads, but for who changes one of these accounts.

    :param kind: one of ``KINDS``.
    :param post_id: the post that it is about; 0: none.
    """
    others = set(user_ids) - {actor_id}
    if not others:
        return
    rows = [
        {
            "user_id": user_id,
            "kind": kind,
            "actor_id": actor_id,
            "post_id": post_id,
            "created_at": utc_now(),
        }
        for user_id, silent in db.session.execute(_listening(actor_id, others))
        if kind not in (silent or "").split(",")
    ]
    if rows:
        # Two clicks at once are one; and who is gone since they were looked up hears of nothing.
        insert = sa.insert(_NOTIFICATIONS).prefix_with("OR IGNORE", dialect="sqlite")
        db.session.execute(insert.prefix_with("IGNORE", dialect="mysql"), rows)


def _listening(actor_id: int, user_ids: Collection[int]) -> Any:
    """Those who may hear of this one, and the kinds that they have silenced.

    Looked up first, not in the INSERT itself: MySQL would lock all that it reads there, and the gaps.
    """
    users: Any = User.__table__
    silent: Any = Preferences.__table__
    actor = sa.select(users.c.id).where(users.c.id == actor_id, users.c.suspended_at.is_(None))
    return (
        sa.select(users.c.id, silent.c.silent)
        .select_from(users.outerjoin(silent, silent.c.user_id == users.c.id))
        .where(users.c.id.in_(sorted(user_ids)), users.c.suspended_at.is_(None))
        .where(actor.exists(), ~barriers.unseen(users.c.id, actor_id))
        .order_by(users.c.id)
    )


def withdraw(kind: str, actor_id: int, user_id: int, post_id: int = 0) -> None:
    """Take that back: it is no longer so; the caller commits."""
    table = _NOTIFICATIONS
    db.session.execute(
        sa.delete(table).where(
            table.c.user_id == user_id,
            table.c.kind == kind,
            table.c.actor_id == actor_id,
            table.c.post_id == post_id,
        )
    )


class NotificationRow(NamedTuple):
    """A notification to show.

    :ivar name: who did it.
    :ivar body: of the post that it is about; None: it is about none.
    """

    id: int
    kind: str
    post_id: int
    created_at: datetime
    name: str
    body: str | None


@dataclass(frozen=True)
class NotificationPage:
    """Part of somebody's notifications, newest first.

    :ivar newer: the number after which the page before this one begins, if there is one.
    :ivar older: the number before which the next page begins, if there is one.
    """

    rows: list[NotificationRow]
    newer: int | None = None
    older: int | None = None

    SIZE = 50


def page(user_id: int, before: int | None = None, after: int | None = None) -> NotificationPage:
    """What somebody is to know of, less what is about a post that is gone, or of who is suspended, or not for
    them to be seen."""

    def fetch(at: Cut) -> list[Any]:
        return list(db.session.execute(at.apply(_shown(), Notification.id), {"user": user_id}))

    def keep(rows: list[Any]) -> list[NotificationRow]:
        return [NotificationRow._make(row[:-1]) for row in _seen(rows)]

    return NotificationPage(*cut(lambda at: filled(fetch, keep, at), before, after, NotificationPage.SIZE))


def _seen(rows: list[Any]) -> list[Any]:
    """Less those of whom this reader sees nothing: who did something just when that began."""
    # That knows barriers, which take notifications back.
    from microblog.models import audience

    hidden = audience.unseen({row.actor_id for row in rows})
    return [row for row in rows if row.actor_id not in hidden]


class Told(NamedTuple):
    """A notification as programs are told of it."""

    id: int
    kind: str
    actor_id: int
    post_id: int
    created_at: datetime


def told(user_id: int, kinds: Collection[str], number: int | None = None) -> Callable[[Cut], list[Told]]:
    """What somebody is to know of, of these kinds, next to a cut.

    :param number: that of one alone.
    """
    table, posts, actors = _NOTIFICATIONS, Post.__table__, User.__table__
    joined = table.join(actors, actors.c.id == table.c.actor_id).outerjoin(
        posts, posts.c.id == table.c.post_id
    )
    query = (
        sa.select(table.c.id, table.c.kind, table.c.actor_id, table.c.post_id, table.c.created_at)
        .select_from(joined)
        .where(table.c.user_id == user_id, actors.c.suspended_at.is_(None))
        .where(sa.or_(table.c.post_id == 0, posts.c.id.is_not(None)))
        .where(table.c.kind.in_(sorted(kinds)))
    )
    if number is not None:
        query = query.where(table.c.id == number)

    def fetch(at: Cut) -> list[Told]:
        return [Told._make(row) for row in db.session.execute(at.apply(query, table.c.id))]

    return lambda at: filled(fetch, _seen, at)


def dismiss(user_id: int, number: int | None = None) -> bool:
    """Let somebody be told of one, or of all, no more; the caller commits. :return: whether there was one."""
    table = _NOTIFICATIONS
    query = sa.delete(table).where(table.c.user_id == user_id)
    if number is not None:
        query = query.where(table.c.id == number)
    return bool(db.session.execute(query).rowcount)


@cache
def _shown() -> Any:
    table, posts, actors = _NOTIFICATIONS, Post.__table__, User.__table__
    return (
        sa.select(
            *(table.c.id, table.c.kind, table.c.post_id, table.c.created_at),
            *(actors.c.username, posts.c.body, table.c.actor_id),
        )
        .select_from(
            table.join(actors, actors.c.id == table.c.actor_id).outerjoin(
                posts, posts.c.id == table.c.post_id
            )
        )
        .where(table.c.user_id == sa.bindparam("user"), actors.c.suspended_at.is_(None))
        .where(sa.or_(table.c.post_id == 0, posts.c.id.is_not(None)))
    )


def has_unread(user: Any) -> Any:
    """The condition that there may be something that somebody has not seen: a look into an index."""
    table = _NOTIFICATIONS
    return sa.exists().where(table.c.user_id == user, table.c.id > _read_to(user), table.c.kind != "message")


def _read_to(user: Any) -> Any:
    chosen = Preferences.__table__
    return sa.func.coalesce(sa.select(chosen.c.read_to).where(chosen.c.user_id == user).scalar_subquery(), 0)


def unread(user: Any) -> Any:
    """A part of a statement: how much somebody has not seen, up to ``MANY``; of messages, their own pages say
    so. Whatever has happened, it looks at no more than that.

    :param user: their number in that statement.
    """
    table, posts, actors = _NOTIFICATIONS, Post.__table__, User.__table__
    latest = (
        sa.select(table.c.actor_id, table.c.post_id)
        .where(table.c.user_id == user, table.c.id > _read_to(user))
        .where(table.c.kind != "message")
        .order_by(table.c.id.desc())
        .limit(MANY)
        .subquery("latest")
    )
    actor, about = actors.alias("actor"), posts.alias("about")
    shown = latest.join(actor, actor.c.id == latest.c.actor_id).outerjoin(
        about, about.c.id == latest.c.post_id
    )
    return (
        sa.select(sa.func.count())
        .select_from(shown)
        .where(actor.c.suspended_at.is_(None))
        .where(sa.or_(latest.c.post_id == 0, about.c.id.is_not(None)))
        .scalar_subquery()
    )


def seen(user_id: int, number: int) -> None:
    """Somebody has seen all up to this one; the caller commits."""
    preferences.change(user_id, read_to=number)


def forget(user_id: int, actor_id: int) -> None:
    """Let somebody no longer see what they were told of whom they keep away; the caller commits."""
    table = _NOTIFICATIONS
    db.session.execute(sa.delete(table).where(table.c.user_id == user_id, table.c.actor_id == actor_id))


def of(user_id: int) -> Iterator[dict[str, Any]]:
    """All that somebody was to know of, for their export: newest first."""
    names = ("id", "kind", "post_id", "created_at")
    query = sa.select(*(_NOTIFICATIONS.c[name] for name in names), User.username)
    query = query.join(User, User.id == _NOTIFICATIONS.c.actor_id).where(_NOTIFICATIONS.c.user_id == user_id)
    fetch = lambda part: db.session.execute(part).all()  # noqa: E731
    for rows in pieces(fetch, query, _NOTIFICATIONS.c.id, newer=False):
        for row in rows:
            yield {
                "kind": row.kind,
                "by": row.username,
                "post": row.post_id or None,
                "created_at": utc_text(row.created_at),
            }


def remove_piece(user_id: int, most: int) -> bool:
    """Remove some of what an account that goes was told, and others of it; the caller commits.

    :return: whether there may be more.
    """
    for column in (_NOTIFICATIONS.c.user_id, _NOTIFICATIONS.c.actor_id):
        if _remove(sa.select(_NOTIFICATIONS.c.id).where(column == user_id), most):
            return True
    return False


def forget_posts(post_ids: Collection[int], most: int) -> bool:
    """Remove some of what is about posts that go; the rest, that nobody sees, goes with time; likewise."""
    return _remove(sa.select(_NOTIFICATIONS.c.id).where(_NOTIFICATIONS.c.post_id.in_(post_ids)), most)


def _remove(query: Any, most: int) -> bool:
    numbers = sorted(db.session.execute(query.limit(most)).scalars())
    if numbers:
        db.session.execute(sa.delete(_NOTIFICATIONS).where(_NOTIFICATIONS.c.id.in_(numbers)))
    return len(numbers) == most


def sweep() -> None:
    """Forget what is old, and of whom many things are told, all but the latest: some at a time."""
    table = _NOTIFICATIONS
    old = sa.select(table.c.id).where(table.c.created_at <= shared_now() - _AGE)
    _remove_all(old)
    latest = sa.select(table.c.user_id).order_by(table.c.id.desc()).limit(_SWEPT).subquery("latest")
    told = sa.select(latest.c.user_id).group_by(latest.c.user_id).order_by(sa.func.count().desc())
    with db.engine.connect() as connection:
        user_ids = list(connection.execute(told.limit(_LOOKED_AT)).scalars())
    for user_id in user_ids:
        theirs = sa.select(table.c.id).where(table.c.user_id == user_id)
        with db.engine.connect() as connection:
            last = connection.execute(theirs.order_by(table.c.id.desc()).offset(KEPT).limit(1)).scalar()
        if last is not None:
            _remove_all(theirs.where(table.c.id <= last))


def _remove_all(query: Any) -> None:
    while True:
        with db.engine.begin() as connection:
            numbers = sorted(connection.execute(query.limit(_CHUNK)).scalars())
            if numbers:
                connection.execute(sa.delete(_NOTIFICATIONS).where(_NOTIFICATIONS.c.id.in_(numbers)))
        if len(numbers) < _CHUNK:
            return
