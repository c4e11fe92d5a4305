"""Who follows whom."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, reading, utc_now
from microblog.models import notifications
from microblog.models.paging import Cut, cut
from microblog.models.reader import Reader
from microblog.models.user import User, changed, lock_accounts


class Follow(db.Model):  # type: ignore[name-defined, misc]
    """Somebody reads somebody's posts at home."""

    __tablename__ = "follows"

    follower_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    followed_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    # Both lists of people in order, without sorting.
    __table_args__ = (
        sa.Index(None, followed_id, created_at, follower_id),
        sa.Index(None, follower_id, created_at, followed_id),
        TABLE_OPTIONS,
    )


class Person(NamedTuple):
    """Somebody in a list of people.

    :ivar id: their place in it.
    """

    id: int
    username: str
    about: str

    @property
    def user_id(self) -> int:
        return self.id % _IDS


@dataclass(frozen=True)
class PeoplePage:
    """Part of a list of people, who follows or is followed since last first.

    :ivar people: them.
    :ivar newer: the place after which the page before this one begins, if there is one.
    :ivar older: the place before which the next page begins, if there is one.
    """

    people: list[Person]
    newer: int | None = None
    older: int | None = None

    SIZE = 50


def follow(follower: Reader | User, followed: User) -> bool:
    """Let ``follower`` follow ``followed``; the caller commits. Nobody can follow themselves, who is
    suspended, or with whom there is a block.

    :return: False if nothing changed.
    """
    active = lock_accounts(follower.id, followed.id)
    if follower.id == followed.id or len(active) < 2 or not active[followed.id]:
        return False
    if _are_apart(follower.id, followed.id):
        return False
    row = {"follower_id": follower.id, "followed_id": followed.id, "created_at": utc_now()}
    # Two clicks at once are one follow.
    insert = (
        sa.insert(Follow).prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
    )
    if not db.session.execute(insert.values(row)).rowcount:
        return False
    _count(follower.id, followed.id, 1, active, row["created_at"])
    notifications.notify("follow", follower.id, [followed.id])
    return True


def _are_apart(follower_id: int, followed_id: int) -> bool:
    from microblog.models.barriers import between

    return between(follower_id, followed_id).apart


def unfollow(follower: Reader | User, followed: Reader | User) -> bool:
    """End that; the caller commits.

    :return: False if nothing changed.
    """
    active = lock_accounts(follower.id, followed.id)
    this = (Follow.follower_id == follower.id, Follow.followed_id == followed.id)
    since = db.session.execute(sa.select(Follow.created_at).where(*this)).scalar()
    delete = sa.delete(Follow).where(*this)
    if not db.session.execute(delete.execution_options(synchronize_session=False)).rowcount:
        return False
    _count(follower.id, followed.id, -1, active, since)
    notifications.withdraw("follow", follower.id, followed.id)
    return True


def _count(follower_id: int, followed_id: int, change: int, active: dict[int, bool], since: Any) -> None:
    """Only those count who are active: the suspended are in nobody's lists."""
    for user_id, other_id, column in (
        (follower_id, followed_id, User.following_count),
        (followed_id, follower_id, User.followers_count),
    ):
        if active[other_id] or _still_counts(other_id, _place(since, user_id)):
            db.session.execute(
                sa.update(User)
                .where(User.id == user_id)
                .values({column: changed(column, change)})
                .execution_options(synchronize_session=False)
            )
    _expire(follower_id, followed_id)


def _still_counts(user_id: int, place: int) -> bool:
    """Whether an account that is on its way out, or in, counts with somebody at this place of its lists."""
    from microblog.models.unfinished import Unfinished

    query = sa.select(Unfinished.uncounted_to).where(Unfinished.user_id == user_id)
    uncounted_to = db.session.execute(query).scalar()
    return uncounted_to is not None and place > uncounted_to


