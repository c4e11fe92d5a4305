"""Hashtags, and the posts that have them."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field
from microblog.models.post import BigId

# A tag's, in characters, as it is stored.
TAG_MAX = 64


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
