"""To like a post, to keep it, to pass it on; and to take that back.

Each row is somebody's own, or one post's: who likes a post waits only for who likes the same one. What is
done costs so many statements, however many have done it before.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite

from microblog import units
from microblog.database import db, insert_new, reading, utc_now
from microblog.models import audience, barriers, latest, notifications
from microblog.models.feeds import Page, PostRow, posts
from microblog.models.marks import Bookmark, Like, PostCounts
from microblog.models.paging import LOOKED, Cut, cut, filled
from microblog.models.post import REPOST, Post, count_post, delete_post, find_post
from microblog.models.reader import Reader
from microblog.models.user import User, changed, lock_accounts

# Rows that are removed in one transaction.
CHUNK = 1000
# Reposts that a sweep looks at.
_SWEPT = 10_000


_COUNTS: Any = PostCounts.__table__
_LIKES: Any = Like.__table__
_BOOKMARKS: Any = Bookmark.__table__
_POSTS: Any = Post.__table__
_USERS: Any = User.__table__


def count(post_id: int, name: str, change: int) -> None:
    """Count an answer, a like or a repost of a post, or one less; the caller commits.

    :param name: the column of :class:`PostCounts`.
    """
    column = _COUNTS.c[name]
    if change < 0:
        mine = _COUNTS.c.post_id == post_id
        db.session.execute(sa.update(_COUNTS).where(mine).values({name: changed(column, change)}))
        return
    # Of a post that is gone meanwhile there is nothing to count.
    row = sa.select(_POSTS.c.id, sa.literal(change)).where(_POSTS.c.id == post_id)
    insert: Any
    if db.engine.dialect.name == "sqlite":
        insert = sqlite.insert(_COUNTS).from_select(["post_id", name], row, include_defaults=False)
        insert = insert.on_conflict_do_update(index_elements=["post_id"], set_={name: column + change})
    else:
        insert = mysql.insert(_COUNTS).from_select(["post_id", name], row, include_defaults=False)
        insert = insert.on_duplicate_key_update({name: column + change})
    db.session.execute(insert)


def _original(post: Post | PostRow) -> int:
    """What is done to a repost is done to what it passes on."""
    return int(post.repost_of_id or post.id)


def _author(post_id: int, reader_id: int) -> int | None:
    """Whose a post is, if it is to be seen by somebody who is active: neither blocks the other."""
    readers = _USERS.alias("r")
    query = (
        sa.select(_POSTS.c.author_id)
        .join_from(_POSTS, _USERS, _USERS.c.id == _POSTS.c.author_id)
        .where(_POSTS.c.id == post_id, _POSTS.c.repost_of_id.is_(None), _USERS.c.suspended_at.is_(None))
        .where(sa.exists().where(readers.c.id == reader_id, readers.c.suspended_at.is_(None)))
        .where(~barriers.unseen(reader_id, _USERS.c.id, muted=False))
    )
    author: int | None = db.session.execute(query).scalar()
    return author


def _keep(table: Any, reader_id: int, post_id: int) -> bool:
    row = {"user_id": reader_id, "post_id": post_id, "created_at": utc_now()}
    return bool(insert_new(db.session.connection(), table, [row]))


def _drop(table: Any, reader_id: int, post_id: int) -> bool:
    # A row that is not there is not looked for by a DELETE: that would keep others from making theirs.
    mine = sa.select(table.c.id).where(table.c.post_id == post_id, table.c.user_id == reader_id)
    number = db.session.execute(mine).scalar()
    return bool(number and db.session.execute(sa.delete(table).where(table.c.id == number)).rowcount)


def like(reader: Reader | User, post: Post | PostRow) -> bool:
    """Let somebody like a post; the caller commits.

    :return: False if nothing changed: they do already, or one of them, or the post, is no longer there.
    """
    post_id = _original(post)
    author = _author(post_id, reader.id)
    if author is None or not _keep(_LIKES, reader.id, post_id):
        return False
    count(post_id, "likes", 1)
    notifications.notify("like", reader.id, [author], post_id)
    return True


def unlike(reader: Reader | User, post: Post | PostRow) -> bool:
    """Take that back; likewise."""
    post_id = _original(post)
    if not _drop(_LIKES, reader.id, post_id):
        return False
    count(post_id, "likes", -1)
    _unsay("like", reader.id, post_id)
    return True


def bookmark(reader: Reader | User, post: Post | PostRow) -> bool:
    """Let somebody keep a post for later; likewise. Nobody is told."""
    post_id = _original(post)
    return _author(post_id, reader.id) is not None and _keep(_BOOKMARKS, reader.id, post_id)


def unbookmark(reader: Reader | User, post: Post | PostRow) -> bool:
    """Let them keep it no longer; likewise."""
    return _drop(_BOOKMARKS, reader.id, _original(post))


def repost(reader: Reader | User, post: Post | PostRow) -> bool:
    """Let somebody pass a post on to those who follow them; likewise."""
    post_id = _original(post)
    # One after the other: two clicks at once are one.
    if not lock_accounts(reader.id).get(reader.id):
        return False
    author = _author(post_id, reader.id)
    if author is None or repost_of(reader.id, post_id):
        return False
    count_post(reader.id, 1)
    values = {"author_id": reader.id, "body": REPOST, "created_at": utc_now(), "repost_of_id": post_id}
    connection = db.session.connection()
    # Past the model: a repost is found by no words.
    number = connection.execute(sa.insert(_POSTS).values(values)).inserted_primary_key[0]
    latest.note(connection, reader.id, number)
    count(post_id, "reposts", 1)
    notifications.notify("repost", reader.id, [author], post_id)
    return True


def unrepost(reader: Reader | User, post: Post | PostRow) -> bool:
    """Take that back; likewise."""
    number = repost_of(reader.id, _original(post))
    own = find_post(number) if number else None
    return own is not None and delete_post(own)


def repost_of(user_id: int, post_id: int) -> int | None:
    """The number of somebody's repost of a post."""
    query = sa.select(_POSTS.c.id).where(_POSTS.c.repost_of_id == post_id, _POSTS.c.author_id == user_id)
    number: int | None = db.session.execute(query).scalar()
    return number