def count_piece(user_id: int, change: int, uncounted_to: int | None, most: int) -> tuple[int | None, bool]:
    """Let an account, that is locked, count with some more of those who follow it and whom it follows, or no
    longer; the caller commits.

    :param change: 1 or -1.
    :param uncounted_to: it counts with those past this place of its lists; None: with nobody.
    :param most: of either list.
    :return: that place by now, and whether there may be more to do.
    """
    users, newer = User.__table__, change < 0
    bound = uncounted_to if newer or uncounted_to is None else uncounted_to + 1
    lists: list[tuple[Any, dict[int, int]]] = []
    ends = []
    for mine, other, column in (
        (Follow.follower_id, Follow.followed_id, users.c.followers_count),
        (Follow.followed_id, Follow.follower_id, users.c.following_count),
    ):
        query = sa.select(other.label("id"), Follow.created_at).where(mine == user_id)
        found = db.session.execute(_next_to(query, other, Cut(bound, newer, most)))
        places = {row.id: _place(row.created_at, row.id) for row in found}
        if len(places) == most:
            ends.append(list(places.values())[-1])
        lists.append((column, places))
    # Both lists to the same place.
    end = (min(ends) if newer else max(ends)) if ends else None
    for column, places in lists:
        ids = [
            number
            for number, place in places.items()
            if end is None or (place <= end if newer else place >= end)
        ]
        if ids:
            count = sa.update(users).where(users.c.id.in_(sorted(ids)))
            db.session.execute(count.values({column: changed(column, change)}))
    db.session.expire_all()
    if end is None:
        return (None if newer else 0), False
    return (end if newer else end - 1), True


def _expire(*ids: int) -> None:
    """Accounts already loaded learn of their new counts when asked."""
    for user_id in ids:
        user = db.session.identity_map.get(db.session.identity_key(User, user_id))
        if user is not None:
            db.session.expire(user, ["following_count", "followers_count"])


def among(user_id: int, ids: list[int]) -> tuple[set[int], set[int]]:
    """Whom of some people somebody follows, and who of them follows them."""
    follows = Follow.__table__
    mine = sa.select(follows.c.followed_id).where(
        follows.c.follower_id == user_id, follows.c.followed_id.in_(ids)
    )
    theirs = sa.select(follows.c.follower_id).where(
        follows.c.followed_id == user_id, follows.c.follower_id.in_(ids)
    )
    with reading() as connection:
        return set(connection.execute(mine).scalars()), set(connection.execute(theirs).scalars())


def followers_page(user: User, before: int | None = None, after: int | None = None) -> PeoplePage:
    """Who follows this account, of those whom who reads may see."""
    return PeoplePage(*cut(followers_of(user.id), before, after, PeoplePage.SIZE))


def following_page(user: User, before: int | None = None, after: int | None = None) -> PeoplePage:
    """Whom this account follows; likewise."""
    return PeoplePage(*cut(followed_by(user.id), before, after, PeoplePage.SIZE))


def followers_of(user_id: int) -> Callable[[Cut], list[Person]]:
    """Who follows this account, next to a cut."""
    return _people(Follow.follower_id, Follow.followed_id == user_id)


def followed_by(user_id: int) -> Callable[[Cut], list[Person]]:
    """Whom this account follows, likewise."""
    return _people(Follow.followed_id, Follow.follower_id == user_id)


def _people(listed: Any, condition: Any) -> Callable[[Cut], list[Person]]:
    # That knows who keeps whom away, which ends who follows whom.
    from microblog.models import audience

    query = (
        sa.select(User.id, User.username, User.about, Follow.created_at)
        .join(Follow, listed == User.id)
        .where(condition, User.suspended_at.is_(None))
    )
    query = audience.listed(query, listed)

    def fetch(at: Cut) -> list[Person]:
        rows = db.session.execute(_next_to(query, listed, at))
        return [Person(_place(row.created_at, row.id), row.username, row.about) for row in rows]

    return fetch


def _next_to(query: Any, listed: Any, at: Cut) -> Any:
    """A list of people, cut at a place."""
    if at.bound is not None:
        time, number = _moment(at.bound)
        since, then = Follow.created_at, listed
        past = (
            sa.or_(since > time, sa.and_(since == time, then > number))
            if at.newer
            else sa.or_(since < time, sa.and_(since == time, then < number))
        )
        # The first half is implied, and all that an index can be searched by.
        query = query.where(since >= time if at.newer else since <= time, past)
    order = [Follow.created_at, listed] if at.newer else [Follow.created_at.desc(), listed.desc()]
    return query.order_by(*order).limit(at.limit)


# A place in a list of people: when it began, in seconds since then, and whose it is. Together they are a
# number like others that pages are cut by, for some 130 years.
_BEGINNING = datetime(2020, 1, 1)
_IDS = 2**31


def _place(since: datetime, user_id: int) -> int:
    return max(0, int((since - _BEGINNING).total_seconds())) * _IDS + user_id


def _moment(place: int) -> tuple[datetime, int]:
    seconds, user_id = divmod(place, _IDS)
    return _BEGINNING + timedelta(seconds=seconds), user_id
