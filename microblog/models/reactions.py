"""Likes, bookmarks, and how often a post was liked, answered and passed on.

Each row is somebody's own, or one post's: who likes a post waits only for who likes the same one.
"""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models.post import BigId


class PostCounts(db.Model):  # type: ignore[name-defined, misc]
    """How often a post was answered, liked, and passed on. No row: never."""

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

    __tablename__ = "likes"

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
