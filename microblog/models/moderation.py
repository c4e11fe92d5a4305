"""What moderators did. It is there for all of them to read, and nothing is ever taken out of it."""

from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models.paging import Cut, cut
from microblog.models.reader import Reader
from microblog.models.user import USERNAME_MAX, User

NOTE_MAX = 500
SIZE = 50


class ModerationAct(db.Model):  # type: ignore[name-defined, misc]
    """Something that a moderator did. By names, not by numbers: it outlives whom it is about."""

    __tablename__ = "moderation_acts"

    id = field(sa.Integer, primary_key=True)
    moderator = field(sa.String(USERNAME_MAX), nullable=False)
    # As the log has it: suspended, deleted post, closed report, ...
    act = field(sa.String(32), nullable=False)
    subject = field(sa.String(USERNAME_MAX), nullable=False, default="", server_default="")
    # The post's number and what it said; or another remark.
    post_id = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    note = field(sa.String(NOTE_MAX), nullable=False, default="", server_default="")
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = {"sqlite_autoincrement": True, **TABLE_OPTIONS}


_ACTS: Any = ModerationAct.__table__


class ActsPage(NamedTuple):
    """Part of the log, newest first.

    :ivar newer: the number after which the page before this one begins, if there is one.
    :ivar older: the number before which the next page begins, if there is one.
    """

    acts: list[Any]
    newer: int | None
    older: int | None


def note(moderator: Reader | User, act: str, subject: str = "", post_id: int = 0, text: str = "") -> None:
    """Write down what somebody did, in the transaction that does it; the caller commits."""
    values = {"moderator": moderator.username, "act": act, "subject": subject, "created_at": utc_now()}
    db.session.execute(sa.insert(_ACTS).values({**values, "post_id": post_id, "note": text[:NOTE_MAX]}))


def acts_page(before: int | None = None, after: int | None = None) -> ActsPage:
    """What was done."""

    def fetch(part: Cut) -> list[Any]:
        return list(db.session.execute(part.apply(sa.select(*_ACTS.c), _ACTS.c.id)).all())

    return ActsPage(*cut(fetch, before, after, SIZE))