def take_back_repost(author_id: int, post_id: int) -> None:
    """A repost of this post is gone; the caller commits."""
    count(post_id, "reposts", -1)
    _unsay("repost", author_id, post_id)


def _unsay(kind: str, reader_id: int, post_id: int) -> None:
    author = db.session.execute(sa.select(_POSTS.c.author_id).where(_POSTS.c.id == post_id)).scalar()
    if author is not None:
        notifications.withdraw(kind, reader_id, author, post_id)


def liked_page(user_id: int, before: int | None = None, after: int | None = None) -> Page:
    """What somebody likes, last liked first. The page is cut by the numbers of likes, not of posts."""
    return _kept_page(_LIKES, user_id, before, after)


def bookmarks_page(user_id: int, before: int | None = None, after: int | None = None) -> Page:
    """What somebody keeps, last kept first; likewise."""
    return _kept_page(_BOOKMARKS, user_id, before, after)


def _kept_page(table: Any, user_id: int, before: int | None, after: int | None) -> Page:
    rows, newer, older = cut(_kept_by(table, user_id), before, after, Page.SIZE)
    return Page([row.post for row in rows], newer, older)


class Kept(NamedTuple):
    """A post that somebody likes or keeps. :ivar id: the like's number, by which the list is cut."""

    id: int
    post: PostRow


def liked_by(user_id: int) -> Callable[[Cut], list[Kept]]:
    """What somebody likes, next to a cut."""
    return _kept_by(_LIKES, user_id)


def kept_by(user_id: int) -> Callable[[Cut], list[Kept]]:
    """What somebody keeps, likewise."""
    return _kept_by(_BOOKMARKS, user_id)


def _kept_by(table: Any, user_id: int) -> Callable[[Cut], list[Kept]]:
    query = (
        sa.select(table.c.id, table.c.post_id)
        .join_from(table, _POSTS, _POSTS.c.id == table.c.post_id)
        .join(_USERS, _USERS.c.id == _POSTS.c.author_id)
        .where(table.c.user_id == user_id, _USERS.c.suspended_at.is_(None))
    )

    def fetch(at: Cut) -> list[Any]:
        with reading() as connection:
            return list(connection.execute(at.apply(query, table.c.id)).all())

    def seen(rows: list[Any]) -> list[Kept]:
        found = {post.id: post for post in posts([row.post_id for row in rows])}
        return [Kept(row.id, found[row.post_id]) for row in rows if row.post_id in found]

    return lambda at: filled(fetch, seen, at, LOOKED)


class Who(NamedTuple):
    """Who likes a post, or passes it on. :ivar id: the number by which the list is cut."""

    id: int
    user_id: int


def likers(post_id: int) -> Callable[[Cut], list[Who]]:
    query = sa.select(_LIKES.c.id, _LIKES.c.user_id).where(_LIKES.c.post_id == post_id)
    # MySQL would read all of a post's from another index, which holds what is asked for, and sort them.
    query = query.with_hint(_LIKES, "FORCE INDEX (ix_liked_posts_post_id_id)", "mysql")
    return _who(query, _LIKES.c.id, _LIKES.c.user_id)


def reposters(post_id: int) -> Callable[[Cut], list[Who]]:
    """By their accounts' numbers, by which the index has them."""
    author = _POSTS.c.author_id
    query = sa.select(author.label("id"), author.label("user_id")).where(_POSTS.c.repost_of_id == post_id)
    return _who(query, author, author)


