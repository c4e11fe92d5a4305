"""Browsers asked for a passkey, and their answers, which come in a form.

The question lies in the session's cookie, which is signed; a passkey remembers when the last one was asked
that it has answered, so that an answer counts once.
"""

import json
import secrets
import time
from typing import Any

from flask import request, session

from microblog.models import User, passkeys, webauthn
from microblog.models.webauthn import Asked
from microblog.names import is_address
from microblog.web.hosts import bare
from microblog.web.site_looks import site_name

FIELD = "passkey"
_ASKED = "passkey"
_SECONDS = 600


def possible() -> bool:
    """Whether browsers do that here: by HTTPS, and for a name; on one's own computer for localhost, too."""
    host = bare(request.host)
    return webauthn.available() and not is_address(host) and (request.is_secure or host == "localhost")


def offered(user_id: int) -> list[Any]:
    """The account's passkeys that browsers know for the name by which the visitor came."""
    return passkeys.of(user_id, bare(request.host)) if possible() else []


def ask_new(user: User) -> dict[str, Any]:
    """What a browser makes one by (Web Authentication, 5.4)."""
    return {
        "challenge": _ask([]),
        "rp": {"id": bare(request.host), "name": site_name()},
        "user": {"id": passkeys.handle(user.id), "name": user.username, "displayName": user.username},
        "pubKeyCredParams": [{"type": "public-key", "alg": one} for one in webauthn.ALGORITHMS],
        "excludeCredentials": _described(offered(user.id)),
        # It stands behind a password: who it is, is known already.
        "authenticatorSelection": {"residentKey": "discouraged", "userVerification": "discouraged"},
        "attestation": "none",
        "timeout": _SECONDS * 1000,
    }


def ask_one(user: User) -> dict[str, Any] | None:
    """What a browser shows one by (Web Authentication, 5.5); None where the account has none for here."""
    found = offered(user.id)
    if not found:
        return None
    return {
        "challenge": _ask(found),
        "rpId": bare(request.host),
        "allowCredentials": _described(found),
        "userVerification": "discouraged",
        "timeout": _SECONDS * 1000,
    }


def add(user: User, name: str, answer: str) -> None:
    """Keep what the browser has made; the caller commits.

    :raises webauthn.Wrong: it is not what was asked for.
    """
    asked, at = _asked()
    _, client_data, attestation = _parts(answer, "id", "client", "attestation")
    passkeys.add(user.id, name, asked, at, client_data, attestation)


def shown(user: User, answer: str) -> bool:
    """Whether the browser has shown a passkey of the account's."""
    try:
        asked, at = _asked()
        parts = _parts(answer, "id", "client", "data", "signature")
    except webauthn.Wrong:
        return False
    return passkeys.accept(user.id, asked, at, *parts)


def _ask(of: list[Any]) -> str:
    """:param of: the passkeys of which one may be shown."""
    challenge = secrets.token_urlsafe(32)
    # After all that they have answered: another machine, whose clock is ahead, may have asked for that.
    at = max([int(time.time() * 1000), *(one.asked_ms + 1 for one in of)])
    session[_ASKED] = [challenge, at]
    return challenge


def _asked() -> tuple[Asked, int]:
    challenge, at = session.get(_ASKED, ("", 0))
    # By a clock that is ahead, it may not be time yet.
    if not challenge or time.time() - at / 1000 >= _SECONDS:
        raise webauthn.Wrong("nothing was asked for")
    return Asked(bare(request.host), f"{request.scheme}://{request.host}", challenge), at


def _described(found: list[Any]) -> list[dict[str, str]]:
    return [{"type": "public-key", "id": one.credential} for one in found]


def _parts(answer: str, *names: str) -> list[bytes]:
    try:
        said = json.loads(answer)
        return [passkeys.decoded(said[name]) for name in names]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise webauthn.Wrong("the answer cannot be read") from None
