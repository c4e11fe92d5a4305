"""Feeds of posts, newest first, at a cost that does not depend on how many posts there are.

A statement gives the numbers of a page's posts, in one row; says in which order the tables are read (see
:mod:`microblog.models.hints`); and is made once. The posts themselves are never changed, and the same for
everybody: each process keeps some.
"""

import heapq
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import current_app

from microblog.database import reading
from microblog.models.follow import Follow
from microblog.models.hints import ByNumber, InOrder
from microblog.models.paging import ID_MAX, Cut, cut
from microblog.models.post import Post, PublicPost
from microblog.models.reader import Reader
from microblog.models.user import User

# A home feed looks through this many of the latest posts. Who follows one author in a hundred
# finds a page among them; who finds less than a page has few authors worth asking one by one.
WINDOW = 2_000
# Up to this many authors are asked one by one at once: that is cheaper than to look through posts.
FEW_AUTHORS = 12
# Posts that each process keeps, of some 700 bytes each.
KEPT = 2048
_KEY = "microblog.posts"


class PostRow(NamedTuple):
    """A post to show: light, and nothing that the database would be asked for again.

    :ivar created_at: in UTC, without a zone.
    :ivar language: its ISO 639-1 code, if it is known.
    """

    id: int
    body: str
    created_at: datetime
    language: str | None
    author_id: int
    username: str


@dataclass(frozen=True)
class Page:
    """Part of a feed, newest first.

    :ivar posts: its posts.
    :ivar newer: the id after which the next newer page begins, if there is one.
    :ivar older: the id before which the next older page begins, if there is one.
    """

    posts: list[PostRow]
    newer: int | None = None
    older: int | None = None

    SIZE = 20


def home_page(user: Reader | User, before: int | None = None, after: int | None = None) -> Page:
    """What somebody reads at home: their own posts, and those of whom they follow."""
    return Page(*cut(lambda at: _home(user.id, user.following_count, at), before, after, Page.SIZE))


def explore_page(before: int | None = None, after: int | None = None) -> Page:
    """What everybody writes, less the suspended."""
    return Page(*cut(lambda at: read(_everybody(at.newer), at), before, after, Page.SIZE))


def profile_page(author_id: int, before: int | None = None, after: int | None = None) -> Page:
    """What one author writes."""
    return Page(*cut(lambda at: read(_by(at.newer), at, author=author_id), before, after, Page.SIZE))


def posts(ids: list[int], newer: bool = False) -> list[PostRow]:
    """The posts with these ids that are to be seen, in the order of their ids."""
    return read(_numbered(newer), Cut(None, newer, len(ids)), ids=ids) if ids else []


