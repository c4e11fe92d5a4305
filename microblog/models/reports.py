"""What the moderators were asked to look at."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models.post import POST_MAX

COMMENT_MAX = 500


class Report(db.Model):  # type: ignore[name-defined, misc]
    """Somebody has asked the moderators to look at an account, or at a post of it."""

    __tablename__ = "reports"

    id = field(sa.Integer, primary_key=True)
    reporter_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="SET NULL"))
    subject_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    # The post's number, and what it said then: it may be gone. 0 and empty: the account as a whole.
    post_id = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    body = field(sa.String(POST_MAX), nullable=False, default="", server_default="")
    comment = field(sa.String(COMMENT_MAX), nullable=False, default="", server_default="")
    created_at = field(sa.DateTime, nullable=False, default=utc_now)
    # Whether it was looked at, and by whom.
    closed_at = field(sa.DateTime)
    closed_by_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="SET NULL"))

    __table_args__ = (
        sa.Index(None, closed_at, id),
        sa.Index(None, subject_id),
        sa.Index(None, reporter_id),
        sa.Index(None, closed_by_id),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )
