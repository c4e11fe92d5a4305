"""What somebody has chosen, and how far they have read."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field


class Preferences(db.Model):  # type: ignore[name-defined, misc]
    """What somebody has chosen, and how far they have read: a row of their own, that nobody else waits for.
    No row: nothing is chosen, nothing read."""

    __tablename__ = "preferences"
    __table_args__ = TABLE_OPTIONS

    user_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    # Kinds of notifications that they do not want, with commas between.
    silent = field(sa.String(255), nullable=False, default="", server_default="")
    # Whether what they have not read comes by mail, once a day.
    by_mail = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    # The last notification that they have seen, and the last that was mailed, and when.
    read_to = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    mailed_to = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    mailed_at = field(sa.DateTime)
    # Who may write to them besides those who are followed back: nobody, or everybody.
    messages_from_all = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    hides_last_seen = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    # On a site that is public: whether the profile is for members alone.
    members_only = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
