"""Log-ins: each browser has one of its own, which ends at log-out, by itself, or from another browser.

The browser's cookies hold a secret; what is kept is its digest: whoever reads the table, or a backup of
it, is logged in nowhere.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask_login import UserMixin

from microblog.database import TABLE_OPTIONS, db, field, shared_now, utc_now

# As long as the remember-me cookie; and without it, as long as Flask takes a session's cookie.
REMEMBERED = timedelta(days=90)
UNREMEMBERED = timedelta(days=31)
# When it was last used is noted this often.
USED_AGAIN = timedelta(hours=1)
AGENT_MAX = 200


class Session(db.Model):  # type: ignore[name-defined, misc]
    """A browser in which somebody is logged in."""

    __tablename__ = "sessions"

    digest = field(sa.String(64), primary_key=True)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    # What the browser calls itself: for its owner to tell one from another.
    agent = field(sa.String(AGENT_MAX), nullable=False, default="")
    created_at = field(sa.DateTime, nullable=False, default=utc_now)
    last_used = field(sa.DateTime, nullable=False, default=utc_now)
    expires_at = field(sa.DateTime, nullable=False)

    __table_args__ = (sa.Index(None, user_id), sa.Index(None, expires_at), TABLE_OPTIONS)


class LoggedIn(UserMixin):  # type: ignore[misc]
    """An account in one of its sessions: it has the account's ``id``, and the ``secret`` of the log-in."""

    def get_id(self: Any) -> str:
        """What the session's and the remember-me cookie hold."""
        return f"{self.id}.{self.secret}"

    @property
    def session_digest(self: Any) -> str:
        """Which log-in this is."""
        return digest(self.secret)


def start(user_id: int, agent: str, remembered: bool) -> str:
    """Log somebody in; the caller commits.

    :param agent: what the browser calls itself.
    :return: the secret, for the browser alone.
    """
    secret = secrets.token_urlsafe(32)
    lifetime = REMEMBERED if remembered else UNREMEMBERED
    # Only what every database can store, and a page can show.
    agent = "".join(letter if letter.isprintable() else " " for letter in agent)[:AGENT_MAX]
    db.session.add(
        Session(digest=digest(secret), user_id=user_id, agent=agent, expires_at=utc_now() + lifetime)
    )
    return secret


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def of(user_id: int) -> list[Any]:
    """Somebody's log-ins that are good, the last used first."""
    query = sa.select(Session).where(Session.user_id == user_id, Session.expires_at > utc_now())
    return list(db.session.execute(query.order_by(Session.last_used.desc(), Session.digest)).scalars())


def end(user_id: int, digest_: str | None = None) -> None:
    """Log somebody out: of one browser, or of all; the caller commits."""
    query = sa.delete(Session).where(Session.user_id == user_id)
    if digest_ is not None:
        query = query.where(Session.digest == digest_)
    db.session.execute(query.execution_options(synchronize_session=False))


def sweep() -> None:
    """Remove what has expired."""
    over = Session.__table__.c.expires_at <= shared_now()
    with db.engine.begin() as connection:
        connection.execute(sa.delete(Session.__table__).where(over))


def touch(digest_: str, now: datetime) -> Any:
    """The statement that notes that a log-in was used."""
    sessions = Session.__table__
    stale = sessions.c.last_used <= now - USED_AGAIN
    return sa.update(sessions).where(sessions.c.digest == digest_, stale).values(last_used=now)
