"""What moderators did."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models.user import USERNAME_MAX

NOTE_MAX = 500


class ModerationAct(db.Model):  # type: ignore[name-defined, misc]
    """Something that a moderator did. By names, not by numbers: it outlives whom it is about."""

    __tablename__ = "moderation_acts"

    id = field(sa.Integer, primary_key=True)
    moderator = field(sa.String(USERNAME_MAX), nullable=False)
    # suspend, unsuspend, delete post, delete account, close report, promote, demote, ...
    act = field(sa.String(32), nullable=False)
    subject = field(sa.String(USERNAME_MAX), nullable=False, default="", server_default="")
    # The post's number and what it said; or another remark.
    post_id = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    note = field(sa.String(NOTE_MAX), nullable=False, default="", server_default="")
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = {"sqlite_autoincrement": True, **TABLE_OPTIONS}
