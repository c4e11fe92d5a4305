"""Who reads, as far as that decides what there is to be seen: all, less what is kept from this reader.

A request says it once; every feed, thread and search asks. Who says nothing sees all, as commands do.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from flask import g, has_app_context

from microblog.database import reading
from microblog.models.barriers import all_between
from microblog.models.preferences import Preferences
from microblog.models.reader import Reader

_KEY = "microblog_audience"
VISITOR = 0


def reads(reader: Reader | None) -> None:
    """Note who it is for the rest of this request.

    :param reader: None: a visitor, of a site that is public.
    """
    if reader is None:
        setattr(g, _KEY, (VISITOR, False, True))
    else:
        setattr(g, _KEY, (reader.id, reader.moderates, reader.has_barriers))


def reader_id() -> int:
    """Who it is; ``VISITOR`` if nobody said so."""
    audience = g.get(_KEY) if has_app_context() else None
    return int(audience[0]) if audience else VISITOR


def unseen(author_ids: Collection[int], muted: bool = True) -> set[int]:
    """Of these authors, those of whom this reader sees nothing.

    :param muted: whether those count who are only muted.
    """
    audience = g.get(_KEY) if has_app_context() else None
    if audience is None or not author_ids:
        return set()
    number, moderates, sees_less = audience
    if not sees_less:
        return set()
    if number == VISITOR:
        return _members_only(author_ids)
    return {
        author_id
        for author_id, between in all_between(number, sorted(author_ids)).items()
        # Whoever sees to the peace sees who has blocked them.
        if between.blocks or (between.is_blocked and not moderates) or (between.mutes and muted)
    }


def members_only(listed: Any) -> Any:
    """The condition that an account, by a column, is for members alone: for lists of people."""
    table = Preferences.__table__
    return sa.exists().where(table.c.user_id == listed, table.c.members_only.is_(True))


def _members_only(author_ids: Collection[int]) -> set[int]:
    table = Preferences.__table__
    chosen = sa.select(table.c.user_id).where(
        table.c.user_id.in_(sorted(author_ids)), table.c.members_only.is_(True)
    )
    with reading() as connection:
        return set(connection.execute(chosen).scalars())
