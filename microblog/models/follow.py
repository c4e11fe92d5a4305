"""Who follows whom."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, utc_now
from microblog.models.paging import Cut, cut
from microblog.models.user import User


class Follow(db.Model):  # type: ignore[name-defined, misc]
    """Somebody reads somebody's posts at home."""

    __tablename__ = "follows"

    follower_id = sa.Column(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    followed_id = sa.Column(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    created_at = sa.Column(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = (sa.Index(None, followed_id, follower_id), TABLE_OPTIONS)


class Person(NamedTuple):
    """Somebody in a list of people."""

    id: int
    username: str
    about: str


@dataclass(frozen=True)
class PeoplePage:
    """Part of a list of people, the latest accounts first.

    :ivar people: them.
    :ivar newer: the id after which the page before this one begins, if there is one.
    :ivar older: the id before which the next page begins, if there is one.
    """

    people: list[Person]
    newer: int | None = None
    older: int | None = None

    SIZE = 50


def follow(follower: User, followed: User) -> bool:
    """Let ``follower`` follow ``followed``; the caller commits. Nobody can follow themselves.

    :return: False if nothing changed.
    """
    if follower.id == followed.id or not _lock(follower.id, followed.id):
        return False
    row = {"follower_id": follower.id, "followed_id": followed.id, "created_at": utc_now()}
    # Two clicks at once are one follow.
    insert = (
        sa.insert(Follow).prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
    )
    if not db.session.execute(insert.values(row)).rowcount:
        return False
    _count(follower.id, followed.id, 1)
    return True


def unfollow(follower: User, followed: User) -> bool:
    """End that; the caller commits.

    :return: False if nothing changed.
    """
    _lock(follower.id, followed.id)
    delete = sa.delete(Follow).where(Follow.follower_id == follower.id, Follow.followed_id == followed.id)
    if not db.session.execute(delete.execution_options(synchronize_session=False)).rowcount:
        return False
    _count(follower.id, followed.id, -1)
    return True


def _lock(*ids: int) -> bool:
    """Lock these accounts' rows, always in the same order, so that nobody waits for each other.

    :return: whether all of them exist.
    """
    rows = sa.select(User.id).where(User.id.in_(ids)).order_by(User.id).with_for_update()
    return len(db.session.execute(rows).all()) == len(ids)


def _count(follower_id: int, followed_id: int, change: int) -> None:
    for user_id, column in ((follower_id, User.following_count), (followed_id, User.followers_count)):
        db.session.execute(
            sa.update(User)
            .where(User.id == user_id)
            .values({column: column + change})
            .execution_options(synchronize_session=False)
        )
    _expire(follower_id, followed_id)


def _expire(*ids: int) -> None:
    """Accounts already loaded learn of their new counts when asked."""
    for user_id in ids:
        user = db.session.identity_map.get(db.session.identity_key(User, user_id))
        if user is not None:
            db.session.expire(user, ["following_count", "followers_count"])


def is_following(follower_id: int, followed_id: int) -> bool:
    row = sa.select(Follow.follower_id).where(
        Follow.follower_id == follower_id, Follow.followed_id == followed_id
    )
    return db.session.execute(row).first() is not None


def followers_page(user: User, before: int | None = None, after: int | None = None) -> PeoplePage:
    """Who follows this account."""
    return _page(Follow.follower_id, Follow.followed_id == user.id, before, after)


def following_page(user: User, before: int | None = None, after: int | None = None) -> PeoplePage:
    """Whom this account follows."""
    return _page(Follow.followed_id, Follow.follower_id == user.id, before, after)


def _page(listed: Any, condition: Any, before: int | None, after: int | None) -> PeoplePage:
    query = sa.select(User.id, User.username, User.about).join(Follow, listed == User.id).where(condition)

    def fetch(at: Cut) -> list[Person]:
        rows = db.session.execute(at.apply(query, listed))
        return [Person(*row) for row in rows]

    return PeoplePage(*cut(fetch, before, after, PeoplePage.SIZE))
