"""The fleet's own certificate authority: its machines know each other by it, and nobody else."""

import tempfile
from pathlib import Path

from builder.core.command import output, program
from builder.fleet.plan import Fleet, Machine

# Nothing renews them: what ends is a fleet. Visitors see another authority's.
_DAYS = "7300"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make(site: str) -> dict[str, str]:
    """A new one. :return: its key and certificate, in PEM."""
    with tempfile.TemporaryDirectory(prefix="microblog-") as name:
        key, certificate = Path(name) / "key", Path(name) / "cert"
        output([
            _openssl(), "req", "-x509", *_NEW_KEY, "-days", _DAYS, "-keyout", key, "-out", certificate,
            "-subj", f"/CN={named(site)}",
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        ])  # fmt: skip
        return {"key": key.read_text(), "cert": certificate.read_text()}


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
        (folder / "extensions").write_text(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            # Nodes of a cluster are each other's clients, too.
            "extendedKeyUsage=serverAuth,clientAuth\nsubjectKeyIdentifier=hash\n"
            f"authorityKeyIdentifier=keyid\nsubjectAltName={names(fleet, machine)}\n"
        )
        output([
            _openssl(), "req", "-new", *_NEW_KEY, "-keyout", folder / "key", "-out", folder / "request",
            "-subj", f"/CN={machine.name}",
        ])  # fmt: skip
        output([
            _openssl(), "x509", "-req", "-in", folder / "request", "-out", folder / "cert", "-days", _DAYS,
            "-CA", folder / "ca.cert", "-CAkey", folder / "ca.key", "-CAcreateserial",
            "-CAserial", folder / "serial", "-extfile", folder / "extensions",
        ])  # fmt: skip
        return {
            "for": names(fleet, machine),
            "key": (folder / "key").read_text(),
            "cert": (folder / "cert").read_text(),
        }


def _openssl() -> str:
    return program("openssl", "openssl")
