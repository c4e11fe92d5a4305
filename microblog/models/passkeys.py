"""Passkeys: shown at a log-in in the place of a code of the second factor, by a device that keeps a key.

Each is for the name by which the site was opened when it was made: under another, browsers do not offer it.
"""

import base64
import hashlib
import hmac
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask import current_app, g

from microblog import units
from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models import webauthn
from microblog.models.webauthn import Asked

NAME_MAX = 40
# Of one account.
MOST = 10
# In bytes (Web Authentication, 6.5.1; RSA's of 4096 bits are the longest keys).
_CREDENTIAL_MAX, _KEY_MAX = 1023, 1024


class Passkey(db.Model):  # type: ignore[name-defined, misc]
    """One. ``asked_ms`` is when the last question was asked that it has answered: no older one counts."""

    __tablename__ = "passkeys"

    digest = field(sa.String(64), primary_key=True)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    host = field(sa.String(253), nullable=False)
    name = field(sa.String(NAME_MAX), nullable=False)
    credential = field(sa.String(1400), nullable=False)
    public_key = field(sa.String(1400), nullable=False)
    counter = field(sa.BigInteger, nullable=False)
    asked_ms = field(sa.BigInteger, nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)
    used_at = field(sa.DateTime, nullable=True)

    __table_args__ = (sa.Index(None, user_id), TABLE_OPTIONS)


def of(user_id: int, host: str = "") -> list[Any]:
    """An account's passkeys, oldest first. :param host: those for a name alone."""
    query = sa.select(Passkey).where(Passkey.user_id == user_id)
    if host:
        query = query.where(Passkey.host == host)
    return list(db.session.execute(query.order_by(Passkey.created_at, Passkey.digest)).scalars())


def handle(user_id: int) -> str:
    """What devices know an account by: nothing that tells who it is."""
    key = str(current_app.config["SECRET_KEY"]).encode()
    return encoded(hmac.new(key, f"passkeys\0{user_id}".encode(), hashlib.sha256).digest())


def add(user_id: int, name: str, asked: Asked, asked_ms: int, client_data: bytes, attestation: bytes) -> None:
    """Keep one that was made; the caller commits.

    :raises webauthn.Wrong: it was not, or there are as many as there may be.
    :raises sqlalchemy.exc.IntegrityError: at the commit: it is somebody's already.
    """
    new = webauthn.made(asked, client_data, attestation)
    if not 0 < len(new.credential) <= _CREDENTIAL_MAX or len(new.key) > _KEY_MAX or len(of(user_id)) >= MOST:
        raise webauthn.Wrong("there is no room for it")
    db.session.add(
        Passkey(
            digest=_digest(new.credential),
            user_id=user_id,
            host=asked.host,
            name=name,
            credential=encoded(new.credential),
            public_key=encoded(new.key),
            counter=new.counter,
            asked_ms=asked_ms,
        )
    )


def accept(
    user_id: int,
    asked: Asked,
    asked_ms: int,
    credential: bytes,
    client_data: bytes,
    data: bytes,
    signature: bytes,
) -> bool:
    """Whether that shows one of the account's passkeys. The answer is used up by that, whatever becomes of
    the request.

    :param asked_ms: when it was asked for, in milliseconds since 1970.
    """
    used: set[tuple[str, int]] = g.setdefault("passkeys_used", set())
    this = _digest(credential), asked_ms
    if units.is_again() and this in used:
        return True
    found = db.session.get(Passkey, this[0])
    if found is None or found.user_id != user_id or found.host != asked.host:
        return False
    try:
        counter = webauthn.used(asked, client_data, data, signature, decoded(found.public_key))
    except webauthn.Wrong:
        return False
    # A copy of a device counts on from where the copy was made (Web Authentication, 7.2, step 21).
    if (counter or found.counter) and counter <= found.counter:
        return False
    statement = (
        sa.update(Passkey)
        .where(Passkey.digest == found.digest, Passkey.asked_ms < asked_ms, Passkey.counter == found.counter)
        .values(asked_ms=asked_ms, counter=counter, used_at=utc_now())
    )
    if not units.run(partial(_use, statement)):
        return False
    used.add(this)
    return True


def remove(user_id: int, digest: str = "") -> int:
    """Delete one, or all; the caller commits. :return: how many."""
    query = sa.delete(Passkey).where(Passkey.user_id == user_id)
    if digest:
        query = query.where(Passkey.digest == digest)
    return int(db.session.execute(query.execution_options(synchronize_session=False)).rowcount)


def encoded(data: bytes) -> str:
    """As browsers write bytes (RFC 4648, 5, without padding)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """:raises ValueError: it is something else."""
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _digest(credential: bytes) -> str:
    return hashlib.sha256(credential).hexdigest()


def _use(statement: Any) -> bool:
    with db.engine.begin() as connection:
        return bool(connection.execute(statement).rowcount)
