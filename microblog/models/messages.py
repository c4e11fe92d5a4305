"""Private messages between two people.

They write to each other if they follow each other, or if whom it is sent to takes messages from everybody;
and whom somebody has written to may answer for a while. Each has the conversation for themselves: what one
deletes the other still has. What both have deleted, and all of it when one of the accounts goes, is gone.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, reading, upsert, utc_now, utc_text
from microblog.models import audience, barriers
from microblog.models.follow import Follow
from microblog.models.notifications import MANY, notify, withdraw
from microblog.models.paging import ID_MAX, Cut, cut, pieces
from microblog.models.post import POST_MAX, BigId, SentForm
from microblog.models.preferences import Preferences
from microblog.models.reader import Reader
from microblog.models.user import User, lock_accounts

# For so long somebody may be answered by whom they have written to.
ANSWERS = timedelta(days=30)
# Rows that are removed in one transaction.
CHUNK = 500


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


def has_unread(user: Any) -> Any:
    """The condition that there may be something that somebody has not read: a look into an index."""
    return sa.exists().where(_SIDES.c.user_id == user, _SIDES.c.unread > 0)


def unread(user: Any, moderates: bool = False) -> Any:
    """A part of a statement: in how many conversations there is something that somebody has not read, up to
    so many.

    :param user: their number in that statement.
    :param moderates: whether they see who has blocked them.
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
        .where(other.c.suspended_at.is_(None), ~barriers.unlisted(user, other.c.id, moderates=moderates))
        .scalar_subquery()
    )


class ConversationRow(NamedTuple):
    """A conversation to show.

    :ivar id: of its last message: lists are cut by it.
    :ivar is_mine: whether that is the reader's own.
    :ivar unread: messages that they have not read.
    :ivar user_id: the number of whom it is with.
    """

    id: int
    name: str
    body: str
    created_at: datetime
    is_mine: bool
    unread: int
    user_id: int


class MessageRow(NamedTuple):
    """A message to show."""

    id: int
    sender_id: int
    body: str
    created_at: datetime


@dataclass(frozen=True)
class MessagePage:
    """Part of somebody's conversations, or of one of them, newest first.

    :ivar newer: the number after which the page before this one begins, if there is one.
    :ivar older: the number before which the next page begins, if there is one.
    """

    rows: list[Any]
    newer: int | None = None
    older: int | None = None

    SIZE = 30


class Side(NamedTuple):
    """A conversation as one of the two has it; without one, numbers of nothing."""

    conversation_id: int = 0
    last_id: int = 0
    gone_to: int = 0
    unread: int = 0


def may_write(sender_id: int, to_id: int) -> bool:
    """Whether somebody may write to somebody else."""
    with reading() as connection:
        return _writes(connection, sender_id, to_id)


def _writes(connection: Any, sender_id: int, to_id: int) -> bool:
    follows, chosen = Follow.__table__, Preferences.__table__

    def exists(table: Any, *where: Any) -> Any:
        return sa.select(sa.literal(1)).select_from(table).where(*where).exists()

    def follow(one: int, other: int) -> Any:
        return exists(follows, follows.c.follower_id == one, follows.c.followed_id == other)

    takes_all = exists(chosen, chosen.c.user_id == to_id, chosen.c.messages_from_all.is_(True))
    # However much they have written to each other.
    last = (
        sa.select(_MESSAGES.c.sender_id, _MESSAGES.c.created_at)
        .join(_CONVERSATIONS, _CONVERSATIONS.c.id == _MESSAGES.c.conversation_id)
        .where(*_between(sender_id, to_id))
        .order_by(_MESSAGES.c.id.desc())
        .limit(CHUNK)
        .subquery("last")
    )
    wrote = exists(last, last.c.sender_id == to_id, last.c.created_at > utc_now() - ANSWERS)
    follow_each_other = sa.and_(follow(sender_id, to_id), follow(to_id, sender_id))
    query = sa.select(User.id).where(
        User.id == to_id,
        User.suspended_at.is_(None),
        ~barriers.unseen(sender_id, to_id, muted=False),
        sa.or_(follow_each_other, takes_all, wrote),
    )
    return sender_id != to_id and connection.execute(query).first() is not None


