"""Who keeps whom away: blocks and mutes.

Who mutes somebody does not see what they write, and they do not know. Who blocks somebody is not followed by
them, nor written to, and neither sees what the other writes. Moderators, who look after both, see all.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, reading, upsert, utc_now, utc_text
from microblog.models import notifications
from microblog.models.follow import unfollow
from microblog.models.paging import Cut, cut, pieces
from microblog.models.reader import Reader
from microblog.models.user import User, lock_accounts

# People on a page of those who are kept away.
SIZE = 50


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


_BARRIERS: Any = Barrier.__table__


class Between(NamedTuple):
    """What stands between a reader and somebody else."""

    blocks: bool = False
    is_blocked: bool = False
    mutes: bool = False

    @property
    def apart(self) -> bool:
        """Whether one of the two blocks the other."""
        return self.blocks or self.is_blocked


NOTHING = Between()


def between(reader_id: int, other_id: int) -> Between:
    """What stands between these two, as the first one has it."""
    columns = (_BARRIERS.c.blocks, _BARRIERS.c.is_blocked, _BARRIERS.c.mutes)
    query = sa.select(*columns).where(_BARRIERS.c.reader_id == reader_id, _BARRIERS.c.author_id == other_id)
    with reading() as connection:
        row = connection.execute(query).first()
    return Between(*map(bool, row)) if row else NOTHING


def all_between(reader_id: int, other_ids: list[int]) -> dict[int, Between]:
    """Likewise for many: those between whom there is something."""
    columns = (_BARRIERS.c.author_id, _BARRIERS.c.blocks, _BARRIERS.c.is_blocked, _BARRIERS.c.mutes)
    query = sa.select(*columns).where(
        _BARRIERS.c.reader_id == reader_id, _BARRIERS.c.author_id.in_(other_ids)
    )
    with reading() as connection:
        rows = connection.execute(query).all() if other_ids else []
    return {author_id: Between(*map(bool, flags)) for author_id, *flags in rows}


def unseen(reader_id: Any, author_id: Any, *, muted: bool = True) -> Any:
    """The condition that a reader does not see an author's things: for statements, as they are made.

    :param reader_id: a number, a parameter or a column; ``author_id`` likewise.
    :param muted: whether who is muted counts, too.
    """
    barriers = _BARRIERS.alias()
    query = sa.exists().where(barriers.c.reader_id == reader_id, barriers.c.author_id == author_id)
    return query if muted else query.where(sa.or_(barriers.c.blocks, barriers.c.is_blocked))


def unlisted(reader_id: Any, listed: Any, *, moderates: Any = False) -> Any:
    """Likewise, that somebody is in no list of people that a reader sees.

    :param moderates: whether the reader sees to the peace, and who has blocked them.
    """
    rows = _BARRIERS.alias()
    query = sa.exists().where(rows.c.reader_id == reader_id, rows.c.author_id == listed)
    blocked = rows.c.blocks if moderates else sa.or_(rows.c.blocks, rows.c.is_blocked)
    return query.where(blocked)


def block(reader: Reader | User, other: User) -> bool:
    """Keep somebody away, for good and from both sides; the caller commits. Nobody blocks themselves.

    :return: False if nothing changed.
    """
    if not _lock(reader.id, other.id) or between(reader.id, other.id).blocks:
        return False
    unfollow(reader, other)
    unfollow(other, reader)
    notifications.forget(reader.id, other.id)
    notifications.forget(other.id, reader.id)
    _put(reader.id, other.id, blocks=True)
    _put(other.id, reader.id, is_blocked=True)
    return True


def unblock(reader: Reader | User, other: User) -> bool:
    """End that; the caller commits. Nobody follows the other again by that.

    :return: False if nothing changed.
    """
    if not _lock(reader.id, other.id) or not between(reader.id, other.id).blocks:
        return False
    _put(reader.id, other.id, blocks=False)
    _put(other.id, reader.id, is_blocked=False)
    return True


def mute(reader: Reader | User, other: User) -> bool:
    """See nothing of somebody, who does not learn of it; the caller commits. Nobody mutes themselves.

    :return: False if nothing changed.
    """
    return _mute(reader.id, other.id, True)


def unmute(reader: Reader | User, other: User) -> bool:
    """End that; the caller commits.

    :return: False if nothing changed.
    """
    return _mute(reader.id, other.id, False)


def _mute(reader_id: int, other_id: int, mutes: bool) -> bool:
    if not _lock(reader_id, other_id) or between(reader_id, other_id).mutes == mutes:
        return False
    if mutes:
        notifications.forget(reader_id, other_id)
    _put(reader_id, other_id, mutes=mutes)
    return True


def _lock(reader_id: int, other_id: int) -> bool:
    """:return: whether both are there, and two."""
    return len(lock_accounts(reader_id, other_id)) == 2


def _put(reader_id: int, other_id: int, **flags: bool) -> None:
    key = {"reader_id": reader_id, "author_id": other_id}
    if any(flags.values()):
        upsert(db.session.connection(), _BARRIERS, key, {**flags, "created_at": utc_now()})
        has = True
    else:
        mine = _BARRIERS.c.reader_id == reader_id
        this = sa.and_(mine, _BARRIERS.c.author_id == other_id)
        db.session.execute(sa.update(_BARRIERS).where(this).values(flags))
        nothing = [_BARRIERS.c[name].is_(False) for name in Between._fields]
        db.session.execute(sa.delete(_BARRIERS).where(this, *nothing))
        has = db.session.execute(sa.select(sa.literal(1)).where(mine).limit(1)).first() is not None
    users = User.__table__
    db.session.execute(sa.update(users).where(users.c.id == reader_id).values(has_barriers=has))


def of(reader_id: int) -> Iterator[dict[str, Any]]:
    """All whom somebody blocks or has muted, for their export. Not who blocks them."""
    columns = (User.id, User.username, _BARRIERS.c.blocks, _BARRIERS.c.mutes, _BARRIERS.c.created_at)
    query = (
        sa.select(*columns)
        .join(_BARRIERS, _BARRIERS.c.author_id == User.id)
        .where(_BARRIERS.c.reader_id == reader_id, sa.or_(_BARRIERS.c.blocks, _BARRIERS.c.mutes))
    )
    for rows in pieces(lambda part: db.session.execute(part).all(), query, User.id, newer=False):
        for row in rows:
            yield {
                "username": row.username,
                "is_blocked": bool(row.blocks),
                "is_muted": bool(row.mutes),
                "since": utc_text(row.created_at),
            }


class Kept(NamedTuple):
    """Somebody who is kept away.

    :ivar id: of their account: lists are cut by it.
    """

    id: int
    username: str
    about: str
    blocks: bool
    mutes: bool


class KeptPage(NamedTuple):
    """Part of a list of those whom somebody keeps away.

    :ivar newer: the place after which the page before this one begins, if there is one.
    :ivar older: the place before which the next page begins, if there is one.
    """

    people: list[Kept]
    newer: int | None
    older: int | None


def kept_page(reader_id: int, before: int | None = None, after: int | None = None, *what: str) -> KeptPage:
    """Whom somebody blocks or has muted.

    :param what: ``blocks``, ``mutes``; nothing: both.
    """
    flags = [_BARRIERS.c[name] for name in what or ("blocks", "mutes")]
    columns = (User.id, User.username, User.about, _BARRIERS.c.blocks, _BARRIERS.c.mutes)
    query = (
        sa.select(*columns)
        .join(_BARRIERS, _BARRIERS.c.author_id == User.id)
        .where(_BARRIERS.c.reader_id == reader_id, sa.or_(*flags), User.suspended_at.is_(None))
    )

    def fetch(part: Cut) -> list[Kept]:
        rows = db.session.execute(part.apply(query, _BARRIERS.c.author_id))
        return [Kept(row.id, row.username, row.about, bool(row.blocks), bool(row.mutes)) for row in rows]

    return KeptPage(*cut(fetch, before, after, SIZE))
