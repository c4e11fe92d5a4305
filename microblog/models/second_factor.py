"""A second factor: six digits of an app (TOTP, RFC 6238), and recovery codes for who has lost it.

What is kept of the secret is a number from which only the site's own key makes it; of a recovery code, its
digest: whoever reads the tables alone can log in nowhere.
"""

import base64
import hashlib
import hmac
import re
import secrets
import struct
import time
from functools import partial
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from flask import current_app, g

from microblog import units
from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models import passkeys
from microblog.models.site import Setting
from microblog.models.user import User, lock_accounts

# What every app takes: SHA-1, six digits, 30 seconds (RFC 6238, 4; the apps ignore anything else).
DIGITS = 6
_STEP_SECONDS = 30
# A phone's clock may be a little off (RFC 6238, 5.2).
_DRIFT_STEPS = 1
_SECRET_BYTES = 20
# Of 80 random bits each, in Crockford's digits: none is taken for another (https://www.crockford.com/base32.html).
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_LETTERS = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz")
_MISREAD = str.maketrans("oil", "011")
_REQUIRED = "second_factor"


class SecondFactor(db.Model):  # type: ignore[name-defined, misc]
    """That an account asks for one. ``last_step`` is that of the last code that was used: none is twice."""

    __tablename__ = "second_factors"
    __table_args__ = TABLE_OPTIONS

    user_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    seed = field(sa.String(64), nullable=False)
    last_step = field(sa.BigInteger, nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)


class RecoveryCode(db.Model):  # type: ignore[name-defined, misc]
    """One that was not used yet."""

    __tablename__ = "recovery_codes"

    digest = field(sa.String(64), primary_key=True)
    user_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)

    __table_args__ = (sa.Index(None, user_id), TABLE_OPTIONS)


def totp(secret: bytes, step: int, digits: int = DIGITS) -> str:
    """The code of a step of 30 seconds since 1970 (RFC 4226, 5.3)."""
    digest = hmac.new(secret, struct.pack(">Q", step), hashlib.sha1).digest()
    at = digest[-1] & 15
    number = struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**digits:0{digits}}"


def new_seed() -> str:
    """What :func:`secret_of` makes an account's secret from, before it is kept."""
    return secrets.token_hex(32)


def secret_of(seed: str) -> bytes:
    """The secret that an app is told."""
    key = current_app.config["SECRET_KEY"].encode()
    return hmac.new(key, f"second factor\0{seed}".encode(), hashlib.sha256).digest()[:_SECRET_BYTES]


def readable(secret: bytes) -> str:
    """A secret as apps take it when it is typed, in groups of four."""
    text = base64.b32encode(secret).decode()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def address(secret: bytes, username: str, site: str) -> str:
    """What a QR code for apps holds (https://github.com/google/google-authenticator/wiki/Key-Uri-Format)."""
    label = quote(f"{site}:{username}", safe="")
    return f"otpauth://totp/{label}?secret={base64.b32encode(secret).decode()}&issuer={quote(site, safe='')}"


def right_step(secret: bytes, code: str, now: float | None = None) -> int:
    """:return: the step whose code it is, of those about now; 0 if there is none."""
    typed = re.sub(r"\s", "", code)
    if not (typed.isascii() and typed.isdigit()):
        return 0
    step = int(time.time() if now is None else now) // _STEP_SECONDS
    for candidate in range(step - _DRIFT_STEPS, step + _DRIFT_STEPS + 1):
        if hmac.compare_digest(totp(secret, candidate), typed):
            return candidate
    return 0


def of(user_id: int) -> Any:
    """An account's second factor, or None."""
    return db.session.get(SecondFactor, user_id)


def turn_on(user: User, seed: str, step: int) -> list[str]:
    """Ask for a code at each log-in from now on; the caller commits.

    :param step: of the code by which its owner has shown that their app has the secret.
    :return: recovery codes, to be shown once.
    """
    # Two at once: one after the other, and the last one's is what is kept.
    lock_accounts(user.id)
    turn_off(user.id)
    db.session.add(SecondFactor(user_id=user.id, seed=seed, last_step=step))
    return new_recovery_codes(user.id)


def turn_off(user_id: int) -> bool:
    """Ask for the password alone; the caller commits. Passkeys go with it: they stand in the place of a code.

    :return: whether there was a second factor.
    """
    passkeys.remove(user_id)
    db.session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    query = sa.delete(SecondFactor).where(SecondFactor.user_id == user_id)
    found = db.session.execute(query.execution_options(synchronize_session=False)).rowcount
    db.session.expire_all()
    return bool(found)


def new_recovery_codes(user_id: int) -> list[str]:
    """Codes that each work once, in the place of all there were; the caller commits."""
    db.session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    codes = [
        base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).translate(_LETTERS).decode()
        for _ in range(RECOVERY_CODES)
    ]
    db.session.add_all([RecoveryCode(digest=_digest(user_id, code), user_id=user_id) for code in codes])
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in codes]


def codes_left(user_id: int) -> int:
    query = sa.select(sa.func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user_id)
    return int(db.session.execute(query).scalar_one())


def accept(user_id: int, code: str) -> bool:
    """Whether this is a code that the account takes now: it is used up by that, whatever becomes of the
    request.

    Two log-ins at once with the same code: one is let in. A request that is begun again is still the one.
    """
    used: set[tuple[int, str]] = g.setdefault("codes_used", set())
    if units.is_again() and (user_id, code) in used:
        return True
    factor = of(user_id)
    if factor is None:
        return False
    step = right_step(secret_of(factor.seed), code)
    if step:
        statement: Any = (
            sa.update(SecondFactor)
            .where(SecondFactor.user_id == user_id, SecondFactor.last_step < step)
            .values(last_step=step)
        )
    else:
        digest = _digest(user_id, re.sub(r"[\s-]", "", code).lower().translate(_MISREAD))
        statement = sa.delete(RecoveryCode).where(
            RecoveryCode.digest == digest, RecoveryCode.user_id == user_id
        )
    if not units.run(partial(_use, statement)):
        return False
    used.add((user_id, code))
    return True


def _use(statement: Any) -> bool:
    with db.engine.begin() as connection:
        return bool(connection.execute(statement).rowcount)


def _digest(user_id: int, code: str) -> str:
    return hashlib.sha256(f"{user_id}\0{code}".encode("utf-8", "replace")).hexdigest()


def required_of_administrators() -> bool:
    """Whether administrators need one to do what only they can."""
    return db.session.get(Setting, _REQUIRED) is not None


def require_of_administrators(required: bool) -> None:
    """The caller commits."""
    db.session.execute(sa.delete(Setting).where(Setting.name == _REQUIRED))
    if required:
        db.session.add(Setting(name=_REQUIRED, value="administrators"))