def _between(one: int, other: int) -> tuple[Any, Any]:
    low, high = sorted((one, other))
    return _CONVERSATIONS.c.low_id == low, _CONVERSATIONS.c.high_id == high


def send(sender: Reader | User, to_id: int, token: str, body: str) -> int | None:
    """Write to somebody, unless the same was sent from the same form before; the caller commits.

    :param token: the form's, as for :func:`microblog.models.post.add_post_once`.
    :param body: as :func:`microblog.models.post.clean_body` gives it.
    :return: the message's number; None if they may not, or one of the two is gone or suspended by now.
    """
    text = f"message {sender.id} {to_id}\n{token}\n{body}"
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    # What is sent twice at once, or by both, comes one after the other.
    active = lock_accounts(sender.id, to_id)
    if not (active.get(sender.id) and active.get(to_id)):
        return None
    sent = SentForm.__table__
    there = sa.select(sent.c.post_id).join(_MESSAGES, _MESSAGES.c.id == sent.c.post_id)
    known = db.session.execute(there.where(sent.c.digest == digest)).scalar()
    if known is not None:
        return int(known)
    if not _writes(db.session.connection(), sender.id, to_id):
        return None
    number = _add(sender.id, to_id, body)
    upsert(db.session.connection(), sent, {"digest": digest}, {"post_id": number, "created_at": utc_now()})
    return number


def _add(sender_id: int, to_id: int, body: str) -> int:
    conversation_id = _open(sender_id, to_id)
    values = {"conversation_id": conversation_id, "sender_id": sender_id, "body": body}
    (number,) = db.session.execute(sa.insert(_MESSAGES).values(values)).inserted_primary_key
    # Who has muted them has it, and is not told.
    is_muted = barriers.between(to_id, sender_id).mutes
    unread = _SIDES.c.unread + (0 if is_muted else 1)
    # In this order for both of the two, on a server that locks rows.
    for user_id in sorted((sender_id, to_id)):
        side = sa.and_(_SIDES.c.conversation_id == conversation_id, _SIDES.c.user_id == user_id)
        news = {"unread": unread} if user_id == to_id else {}
        db.session.execute(sa.update(_SIDES).where(side).values(last_id=number, **news))
    # One line for all that they wrote since it was read, at the place of the last.
    withdraw("message", sender_id, to_id)
    notify("message", sender_id, [to_id])
    return int(number)


def _open(one: int, other: int) -> int:
    """The number of these two's conversation, that may be new; their accounts are locked."""
    found = db.session.execute(sa.select(_CONVERSATIONS.c.id).where(*_between(one, other))).scalar()
    if found is not None:
        return int(found)
    low, high = sorted((one, other))
    new = sa.insert(_CONVERSATIONS).values(low_id=low, high_id=high)
    (number,) = db.session.execute(new).inserted_primary_key
    rows = [{"conversation_id": number, "user_id": user_id} for user_id in (low, high)]
    db.session.execute(sa.insert(_SIDES), rows)
    return int(number)


def side(user_id: int, other_id: int) -> Side:
    """A conversation as the first of these two has it."""
    columns = [_SIDES.c[name] for name in Side._fields]
    query = (
        sa.select(*columns)
        .join(_CONVERSATIONS, _CONVERSATIONS.c.id == _SIDES.c.conversation_id)
        .where(*_between(user_id, other_id), _SIDES.c.user_id == user_id)
    )
    row = db.session.execute(query).first()
    return Side._make(row) if row else Side()


