"""Who keeps whom away: blocks and mutes."""

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now


class Barrier(db.Model):  # type: ignore[name-defined, misc]
    """What somebody is not to see of somebody. Whoever blocks makes one for each of the two.

    Who has any is noted in ``users.has_barriers``: for most readers, a feed need not look.
    """

    __tablename__ = "barriers"

    reader_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    author_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    # The reader blocks the author, is blocked by them, has muted them.
    blocks = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    is_blocked = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    mutes = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = (sa.Index(None, author_id), TABLE_OPTIONS)
