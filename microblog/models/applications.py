"""Programs that act for somebody: applications, codes, and tokens.

Of secrets, digests alone are kept: whoever reads the tables, or a backup of them, is nobody.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import current_app

from microblog.database import TABLE_OPTIONS, db, field, reading, shared_now, utc_now
from microblog.models import reader
from microblog.models.reader import Reader
from microblog.models.user import User

NAME_MAX = 100
URI_MAX = 2000
SCOPES_MAX = 255
WEBSITE_MAX = 255
# The time between a yes and the program's fetching its token.
_CODE = timedelta(minutes=10)
# A program's token ends when it was not used for so long; noted this often.
UNUSED = timedelta(days=365)
_USED_AGAIN = timedelta(hours=1)
# A program that nobody has let in for so long registers itself anew.
_CLIENT_UNUSED = timedelta(days=90)
# Tokens of one account: a page holds them all, and whoever makes one too many ends the one used least.
MOST = 100
# Rows that are removed in one statement.
_CHUNK = 500

# What a program may do (https://docs.joinmastodon.org/api/oauth-scopes/), less what there is not here.
_READS = (
    *("accounts", "blocks", "bookmarks", "favourites", "filters", "follows", "lists", "mutes"),
    *("notifications", "search", "statuses"),
)
_WRITES = (
    *("accounts", "blocks", "bookmarks", "conversations", "favourites", "filters", "follows", "lists"),
    *("media", "mutes", "notifications", "reports", "statuses"),
)
SCOPES = (
    *("read", *(f"read:{part}" for part in _READS)),
    *("write", *(f"write:{part}" for part in _WRITES)),
    *("follow", "push", "profile"),
)
_FOLLOW = frozenset(f"{verb}:{part}" for verb in ("read", "write") for part in ("blocks", "follows", "mutes"))


class Client(db.Model):  # type: ignore[name-defined, misc]
    """A program that has registered itself (RFC 7591 calls it a client)."""

    __tablename__ = "api_clients"

    id = field(sa.Integer, primary_key=True)
    client_id = field(sa.String(64), nullable=False, unique=True)
    secret_digest = field(sa.String(64), nullable=False)
    name = field(sa.String(NAME_MAX), nullable=False)
    website = field(sa.String(WEBSITE_MAX), nullable=False, default="", server_default="")
    # With newlines between.
    redirect_uris = field(sa.String(URI_MAX), nullable=False)
    scopes = field(sa.String(SCOPES_MAX), nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = (sa.Index(None, created_at), {"sqlite_autoincrement": True, **TABLE_OPTIONS})


class Grant(db.Model):  # type: ignore[name-defined, misc]
    """An authorization code: somebody has said yes, and the program has not yet fetched its token."""

    __tablename__ = "api_grants"

    digest = field(sa.String(64), primary_key=True)
    client_id = field(sa.Integer, sa.ForeignKey("api_clients.id", ondelete="CASCADE"), nullable=False)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    redirect_uri = field(sa.String(URI_MAX), nullable=False)
    scopes = field(sa.String(SCOPES_MAX), nullable=False)
    # Of PKCE (RFC 7636), by S256; empty: none was given.
    challenge = field(sa.String(128), nullable=False, default="", server_default="")
    expires_at = field(sa.DateTime, nullable=False)

    __table_args__ = (
        sa.Index(None, client_id),
        sa.Index(None, user_id),
        sa.Index(None, expires_at),
        TABLE_OPTIONS,
    )


class AccessToken(db.Model):  # type: ignore[name-defined, misc]
    """What a program shows instead of a password."""

    __tablename__ = "api_tokens"

    id = field(sa.Integer, primary_key=True)
    digest = field(sa.String(64), nullable=False, unique=True)
    # None: the program itself, that acts for nobody.
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"))
    # None: made by its owner, of /api/tokens.
    client_id = field(sa.Integer, sa.ForeignKey("api_clients.id", ondelete="CASCADE"))
    scopes = field(sa.String(SCOPES_MAX), nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)
    last_used_at = field(sa.DateTime)
    expires_at = field(sa.DateTime)

    __table_args__ = (
        sa.Index(None, user_id),
        sa.Index(None, client_id),
        sa.Index(None, expires_at),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )


_CLIENTS: Any = Client.__table__
_GRANTS: Any = Grant.__table__
_TOKENS: Any = AccessToken.__table__


class Caller(NamedTuple):
    """Who shows a token.

    :ivar token: its number.
    :ivar client: that of the program that it was given to; None: of its owner's own.
    :ivar scopes: what it may do.
    :ivar used: when it was last noted to be used.
    :ivar reader: for whom; None: the program acts for nobody.
    """

    token: int
    client: int | None
    scopes: frozenset[str]
    used: datetime | None
    reader: Reader | None

    def may(self, scope: str) -> bool:
        """Whether it was let do this."""
        return covers(self.scopes, scope)


def covers(given: frozenset[str], scope: str) -> bool:
    """Whether who was given these scopes has this one."""
    return scope in given or scope.partition(":")[0] in given or ("follow" in given and scope in _FOLLOW)


def scopes(text: str, among: str | None = None) -> str | None:
    """The scopes that are asked for, in order; None if there are none such.

    :param text: with spaces between.
    :param among: what may be asked for; None: all.
    """
    wanted = [*dict.fromkeys(text.split())]
    held = frozenset(SCOPES if among is None else among.split())
    if not wanted or any(scope not in SCOPES or not covers(held, scope) for scope in wanted):
        return None
    asked = " ".join(
        scope
        for scope in wanted
        if scope.partition(":")[0] == scope or not covers(frozenset(wanted) - {scope}, scope)
    )
    return asked if len(asked) <= SCOPES_MAX else None


def register(name: str, redirect_uris: list[str], asked: str, website: str = "") -> tuple[Any, str]:
    """A new program; the caller commits.

    :return: it, and its secret.
    """
    secret = secrets.token_urlsafe(32)
    client = Client(
        client_id=secrets.token_urlsafe(32),
        secret_digest=digest(secret),
        name=name,
        website=website,
        redirect_uris="\n".join(redirect_uris),
        scopes=asked,
    )
    db.session.add(client)
    db.session.flush()
    return client, secret


def find_client(client_id: str, secret: str | None = None) -> Any:
    """The program with this name of its own; None if there is none, or it has another secret."""
    query = sa.select(Client).where(Client.client_id == client_id)
    # A database may take some texts for others.
    client = db.session.execute(query).scalar_one_or_none() if client_id.isascii() else None
    if client is None or client.client_id != client_id:
        return None
    if secret is not None and not hmac.compare_digest(client.secret_digest, digest(secret)):
        return None
    return client


def client_of(number: int) -> Any:
    """The program with this number."""
    return db.session.get(Client, number)


def allow(client: Any, user_id: int, redirect_uri: str, asked: str, challenge: str = "") -> str:
    """Somebody has said yes; the caller commits.

    :param challenge: of PKCE (RFC 7636), by S256.
    :return: a code, by which the program fetches its token.
    """
    code = secrets.token_urlsafe(32)
    db.session.add(
        Grant(
            digest=digest(code),
            client_id=client.id,
            user_id=user_id,
            redirect_uri=redirect_uri,
            scopes=asked,
            challenge=challenge,
            expires_at=shared_now() + _CODE,
        )
    )
    return code


def redeem(client: Any, code: str, redirect_uri: str, verifier: str) -> tuple[str, str] | None:
    """A token for a code, once; the caller commits, also where there is none.

    A code that comes twice has been in two hands: what its first use gave is ended (RFC 6749, 4.1.2).

    :param verifier: of PKCE; empty if there is none.
    :return: the token and its scopes; None: the code is not, or no longer, good for this.
    """
    query = sa.select(Grant).where(Grant.digest == digest(code), Grant.expires_at > shared_now())
    grant = db.session.execute(query).scalar_one_or_none()
    if grant is None:
        revoke_secret(_token_of(code), client.id)
        return None
    if grant.client_id != client.id or grant.redirect_uri != redirect_uri:
        return None
    if grant.challenge != (challenge_of(verifier) if verifier else ""):
        return None
    user_id, given = grant.user_id, grant.scopes
    statement = sa.delete(_GRANTS).where(_GRANTS.c.digest == grant.digest)
    db.session.expunge(grant)
    # Of two at once, one gets a token.
    if not db.session.execute(statement).rowcount:
        revoke_secret(_token_of(code), client.id)
        return None
    active = sa.select(User.id).where(User.id == user_id, User.suspended_at.is_(None))
    if db.session.execute(active).first() is None:
        return None
    return issue(user_id, client.id, given, secret=_token_of(code)), given


def _token_of(code: str) -> str:
    """The token that this code gives: so that it is known again, and nothing of a used code is kept."""
    key = str(current_app.config["SECRET_KEY"]).encode()
    made = hmac.new(key, b"token of a code\n" + code.encode("utf-8", "replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def challenge_of(verifier: str) -> str:
    """RFC 7636, 4.2."""
    hashed = hashlib.sha256(verifier.encode("utf-8", "replace")).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()


def issue(
    user_id: int | None,
    client_id: int | None,
    given: str,
    lifetime: timedelta | None = UNUSED,
    secret: str | None = None,
) -> str:
    """A new token; the caller commits.

    :param user_id: whose; None: the program's own.
    :param client_id: the program's number; None: its owner's own.
    :param lifetime: a program's is counted from its last use; None: it does not end.
    :param secret: None: a new one, by chance.
    :return: its secret.
    """
    secret = secret or secrets.token_urlsafe(32)
    expires_at = utc_now() + lifetime if lifetime else None
    db.session.add(
        AccessToken(
            digest=digest(secret), user_id=user_id, client_id=client_id, scopes=given, expires_at=expires_at
        )
    )
    db.session.flush()
    if user_id is not None:
        _end_some(user_id)
    return secret


def _end_some(user_id: int) -> None:
    """Whoever makes tokens by the thousand, or a script that does, keeps the last ones."""
    numbers = sa.select(_TOKENS.c.id).where(_TOKENS.c.user_id == user_id).order_by(_TOKENS.c.id.desc())
    if over := db.session.execute(numbers.offset(MOST)).scalars().all():
        db.session.execute(sa.delete(_TOKENS).where(_TOKENS.c.id.in_(over)))


def find(secret: str) -> Caller | None:
    """Who shows this token, if it is good, and whose it is, is active."""
    values = {"digest": digest(secret), "now": utc_now()}
    with reading() as connection:
        row = connection.execute(_by_digest(), values).first()
    if row is None:
        return None
    token, client, given, used, owner, found = row
    if owner is not None and found is None:
        return None
    who = reader.parse(found, secret="") if found else None
    return Caller(token, client, frozenset(given.split()), used, who)


@cache
def _by_digest() -> Any:
    """Asked by every call: made once, so that SQLAlchemy knows it again without looking."""
    users = User.__table__
    active = sa.and_(users.c.id == _TOKENS.c.user_id, users.c.suspended_at.is_(None))
    good = sa.or_(_TOKENS.c.expires_at.is_(None), _TOKENS.c.expires_at > sa.bindparam("now"))
    says = (_TOKENS.c.id, _TOKENS.c.client_id, _TOKENS.c.scopes, _TOKENS.c.last_used_at, _TOKENS.c.user_id)
    # Nobody is to be told what is unread.
    owner = sa.case((users.c.id.is_not(None), reader.text(sa.false())))
    query = sa.select(*says, owner).select_from(_TOKENS.outerjoin(users, active))
    return query.where(_TOKENS.c.digest == sa.bindparam("digest"), good)


def is_stale(used: datetime | None, now: datetime) -> bool:
    """Whether a use is to be noted again."""
    return used is None or used <= now - _USED_AGAIN


def touch(token: int, now: datetime) -> None:
    """Note that a token was used, at most once an hour. In a transaction of its own."""
    stale = sa.or_(_TOKENS.c.last_used_at.is_(None), _TOKENS.c.last_used_at <= now - _USED_AGAIN)
    # A program's lives on with that; its owner's own ends when it was said to.
    lives = sa.case((_TOKENS.c.client_id.is_(None), _TOKENS.c.expires_at), else_=now + UNUSED)
    with db.engine.begin() as connection:
        query = sa.update(_TOKENS).where(_TOKENS.c.id == token, stale)
        connection.execute(query.values(last_used_at=now, expires_at=lives))


def of(user_id: int) -> list[Any]:
    """Somebody's tokens that are good, the newest first: rows with id, name and website of the program,
    scopes, created_at, last_used_at and expires_at. No name: its owner's own."""
    good = sa.or_(_TOKENS.c.expires_at.is_(None), _TOKENS.c.expires_at > utc_now())
    says = (_TOKENS.c.id, _CLIENTS.c.name, _CLIENTS.c.website, _TOKENS.c.scopes, _TOKENS.c.created_at)
    query = (
        sa.select(*says, _TOKENS.c.last_used_at, _TOKENS.c.expires_at)
        .select_from(_TOKENS.outerjoin(_CLIENTS, _CLIENTS.c.id == _TOKENS.c.client_id))
        .where(_TOKENS.c.user_id == user_id, good)
    )
    return list(db.session.execute(query.order_by(_TOKENS.c.id.desc()).limit(MOST)))


