"""Links in mails: a secret that opens one thing, once, for a short while."""

import hashlib
import hmac
import secrets
from datetime import timedelta

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, shared_now
from microblog.models.user import EMAIL_MAX, User

LIFETIME = timedelta(minutes=10)

RESET = "reset"
NEW_EMAIL = "email"


class Token(db.Model):  # type: ignore[name-defined, misc]
    """A secret that was sent to somebody. Only its digest is kept: whoever reads the table, or a
    backup of it, can use none.

    ``bound_to`` is a digest of the account's password hash and e-mail address: a change of
    either makes every token from before worthless.
    """

    __tablename__ = "tokens"

    digest = field(sa.String(64), primary_key=True)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    purpose = field(sa.String(16), nullable=False)
    email = field(sa.String(EMAIL_MAX), nullable=True)
    bound_to = field(sa.String(64), nullable=False)
    expires_at = field(sa.DateTime, nullable=False)

    __table_args__ = (sa.Index(None, user_id), sa.Index(None, expires_at), TABLE_OPTIONS)


def issue(user: User, purpose: str, email: str | None = None) -> str:
    """A new token of 256 random bits, to be sent and not to be kept.

    :param purpose: ``RESET`` or ``NEW_EMAIL``.
    :param email: the new address that it confirms.
    """
    db.session.execute(sa.delete(Token).where(Token.expires_at <= shared_now()))
    secret = secrets.token_urlsafe(32)
    db.session.add(
        Token(
            digest=_digest(secret),
            user_id=user.id,
            purpose=purpose,
            email=email,
            bound_to=_bound_to(user),
            expires_at=shared_now() + LIFETIME,
        )
    )
    return secret


def sweep() -> None:
    """Remove what has expired."""
    over = Token.__table__.c.expires_at <= shared_now()
    with db.engine.begin() as connection:
        connection.execute(sa.delete(Token.__table__).where(over))


def find(secret: str, purpose: str) -> tuple[User, Token] | None:
    """Whose token that is, and the token, if it is still good for that purpose."""
    query = sa.select(User, Token).join(Token, Token.user_id == User.id)
    query = query.where(Token.digest == _digest(secret), Token.purpose == purpose)
    found = db.session.execute(query.where(Token.expires_at > shared_now())).first()
    if found is None or not hmac.compare_digest(found[1].bound_to, _bound_to(found[0])):
        return None
    return found[0], found[1]


def use(token: Token) -> bool:
    """Use a token up, in the transaction that does what it is for.

    :return: whether nobody was faster.
    """
    deleted = db.session.execute(
        sa.delete(Token).where(Token.digest == token.digest).execution_options(synchronize_session=False)
    )
    return deleted.rowcount == 1


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _bound_to(user: User) -> str:
    return hashlib.sha256(f"{user.password_hash}\n{user.email}".encode()).hexdigest()
