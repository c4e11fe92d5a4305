"""The site's own certificate authority, for where nobody else certifies its names: at home.

A device that is told to trust it believes what it signs, and it can sign for the names alone that the
machine has of its own: they are in its certificate as name constraints (RFC 5280, 4.2.1.10), critical,
together with every address, which it can sign none of. Its key is root's, and never leaves the machine but
in backups.
"""

import json
import re
import secrets
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from microblog import names, own_authority
from microblog.errors import HostError
from microblog.host.machine import files, layout, services

CERTIFICATE = layout.TLS / "authority.pem"
KEY = layout.TLS / "authority-key.pem"
# Ten years: each new one has to be trusted anew, on every device.
_DAYS = 3652
# Some browsers take no certificate that is longer valid, of authorities that they know (CA/Browser Forum).
_LEAF_DAYS = 397
_DAY = 86400
RENEW_SECONDS = 30 * _DAY
# In the names of ours, and, it is to be hoped, of nobody else's.
_MARK = re.compile(r"CN ?= ?\S+ \(Microblog [0-9a-f]{8}\)")
# Names of one word are left out: that of a machine may be a whole domain's, as "blog" is.
_NAME = re.compile(r"(?=.{1,253}$)(?!localhost\.)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{1,63}")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n?")
# nameConstraints, as DER has its number.
_CONSTRAINTS = bytes.fromhex("0603551d1e")
_CONFIG = """
[req]
prompt = no
distinguished_name = dn
x509_extensions = authority
[dn]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
nameConstraints = critical, @names
[names]
{permitted}
excluded;IP.0 = 0.0.0.0/0.0.0.0
excluded;IP.1 = 0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0
[site]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {subjects}
"""


def own_names(told: Sequence[str] = ()) -> list[str]:
    """The machine's names that no other authority certifies: of the local network, of more than one word.

    :param told: the names that visitors use, beside the machine's own.
    """
    short = socket.gethostname().partition(".")[0].lower()
    # Its own is among them where avahi has given it another: after a restart, it may have it again.
    found = dict.fromkeys([*_bare(told), names.local_name(), *names.machine_names(), f"{short}.local"])
    return [name for name in found if _NAME.fullmatch(name) and not names.is_public(name)]


def wanted(told: Sequence[str], plain: bool) -> bool:
    """Whether the machine's certificate is to be of its own authority.

    :param plain: whether visitors come by plain HTTP, too: no one depends on another certificate yet.
    """
    public = any(names.is_public(name) for name in [*_bare(told), *names.machine_names()])
    return not public and bool(own_names(told)) and (plain or CERTIFICATE.exists())


def ensure(told: Sequence[str] = ()) -> bool:
    """Make it where there is none that may certify the machine's names.

    :return: whether it was made: devices that trusted another have to be told anew.
    :raises HostError: if openssl fails.
    """
    if fits(told):
        return False
    wanted_names = own_names(told)
    key, certificate = layout.TLS / ".making-authority-key.pem", layout.TLS / ".making-authority.pem"
    for path in (key, certificate):
        path.unlink(missing_ok=True)
    name = f"{wanted_names[0][:40]} (Microblog {secrets.token_hex(4)})"
    with _config(name, wanted_names) as config:
        openssl(
            *("req", "-x509", "-sha256", "-nodes", "-days", str(_DAYS), "-config", config),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", str(key), "-out", str(certificate)),
        )
    put(certificate.read_text(), key.read_text())
    for path in (key, certificate):
        path.unlink()
    return True