def conversations_page(user_id: int, before: int | None = None, after: int | None = None) -> MessagePage:
    """A reader's conversations, less those with who is suspended, or of whom they see nothing."""
    other = User.__table__
    query = (
        sa.select(
            _SIDES.c.last_id.label("id"),
            other.c.username,
            _MESSAGES.c.body,
            _MESSAGES.c.created_at,
            (_MESSAGES.c.sender_id == user_id).label("is_mine"),
            _SIDES.c.unread,
            other.c.id.label("user_id"),
        )
        .select_from(
            _SIDES.join(_CONVERSATIONS, _CONVERSATIONS.c.id == _SIDES.c.conversation_id)
            .join(other, other.c.id == _CONVERSATIONS.c.low_id + _CONVERSATIONS.c.high_id - user_id)
            .join(_MESSAGES, _MESSAGES.c.id == _SIDES.c.last_id)
        )
        .where(_SIDES.c.user_id == user_id, _SIDES.c.last_id > 0)
        .where(other.c.suspended_at.is_(None))
    )
    query = audience.listed(query, other.c.id)

    def fetch(at: Cut) -> list[ConversationRow]:
        rows = db.session.execute(at.apply(query, _SIDES.c.last_id))
        return [ConversationRow._make(row) for row in rows]

    return MessagePage(*cut(fetch, before, after, MessagePage.SIZE))


def messages_page(mine: Side, before: int | None = None, after: int | None = None) -> MessagePage:
    """What was written in a conversation, as one of the two has it."""
    query = sa.select(*(_MESSAGES.c[name] for name in MessageRow._fields)).where(
        _MESSAGES.c.conversation_id == mine.conversation_id, _MESSAGES.c.id > mine.gone_to
    )

    def fetch(at: Cut) -> list[MessageRow]:
        return [MessageRow._make(row) for row in db.session.execute(at.apply(query, _MESSAGES.c.id))]

    return MessagePage(*cut(fetch, before, after, MessagePage.SIZE))


def read(user_id: int, other_id: int, mine: Side, number: int) -> None:
    """Somebody has read a conversation up to this message; the caller commits."""
    # Who writes meanwhile comes before or after.
    lock_accounts(user_id, other_id)
    this = sa.and_(_SIDES.c.conversation_id == mine.conversation_id, _SIDES.c.user_id == user_id)
    unread = _unread_past(mine.conversation_id, other_id, number)
    db.session.execute(sa.update(_SIDES).where(this).values(read_to=number, unread=unread))
    # Of what came since they are yet to hear.
    if not db.session.execute(sa.select(_SIDES.c.unread).where(this)).scalar():
        withdraw("message", other_id, user_id)


def _unread_past(conversation_id: int, other_id: int, number: int) -> Any:
    """What is left of the messages that somebody has not read: of those that came after this one."""
    later = sa.select(sa.func.count()).where(
        _MESSAGES.c.conversation_id == conversation_id,
        _MESSAGES.c.id > number,
        _MESSAGES.c.sender_id == other_id,
    )
    left = later.scalar_subquery()
    # What was written while they had muted the other one does not count.
    return sa.case((_SIDES.c.unread > left, left), else_=_SIDES.c.unread)


def find_message(user_id: int, number: int) -> MessageRow | None:
    """The message with this number, if it is in one of somebody's conversations, and they have it still."""
    query = (
        sa.select(*(_MESSAGES.c[name] for name in MessageRow._fields))
        .join(_SIDES, _SIDES.c.conversation_id == _MESSAGES.c.conversation_id)
        .where(_MESSAGES.c.id == number, _SIDES.c.user_id == user_id, _MESSAGES.c.id > _SIDES.c.gone_to)
    )
    row = db.session.execute(query).first() if 0 < number <= ID_MAX else None
    return MessageRow._make(row) if row else None


def other_side(user_id: int, number: int) -> int | None:
    """Whom somebody has the conversation with that this message is in, as long as they have it."""
    both = _CONVERSATIONS.c.low_id + _CONVERSATIONS.c.high_id
    query = (
        sa.select(both - user_id)
        .select_from(_MESSAGES.join(_CONVERSATIONS, _CONVERSATIONS.c.id == _MESSAGES.c.conversation_id))
        .join(_SIDES, _SIDES.c.conversation_id == _CONVERSATIONS.c.id)
        .where(_MESSAGES.c.id == number, _SIDES.c.user_id == user_id, _MESSAGES.c.id > _SIDES.c.gone_to)
    )
    return db.session.execute(query).scalar() if 0 < number <= ID_MAX else None


