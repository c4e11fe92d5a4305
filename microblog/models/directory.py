"""All accounts, as administrators see them."""

from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import db
from microblog.models import unfinished
from microblog.models.paging import Cut, cut
from microblog.models.user import User

SIZE = 20


class AccountsPage(NamedTuple):
    """Some accounts, newest first.

    :ivar people: rows with id, username, email, created_at, is_admin, is_moderator, suspended_at
        and waiting.
    :ivar newer: the id after which the next newer page begins, if there is one.
    :ivar older: the id before which the next older page begins, if there is one.
    """

    people: list[Any]
    newer: int | None
    older: int | None


def accounts_page(
    text: str = "", before: int | None = None, after: int | None = None, waiting: bool = False
) -> AccountsPage:
    """The accounts whose name or address begins with ``text``, in any case.

    By ranges, not by LIKE: that is what the unique indexes answer on every database.

    :param waiting: those alone that wait to be let in.
    """
    columns = (User.id, User.username, User.email, User.created_at, User.is_admin, User.is_moderator)
    query = sa.select(*columns, User.suspended_at, User.waiting).where(unfinished.THERE)
    if waiting:
        query = query.where(User.suspended_at.isnot(None), User.waiting.is_(True))
    if key := text.lower():
        end = key + "\U0010ffff"
        query = query.where(sa.or_(User.name_key.between(key, end), User.email.between(key, end)))

    def fetch(part: Cut) -> list[Any]:
        return list(db.session.execute(part.apply(query, User.id)).all())

    return AccountsPage(*cut(fetch, before, after, SIZE))
