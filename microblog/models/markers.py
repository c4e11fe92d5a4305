"""How far somebody has read with a program."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now


class Marker(db.Model):  # type: ignore[name-defined, misc]
    """How far somebody has read a timeline with a program: the next one goes on from there."""

    __tablename__ = "markers"
    __table_args__ = TABLE_OPTIONS

    user_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    timeline = field(sa.String(16), primary_key=True)
    last_read_id = field(sa.BigInteger, nullable=False)
    version = field(sa.Integer, nullable=False, default=1, server_default=sa.text("1"))
    updated_at = field(sa.DateTime, nullable=False, default=utc_now)
