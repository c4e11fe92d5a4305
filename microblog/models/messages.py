"""Private messages between two people."""

from typing import Any

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models.notifications import MANY
from microblog.models.post import POST_MAX, BigId
from microblog.models.user import User


class Conversation(db.Model):  # type: ignore[name-defined, misc]
    """Two people who write to each other: the one with the lower number first."""

    __tablename__ = "conversations"

    id = field(BigId, primary_key=True)
    low_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    high_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)

    __table_args__ = (sa.UniqueConstraint(low_id, high_id), sa.Index(None, high_id), TABLE_OPTIONS)


class ConversationSide(db.Model):  # type: ignore[name-defined, misc]
    """A conversation as one of the two has it."""

    __tablename__ = "conversation_sides"

    conversation_id = field(
        BigId, sa.ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    user_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    # The last message that was sent, that they have read, and up to which they have deleted them.
    last_id = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    read_to = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    gone_to = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    # Messages of the other one that they have not read.
    unread = field(sa.Integer, nullable=False, default=0, server_default=sa.text("0"))

    __table_args__ = (sa.Index(None, user_id, last_id), sa.Index(None, user_id, unread), TABLE_OPTIONS)


class Message(db.Model):  # type: ignore[name-defined, misc]
    """What one of two people wrote to the other."""

    __tablename__ = "messages"

    id = field(BigId, primary_key=True)
    conversation_id = field(BigId, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False)
    sender_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    body = field(sa.String(POST_MAX), nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    # A number is never given again: a stale page may have a button for it.
    __table_args__ = (
        sa.Index(None, conversation_id, id),
        sa.Index(None, sender_id),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )


_CONVERSATIONS: Any = Conversation.__table__
_SIDES: Any = ConversationSide.__table__
_MESSAGES: Any = Message.__table__


def unread(user: Any) -> Any:
    """A part of a statement: in how many conversations there is something that somebody has not read, up to
    so many.

    :param user: their number in that statement.
    """
    sides = (
        sa.select(_SIDES.c.conversation_id)
        .where(_SIDES.c.user_id == user, _SIDES.c.unread > 0)
        .limit(MANY)
        .subquery("sides")
    )
    between, other = _CONVERSATIONS.alias("between"), User.__table__.alias("other")
    who = other.c.id == between.c.low_id + between.c.high_id - user
    return (
        sa.select(sa.func.count())
        .select_from(sides.join(between, between.c.id == sides.c.conversation_id).join(other, who))
        .where(other.c.suspended_at.is_(None))
        .scalar_subquery()
    )