def _texts(ids: list[int]) -> list[PostRow]:
    """Posts that were just seen to be there, in this order."""
    kept: dict[int, PostRow] = current_app.extensions.setdefault(_KEY, {})
    # Each is asked for once: another thread may be making room.
    found = {number: post for number in ids if (post := kept.get(number))}
    if missing := [number for number in ids if number not in found]:
        with reading() as connection:
            rows = connection.execute(_rows(), {"ids": missing}).all()
        for row in rows:
            found[row.id] = kept[row.id] = PostRow._make(row)
        if len(kept) > KEPT:
            for number in list(kept)[: -KEPT // 2]:
                kept.pop(number, None)
    # Another visitor may have deleted a post since.
    return [found[number] for number in ids if number in found]


@sa.event.listens_for(Post, "after_update")
def _forget(_mapper: Any, _connection: Any, post: Post) -> None:
    current_app.extensions.get(_KEY, {}).pop(post.id, None)


# The tables by the names that a feed's statement has for them.
PUBLIC = PublicPost.__table__.alias("w")
POSTS = Post.__table__.alias("p")
AUTHORS = User.__table__.alias("u")
_FOLLOWS = Follow.__table__.alias("f")
# SQLAlchemy makes an alias's columns when they are first asked for. A thread that asks meanwhile finds none.
for _table in (PUBLIC, POSTS, AUTHORS, _FOLLOWS):
    _table.c.keys()
_WRITTEN = POSTS.c.author_id == AUTHORS.c.id
SEEN = AUTHORS.c.suspended_at.is_(None)


def with_authors(first: Any) -> InOrder:
    """Posts, or what is joined to them, and then their authors."""
    return InOrder(first, AUTHORS, _WRITTEN)


def read(query: Any, at: Cut, **values: Any) -> list[PostRow]:
    """The posts of a statement that :func:`page` made."""
    bound = at.bound if at.bound is not None else (0 if at.newer else ID_MAX)
    values = {**values, "bound": bound, "limit": at.limit}
    with reading() as connection:
        numbers = connection.execute(query, values).scalar_one()
    return _texts(sorted(map(int, numbers.split(",")), reverse=not at.newer)) if numbers else []


def page(query: Any, number: Any, newer: bool) -> Any:
    """The numbers next to :bound, as many as :limit, of what ``query`` selects from, in one text."""
    found = _part(query, number, newer).subquery("page")
    return sa.select(sa.func.group_concat(found.c.id, type_=sa.String))


def _part(query: Any, number: Any, newer: bool) -> Any:
    query = query.with_only_columns(number.label("id"))
    bound, limit = sa.bindparam("bound", type_=sa.BigInteger), sa.bindparam("limit", type_=sa.Integer)
    if newer:
        return query.where(number > bound).order_by(number).limit(limit)
    return query.where(number < bound).order_by(number.desc()).limit(limit)


def within(number: Any, newest: Any, at: Cut) -> Any:
    """The condition that a post is in the window that :func:`window_end` ends.

    :param newest: a statement that gives the newest post's number.
    """
    end = sa.bindparam("end", type_=sa.BigInteger)
    if at.newer:
        return number <= end
    return number > newest.scalar_subquery() - end if at.bound is None else number >= end


def window_end(at: Cut, size: int) -> int:
    """Where a window of so many posts ends that begins at a cut; without one, its size. Never past what
    a database can count to."""
    if at.bound is None:
        return size
    return min(at.bound + size, ID_MAX) if at.newer else at.bound - size


def kind(at: Cut) -> Cut:
    """A cut as far as its statement goes: the bound is 0, or there is none."""
    return Cut(None if at.bound is None else 0, at.newer, 0)


@cache
def _rows() -> Any:
    columns = (POSTS.c.id, POSTS.c.body, POSTS.c.created_at, POSTS.c.language, POSTS.c.author_id)
    query = sa.select(*columns, AUTHORS.c.username).select_from(ByNumber(POSTS, AUTHORS, _WRITTEN))
    return query.where(POSTS.c.id.in_(sa.bindparam("ids", expanding=True)))


@cache
def _everybody(newer: bool) -> Any:
    # Of everybody's posts, those that are to be found alone are looked at: thousands of a suspended
    # account's would else be passed by, one by one, for each reader.
    first = with_authors(ByNumber(PUBLIC, POSTS, POSTS.c.id == PUBLIC.c.post_id))
    return page(sa.select(POSTS.c.id).select_from(first).where(SEEN), PUBLIC.c.post_id, newer)


@cache
def _by(newer: bool) -> Any:
    return page(_of(sa.bindparam("author", type_=sa.Integer)), POSTS.c.id, newer)


def _of(author: Any) -> Any:
    """What one author wrote, to be read by the index that has it in order."""
    hint = "FORCE INDEX (ix_posts_author_id_id)"
    return sa.select(POSTS.c.id).where(POSTS.c.author_id == author).with_hint(POSTS, hint, "mysql")


@cache
def _numbered(newer: bool) -> Any:
    query = sa.select(POSTS.c.id).select_from(ByNumber(POSTS, AUTHORS, _WRITTEN))
    return page(query.where(SEEN, POSTS.c.id.in_(sa.bindparam("ids", expanding=True))), POSTS.c.id, newer)


def _home(reader_id: int, following: int, at: Cut) -> list[PostRow]:
    """:param following: how many the reader follows."""
    if following > FEW_AUTHORS:
        rows = read(_recent(kind(at)), at, reader=reader_id, end=window_end(at, WINDOW))
        if len(rows) == at.limit:
            return rows
    return _merged(reader_id, at)


@cache
def _recent(at: Cut) -> Any:
    """From the posts next to the cut: is the author followed? Most of the time a page is soon full."""
    reader = sa.bindparam("reader", type_=sa.Integer)
    follows = sa.exists().where(_FOLLOWS.c.follower_id == reader, _FOLLOWS.c.followed_id == POSTS.c.author_id)
    query = sa.select(POSTS.c.id).select_from(ByNumber(POSTS, AUTHORS, _WRITTEN))
    query = query.where(SEEN, sa.or_(POSTS.c.author_id == reader, follows))
    return page(query.where(within(POSTS.c.id, sa.select(sa.func.max(Post.id)), at)), POSTS.c.id, at.newer)


def _merged(reader_id: int, at: Cut) -> list[PostRow]:
    """From the authors: each one's posts next to the cut, by an index, and of these the first ones."""
    values = {"bound": at.bound if at.bound is not None else (0 if at.newer else ID_MAX), "limit": at.limit}
    # Only those whose posts next to the cut are the nearest can have a post on the page.
    with reading() as connection:
        nearest = connection.execute(_nearest_authors(at.newer), {**values, "reader": reader_id}).scalars()
        authors = {f"author{place}": author for place, author in enumerate([reader_id, *nearest])}
        next_ones = connection.execute(_next_of_each(len(authors), at.newer), {**values, **authors})
        found: list[int] = next_ones.scalars().all()
    first = heapq.nsmallest if at.newer else heapq.nlargest
    return posts(first(at.limit, found), at.newer)


@cache
def _nearest_authors(newer: bool) -> Any:
    """Whom a reader follows, by their posts next to a cut: a look into an index for each."""
    nearest = (sa.func.min if newer else sa.func.max)(POSTS.c.id)
    bound = sa.bindparam("bound", type_=sa.BigInteger)
    side = POSTS.c.id > bound if newer else POSTS.c.id < bound
    post = sa.select(nearest).where(POSTS.c.author_id == _FOLLOWS.c.followed_id, side).scalar_subquery()
    followed = (
        sa.select(_FOLLOWS.c.followed_id.label("author"), post.label("post"))
        .where(_FOLLOWS.c.follower_id == sa.bindparam("reader", type_=sa.Integer))
        .subquery("t")
    )
    query = sa.select(followed.c.author).join_from(followed, AUTHORS, AUTHORS.c.id == followed.c.author)
    order = followed.c.post if newer else followed.c.post.desc()
    limit = sa.bindparam("limit", type_=sa.Integer)
    return query.where(followed.c.post.is_not(None), SEEN).order_by(order).limit(limit)


@cache
def _next_of_each(count: int, newer: bool) -> Any:
    """The posts next to a cut of each of so many authors."""
    parts = []
    for place in range(count):
        author = sa.bindparam(f"author{place}", type_=sa.Integer)
        # Within one of its own: SQLite sorts and cuts only all parts together.
        parts.append(sa.select(_part(_of(author), POSTS.c.id, newer).subquery().c.id))
    return sa.union_all(*parts)
