"""The certificate a machine makes for itself, until it has one of an authority's."""

import os

from microblog import names
from microblog.errors import HostError
from microblog.host.machine import files, layout, services
from microblog.host.site import nginx

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
    if KEY.exists() and CERTIFICATE.exists() and not _outdated():
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
    subjects = alternative_names()
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


def alternative_names() -> list[str]:
    """The names and addresses of this machine, as openssl's subjectAltName takes them."""
    # 253: the longest name there is (RFC 1035).
    found = [f"DNS:{name}" for name in [*names.machine_names(), "localhost"] if len(name) <= 253]
    return found + [f"IP:{address}" for address in [*names.machine_addresses(), "127.0.0.1", "::1"]]


def _outdated() -> bool:
    """Whether it is one of our own making that ends soon, or that a renamed machine has outgrown.

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
    return ours and (done.returncode == 1 or alternative_names()[0].lower() not in known)
