"""Who is mailed what they have not read: those who want it, once a day at most."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import db, shared_now
from microblog.models.notifications import Notification
from microblog.models.post import Post
from microblog.models.preferences import Preferences
from microblog.models.user import User

EVERY = timedelta(days=1)
# Notifications of one mail that are looked at.
_MOST = 1000

_CHOSEN: Any = Preferences.__table__
_USERS: Any = User.__table__
_NOTIFICATIONS: Any = Notification.__table__


class Digest(NamedTuple):
    """What somebody has not read.

    :ivar since: when the account was made.
    :ivar counts: how many there are of each kind.
    :ivar last: the number of the last one.
    """

    user_id: int
    username: str
    email: str
    locale: str | None
    since: datetime
    counts: dict[str, int]
    last: int


def due(most: int) -> list[int]:
    """Some of those whose turn it is: the accounts' numbers, who has waited longest first."""
    query = sa.select(_CHOSEN.c.user_id).where(_CHOSEN.c.by_mail.is_(True), _is_due())
    with db.engine.connect() as connection:
        return list(connection.execute(query.order_by(_CHOSEN.c.mailed_at).limit(most)).scalars())


def _is_due() -> Any:
    return sa.or_(_CHOSEN.c.mailed_at.is_(None), _CHOSEN.c.mailed_at <= shared_now() - EVERY)


def take(user_id: int) -> Digest | None:
    """Have the right to mail somebody, for a day: no other process has it, of no machine. It commits.

    :return: what they have not read; None if that is nothing, if another one has mailed them, or if nobody
        is to be.
    """
    this = sa.and_(_CHOSEN.c.user_id == user_id, _CHOSEN.c.by_mail.is_(True), _is_due())
    taken = sa.update(_CHOSEN).where(this).values(mailed_at=shared_now())
    with db.engine.begin() as connection:
        if not connection.execute(taken).rowcount:
            return None
        columns = (_USERS.c.username, _USERS.c.email, _USERS.c.locale, _USERS.c.created_at)
        seen = (_CHOSEN.c.read_to, _CHOSEN.c.mailed_to)
        whom = (
            sa.select(*columns, *seen)
            .join(_CHOSEN, _CHOSEN.c.user_id == _USERS.c.id)
            # An address that nobody proved to have may be somebody else's.
            .where(
                _USERS.c.id == user_id, _USERS.c.suspended_at.is_(None), _USERS.c.email_confirmed.is_(True)
            )
        )
        row = connection.execute(whom).first()
        if row is None:
            return None
        news = connection.execute(_unread(user_id, max(row.read_to, row.mailed_to))).all()
    if not news:
        return None
    counts: dict[str, int] = {}
    for _number, kind in news:
        counts[kind] = counts.get(kind, 0) + 1
    return Digest(
        user_id, row.username, row.email, row.locale, row.created_at, counts=counts, last=news[0].id
    )


def _unread(user_id: int, seen: int) -> Any:
    table, posts = _NOTIFICATIONS, Post.__table__
    return (
        sa.select(table.c.id, table.c.kind)
        .select_from(
            table.join(_USERS, _USERS.c.id == table.c.actor_id).outerjoin(
                posts, posts.c.id == table.c.post_id
            )
        )
        .where(table.c.user_id == user_id, table.c.id > seen, _USERS.c.suspended_at.is_(None))
        .where(sa.or_(table.c.post_id == 0, posts.c.id.is_not(None)))
        .order_by(table.c.id.desc())
        .limit(_MOST)
    )


def done(digest: Digest) -> None:
    """Somebody was mailed. Until then it is in the next mail, too. It commits."""
    this = sa.update(_CHOSEN).where(_CHOSEN.c.user_id == digest.user_id)
    with db.engine.begin() as connection:
        connection.execute(this.values(mailed_to=digest.last))
