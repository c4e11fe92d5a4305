"""Whom a post names."""

from collections import defaultdict
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, insert_new, reading
from microblog.models import markup
from microblog.models.post import BigId
from microblog.models.user import User


class Mention(db.Model):  # type: ignore[name-defined, misc]
    """A post names somebody."""

    __tablename__ = "mentions"

    post_id = field(
        BigId, sa.ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    user_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )

    __table_args__ = (sa.Index(None, user_id, post_id), TABLE_OPTIONS)


class Mentioned(NamedTuple):
    """Somebody whom a post names."""

    id: int
    username: str


_MENTIONS: Any = Mention.__table__
_USERS: Any = User.__table__


def note(post_id: int, text: str) -> tuple[list[int], list[int]]:
    """Keep whom a post names by now, and no one else; the caller commits.

    :return: the accounts that it did not name before, and those that it names no more.
    """
    names = markup.names(text)
    users: list[int] = []
    if names:
        found = sa.select(_USERS.c.id).where(_USERS.c.name_key.in_(names), _USERS.c.suspended_at.is_(None))
        users = sorted(db.session.execute(found).scalars())
    mine = _MENTIONS.c.post_id == post_id
    before = set(db.session.execute(sa.select(_MENTIONS.c.user_id).where(mine)).scalars())
    gone = sorted(before.difference(users))
    if gone:
        db.session.execute(sa.delete(_MENTIONS).where(mine, _MENTIONS.c.user_id.in_(gone)))
    new = [number for number in users if number not in before]
    insert_new(
        db.session.connection(), _MENTIONS, [{"post_id": post_id, "user_id": number} for number in new]
    )
    return new, gone


def mentioned(post_ids: list[int]) -> dict[int, list[Mentioned]]:
    """Whom these posts name, of those who are active; posts that name nobody are left out."""
    query = (
        sa.select(_MENTIONS.c.post_id, _USERS.c.id, _USERS.c.username)
        .join_from(_MENTIONS, _USERS, _USERS.c.id == _MENTIONS.c.user_id)
        .where(_MENTIONS.c.post_id.in_(post_ids), _USERS.c.suspended_at.is_(None))
        .order_by(_MENTIONS.c.post_id, _USERS.c.id)
    )
    found: dict[int, list[Mentioned]] = defaultdict(list)
    with reading() as connection:
        for row in connection.execute(query):
            found[row.post_id].append(Mentioned(row.id, row.username))
    return dict(found)
