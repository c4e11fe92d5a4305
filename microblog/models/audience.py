"""Who reads, as far as that decides what there is to be seen: all, less what is kept from this reader.

A request says it once; every feed, thread and search asks. Who says nothing sees all, as commands do.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import g, has_app_context

from microblog.database import reading
from microblog.models import barriers
from microblog.models.barriers import Between
from microblog.models.preferences import Preferences
from microblog.models.reader import Reader

_KEY = "microblog_audience"
VISITOR = 0


class _Audience(NamedTuple):
    """:ivar sees_less: whether there may be somebody of whom they do not see all."""

    id: int
    moderates: bool
    sees_less: bool


def reads(reader: Reader | None) -> None:
    """Note who it is for the rest of this request.

    :param reader: None: a visitor, of a site that is public.
    """
    if reader is None:
        setattr(g, _KEY, _Audience(VISITOR, False, True))
    else:
        setattr(g, _KEY, _Audience(reader.id, reader.moderates, reader.has_barriers))


def _audience() -> _Audience | None:
    return g.get(_KEY) if has_app_context() else None


def reader_id() -> int:
    """Who it is; ``VISITOR`` if nobody said so."""
    audience = _audience()
    return audience.id if audience else VISITOR


def strangers(ids: Collection[int], kept: bool = False) -> set[int]:
    """Of these accounts, those that this reader is told no more of than if they were not there: who blocks
    them; for a visitor, who is there for members alone.

    :param kept: less those whom they keep away themselves.
    """

    def hides(_number: int, between: Between, moderates: bool) -> bool:
        return between.is_blocked and not moderates and not (kept and (between.blocks or between.mutes))

    return _without(ids, hides)


def unseen(author_ids: Collection[int], muted: bool = True, by: int = 0) -> set[int]:
    """Of these authors, those of whom this reader sees nothing in feeds; in lists of people they are neither.

    :param muted: whether those count who are only muted: they are seen where it is asked for them by
        themselves, and in lists of people, for who mutes somebody does not see what they write.
    :param by: of whom that does not count: their posts are asked for.
    """

    def hides(number: int, between: Between, moderates: bool) -> bool:
        # Whoever sees to the peace sees who has blocked them.
        return (
            between.blocks
            or (between.is_blocked and not moderates)
            or (between.mutes and muted and number != by)
        )

    return _without(author_ids, hides)


def _without(ids: Collection[int], hides: Callable[[int, Between, bool], bool]) -> set[int]:
    audience = _audience()
    if audience is None or not ids or not audience.sees_less:
        return set()
    if audience.id == VISITOR:
        return _members_only(ids)
    found = barriers.all_between(audience.id, sorted(set(ids)))
    return {number for number, between in found.items() if hides(number, between, audience.moderates)}


def listed(query: Any, people: Any) -> Any:
    """A statement that lists people, less those of whom this reader sees nothing.

    :param people: the column with their numbers.
    """
    audience = _audience()
    if audience is None or not audience.sees_less:
        return query
    if audience.id == VISITOR:
        return query.where(~members_only(people))
    return query.where(~barriers.unlisted(audience.id, people, moderates=audience.moderates))


def can_undo(what: str, number: int) -> bool:
    """Whether this reader has done to somebody what this undoes: that they can, though by now they are kept
    away themselves.

    :param what: ``unblock`` or ``unmute``; anything else undoes nothing of that kind.
    """
    own = _between(number)
    return own.blocks if what == "unblock" else what == "unmute" and own.mutes


def apart(number: int) -> bool:
    """Whether one of the two blocks the other, so that nothing goes from one to the other: moderators see who
    has blocked them, and neither follow nor answer them."""
    return _between(number).apart


def _between(number: int) -> Between:
    audience = _audience()
    if audience is None or not audience.sees_less or audience.id == VISITOR:
        return barriers.NOTHING
    return barriers.between(audience.id, number)


def members_only(listed: Any) -> Any:
    """The condition that an account, by a column, is for members alone: for lists of people."""
    table = Preferences.__table__
    return sa.exists().where(table.c.user_id == listed, table.c.members_only.is_(True))


def _members_only(ids: Collection[int]) -> set[int]:
    table = Preferences.__table__
    chosen = sa.select(table.c.user_id).where(
        table.c.user_id.in_(sorted(set(ids))), table.c.members_only.is_(True)
    )
    with reading() as connection:
        return set(connection.execute(chosen).scalars())
