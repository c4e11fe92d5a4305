"""Invitations: links by which so many people may make an account, until a day."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, shared_now, utc_now

NOTE_MAX = 60
USES_MAX = 1000
DAYS_MAX = 365
# That are good at a time: a page holds them all.
MOST = 100


class Invitation(db.Model):  # type: ignore[name-defined, misc]
    """A link that was given away. Only its secret's digest is kept: whoever reads the table, or a backup of
    it, is not invited."""

    __tablename__ = "invitations"
    __table_args__ = TABLE_OPTIONS

    id = field(sa.Integer, primary_key=True)
    digest = field(sa.String(64), nullable=False, unique=True)
    # For whom it is, in the administrator's words.
    note = field(sa.String(NOTE_MAX), nullable=False, default="")
    uses_left = field(sa.Integer, nullable=False)
    used = field(sa.Integer, nullable=False, default=0)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)
    expires_at = field(sa.DateTime, nullable=False)


def issue(note: str, uses: int, days: int) -> str:
    """A new invitation; the caller commits.

    :return: its secret, for the link alone.
    """
    secret = secrets.token_urlsafe(16)
    expires_at = utc_now() + timedelta(days=days)
    db.session.add(Invitation(digest=_digest(secret), note=note, uses_left=uses, expires_at=expires_at))
    return secret


def find(secret: str) -> Any:
    """The invitation with this secret, if somebody may still use it; else None."""
    query = sa.select(Invitation).where(Invitation.digest == _digest(secret), *_good())
    return db.session.execute(query).scalar_one_or_none()


def use(invitation: Any) -> bool:
    """Use it once, in the transaction that makes the account.

    :return: whether it was still good: others may have been faster.
    """
    done = db.session.execute(
        sa.update(Invitation)
        .where(Invitation.id == invitation.id, *_good())
        .values(uses_left=Invitation.uses_left - 1, used=Invitation.used + 1)
        .execution_options(synchronize_session=False)
    )
    return bool(done.rowcount == 1)


def good() -> list[Any]:
    """Those that may still be used, the newest first."""
    query = sa.select(Invitation).where(*_good()).order_by(Invitation.id.desc()).limit(MOST)
    return list(db.session.execute(query).scalars())


def withdraw(digest: str) -> int | None:
    """Nobody can use it any more; the caller commits. By its digest: SQLite gives its number again.

    :return: its number, if there was one.
    """
    this = Invitation.digest == digest
    number: int | None = db.session.execute(sa.select(Invitation.id).where(this)).scalar()
    done = db.session.execute(sa.delete(Invitation).where(this).execution_options(synchronize_session=False))
    return number if done.rowcount == 1 else None


def sweep() -> None:
    """Remove what has expired, or is used up."""
    invitations = Invitation.__table__
    over = sa.or_(invitations.c.expires_at <= shared_now(), invitations.c.uses_left <= 0)
    with db.engine.begin() as connection:
        connection.execute(sa.delete(invitations).where(over))


def _good() -> tuple[Any, Any]:
    return Invitation.uses_left > 0, Invitation.expires_at > utc_now()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
