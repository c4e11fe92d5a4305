"""What a site's own certificate authority is, for pages that explain it.

Made and published by root (``microblog.host.site.authority``), while the site's certificate is of it.
"""

import hashlib
import json
import ssl
from dataclasses import dataclass
from pathlib import Path

FILE = Path("/run/microblog/authority.json")


@dataclass(frozen=True)
class Authority:
    """:ivar names: those that it may certify, the first one being the site's.
    :ivar pem: its certificate.
    :ivar ends: when that ends, in seconds since 1970.
    """

    names: tuple[str, ...]
    pem: str
    ends: float

    @property
    def der(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.pem)

    @property
    def sha256(self) -> str:
        """Its fingerprint, as devices show it."""
        return _readable(hashlib.sha256(self.der))

    @property
    def mark(self) -> str:
        """By which it is noted whether a device trusts this one."""
        return self.sha256.replace(":", "")

    @property
    def sha1(self) -> str:
        """Likewise; Windows shows this one alone, as the thumbprint."""
        return _readable(hashlib.sha1(self.der, usedforsecurity=False))


def read() -> Authority | None:
    """The one that the site's certificate is of; None where another's is in use, or one that signs itself."""
    try:
        found = json.loads(FILE.read_text(encoding="utf-8"))
        return Authority(tuple(found["names"]), found["pem"], found["ends"])
    except (OSError, ValueError, KeyError):
        return None


def _readable(digest: "hashlib._Hash") -> str:
    return digest.digest().hex(":").upper()
