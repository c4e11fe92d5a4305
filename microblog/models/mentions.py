"""Whom a post names."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field
from microblog.models.post import BigId


class Mention(db.Model):  # type: ignore[name-defined, misc]
    """A post names somebody."""

    __tablename__ = "mentions"

    post_id = field(
        BigId, sa.ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    user_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )

    __table_args__ = (sa.Index(None, user_id, post_id), TABLE_OPTIONS)
