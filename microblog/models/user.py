"""Accounts."""

import hashlib
import hmac
import re

import sqlalchemy as sa
from flask_login import UserMixin

from microblog.database import TABLE_OPTIONS, db, utc_now
from microblog.models import passwords

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


class User(UserMixin, db.Model):  # type: ignore[name-defined, misc]
    """Somebody with an account.

    ``username`` is as its owner writes it; ``name_key`` is the same in lower case, by which it
    is found and is unique: a database's own idea of case differs from one to the next.
    """

    __tablename__ = "users"
    __table_args__ = TABLE_OPTIONS

    id = sa.Column(sa.Integer, primary_key=True)
    username = sa.Column(sa.String(USERNAME_MAX), nullable=False)
    name_key = sa.Column(sa.String(USERNAME_MAX), nullable=False, unique=True)
    email = sa.Column(sa.String(EMAIL_MAX), nullable=False, unique=True)
    password_hash = sa.Column(sa.String(255), nullable=False)
    created_at = sa.Column(sa.DateTime, nullable=False, default=utc_now)
    about = sa.Column(sa.String(ABOUT_MAX), nullable=False, default="", server_default="")
    # The interface's language; None: what the browser prefers.
    locale = sa.Column(sa.String(8))
    is_admin = sa.Column(sa.Boolean, nullable=False, default=False, server_default=sa.text("0"))
    suspended_at = sa.Column(sa.DateTime)
    last_seen = sa.Column(sa.DateTime)
    # Kept in the transactions that change them: no page counts rows.
    posts_count = sa.Column(sa.Integer, nullable=False, default=0, server_default=sa.text("0"))
    followers_count = sa.Column(sa.Integer, nullable=False, default=0, server_default=sa.text("0"))
    following_count = sa.Column(sa.Integer, nullable=False, default=0, server_default=sa.text("0"))

    def __init__(self, username: str, email: str, password: str) -> None:
        super().__init__(username=username, name_key=username.lower(), email=email.lower())
        self.set_password(password)

    def __repr__(self) -> str:
        return f"<User {self.username}>"

    @property
    def is_active(self) -> bool:
        """Whether its owner may log in and act: it is not suspended."""
        return self.suspended_at is None

    def set_password(self, password: str) -> None:
        self.password_hash = passwords.hash_password(password)

    def get_id(self) -> str:
        """What sessions and remember-me cookies hold.

        The part made from the password's hash makes a new password end all of them, and
        keeps a deleted account's cookies from opening a later one with the same number.
        """
        return f"{self.id}.{hashlib.sha256(self.password_hash.encode()).hexdigest()[:32]}"

    @staticmethod
    def from_id(text: str) -> "User | None":
        """The account that :meth:`get_id` gave ``text`` for, if it still has that password and is active."""
        number = text.partition(".")[0]
        if not (number.isascii() and number.isdigit()):
            return None
        user = db.session.get(User, int(number))
        if user is None or not user.is_active:
            return None
        return user if hmac.compare_digest(user.get_id(), text) else None

    @staticmethod
    def find(name: str) -> "User | None":
        """The account with this name, or with this e-mail address."""
        key = name.lower()
        column = User.email if "@" in key else User.name_key
        return db.session.execute(sa.select(User).where(column == key)).scalar_one_or_none()

    @staticmethod
    def authenticate(name: str, password: str) -> "User | None":
        """The account with this name or e-mail address, if the password is its own.

        Takes as long for a name that nobody has: the time must not tell which names exist.
        """
        user = User.find(name)
        right = passwords.check_password(user.password_hash if user else None, password)
        return user if right else None