def delete_conversation(user_id: int, other_id: int, up_to: int) -> None:
    """Let somebody no longer have what was written up to this message; it commits.

    What the other one has deleted, too, is removed first, in pieces: where that is cut short, it is still
    there to be deleted.
    """
    while True:
        lock_accounts(user_id, other_id)
        mine, theirs = side(user_id, other_id), side(other_id, user_id)
        up_to = min(up_to, mine.last_id)
        if up_to <= mine.gone_to:
            db.session.rollback()
            return
        if not _remove(mine.conversation_id, min(up_to, theirs.gone_to)):
            break
        db.session.commit()
    this = sa.and_(_SIDES.c.conversation_id == mine.conversation_id, _SIDES.c.user_id == user_id)
    is_all = up_to == mine.last_id
    unread = 0 if is_all else _unread_past(mine.conversation_id, other_id, up_to)
    rest = {"unread": unread, **({"last_id": 0} if is_all else {})}
    db.session.execute(sa.update(_SIDES).where(this).values(gone_to=up_to, **rest))
    if is_all:
        withdraw("message", other_id, user_id)
    db.session.commit()


def _remove(conversation_id: int, up_to: int = ID_MAX) -> bool:
    """:return: whether there may be more to remove."""
    these = sa.select(_MESSAGES.c.id).where(
        _MESSAGES.c.conversation_id == conversation_id, _MESSAGES.c.id <= up_to
    )
    numbers = list(db.session.execute(these.order_by(_MESSAGES.c.id).limit(CHUNK)).scalars())
    if numbers:
        db.session.execute(sa.delete(_MESSAGES).where(_MESSAGES.c.id.in_(numbers)))
    return len(numbers) == CHUNK


def remove_piece(user_id: int) -> bool:
    """Remove some of the conversations of an account that goes; the caller commits.

    :return: whether there may be more.
    """
    mine = sa.or_(_CONVERSATIONS.c.low_id == user_id, _CONVERSATIONS.c.high_id == user_id)
    found = list(db.session.execute(sa.select(_CONVERSATIONS.c.id).where(mine).limit(20)).scalars())
    for number in found:
        if _remove(number):
            return True
        db.session.execute(sa.delete(_SIDES).where(_SIDES.c.conversation_id == number))
        db.session.execute(sa.delete(_CONVERSATIONS).where(_CONVERSATIONS.c.id == number))
    return bool(found)


def of(user_id: int) -> Iterator[dict[str, Any]]:
    """All messages that somebody has, for their export: conversation by conversation, newest first."""
    columns = (_SIDES.c.conversation_id, _SIDES.c.gone_to, User.username)
    other = User.id == _CONVERSATIONS.c.low_id + _CONVERSATIONS.c.high_id - user_id
    mine = (
        sa.select(_SIDES.c.conversation_id.label("id"), *columns)
        .join(_CONVERSATIONS, _CONVERSATIONS.c.id == _SIDES.c.conversation_id)
        .join(User, other)
        .where(_SIDES.c.user_id == user_id)
    )

    def fetch(part: Any) -> Any:
        return db.session.execute(part).all()

    for sides in pieces(fetch, mine, _SIDES.c.conversation_id, newer=False):
        for one in sides:
            query = sa.select(*(_MESSAGES.c[name] for name in MessageRow._fields)).where(
                _MESSAGES.c.conversation_id == one.conversation_id, _MESSAGES.c.id > one.gone_to
            )
            for rows in pieces(fetch, query, _MESSAGES.c.id, newer=False):
                for row in rows:
                    yield {
                        "with": one.username,
                        "is_mine": row.sender_id == user_id,
                        "body": row.body,
                        "created_at": utc_text(row.created_at),
                    }
