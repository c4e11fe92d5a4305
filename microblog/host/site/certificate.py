"""The certificate a machine makes for itself, until it has one of an authority's.

It signs itself, and is for all names and addresses, that who looks twice knows it again; or, where nobody
else certifies the machine's names, it is of the machine's own authority (``authority``).
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from microblog import names
from microblog.errors import HostError
from microblog.host.machine import files, layout, ledger, services
from microblog.host.site import authority, nginx

CERTIFICATE = layout.TLS / "cert.pem"
KEY = layout.TLS / "key.pem"
# The longest that Apple's systems accept of a certificate somebody chose to
# trust is 825 days (https://support.apple.com/en-us/103769). Renewed by setup,
# at a boot or an upgrade, and daily, in the last month.
_DAYS = 820
_WHOSE = ("-subject", "-issuer")


def ensure(told: Sequence[str] = (), *, plain: bool = False) -> bool:
    """Make key and certificate where one is missing, or ours is about to expire or lacks a name.

    :param told: the names that visitors use, beside the machine's own.
    :param plain: whether visitors come by plain HTTP, too.
    :return: whether they were made.
    :raises HostError: if openssl fails.
    """
    if not due(told, plain=plain):
        authority.publish(CERTIFICATE)
        return False
    if nginx.installed():
        nginx.mark_stale()
    _, gid = layout.user_ids()
    if not layout.TLS.is_dir():
        layout.TLS.mkdir(mode=0o750)
    layout.TLS.chmod(0o750)
    os.chown(layout.TLS, 0, gid)
    key, certificate = layout.TLS / ".key.pem.new", layout.TLS / ".cert.pem.new"
    key.unlink(missing_ok=True)
    if authority.wanted(told, plain):
        authority.ensure(told)
        authority.sign(key, certificate)
    else:
        _sign_itself(key, certificate, alternative_names(told))
    key.chmod(0o600)
    certificate.chmod(0o644)
    # Were the power cut between the two names, a key beside another key's
    # certificate would stop nginx; a key alone is made again.
    CERTIFICATE.unlink(missing_ok=True)
    for path in (key, certificate):
        with path.open("rb+") as file:
            files.sync(file)
    files.replace(key, KEY)
    files.replace(certificate, CERTIFICATE)
    authority.publish(CERTIFICATE)
    return True


def due(told: Sequence[str] = (), *, plain: bool = False) -> bool:
    """Whether :func:`ensure` makes one."""
    return (
        not (KEY.exists() and CERTIFICATE.exists()) or _outdated(told, plain) or (_half_put() and not pair())
    )


def put(chain: str, key: str, command: str = "") -> None:
    """Put a certificate and its key where nginx reads.

    :param command: keeps what was there in the ledger, for this command to take back.
    """
    # A key beside another key's certificate would stop nginx, were the power cut here: with the key
    # alone setup makes a pair; of the ledger's it sees whether they are one.
    if command:
        ledger.write(command, KEY, key, 0o600)
        ledger.write(command, CERTIFICATE, chain, 0o644)
    else:
        CERTIFICATE.unlink(missing_ok=True)
        files.write(KEY, key, 0o600)
        files.write(CERTIFICATE, chain, 0o644)
    authority.publish(CERTIFICATE)


def shown() -> tuple[Path, Path]:
    """Certificate and key that visitors are shown: these, or what somebody has written into nginx's site."""
    named = nginx.shown()
    return named.get("ssl_certificate", CERTIFICATE), named.get("ssl_certificate_key", KEY)


def see_shown() -> None:
    """:raises HostError: nginx shows somebody's own, whatever is put where the site's is."""
    path = shown()[0]
    if path != CERTIFICATE:
        raise HostError(
            f"the site's certificate is somebody's own: {nginx.AVAILABLE} names {path}",
            f"with ssl_certificate {CERTIFICATE} and ssl_certificate_key {KEY} there, nginx shows another",
        )


