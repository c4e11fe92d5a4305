"""The fleet's own certificate authority: its machines know each other by it, and nobody else."""

import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from builder.core.command import output, program
from builder.fleet.plan import Fleet, Machine

# Nothing renews them: what ends is a fleet. Visitors see another authority's.
_DAYS = "7300"
# Whose clock is behind, as a machine's may be that has just been made, knows the others all the same.
_BEHIND = timedelta(days=1)
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make(site: str) -> dict[str, str]:
    """A new one. :return: its key and certificate, in PEM."""
    with tempfile.TemporaryDirectory(prefix="microblog-") as name:
        folder = Path(name)
        _request(folder, named(site))
        extensions = (
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
            "subjectKeyIdentifier=hash\n"
        )
        _certify(folder, extensions, "-selfsign", "-keyfile", folder / "key")
        return {what: (folder / what).read_text() for what in ("key", "cert")}


def named(site: str) -> str:
    """What the authority of a site's fleet calls itself."""
    return f"{site[:50]} (fleet)"


def names(fleet: Fleet, machine: Machine) -> str:
    """What a machine's certificate is for, as openssl's subjectAltName takes it."""
    # An application reaches its database through a HAProxy of its own machine.
    own = ["DNS:localhost", "IP:127.0.0.1"] if machine.kind == "database" else []
    site = [f"DNS:{fleet.site}"] if machine.kind != "database" else []
    return ",".join([f"DNS:{machine.name}", f"IP:{machine.address}", *site, *own])


def sign(authority: dict[str, str], fleet: Fleet, machine: Machine) -> dict[str, str]:
    """A machine's new key, its certificate, and what that is for."""
    with tempfile.TemporaryDirectory(prefix="microblog-") as name:
        folder = Path(name)
        for what, text in authority.items():
            (folder / f"ca.{what}").write_text(text)
        _request(folder, machine.name)
        extensions = (
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            # Nodes of a cluster are each other's clients, too.
            "extendedKeyUsage=serverAuth,clientAuth\nsubjectKeyIdentifier=hash\n"
            f"authorityKeyIdentifier=keyid\nsubjectAltName={names(fleet, machine)}\n"
        )
        _certify(folder, extensions, "-cert", folder / "ca.cert", "-keyfile", folder / "ca.key")
        return {
            "for": names(fleet, machine),
            "key": (folder / "key").read_text(),
            "cert": (folder / "cert").read_text(),
        }


def _request(folder: Path, name: str) -> None:
    """Make a key, and the request for its certificate."""
    output([
        _openssl(), "req", "-new", *_NEW_KEY, "-keyout", folder / "key", "-out", folder / "request",
        "-subj", f"/CN={name}",
    ])  # fmt: skip


def _certify(folder: Path, extensions: str, *signer: "str | Path") -> None:
    """Make the certificate that is asked for there: openssl-ca(1), which alone lets it begin in the past."""
    (folder / "extensions").write_text(extensions)
    (folder / "index").touch()
    (folder / "config").write_text(
        "[ca]\ndefault_ca=own\n[own]\npolicy=named\ndefault_md=sha256\nrand_serial=yes\n"
        f"database={folder}/index\nnew_certs_dir={folder}\n[named]\ncommonName=supplied\n"
    )
    begins = datetime.now(timezone.utc) - _BEHIND
    output([
        _openssl(), "ca", "-batch", "-notext", "-config", folder / "config",
        "-in", folder / "request", "-out", folder / "cert", "-extfile", folder / "extensions",
        "-startdate", f"{begins:%y%m%d%H%M%SZ}", "-days", _DAYS, *signer,
    ])  # fmt: skip


def _openssl() -> str:
    return program("openssl", "openssl")
