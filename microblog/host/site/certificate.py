"""The certificate a machine makes for itself, until it has one of an authority's."""

import ipaddress
import os
import re
import ssl
from collections.abc import Sequence
from pathlib import Path

from microblog import names
from microblog.errors import HostError
from microblog.host.machine import files, layout, ledger, services
from microblog.host.site import nginx

CERTIFICATE = layout.TLS / "cert.pem"
KEY = layout.TLS / "key.pem"
# The longest that Apple's systems accept of a certificate somebody chose to
# trust is 825 days (https://support.apple.com/en-us/103769). Renewed by setup,
# at a boot or an upgrade, in the last month.
_DAYS = 820
_RENEW_SECONDS = 30 * 86400


def ensure(told: Sequence[str] = ()) -> bool:
    """Make key and certificate where one is missing, or ours is about to expire or lacks a name.

    :param told: the names that visitors use, beside the machine's own.
    :return: whether they were made.
    :raises HostError: if openssl fails.
    """
    if not due(told):
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
    subjects = alternative_names(told)
    done = services.run(
        *("openssl", "req", "-x509", "-sha256", "-nodes", "-days", str(_DAYS)),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-keyout", str(key), "-out", str(certificate)),
        # 64 characters is a common name's limit (RFC 5280); clients read the others anyway.
        *("-subj", f"/CN={subjects[0].partition(':')[2][:64]}"),
        *("-addext", f"subjectAltName={','.join(subjects)}"),
        *("-addext", "extendedKeyUsage=serverAuth"),
    )
    if done.returncode:
        last = done.stdout.strip().splitlines()[-1:] or ["no output"]
        raise HostError(f"openssl made no certificate: {last[0]}", "mend that; then: microblog setup")
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
    return True


def due(told: Sequence[str] = ()) -> bool:
    """Whether :func:`ensure` makes one."""
    return not (KEY.exists() and CERTIFICATE.exists()) or _outdated(told) or (_half_put() and not pair())


def put(chain: str, key: str, command: str = "") -> None:
    """Put a certificate and its key where nginx reads.

    :param command: keeps what was there in the ledger, for this command to take back.
    """
    # A key beside another key's certificate would stop nginx, were the power cut here: with the key
    # alone setup makes a pair; of the ledger's it sees whether they are one.
    if command:
        ledger.write(command, KEY, key, 0o600)
        ledger.write(command, CERTIFICATE, chain, 0o644)
        return
    CERTIFICATE.unlink(missing_ok=True)
    files.write(KEY, key, 0o600)
    files.write(CERTIFICATE, chain, 0o644)


def ours() -> bool:
    """Whether it is one of this machine's own making, or there is none."""
    if not CERTIFICATE.exists():
        return True
    done = services.run("openssl", "x509", "-in", str(CERTIFICATE), "-noout", "-subject", "-issuer")
    lines = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return bool(lines.get("issuer")) and lines["issuer"] == lines.get("subject")


def ends(path: Path = CERTIFICATE) -> float:
    """When a certificate ends, in seconds since 1970; 0 for one that cannot be read."""
    done = services.run("openssl", "x509", "-in", str(path), "-noout", "-enddate")
    _, found, text = done.stdout.partition("notAfter=")
    return ssl.cert_time_to_seconds(text.strip()) if found and not done.returncode else 0.0


def domains(path: Path = CERTIFICATE) -> list[str]:
    """The names that a certificate is for, of those that an authority would certify."""
    done = services.run("openssl", "x509", "-in", str(path), "-noout", "-ext", "subjectAltName")
    found = re.findall(r"DNS:([^\s,]+)", done.stdout)
    return [name for name in found if "." in name and not name.endswith((".local", ".localdomain"))]


def pair() -> bool:
    """Whether certificate and key belong together."""
    of_certificate = services.run("openssl", "x509", "-in", str(CERTIFICATE), "-noout", "-pubkey")
    of_key = services.run("openssl", "pkey", "-in", str(KEY), "-pubout")
    return not (of_certificate.returncode or of_key.returncode) and of_certificate.stdout == of_key.stdout


def alternative_names(told: Sequence[str] = ()) -> list[str]:
    """The names and addresses of this machine, as openssl's subjectAltName takes them."""
    bare = [name.partition(":")[0] for name in told if not name.startswith("[")]
    # 253: the longest name there is (RFC 1035).
    wanted = dict.fromkeys([*bare, *names.machine_names(), "localhost"])
    found = [f"DNS:{name}" for name in wanted if len(name) <= 253 and not _is_address(name)]
    return found + [f"IP:{address}" for address in [*names.machine_addresses(), "127.0.0.1", "::1"]]


def _half_put() -> bool:
    """Whether a power cut may have come between key and certificate."""
    return any(entry["name"] == str(KEY) for entry in ledger.entries("https"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _outdated(told: Sequence[str]) -> bool:
    """Whether it is one of our own making that ends soon, or that lacks a name that came later.

    Another's is its maker's business.
    """
    done = services.run(
        *("openssl", "x509", "-in", str(CERTIFICATE), "-noout", "-subject", "-issuer"),
        *("-ext", "subjectAltName", "-checkend", str(_RENEW_SECONDS)),
    )
    lines = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if not lines.get("issuer") or lines["issuer"] != lines.get("subject"):
        return False
    known = {name.strip().lower() for name in done.stdout.replace("\n", ",").split(",")}
    # Ours has this name always; one that somebody else signed for themselves hardly has.
    ours = "dns:localhost" in known
    own = {name.lower() for name in alternative_names(told) if name.startswith("DNS:")}
    return ours and (done.returncode == 1 or not own <= known)