def revoke(user_id: int, token: int | None = None) -> bool:
    """End one of somebody's tokens, or all, and all codes; the caller commits.

    :return: whether there was one.
    """
    query = sa.delete(_TOKENS).where(_TOKENS.c.user_id == user_id)
    if token is not None:
        query = query.where(_TOKENS.c.id == token)
    else:
        db.session.execute(sa.delete(_GRANTS).where(_GRANTS.c.user_id == user_id))
    return bool(db.session.execute(query).rowcount)


def revoke_secret(secret: str, client_id: int) -> bool:
    """End a program's token; the caller commits. :return: False if it is another one's."""
    query = sa.select(_TOKENS.c.id, _TOKENS.c.client_id).where(_TOKENS.c.digest == digest(secret))
    row = db.session.execute(query).first()
    if row is None:
        return True
    if row.client_id != client_id:
        return False
    db.session.execute(sa.delete(_TOKENS).where(_TOKENS.c.id == row.id))
    return True


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def sweep() -> None:
    """Remove what has expired, and programs that nobody has let in."""
    now = shared_now()
    tokens = sa.select(_TOKENS.c.client_id).where(_TOKENS.c.client_id == _CLIENTS.c.id)
    grants = sa.select(_GRANTS.c.client_id).where(_GRANTS.c.client_id == _CLIENTS.c.id)
    unused = sa.and_(_CLIENTS.c.created_at <= now - _CLIENT_UNUSED, ~tokens.exists(), ~grants.exists())
    for table, column, over in (
        (_TOKENS, _TOKENS.c.id, _TOKENS.c.expires_at <= now),
        (_GRANTS, _GRANTS.c.digest, _GRANTS.c.expires_at <= now),
        (_CLIENTS, _CLIENTS.c.id, unused),
    ):
        with db.engine.connect() as connection:
            gone = sorted(connection.execute(sa.select(column).where(over).limit(_CHUNK)).scalars())
        # By their keys and in order: nobody who uses one meanwhile waits in a circle.
        if gone:
            with db.engine.begin() as connection:
                connection.execute(sa.delete(table).where(column.in_(gone), over))
