"""How far somebody has read with a program."""

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, reading, upsert, utc_now
from microblog.models.user import lock_accounts


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


_MARKERS: Any = Marker.__table__
TIMELINES = ("home", "notifications")


class Place(NamedTuple):
    timeline: str
    last_read_id: int
    version: int
    updated_at: datetime


def of(user_id: int) -> list[Place]:
    """How far somebody has read."""
    query = sa.select(_MARKERS.c.timeline, _MARKERS.c.last_read_id, _MARKERS.c.version, _MARKERS.c.updated_at)
    with reading() as connection:
        return [Place._make(row) for row in connection.execute(query.where(_MARKERS.c.user_id == user_id))]


def note(user_id: int, timeline: str, last_read_id: int) -> None:
    """Somebody has read so far; the caller commits. :param timeline: one of ``TIMELINES``."""
    # The row is theirs: who writes at once waits for the account.
    lock_accounts(user_id)
    mine = sa.and_(_MARKERS.c.user_id == user_id, _MARKERS.c.timeline == timeline)
    version = db.session.execute(sa.select(_MARKERS.c.version).where(mine)).scalar() or 0
    key = {"user_id": user_id, "timeline": timeline}
    values = {"last_read_id": last_read_id, "version": version + 1, "updated_at": utc_now()}
    upsert(db.session.connection(), _MARKERS, key, values)
