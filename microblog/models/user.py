"""Accounts."""

import re
import unicodedata
from functools import cache
from typing import Any

import sqlalchemy as sa
import sqlalchemy.orm

from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models import passwords, sessions

USERNAME_MIN = 3
USERNAME_MAX = 32
# RFC 5321, 4.5.3.1.3 (a path of 256 octets, less its angle brackets).
EMAIL_MAX = 254
ABOUT_MAX = 280

USERNAME = re.compile(r"[A-Za-z0-9_]+")
# What a mail server takes as an address; whether it exists, only a message to it can tell.
EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])"
)
# Names that would speak for the site itself.
RESERVED = frozenset(
    {
        *("abuse", "admin", "administrator", "anonymous", "everyone", "help", "hostmaster", "mailer_daemon"),
        *("me", "microblog", "moderator", "nobody", "noreply", "official", "postmaster", "root", "security"),
        *("staff", "support", "system", "webmaster"),
    }
)


def is_username(text: str) -> bool:
    """Whether somebody may be called so, reserved or not."""
    return bool(USERNAME.fullmatch(text)) and USERNAME_MIN <= len(text) <= USERNAME_MAX


def is_email(text: str) -> bool:
    """Whether it can be somebody's address."""
    return bool(EMAIL.fullmatch(text)) and len(text) <= EMAIL_MAX


def clean_about(text: str | None) -> str:
    """A line or two about somebody: newlines as one character, no control characters, and each letter as the
    one character it is."""
    text = re.sub(r"\r\n?", "\n", text or "")
    text = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", text)
    return unicodedata.normalize("NFC", text).strip()


# What a page needs only where it is about an account; and how to read it at once.
_LATE = "late"
WHOLE = sa.orm.undefer_group(_LATE)


def _late(column: Any) -> Any:
    """A column that is read when it is asked for, with all others of its kind: not for each page's reader."""
    return sa.orm.deferred(column, group=_LATE)


class User(sessions.LoggedIn, db.Model):  # type: ignore[name-defined, misc]
    """Somebody with an account.

    ``username`` is as its owner writes it; ``name_key`` is the same in lower case, by which it
    is found and is unique: a database's own idea of case differs from one to the next.
    """

    __tablename__ = "users"
    # A number is never given again: what was made for an account is not for the next one.
    __table_args__ = {"sqlite_autoincrement": True, **TABLE_OPTIONS}

    id = field(sa.Integer, primary_key=True)
    username = field(sa.String(USERNAME_MAX), nullable=False)
    name_key = _late(field(sa.String(USERNAME_MAX), nullable=False, unique=True))
    email = _late(field(sa.String(EMAIL_MAX), nullable=False, unique=True))
    password_hash = _late(field(sa.String(255), nullable=False))
    created_at = _late(field(sa.DateTime, nullable=False, default=utc_now))
    about = _late(field(sa.String(ABOUT_MAX), nullable=False, default="", server_default=""))
    # The interface's language; None: what the browser prefers.
    locale = field(sa.String(8))
    is_admin = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    suspended_at = field(sa.DateTime)
    last_seen = field(sa.DateTime)
    # Kept in the transactions that change them: no page counts rows.
    posts_count = _late(field(sa.Integer, nullable=False, default=0, server_default=sa.text("0")))
    followers_count = _late(field(sa.Integer, nullable=False, default=0, server_default=sa.text("0")))
    following_count = field(sa.Integer, nullable=False, default=0, server_default=sa.text("0"))
    # Whether a link in a mail to it was opened. Else somebody else may have it: it may be theirs.
    email_confirmed = _late(field(sa.Boolean, nullable=False, default=True, server_default=sa.text("1")))

    # Whether an administrator has yet to let it in; it is suspended for as long.
    waiting = _late(field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0")))

    is_moderator = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    # Whether there may be people whom they do not see, or who do not see them (microblog.models.barriers).
    has_barriers = field(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))

    # Of the log-in that was begun with it.
    secret = ""

    def __init__(self, username: str, email: str, password: str) -> None:
        super().__init__(username=username, name_key=username.lower(), email=email.lower())
        self.set_password(password)

    def __repr__(self) -> str:
        return f"<User {self.username}>"

    @property
    def moderates(self) -> bool:
        """As of a reader: whether they see to the peace."""
        return bool(self.is_admin or self.is_moderator)

    @staticmethod
    def unread() -> dict[str, int]:
        """As of a reader, for the page that a log-in ends with: nothing yet."""
        return {"news": 0, "letters": 0}

    @property
    def is_active(self) -> bool:
        """Whether its owner may log in and act: it is not suspended."""
        return self.suspended_at is None

    def set_password(self, password: str) -> None:
        """All log-ins with the old one end, and what was let in by who knew it: programs, too."""
        from microblog.models import applications

        if self.id is not None:
            sessions.end(self.id)
            applications.revoke(self.id)
        self.password_hash = passwords.hash_password(password)

    def start_session(self, agent: str, remembered: bool) -> None:
        """Log this account in, with a browser that calls itself so; the caller commits."""
        self.secret = sessions.start(self.id, agent, remembered)

    @staticmethod
    def find(name: str) -> "User | None":
        """The account with this name, or with this e-mail address."""
        key = name.lower()
        if key.endswith(" "):
            # To MySQL, spaces at an end are none.
            return None
        query = _by("email" if "@" in key else "name_key")
        user: User | None = db.session.execute(query, {"key": key}).scalar_one_or_none()
        return user

    @staticmethod
    def authenticate(name: str, password: str) -> "User | None":
        """The account with this name or e-mail address, if the password is its own.

        Takes as long for a name that nobody has: the time must not tell which names exist.
        """
        user = User.find(name)
        right = passwords.check_password(user.password_hash if user else None, password)
        return user if right else None


@cache
def _by(column: str) -> Any:
    return sa.select(User).options(WHOLE).where(getattr(User, column) == sa.bindparam("key"))


def lock_accounts(*ids: int) -> dict[int, bool]:
    """Lock these accounts' rows until the transaction ends, always in the same order, so that nobody
    waits for each other.

    :return: those that there are, and whether each is active.
    """
    users = User.__table__
    if db.engine.dialect.name == "sqlite":
        # It locks the whole database, but only for who writes.
        db.session.execute(sa.update(users).where(users.c.id.in_(ids)).values(locale=users.c.locale))
    rows = sa.select(users.c.id, users.c.suspended_at).where(users.c.id.in_(ids)).order_by(users.c.id)
    return {row.id: row.suspended_at is None for row in db.session.execute(rows.with_for_update())}


def changed(count: Any, change: int) -> Any:
    """A kept count after a change, never below nothing: that would be an error of the database's."""
    return count + change if change > 0 else sa.case((count + change < 0, 0), else_=count + change)
