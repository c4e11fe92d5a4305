"""What somebody is to know of."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models.barriers import Barrier
from microblog.models.post import BigId
from microblog.models.preferences import Preferences
from microblog.models.user import User

# Each of them can be switched off.
KINDS = ("follow", "reply", "mention", "like", "repost", "message")


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


_NOTIFICATIONS: Any = Notification.__table__


def notify(kind: str, actor_id: int, user_ids: Collection[int], post_id: int = 0) -> None:
    """Let some people know what somebody did; the caller commits. Two statements, whatever their number.

    Nobody hears of what they did themselves, of a kind that they have silenced, of whom they do not see, or
    who does not see them; nor of who is suspended, nor twice of one thing. To be called last in what is
    done: it waits for nobody who reads, but for who changes one of these accounts.

    :param kind: one of ``KINDS``.
    :param post_id: the post that it is about; 0: none.
    """
    others = set(user_ids) - {actor_id}
    if not others:
        return
    rows = [
        {
            "user_id": user_id,
            "kind": kind,
            "actor_id": actor_id,
            "post_id": post_id,
            "created_at": utc_now(),
        }
        for user_id, silent in db.session.execute(_listening(actor_id, others))
        if kind not in (silent or "").split(",")
    ]
    if rows:
        # Two clicks at once are one; and who is gone since they were looked up hears of nothing.
        insert = sa.insert(_NOTIFICATIONS).prefix_with("OR IGNORE", dialect="sqlite")
        db.session.execute(insert.prefix_with("IGNORE", dialect="mysql"), rows)


def _listening(actor_id: int, user_ids: Collection[int]) -> Any:
    """Those who may hear of this one, and the kinds that they have silenced.

    Looked up first, not in the INSERT itself: MySQL would lock all that it reads there, and the gaps.
    """
    users: Any = User.__table__
    barriers: Any = Barrier.__table__
    silent: Any = Preferences.__table__
    actor = sa.select(users.c.id).where(users.c.id == actor_id, users.c.suspended_at.is_(None))
    between = sa.select(barriers.c.author_id).where(
        barriers.c.reader_id == users.c.id,
        barriers.c.author_id == actor_id,
        sa.or_(barriers.c.blocks, barriers.c.is_blocked, barriers.c.mutes),
    )
    return (
        sa.select(users.c.id, silent.c.silent)
        .select_from(users.outerjoin(silent, silent.c.user_id == users.c.id))
        .where(users.c.id.in_(sorted(user_ids)), users.c.suspended_at.is_(None))
        .where(actor.exists(), ~between.exists())
        .order_by(users.c.id)
    )


def withdraw(kind: str, actor_id: int, user_id: int, post_id: int = 0) -> None:
    """Take that back: it is no longer so; the caller commits."""
    table = _NOTIFICATIONS
    db.session.execute(
        sa.delete(table).where(
            table.c.user_id == user_id,
            table.c.kind == kind,
            table.c.actor_id == actor_id,
            table.c.post_id == post_id,
        )
    )
