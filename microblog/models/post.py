"""Posts, and pages of them."""

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import joinedload, relationship

from microblog.database import TABLE_OPTIONS, db, utc_now
from microblog.models.user import User

# In characters: emoji count as one, or as the few they are made of.
POST_MAX = 140

# SQLite counts rows up by itself only in a column that is exactly INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ID_MAX = 2**63 - 1


class Post(db.Model):  # type: ignore[name-defined, misc]
    """What somebody has written. A later post has a higher id: feeds are sorted by it."""

    __tablename__ = "posts"

    id = sa.Column(BigId, primary_key=True)
    author_id = sa.Column(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    body = sa.Column(sa.String(POST_MAX), nullable=False)
    created_at = sa.Column(sa.DateTime, nullable=False, default=utc_now)

    author = relationship(User)

    # One author's posts in order, without sorting.
    __table_args__ = (sa.Index(None, author_id, id), TABLE_OPTIONS)

    def __repr__(self) -> str:
        return f"<Post {self.id}>"


def clean_body(text: str) -> str:
    """A post's text as it is stored: newlines as one character, no control characters, no gaps."""
    text = re.sub(r"\r\n?", "\n", text)
    text = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", text)
    return re.sub(r"\n\s*\n", "\n\n", text).strip()


@dataclass(frozen=True)
class Page:
    """Part of a feed, newest first.

    :ivar posts: its posts.
    :ivar newer: the id after which the next newer page begins, if there is one.
    :ivar older: the id before which the next older page begins, if there is one.
    """

    posts: list[Post]
    newer: int | None = None
    older: int | None = None

    SIZE = 20


def home_page(user: User, before: int | None = None, after: int | None = None) -> Page:
    """What somebody reads at home."""
    return _page(sa.select(Post).where(Post.author_id == user.id), before, after)


def explore_page(before: int | None = None, after: int | None = None) -> Page:
    """What everybody writes."""
    return _page(sa.select(Post), before, after)


def _page(query: Any, before: int | None, after: int | None) -> Page:
    """The page before or after a post's id, or the newest.

    By the id and not by counting from the top: a page deep down costs what the first one
    does, and does not shift while others write.
    """
    query = query.options(joinedload(Post.author, innerjoin=True))
    if after is not None:
        found = _fetch(query.where(Post.id > after).order_by(Post.id))
        if len(found) > Page.SIZE:
            posts = found[: Page.SIZE][::-1]
            return Page(posts, newer=posts[0].id, older=posts[-1].id)
        # The top is reached: show it full, not the few that are newer.
        before = None
    if before is not None:
        query = query.where(Post.id < before)
    found = _fetch(query.order_by(Post.id.desc()))
    posts = found[: Page.SIZE]
    return Page(
        posts,
        newer=posts[0].id if posts and before is not None else None,
        older=posts[-1].id if len(found) > Page.SIZE else None,
    )


def _fetch(query: Any) -> list[Post]:
    # One more than is shown tells whether there is another page.
    return list(db.session.execute(query.limit(Page.SIZE + 1)).scalars())