def ours(path: Path | None = None) -> bool:
    """Whether it is one of this machine's own making, or there is none."""
    path = path or CERTIFICATE
    if not path.exists():
        return True
    return _is_ours(services.run("openssl", "x509", "-in", str(path), "-noout", *_WHOSE).stdout)


def ends(path: Path = CERTIFICATE) -> float:
    """When a certificate ends, in seconds since 1970; 0 for one that cannot be read."""
    return authority.ends(path)


def domains(path: Path = CERTIFICATE) -> list[str]:
    """The names that a certificate is for, of those that an authority would certify."""
    done = services.run("openssl", "x509", "-in", str(path), "-noout", "-ext", "subjectAltName")
    found = re.findall(r"DNS:([^\s,]+)", done.stdout)
    return [name for name in found if "." in name and not name.endswith((".local", ".localdomain"))]


def pair(files: tuple[Path, Path] | None = None) -> bool:
    """Whether certificate and key belong together."""
    certificate, key = files or (CERTIFICATE, KEY)
    of_certificate = services.run("openssl", "x509", "-in", str(certificate), "-noout", "-pubkey")
    of_key = services.run("openssl", "pkey", "-in", str(key), "-pubout")
    return not (of_certificate.returncode or of_key.returncode) and of_certificate.stdout == of_key.stdout


def alternative_names(told: Sequence[str] = ()) -> list[str]:
    """The names and addresses of this machine, as openssl's subjectAltName takes them."""
    bare = [name.partition(":")[0] for name in told if not name.startswith("[")]
    # 253: the longest name there is (RFC 1035).
    wanted = dict.fromkeys([*bare, *names.machine_names(), "localhost"])
    found = [f"DNS:{name}" for name in wanted if len(name) <= 253 and not names.is_address(name)]
    return found + [f"IP:{address}" for address in [*names.machine_addresses(), "127.0.0.1", "::1"]]


def _half_put() -> bool:
    """Whether a power cut may have come between key and certificate."""
    return any(entry["name"] == str(KEY) for entry in ledger.entries("https"))


def _outdated(told: Sequence[str], plain: bool) -> bool:
    """Whether it is one of our own making that ends soon, or that lacks a name that came later.

    Another's is its maker's business.
    """
    done = services.run(
        *("openssl", "x509", "-in", str(CERTIFICATE), "-noout", *_WHOSE),
        *("-ext", "subjectAltName", "-checkend", str(authority.RENEW_SECONDS)),
    )
    if not _is_ours(done.stdout):
        return False
    known = {name.strip().lower() for name in done.stdout.replace("\n", ",").split(",")}
    # One that signs itself and is ours has this name always; one of somebody else's hardly has.
    ours = "dns:localhost" in known or authority.marked(done.stdout)
    if authority.wanted(told, plain):
        own = {f"dns:{name}" for name in authority.permitted()}
        lacks = not (authority.fits(told) and authority.issued(CERTIFICATE) and own <= known)
    else:
        own = {name.lower() for name in alternative_names(told) if name.startswith("DNS:")}
        lacks = not own <= known
    return ours and (done.returncode == 1 or lacks)


def _is_ours(said: str) -> bool:
    """:param said: openssl's lines of whose a certificate is (:data:`_WHOSE`)."""
    lines = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    issuer = lines.get("issuer", "")
    return bool(issuer) and (issuer == lines.get("subject") or authority.marked(issuer))


def _sign_itself(key: Path, certificate: Path, subjects: Sequence[str]) -> None:
    authority.openssl(
        *("req", "-x509", "-sha256", "-nodes", "-days", str(_DAYS)),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-keyout", str(key), "-out", str(certificate)),
        # 64 characters is a common name's limit (RFC 5280); clients read the others anyway.
        *("-subj", f"/CN={subjects[0].partition(':')[2][:64]}"),
        *("-addext", f"subjectAltName={','.join(subjects)}"),
        *("-addext", "extendedKeyUsage=serverAuth"),
    )
