"""Posts: write and remove them, and pages of them."""

import re
from dataclasses import dataclass

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, utc_now
from microblog.models import feeds, indexing
from microblog.models.feeds import ID_MAX, PostRow
from microblog.models.paging import cut
from microblog.models.user import User

__all__ = ["ID_MAX", "POST_MAX", "Page", "Post", "PostRow"]

# In characters: emoji count as one, or as the few they are made of.
POST_MAX = 140

# SQLite counts rows up by itself only in a column that is exactly INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class Post(db.Model):  # type: ignore[name-defined, misc]
    """What somebody has written. A later post has a higher id: feeds are sorted by it."""

    __tablename__ = "posts"

    id = sa.Column(BigId, primary_key=True)
    author_id = sa.Column(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    body = sa.Column(sa.String(POST_MAX), nullable=False)
    created_at = sa.Column(sa.DateTime, nullable=False, default=utc_now)
    # Its ISO 639-1 code; None: not known.
    language = sa.Column(sa.String(8))

    # One author's posts in order, without sorting.
    __table_args__ = (sa.Index(None, author_id, id), TABLE_OPTIONS)

    def __repr__(self) -> str:
        return f"<Post {self.id}>"


def clean_body(text: str) -> str:
    """A post's text as it is stored: newlines as one character, no control characters, no gaps."""
    text = re.sub(r"\r\n?", "\n", text)
    text = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", text)
    return re.sub(r"\n\s*\n", "\n\n", text).strip()


def add_post(author: User, body: str, language: str | None = None) -> Post:
    """Write a post; the caller commits.

    :param body: as :func:`clean_body` gives it.
    :param language: its ISO 639-1 code, if it is known.
    """
    # The count first: the author's row is then locked as it has to be, not at first for the
    # foreign key alone, when two posts at once would wait for each other.
    _count(author.id, 1)
    post = Post(author_id=author.id, body=body, language=language)
    db.session.add(post)
    db.session.flush()
    indexing.added(post.id, author.id, body)
    return post


def delete_post(post: Post) -> bool:
    """Remove a post; the caller commits.

    :return: False if somebody had removed it already.
    """
    post_id, author_id = post.id, post.author_id
    if post in db.session:
        db.session.expunge(post)
    _lock(author_id)
    if not db.session.execute(sa.delete(Post.__table__).where(Post.id == post_id)).rowcount:
        return False
    _count(author_id, -1)
    indexing.removed(post_id)
    return True


def _lock(author_id: int) -> None:
    db.session.execute(sa.select(User.id).where(User.id == author_id).with_for_update())


def _count(author_id: int, change: int) -> None:
    users = User.__table__
    db.session.execute(
        sa.update(users).where(users.c.id == author_id).values(posts_count=users.c.posts_count + change)
    )
    author = db.session.identity_map.get(db.session.identity_key(User, author_id))
    if author is not None:
        db.session.expire(author, ["posts_count"])


def find_post(post_id: int) -> Post | None:
    """The post with this id."""
    return db.session.get(Post, post_id) if 0 < post_id <= ID_MAX else None


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


def home_page(user: User, before: int | None = None, after: int | None = None) -> Page:
    """What somebody reads at home: their own posts, and those of whom they follow."""
    return Page(*cut(lambda at: feeds.home(user.id, user.following_count, at), before, after, Page.SIZE))


def explore_page(before: int | None = None, after: int | None = None) -> Page:
    """What everybody writes."""
    return Page(*cut(feeds.everybody, before, after, Page.SIZE))


def profile_page(user: User, before: int | None = None, after: int | None = None) -> Page:
    """What one author writes."""
    return Page(*cut(lambda at: feeds.by(user.id, at), before, after, Page.SIZE))
