"""What a profile says of somebody, and the newest part of what they wrote: one statement for both."""

from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.models import ahead, feeds
from microblog.models.ahead import Question
from microblog.models.follow import Follow
from microblog.models.preferences import Preferences, last_seen
from microblog.models.texts import NO, Joined, yes
from microblog.models.user import User


class Profile(NamedTuple):
    """What others see of an account, and what they may do.

    :ivar created_at: in UTC, without a zone.
    :ivar last_seen: likewise; None: never, or it is not for others to see.
    :ivar suspended_at: likewise; None: it is not.
    :ivar is_followed: by who reads.
    """

    id: int
    username: str
    created_at: datetime
    last_seen: datetime | None
    suspended_at: datetime | None
    posts_count: int
    followers_count: int
    following_count: int
    is_followed: bool
    about: str


def profile_first(reader_id: int, name: str) -> Question:
    """What a profile's newest page asks first, before it is known that this is who reads."""
    return feeds.question(_profile(True), feeds.TOP, reader_id, key=name.lower())


def find_profile(name: str, reader_id: int, newest: bool = False) -> Profile | None:
    """What is said of the account with this name, if there is one.

    :param newest: whether the newest page of its feed will be asked for, too.
    """
    key = name.lower()
    asked = (
        profile_first(reader_id, key) if newest else Question(_profile(False), {"key": key, "me": reader_id})
    )
    text = ahead.answer(asked)
    if text is None:
        return None
    found, _, said = text.partition("\n")
    if newest:
        ahead.note(feeds.profile_first(reader_id, key), found)
    return _parse(said)


def _parse(text: str) -> Profile:
    # What somebody says of themselves may have any sign in it, and is the last.
    number, username, created, seen, suspended, *counts, is_followed, about = text.split("|", 9)
    posts, followers, following = map(int, counts)
    moments = datetime.fromisoformat(created), _moment(seen), _moment(suspended)
    return Profile(int(number), username, *moments, posts, followers, following, bool(is_followed), about)


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@cache
def _profile(newest: bool) -> Any:
    """One text: a line with the newest part of the feed, if that is wanted, and then the profile."""
    users, follows, chosen = User.__table__, Follow.__table__, Preferences.__table__
    me: Any = sa.bindparam("me", type_=sa.Integer)
    theirs = sa.and_(follows.c.followed_id == users.c.id, follows.c.follower_id == me)
    moments = (
        users.c.created_at,
        *(sa.func.coalesce(at, NO) for at in (last_seen(users), users.c.suspended_at)),
    )
    counts = (users.c.posts_count, users.c.followers_count, users.c.following_count)
    is_followed = yes(follows.c.followed_id.is_not(None))
    said = Joined("'|'", users.c.id, users.c.username, *moments, *counts, is_followed, users.c.about)
    feed = feeds.named(False).correlate(None).scalar_subquery() if newest else None
    there = users.outerjoin(follows, theirs).outerjoin(chosen, chosen.c.user_id == users.c.id)
    text = Joined("'\n'", NO if feed is None else sa.func.coalesce(feed, NO), said)
    key: Any = sa.bindparam("key", type_=sa.String)
    return sa.select(text).select_from(there).where(users.c.name_key == key)
