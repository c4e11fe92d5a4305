"""Who reads a page: what each page needs to know of an account, at a fraction of an account's cost."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

import sqlalchemy as sa

from microblog.database import first_row, reading, utc_now
from microblog.models import ahead, sessions
from microblog.models.ahead import Question
from microblog.models.texts import NO, Joined, yes
from microblog.models.user import User


@dataclass(frozen=True, eq=False)
class Reader(sessions.LoggedIn):
    """An account that is logged in and active. It cannot be changed: a :class:`User` can.

    :ivar locale: the interface's language, if one is set.
    :ivar has_barriers: whether there may be people whom they do not see, or who do not see them.
    :ivar last_seen: in UTC, without a zone.
    :ivar has_unread: whether there may be something that they have not read: how much, :meth:`unread` tells.
    :ivar secret: of the log-in.
    """

    id: int
    username: str
    locale: str | None
    is_admin: bool
    is_moderator: bool
    has_barriers: bool
    last_seen: datetime | None
    following_count: int
    has_unread: bool
    secret: str

    @property
    def moderates(self) -> bool:
        """Whether they see to the peace."""
        return self.is_admin or self.is_moderator

    def unread(self) -> dict[str, int]:
        """Notifications that they have not seen, and conversations with messages that they have not read."""
        if not self.has_unread:
            return {"news": 0, "letters": 0}
        with reading() as connection:
            row = connection.execute(_unread(self.moderates), {"number": self.id}).one()
        return {"news": row.news, "letters": row.letters}

    @staticmethod
    def from_id(text: str, first: Callable[[int], Question | None] | None = None) -> "Reader | None":
        """The account that ``get_id`` gave ``text`` for, if that log-in is good and it is active.

        :param first: what else to ask, for who has this number (see :mod:`microblog.models.ahead`).
        """
        number, _, secret = text.partition(".")
        if not (number.isascii() and number.isdigit() and len(number) <= 10):
            return None
        values = {"digest": sessions.digest(secret), "now": utc_now(), "number": int(number)}
        question = (first(int(number)) if first else None) or ahead.NOTHING
        row = first_row(_by_session(question.query), {**question.values, **values}, often=True)
        if row is None:
            return None
        reader, answer = row
        ahead.note(question, answer)
        return parse(reader, secret)


def text(has_unread: Any) -> Any:
    """What is read of an account: a reader's fields, less the secret, as one text for :func:`parse`.

    :param has_unread: the condition that something is unread.
    """
    users = User.__table__
    known = (users.c.username, sa.func.coalesce(users.c.locale, NO), sa.func.coalesce(users.c.last_seen, NO))
    flags = (users.c.is_admin, users.c.is_moderator, users.c.has_barriers, has_unread)
    return Joined("'|'", users.c.id, *known, users.c.following_count, *map(yes, flags))


def parse(text: str, secret: str) -> Reader:
    number, username, locale, last_seen, following, *flags = text.split("|")
    admin, moderator, barriers, unread = map(bool, flags)
    seen = datetime.fromisoformat(last_seen) if last_seen else None
    return Reader(
        *(int(number), username, locale or None, admin, moderator, barriers, seen, int(following), unread),
        secret,
    )


# A search has a statement for each number of words.
@lru_cache(maxsize=128)
def _by_session(first: Any) -> Any:
    """Asked by every page: made once, so that SQLAlchemy knows it again without looking.

    :param first: what else is asked.
    """
    from microblog.models import messages, notifications

    users, log_ins = User.__table__, sessions.Session.__table__
    number: Any = sa.bindparam("number")
    unread = sa.or_(notifications.has_unread(number), messages.has_unread(number))
    answer = first.correlate(None).scalar_subquery().label("answer")
    return (
        sa.select(text(unread).label("reader"), answer)
        .select_from(sa.join(log_ins, users, log_ins.c.user_id == users.c.id))
        .where(log_ins.c.digest == sa.bindparam("digest"), log_ins.c.expires_at > sa.bindparam("now"))
        .where(users.c.id == number, users.c.suspended_at.is_(None))
    )


@cache
def _unread(moderates: bool) -> Any:
    """Asked where there is any: to count takes longer than the rest of what is asked of a reader."""
    from microblog.models import messages, notifications

    number: Any = sa.bindparam("number")
    counts = (notifications.unread(number).label("news"), messages.unread(number, moderates).label("letters"))
    return sa.select(*counts)
