"""What a browser says of a passkey, read and judged (W3C, Web Authentication, level 2, 7.1 and 7.2).

python3-fido2 reads the bytes and knows the kinds of keys. Its server class is another in each of the
distributions' versions (0.9 to 2), so the steps are here: few, where no attestation is asked for.
"""

import hashlib
import hmac
import importlib.util
import json
from functools import cache
from typing import Any, NamedTuple

# Of keys: ES256, EdDSA, RS256 (IANA, COSE Algorithms).
ALGORITHMS = (-7, -8, -257)
_PRESENT, _ATTESTED = 0x01, 0x40


class Wrong(ValueError):
    """It is not what was asked for."""


class Asked(NamedTuple):
    """What a browser was asked for.

    :ivar host: the name that the passkey is for.
    :ivar origin: where the page is, as browsers say it.
    """

    host: str
    origin: str
    challenge: str


class New(NamedTuple):
    """A passkey that was made.

    :ivar credential: by which the device knows it.
    :ivar key: its public key, as COSE has it.
    :ivar counter: of its uses, as the device counts them; 0 where it does not.
    """

    credential: bytes
    key: bytes
    counter: int


@cache
def available() -> bool:
    """Whether the library is installed."""
    return importlib.util.find_spec("fido2") is not None


def made(asked: Asked, client_data: bytes, attestation: bytes) -> New:
    """The passkey that a browser has made.

    :raises Wrong: it is none, or not for this page.
    """
    from fido2 import cbor

    _see_client(asked, client_data, "webauthn.create")
    data = _read("AttestationObject", attestation).auth_data
    _see_data(asked, data)
    found = data.credential_data
    if not data.flags & _ATTESTED or found is None or found.public_key.get(3) not in ALGORITHMS:
        raise Wrong("there is no key")
    return New(found.credential_id, cbor.encode(dict(found.public_key)), data.counter)


def used(asked: Asked, client_data: bytes, data: bytes, signature: bytes, key: bytes) -> int:
    """How often the device has used a passkey, which it has just shown.

    :raises Wrong: it has not.
    """
    from fido2 import cbor
    from fido2.cose import CoseKey

    _see_client(asked, client_data, "webauthn.get")
    found = _read("AuthenticatorData", data)
    _see_data(asked, found)
    try:
        read: Any = cbor.decode(key)
        # cryptography has an exception of its own, the library another for what it cannot do.
        CoseKey.parse(read).verify(data + hashlib.sha256(client_data).digest(), signature)
    except Exception:
        raise Wrong("the signature is wrong") from None
    return int(found.counter)


def _see_client(asked: Asked, said: bytes, kind: str) -> None:
    try:
        found = json.loads(said)
        told = found["type"], found["origin"], found.get("crossOrigin", False)
        challenge = str(found["challenge"]).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Wrong("what the browser says cannot be read") from None
    if told != (kind, asked.origin, False):
        raise Wrong("it is for another page")
    if not hmac.compare_digest(challenge, asked.challenge.encode()):
        raise Wrong("it is for another question")


def _see_data(asked: Asked, data: Any) -> None:
    if data.rp_id_hash != hashlib.sha256(asked.host.encode()).digest():
        raise Wrong("it is for another name")
    if not data.flags & _PRESENT:
        raise Wrong("nobody was there")


def _read(kind: str, data: bytes) -> Any:
    from fido2 import webauthn

    home: Any = webauthn
    if not hasattr(webauthn, kind):
        # Before 1.0.
        from fido2 import ctap2

        home = ctap2
    try:
        return getattr(home, kind)(data)
    # Of a stranger's bytes, whatever it stumbles over.
    except Exception:
        raise Wrong("what the device says cannot be read") from None
