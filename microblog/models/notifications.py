"""What somebody is to know of."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models.post import BigId


class Notification(db.Model):  # type: ignore[name-defined, misc]
    """Something that somebody is to know of. A later one has a higher id."""

    __tablename__ = "notifications"

    id = field(BigId, primary_key=True)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    # follow, reply, mention, like, repost, message
    kind = field(sa.String(16), nullable=False)
    actor_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    # Of a post that may be gone; 0: of none. Not null, so that one is unique.
    post_id = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = (
        sa.UniqueConstraint(user_id, kind, actor_id, post_id),
        sa.Index(None, user_id, id),
        sa.Index(None, actor_id),
        sa.Index(None, post_id),
        sa.Index(None, created_at),
        TABLE_OPTIONS,
    )
