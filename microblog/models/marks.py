"""What there is to say of a post besides its text: how often it was liked, answered and passed on, and
whether its reader did so."""

from functools import cache, lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, reading, utc_now
from microblog.models.post import BigId, Post
from microblog.models.texts import NO, Joined, constant, yes


class PostCounts(db.Model):  # type: ignore[name-defined, misc]
    """How often a post was answered, liked, and passed on. No row: never.

    By whoever has an account, suspended or not.
    """

    __tablename__ = "post_counts"
    __table_args__ = TABLE_OPTIONS

    post_id = field(
        BigId, sa.ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    replies = field(sa.Integer, nullable=False, default=0, server_default=sa.text("0"))
    likes = field(sa.Integer, nullable=False, default=0, server_default=sa.text("0"))
    reposts = field(sa.Integer, nullable=False, default=0, server_default=sa.text("0"))


class Like(db.Model):  # type: ignore[name-defined, misc]
    """Somebody likes a post. A later one has a higher id: lists are cut by it."""

    __tablename__ = "liked_posts"

    id = field(BigId, primary_key=True)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    post_id = field(BigId, sa.ForeignKey("posts.id", ondelete="CASCADE"), nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = (
        sa.UniqueConstraint(post_id, user_id),
        sa.Index(None, user_id, id),
        sa.Index(None, post_id, id),
        TABLE_OPTIONS,
    )


class Bookmark(db.Model):  # type: ignore[name-defined, misc]
    """Somebody keeps a post for later. It is shown to nobody else."""

    __tablename__ = "bookmarks"

    id = field(BigId, primary_key=True)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    post_id = field(BigId, sa.ForeignKey("posts.id", ondelete="CASCADE"), nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = (sa.UniqueConstraint(post_id, user_id), sa.Index(None, user_id, id), TABLE_OPTIONS)


_POSTS: Any = Post.__table__
_COUNTS: Any = PostCounts.__table__.alias("c")
_LIKES: Any = Like.__table__.alias("k")
_OWN: Any = Post.__table__.alias("r")
_BOOKMARKS: Any = Bookmark.__table__.alias("b")
# Made at once: see feeds.py.
for _table in (_COUNTS, _LIKES, _OWN, _BOOKMARKS):
    _table.c.keys()


class Marks(NamedTuple):
    """What there is to say of a post besides its text, to one reader.

    :ivar replies: how many answers it has; ``likes`` and ``reposts`` likewise.
    :ivar liked: whether the reader likes it; ``reposted`` and ``bookmarked`` likewise.
    """

    replies: int = 0
    likes: int = 0
    reposts: int = 0
    liked: bool = False
    reposted: bool = False
    bookmarked: bool = False


NO_MARKS = Marks()


def marks(reader_id: int, post_ids: list[int]) -> dict[int, Marks]:
    """What there is to say of these posts, in one statement; those of which there is nothing are left out."""
    if not post_ids:
        return {}
    with reading() as connection:
        rows = connection.execute(_marks(), {"me": reader_id, "ids": post_ids}).all()
    return {number: parse(text) for number, text in rows}


@cache
def _marks() -> Any:
    """Made once, so that SQLAlchemy knows it again without looking."""
    tables, text = joined(_POSTS, _POSTS.c.id)
    query = sa.select(_POSTS.c.id, text).select_from(tables)
    return query.where(_POSTS.c.id.in_(sa.bindparam("ids", expanding=True)), text != NO)


def joined(tables: Any, number: Any) -> tuple[Any, Any]:
    """A part of a statement about posts: the tables to select from, and what there is to say to the reader
    ``:me``, as a text for :func:`parse`.

    :param tables: from what it selects.
    :param number: of the post.
    """
    me: Any = sa.bindparam("me", type_=sa.Integer)
    # Who likes or passes on a post has counted: of one without a count, that is not looked up.
    tables = sa.outerjoin(tables, _COUNTS, _COUNTS.c.post_id == number)
    own = sa.and_(_OWN.c.repost_of_id == _COUNTS.c.post_id, _OWN.c.author_id == me)
    tables = sa.outerjoin(
        tables, _LIKES, sa.and_(_LIKES.c.post_id == _COUNTS.c.post_id, _LIKES.c.user_id == me)
    )
    tables = sa.outerjoin(tables, _OWN, own)
    kept = sa.and_(_BOOKMARKS.c.post_id == number, _BOOKMARKS.c.user_id == me)
    tables = sa.outerjoin(tables, _BOOKMARKS, kept)
    counts = [sa.func.coalesce(_COUNTS.c[name], constant("0")) for name in ("replies", "likes", "reposts")]
    own_acts = [yes(table.c.id.is_not(None)) for table in (_LIKES, _OWN, _BOOKMARKS)]
    some = sa.or_(_COUNTS.c.post_id.is_not(None), _BOOKMARKS.c.id.is_not(None))
    return tables, sa.case((some, Joined("'/'", *counts, *own_acts)), else_=NO)


@lru_cache(maxsize=2048)
def parse(text: str) -> Marks:
    """What :func:`joined` says. Most posts of which there is something have little, and the same."""
    if not text:
        return NO_MARKS
    replies, likes, reposts, *own = text.split("/")
    return Marks(int(replies), int(likes), int(reposts), *map(bool, own))
