"""The certificate a machine makes for itself, until it has one of an authority's."""

import ipaddress
import itertools
import os
import socket
from pathlib import Path

from microblog.errors import HostError
from microblog.host import files, layout, services

CERTIFICATE = layout.TLS / "cert.pem"
KEY = layout.TLS / "key.pem"
# The longest that Apple's systems accept of a certificate somebody chose to
# trust is 825 days (https://support.apple.com/en-us/103769). Renewed by setup,
# at a boot or an upgrade, in the last month.
_DAYS = 820
_RENEW_SECONDS = 30 * 86400


def ensure() -> bool:
    """Make key and certificate where one is missing, or ours is about to expire.

    :return: whether they were made.
    :raises HostError: if openssl fails.
    """
    if KEY.exists() and CERTIFICATE.exists() and not _expiring():
        return False
    _, gid = layout.user_ids()
    if not layout.TLS.is_dir():
        layout.TLS.mkdir(mode=0o750)
    layout.TLS.chmod(0o750)
    os.chown(layout.TLS, 0, gid)
    key, certificate = layout.TLS / ".key.pem.new", layout.TLS / ".cert.pem.new"
    key.unlink(missing_ok=True)
    names = alternative_names()
    done = services.run(
        *("openssl", "req", "-x509", "-sha256", "-nodes", "-days", str(_DAYS)),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-keyout", str(key), "-out", str(certificate)),
        # 64 characters is a common name's limit (RFC 5280); clients read the others anyway.
        *("-subj", f"/CN={names[0].partition(':')[2][:64]}"),
        *("-addext", f"subjectAltName={','.join(names)}"),
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


def alternative_names() -> list[str]:
    """The names and addresses of this machine, as openssl's subjectAltName takes them.

    Asked of the kernel and /etc/hosts, never of a name server: at boot there may be none.
    """
    host = socket.gethostname().rstrip(".") or "localhost"
    short = host.partition(".")[0]
    names = [host, *_canonical_names(short), short, f"{short}.local", "localhost"]
    addresses = [*_ipv4_addresses(), *_ipv6_addresses(), "127.0.0.1", "::1"]
    # 253: the longest name there is (RFC 1035).
    found = [f"DNS:{name}" for name in names if name and len(name) <= 253]
    return list(dict.fromkeys(found + [f"IP:{address}" for address in addresses]))


def _expiring() -> bool:
    """Whether it is one of our own making that ends soon; another's is its maker's business."""
    done = services.run(
        *("openssl", "x509", "-in", str(CERTIFICATE), "-noout", "-subject", "-issuer"),
        *("-checkend", str(_RENEW_SECONDS)),
    )
    lines = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return done.returncode == 1 and bool(lines.get("issuer")) and lines.get("issuer") == lines.get("subject")


def _canonical_names(short: str) -> list[str]:
    """The full names that /etc/hosts gives the machine's own."""
    try:
        lines = Path("/etc/hosts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        names = line.partition("#")[0].split()[1:]
        if short in (name.partition(".")[0] for name in names):
            found += [name for name in names if name != "localhost"]
    return found


def _ipv4_addresses() -> list[str]:
    """Local addresses, from the routing table (proc(5), fib_trie)."""
    try:
        lines = Path("/proc/net/fib_trie").read_text().splitlines()
    except OSError:
        return []
    found = []
    for address, kind in itertools.pairwise(lines):
        if "/32 host LOCAL" in kind and "|--" in address:
            value = address.split("|--")[1].strip()
            if not ipaddress.ip_address(value).is_loopback:
                found.append(value)
    return found


def _ipv6_addresses() -> list[str]:
    """Addresses of global scope (proc(5), if_inet6: address, index, prefix, scope, flags, name)."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return []
    fields = [line.split() for line in lines]
    return [str(ipaddress.IPv6Address(int(field[0], 16))) for field in fields if field[3] == "00"]
