"""People as programs see them: some accounts at once, in one statement."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import reading
from microblog.models import audience
from microblog.models.latest import LatestPost
from microblog.models.paging import ID_MAX, Cut
from microblog.models.post import Post
from microblog.models.preferences import Preferences, last_seen
from microblog.models.user import User


class PersonRow(NamedTuple):
    """An active account.

    :ivar last_seen: in UTC, without a zone; None: never, or it is not for others to see.
    :ivar last_post_at: likewise; None: there is no post.
    """

    id: int
    username: str
    about: str
    created_at: datetime
    last_seen: datetime | None
    posts_count: int
    followers_count: int
    following_count: int
    is_admin: bool
    last_post_at: datetime | None


def people(ids: Iterable[int]) -> dict[int, PersonRow]:
    """Those of these accounts that are there and active."""
    wanted = sorted({number for number in ids if 0 < number <= ID_MAX})
    if not wanted:
        return {}
    with reading() as connection:
        rows = connection.execute(_some(), {"ids": wanted}).all()
    return {row.id: PersonRow._make(row) for row in rows}


def person(number: int) -> PersonRow | None:
    """The account with this number."""
    return people([number]).get(number)


def person_named(name: str) -> PersonRow | None:
    """The account with this name."""
    with reading() as connection:
        row = connection.execute(_query().where(User.name_key == name.lower())).first()
    return PersonRow._make(row) if row else None


def everybody(at: Cut, skipped: int = 0) -> list[PersonRow]:
    """All active accounts next to a cut, less those whom this reader does not see.

    :param skipped: as many are passed by.
    """
    query = audience.listed(_query(), User.id)
    with reading() as connection:
        rows = connection.execute(at.apply(query, User.id).offset(skipped)).all()
    return [PersonRow._make(row) for row in rows]


def named_like(start: str, most: int) -> list[PersonRow]:
    """Likewise those whose name begins so, in order.

    By a range, not by LIKE: that is what the unique index answers on every database.
    """
    key = start.lower()
    query = _query().where(User.name_key.between(key, key + "\U0010ffff")).order_by(User.name_key)
    with reading() as connection:
        rows = connection.execute(audience.listed(query, User.id).limit(most)).all()
    return [PersonRow._make(row) for row in rows]


def authors_of(posts: Iterable[int]) -> dict[int, int]:
    """Whose these posts are: of those that are there, and by who is active, the accounts' numbers."""
    wanted = sorted(set(posts))
    if not wanted:
        return {}
    with reading() as connection:
        query = sa.select(Post.id, Post.author_id).join(User, User.id == Post.author_id)
        rows = connection.execute(query.where(Post.id.in_(wanted), User.suspended_at.is_(None)))
        return dict(tuple(row) for row in rows)


@cache
def _some() -> Any:
    return _query().where(User.id.in_(sa.bindparam("ids", expanding=True)))


def _query() -> Any:
    users: Any = User.__table__
    says = (users.c.id, users.c.username, users.c.about, users.c.created_at, last_seen(users))
    counts = (users.c.posts_count, users.c.followers_count, users.c.following_count)
    joined = (
        users.outerjoin(Preferences.__table__, Preferences.user_id == users.c.id)
        .outerjoin(LatestPost.__table__, LatestPost.author_id == users.c.id)
        .outerjoin(Post.__table__, Post.id == LatestPost.post_id)
    )
    query = sa.select(*says, *counts, users.c.is_admin, Post.created_at.label("last_post_at"))
    return query.select_from(joined).where(users.c.suspended_at.is_(None))