def _who(query: Any, number: Any, user_id: Any) -> Callable[[Cut], list[Who]]:
    query = query.join(_USERS, _USERS.c.id == user_id).where(_USERS.c.suspended_at.is_(None))
    # In the order of the list, which is where its index begins: not all accounts, and then a sort.
    query = audience.listed(query.prefix_with("STRAIGHT_JOIN", dialect="mysql"), user_id)

    def fetch(at: Cut) -> list[Who]:
        with reading() as connection:
            return [Who._make(row) for row in connection.execute(at.apply(query, number))]

    return fetch


def clear(post_ids: list[int]) -> bool:
    """Remove some of the likes, bookmarks and reposts of posts that are to be removed; the caller commits.

    :return: whether there may be more.
    """
    for table in (_LIKES, _BOOKMARKS):
        query = sa.select(table.c.id).where(table.c.post_id.in_(post_ids)).limit(CHUNK)
        if numbers := sorted(db.session.execute(query).scalars()):
            db.session.execute(sa.delete(table).where(table.c.id.in_(numbers)))
        if len(numbers) == CHUNK:
            return True
    query = sa.select(_POSTS.c.id, _POSTS.c.author_id).where(_POSTS.c.repost_of_id.in_(post_ids)).limit(CHUNK)
    found = db.session.execute(query).all()
    if found:
        authors = sorted({row.author_id for row in found})
        active = lock_accounts(*authors)
        numbers = sorted(row.id for row in found)
        for author_id in authors:
            count_post(author_id, -sum(row.author_id == author_id for row in found))
        db.session.execute(sa.delete(_POSTS).where(_POSTS.c.id.in_(numbers)))
        for author_id in latest.noted(numbers):
            if active.get(author_id):
                latest.renew(author_id)
    return len(found) == CHUNK


def clear_first(post_id: int) -> None:
    """Before a post is removed that many like or have passed on: most of that, in transactions of its own,
    before anything else is written.

    Nothing is done to one that few do: that is removed with it.
    """
    query = sa.select(_COUNTS.c.likes + _COUNTS.c.reposts).where(_COUNTS.c.post_id == post_id)
    with reading() as connection:
        many = (connection.execute(query).scalar() or 0) > CHUNK
    while many:
        many = units.run(partial(_cleared, post_id), twice=True)


def _cleared(*post_ids: int) -> bool:
    # Whatever is left of one that failed: within another unit, nobody else undoes it.
    db.session.rollback()
    more = clear(list(post_ids))
    db.session.commit()
    return more


def sweep() -> None:
    """Remove reposts of posts that are gone: of one that was passed on just when it was removed, or by a
    version that knows nothing of reposts. Nobody sees them meanwhile.

    Some are looked at each time, from any place on: all of them would be too many.
    """
    with db.engine.connect() as connection:
        last = connection.execute(sa.select(sa.func.max(_POSTS.c.repost_of_id))).scalar() or 0
        start = random.randint(0, max(0, int(last) - 1))  # noqa: S311 - chance, no secret
        some = (
            sa.select(_POSTS.c.id, _POSTS.c.repost_of_id)
            .where(_POSTS.c.repost_of_id > start)
            .order_by(_POSTS.c.repost_of_id)
            .limit(_SWEPT)
            .subquery("s")
        )
        originals = _POSTS.alias("o")
        lost = (
            sa.select(some.c.repost_of_id)
            .select_from(some.outerjoin(originals, originals.c.id == some.c.repost_of_id))
            .where(originals.c.id.is_(None))
            .distinct()
        )
        numbers = sorted(connection.execute(lost).scalars())
    more = bool(numbers)
    while more:
        more = units.run(partial(_cleared, *numbers), twice=True)


def leave(user_id: int) -> bool:
    """Remove some of what somebody likes and keeps, whose account is to be removed; the caller commits.

    :return: whether there may be more.
    """
    query = sa.select(_LIKES.c.id, _LIKES.c.post_id).where(_LIKES.c.user_id == user_id).limit(CHUNK)
    liked = db.session.execute(query).all()
    if liked:
        posts = _COUNTS.c.post_id.in_(sorted(row.post_id for row in liked))
        db.session.execute(sa.update(_COUNTS).where(posts).values(likes=changed(_COUNTS.c.likes, -1)))
        db.session.execute(sa.delete(_LIKES).where(_LIKES.c.id.in_(sorted(row.id for row in liked))))
    kept = sa.select(_BOOKMARKS.c.id).where(_BOOKMARKS.c.user_id == user_id).limit(CHUNK)
    if numbers := sorted(db.session.execute(kept).scalars()):
        db.session.execute(sa.delete(_BOOKMARKS).where(_BOOKMARKS.c.id.in_(numbers)))
    return CHUNK in (len(liked), len(numbers))
