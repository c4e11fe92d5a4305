"""What concerns an account as a whole: presence, export, the end."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from microblog.database import db
from microblog.models.feeds import ID_MAX
from microblog.models.follow import Follow
from microblog.models.post import Post
from microblog.models.user import User

# Who was seen less long ago is not noted again.
SEEN_AGAIN = timedelta(minutes=1)
_EXPORT_CHUNK = 500


def touch(user_id: int, now: datetime) -> None:
    """Note that somebody was here, at most once a minute. In a transaction of its own.

    :param now: the time in UTC, without a zone.
    """
    users = User.__table__
    stale = sa.or_(users.c.last_seen.is_(None), users.c.last_seen <= now - SEEN_AGAIN)
    with db.engine.begin() as connection:
        connection.execute(sa.update(users).where(users.c.id == user_id, stale).values(last_seen=now))


def delete_account(user: User) -> None:
    """Remove an account with its posts and follows, and correct others' counts; the caller commits."""
    users, follows = User.__table__, Follow.__table__
    user_id = user.id
    db.session.expunge(user)
    # Locked at once and in order: those whose counts change, and the account itself, so that
    # nobody begins to follow it meanwhile.
    mine = sa.select(follows.c.followed_id).where(follows.c.follower_id == user_id)
    others = sa.select(follows.c.follower_id).where(follows.c.followed_id == user_id)
    db.session.execute(sa.select(users.c.id).where(users.c.id == user_id).with_for_update())
    for ids, column in ((mine, users.c.followers_count), (others, users.c.following_count)):
        changed = sorted(db.session.execute(ids).scalars())
        for start in range(0, len(changed), _EXPORT_CHUNK):
            db.session.execute(
                sa.update(users)
                .where(users.c.id.in_(changed[start : start + _EXPORT_CHUNK]))
                .values({column: column - 1})
            )
    # Posts and follows go with it (ON DELETE CASCADE).
    db.session.execute(sa.delete(users).where(users.c.id == user_id))
    db.session.expire_all()


def export_account(user: User) -> Iterator[tuple[str, Any]]:
    """All that is stored about somebody, as pairs of a name and a value for JSON, or an iterator of such.

    Read in pieces: an account may hold any number of posts.
    """
    yield (
        "account",
        {
            "username": user.username,
            "email": user.email,
            "about": user.about,
            "locale": user.locale,
            "created_at": _time(user.created_at),
            "last_seen": _time(user.last_seen),
        },
    )
    yield "posts", _posts(user.id)
    yield "following", _names(Follow.followed_id, Follow.follower_id, user.id)
    yield "followers", _names(Follow.follower_id, Follow.followed_id, user.id)


def _time(moment: datetime | None) -> str | None:
    return f"{moment.isoformat()}Z" if moment else None


def _posts(user_id: int) -> Iterator[dict[str, Any]]:
    query = sa.select(Post.id, Post.body, Post.created_at, Post.language).where(Post.author_id == user_id)
    for row in _pieces(query, Post.id):
        yield {
            "id": row.id,
            "body": row.body,
            "created_at": _time(row.created_at),
            "language": row.language,
        }


def _names(listed: Any, by: Any, user_id: int) -> Iterator[dict[str, Any]]:
    query = (
        sa.select(User.id, User.username, Follow.created_at)
        .join(Follow, listed == User.id)
        .where(by == user_id)
    )
    for row in _pieces(query, listed):
        yield {"username": row.username, "since": _time(row.created_at)}


def _pieces(query: Any, column: Any) -> Iterator[Any]:
    bound = ID_MAX
    while rows := db.session.execute(
        query.where(column < bound).order_by(column.desc()).limit(_EXPORT_CHUNK)
    ).all():
        yield from rows
        bound = rows[-1].id
