"""What edited posts said before."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field
from microblog.models.post import POST_MAX, BigId


class PostVersion(db.Model):  # type: ignore[name-defined, misc]
    """What an edited post said before."""

    __tablename__ = "post_versions"

    id = field(BigId, primary_key=True)
    post_id = field(BigId, sa.ForeignKey("posts.id", ondelete="CASCADE"), nullable=False)
    body = field(sa.String(POST_MAX), nullable=False)
    language = field(sa.String(8))
    # When it was written, not when it was replaced.
    created_at = field(sa.DateTime, nullable=False)

    __table_args__ = (sa.Index(None, post_id, id), TABLE_OPTIONS)