def sign(key: Path, certificate: Path) -> None:
    """Make a key and a certificate for all the names that it may certify.

    :raises HostError: if openssl fails.
    """
    subjects = permitted()
    request = layout.TLS / ".request.pem.new"
    days = int(min(_LEAF_DAYS, (ends(CERTIFICATE) - time.time()) // _DAY))
    with _config(subjects[0][:64], subjects) as config:
        openssl(
            *("req", "-new", "-nodes", "-config", config),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", str(key), "-out", str(request)),
        )
        openssl(
            *("x509", "-req", "-in", str(request), "-sha256", "-days", str(days), "-out", str(certificate)),
            *("-CA", str(CERTIFICATE), "-CAkey", str(KEY), "-set_serial", str(secrets.randbits(158) + 1)),
            *("-extfile", config, "-extensions", "site"),
        )
    request.unlink()


def put(certificate: str, key: str) -> None:
    """Put one in place. A key alone, after a power cut, is made again."""
    CERTIFICATE.unlink(missing_ok=True)
    files.write(KEY, key, 0o600)
    files.write(CERTIFICATE, certificate, 0o644)


def forget() -> None:
    """Delete it."""
    for path in (CERTIFICATE, KEY):
        path.unlink(missing_ok=True)


def fits(told: Sequence[str] = (), certificate: Path | None = None, key: Path | None = None) -> bool:
    """Whether an authority is whole, of the form that ours have, not about to end, and may certify the
    machine's names and no other site's."""
    certificate, key = certificate or CERTIFICATE, key or KEY
    may = permitted(certificate)
    if not may or not set(own_names(told)) <= set(may) or any(map(names.is_public, may)):
        return False
    said = services.run(
        *("openssl", "x509", "-in", str(certificate), "-noout", "-checkend", str(RENEW_SECONDS), "-pubkey")
    )
    of_key = services.run("openssl", "pkey", "-in", str(key), "-pubout")
    return not (said.returncode or of_key.returncode) and of_key.stdout in said.stdout


def permitted(certificate: Path | None = None) -> list[str]:
    """The names that it may certify; none of what is not of the form that ours have."""
    certificate = certificate or CERTIFICATE
    if not certificate.exists():
        return []
    pem = certificate.read_text(encoding="utf-8", errors="replace")
    # One alone, of the one kind that devices are given: of several, openssl would look at the first.
    if not _PEM.fullmatch(pem):
        return []
    extensions = "basicConstraints,nameConstraints"
    said = services.run("openssl", "x509", "-in", str(certificate), "-noout", "-ext", extensions)
    lines = [line.strip() for line in said.stdout.splitlines()]
    try:
        found = lines[lines.index("Permitted:") + 1 : lines.index("Excluded:")]
    except ValueError:
        return []
    found = [line.removeprefix("DNS:") for line in found]
    if "CA:TRUE, pathlen:0" not in lines or not all(map(_NAME.fullmatch, found)):
        return []
    # A name may have ends of lines in it, and look like all that belongs here: it is the bytes that count.
    der = ssl.PEM_cert_to_DER_cert(pem.strip())
    return found if der.count(_CONSTRAINTS) == 1 and _limits(found) in der else []


def _limits(subjects: Sequence[str]) -> bytes:
    """The extension with which a certificate may certify these names and no address (RFC 5280, 4.2.1.10)."""
    wanted = b"".join(_der(0x30, _der(0x82, name.encode())) for name in subjects)
    without = b"".join(_der(0x30, _der(0x87, bytes(length))) for length in (8, 32))
    limits = _der(0x30, _der(0xA0, wanted) + _der(0xA1, without))
    return _der(0x30, _CONSTRAINTS + _der(0x01, b"\xff") + _der(0x04, limits))


def _der(tag: int, data: bytes) -> bytes:
    size = len(data)
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, *([size] if size < 128 else [128 | len(length), *length])]) + data


def ends(certificate: Path) -> float:
    """When a certificate ends, in seconds since 1970; 0 for one that cannot be read."""
    done = services.run("openssl", "x509", "-in", str(certificate), "-noout", "-enddate")
    _, found, text = done.stdout.partition("notAfter=")
    return ssl.cert_time_to_seconds(text.strip()) if found and not done.returncode else 0.0


def marked(text: str) -> bool:
    """Whether openssl's line with a certificate's issuer names one of ours, be it of an older one."""
    return bool(_MARK.search(text))


def issued(certificate: Path) -> bool:
    """Whether a certificate is of this authority, and for names that it may certify, whatever the time."""
    return not services.run(
        *("openssl", "verify", "-no_check_time", "-purpose", "sslserver"),
        *("-no-CApath", "-CAfile", str(CERTIFICATE), str(certificate)),
    ).returncode


def publish(certificate: Path) -> None:
    """Have the pages know of it while the site's certificate is of it."""
    path = own_authority.FILE
    text = ""
    if CERTIFICATE.exists() and certificate.exists() and (may := permitted()) and issued(certificate):
        pem = "".join(
            re.findall(r"(?s)-----BEGIN CERT.*?-----END CERTIFICATE-----\n", CERTIFICATE.read_text())
        )
        text = json.dumps({"names": may, "pem": pem, "ends": ends(CERTIFICATE)})
    with suppress(FileNotFoundError):
        if path.read_text() == text:
            return
    if text:
        path.parent.mkdir(mode=0o755, exist_ok=True)
        files.write(path, text, 0o644)
    else:
        path.unlink(missing_ok=True)


def openssl(*arguments: str) -> None:
    """:raises HostError: it fails."""
    done = services.run("openssl", *arguments)
    if done.returncode:
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise HostError(f"openssl made no certificate: {last[0]}", "mend that; then: microblog setup")


class _config:
    """A file of openssl's, as long as it is needed: :return: its path."""

    def __init__(self, name: str, subjects: Sequence[str]) -> None:
        self._path = layout.TLS / ".openssl.cnf.new"
        self._text = _CONFIG.format(
            name=name,
            permitted="\n".join(f"permitted;DNS.{number} = {one}" for number, one in enumerate(subjects)),
            subjects=", ".join(f"DNS:{one}" for one in subjects),
        )

    def __enter__(self) -> str:
        self._path.write_text(self._text)
        return str(self._path)

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def _bare(told: Sequence[str]) -> list[str]:
    return [name.partition(":")[0].lower() for name in told if not name.startswith("[")]
