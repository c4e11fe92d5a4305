"""Hashtags, and the posts that have them."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, insert_new, reading
from microblog.models import feeds, markup
from microblog.models.feeds import Page, PostRow
from microblog.models.hints import ByTag
from microblog.models.markup import TAG_MAX
from microblog.models.paging import Cut
from microblog.models.post import BigId


class Tag(db.Model):  # type: ignore[name-defined, misc]
    """A hashtag. ``name`` is as it is found: normalised, in lower case, without its #."""

    __tablename__ = "tags"
    __table_args__ = TABLE_OPTIONS

    id = field(sa.Integer, primary_key=True)
    name = field(sa.String(TAG_MAX), nullable=False, unique=True)


class PostTag(db.Model):  # type: ignore[name-defined, misc]
    """A post that is to be found by a tag: as with public posts, none of suspended accounts."""

    __tablename__ = "post_tags"

    tag_id = field(
        sa.Integer, sa.ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    post_id = field(
        BigId, sa.ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )

    __table_args__ = (sa.Index(None, post_id), TABLE_OPTIONS)


_TAGS: Any = Tag.__table__
_POST_TAGS: Any = PostTag.__table__


def note(posts: Iterable[tuple[int, str]]) -> None:
    """Let posts be found by the tags in their texts; the caller commits.

    :param posts: pairs of a number and a text, of posts that are found by no tag.
    """
    found = {number: markup.tags(text) for number, text in posts}
    names = sorted({name for tags in found.values() for name in tags})
    if not names:
        return
    connection = db.session.connection()
    known = sa.select(_TAGS.c.name, _TAGS.c.id).where(_TAGS.c.name.in_(names))
    ids: dict[str, int] = {row.name: row.id for row in connection.execute(known)}
    if new := [{"name": name} for name in names if name not in ids]:
        # In one order, so that nobody waits for each other; and somebody else may have made one meanwhile,
        # which a transaction that has read before sees only by asking for what is there now.
        insert_new(connection, _TAGS, new)
        ids = {row.name: row.id for row in connection.execute(known.with_for_update(read=True))}
    rows = [{"tag_id": ids[name], "post_id": number} for number in sorted(found) for name in found[number]]
    insert_new(connection, _POST_TAGS, rows)


def forget(numbers: Iterable[int]) -> None:
    """Let nobody find these posts by their tags; the caller commits."""
    mine = _POST_TAGS.c.post_id.in_(list(numbers))
    # A row that is not there is not looked for by a DELETE: that would keep others from making theirs.
    if db.session.execute(sa.select(_POST_TAGS.c.post_id).where(mine).limit(1)).first():
        db.session.execute(sa.delete(_POST_TAGS).where(mine))


_TAGGED = _POST_TAGS.alias("t")
# SQLAlchemy makes an alias's columns when they are first asked for. A thread that asks meanwhile finds none.
_TAGGED.c.keys()


def tag_page(name: str, before: int | None = None, after: int | None = None) -> Page:
    """What has a tag, newest first.

    :param name: as :func:`markup.tag_key` gives it.
    """
    with reading() as connection:
        number = connection.execute(_number(), {"name": name}).scalar()
    if number is None:
        return Page([])
    return feeds.feed(lambda at: feeds.read(_tagged(at.newer), at, tag=number), before, after)


def tagged(name: str) -> Callable[[Cut], list[PostRow]]:
    """Likewise, next to a cut."""
    with reading() as connection:
        number = connection.execute(_number(), {"name": name}).scalar()

    def find(at: Cut) -> list[feeds.Found]:
        return feeds.read(_tagged(at.newer), at, tag=number)

    return lambda at: feeds.shown(find, at) if number is not None else []


@cache
def _number() -> Any:
    return sa.select(_TAGS.c.id).where(_TAGS.c.name == sa.bindparam("name", type_=sa.String))


@cache
def _tagged(newer: bool) -> Any:
    first = feeds.with_authors(ByTag(_TAGGED, feeds.POSTS, feeds.POSTS.c.id == _TAGGED.c.post_id))
    query = sa.select(feeds.POSTS.c.id).select_from(first)
    query = query.where(feeds.SEEN, _TAGGED.c.tag_id == sa.bindparam("tag", type_=sa.Integer))
    return feeds.page(query, _TAGGED.c.post_id, newer)
