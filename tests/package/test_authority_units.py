"""The machine's own certificate authority: real keys and certificates, of folders of their own."""

import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from microblog import names, own_authority
from microblog.host.machine import layout
from microblog.host.site import authority, certificate, nginx

DAY = 86400


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``machine(host)`` gives it a name; :return: where its certificates are."""
    tls = tmp_path / "tls"
    places = {authority: ("CERTIFICATE", "KEY"), certificate: ("CERTIFICATE", "KEY")}
    for module, paths in places.items():
        for path in paths:
            monkeypatch.setattr(module, path, tls / getattr(module, path).name)
    monkeypatch.setattr(layout, "TLS", tls)
    monkeypatch.setattr(layout, "user_ids", lambda: (0, 0))
    monkeypatch.setattr(own_authority, "FILE", tmp_path / "authority.json")
    monkeypatch.setattr(nginx, "installed", lambda: False)
    monkeypatch.setattr(certificate.os, "chown", lambda *_: None)
    monkeypatch.setattr(authority.files, "write", _write)
    monkeypatch.setattr(certificate.ledger, "entries", lambda _command: [])

    def named(host: str, local: str = "") -> Path:
        monkeypatch.setattr(authority.socket, "gethostname", lambda: host)
        monkeypatch.setattr(names, "local_name", lambda: local or f"{host}.local")
        monkeypatch.setattr(names, "machine_names", lambda: [host, names.local_name()])
        return tls

    return named


def _write(path: Path, data: str, mode: int, *_: int) -> None:
    """Whoever runs the tests."""
    path.write_text(data)
    path.chmod(mode)


def verified(tls: Path, *, name: str = "", address: str = "", leaf: str = "cert.pem") -> str:
    """What openssl says as a client that trusts the authority alone; empty where it trusts."""
    wanted = ("-verify_hostname", name) if name else ("-verify_ip", address)
    command = ["openssl", "verify", "-no-CApath", "-CAfile", tls / "authority.pem", "-purpose", "sslserver"]
    done = subprocess.run([*command, *wanted, tls / leaf], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr) if done.returncode else ""


def forged(tls: Path, names: str) -> str:
    """Sign something else with the authority's key, as who has stolen it. :return: the file's name."""
    script = f"""
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x \
        -keyout f.key -out f.csr
    printf 'subjectAltName={names}' > f.cnf
    openssl x509 -req -in f.csr -CA authority.pem -CAkey authority-key.pem -CAcreateserial -extfile f.cnf \
        -days 9 -out forged.pem
    """
    subprocess.run(["sh", "-ec", script], cwd=tls, capture_output=True, check=True)
    return "forged.pem"


def test_it_certifies_the_machines_own_names_and_nothing_else(machine: Callable[..., Path]) -> None:
    tls = machine("garden")
    assert certificate.ensure(plain=True)
    assert not certificate.ensure(plain=True)
    assert verified(tls, name="garden.local") == ""
    assert "hostname mismatch" in verified(tls, name="other.local")
    # Whoever has its key gets no further with it, where clients keep to the standard.
    for stolen in ("DNS:bank.example", "DNS:router.local", "DNS:local", "IP:192.168.1.1", "IP:fe80::1"):
        kind, _, value = stolen.partition(":")
        told = verified(tls, **{"name" if kind == "DNS" else "address": value}, leaf=forged(tls, stolen))
        assert "subtree violation" in told or "excluded" in told, stolen
    # They are critical: who does not know them refuses it. And it makes no other authority.
    text = subprocess.run(
        ["openssl", "x509", "-in", tls / "authority.pem", "-noout", "-text"], capture_output=True, text=True
    ).stdout
    assert "X509v3 Name Constraints: critical" in text
    assert "CA:TRUE, pathlen:0" in text

    modes = {
        path.name: path.stat().st_mode & 0o777 for path in tls.iterdir() if not path.name.startswith("f")
    }
    assert {modes["authority-key.pem"], modes["key.pem"]} == {0o600}
    assert not [name for name in modes if name.startswith(".")]
    now = time.time()
    assert 396 * DAY < certificate.ends(tls / "cert.pem") - now < 398 * DAY
    assert 3650 * DAY < authority.ends(tls / "authority.pem") - now < 3653 * DAY


def test_it_is_made_where_nobody_else_certifies_the_names(machine: Callable[..., Path]) -> None:
    tls = machine("garden")
    # A server whose visitors are sent to HTTPS anyway: its certificate signs itself, as it always has.
    assert certificate.ensure()
    assert not (tls / "authority.pem").exists()
    assert certificate.ours()
    assert own_authority.read() is None
    # One whose visitors come by plain HTTP gets it, also in the place of that.
    assert certificate.ensure(plain=True)
    assert own_authority.read() is not None
    # Once it is there, it stays; with a name that others certify, the machine goes without.
    assert not certificate.ensure()
    assert certificate.ensure(["blog.example.org"], plain=True)
    assert own_authority.read() is None
    assert certificate.ours()
    assert certificate.ensure(plain=True)
    # Names of one word may be a whole domain's ("blog" is): none is certified.
    assert authority.permitted(tls / "authority.pem") == ["garden.local"]


def test_a_new_name_is_followed(machine: Callable[..., Path]) -> None:
    tls = machine("garden")
    certificate.ensure(plain=True)
    before = (tls / "authority.pem").read_text()
    # Where avahi has given it another one, it is known by both, whichever it has at the next boot.
    machine("garden", "garden-2.local")
    assert certificate.ensure(plain=True)
    both = (tls / "authority.pem").read_text()
    assert both != before
    for name in ("garden.local", "garden-2.local"):
        assert verified(tls, name=name) == ""
    machine("garden")
    assert not certificate.ensure(plain=True)
    # Another machine's name is none of its own any more.
    machine("attic")
    assert certificate.ensure(plain=True)
    assert verified(tls, name="attic.local") == ""
    assert authority.permitted(tls / "authority.pem") == ["attic.local"]
    known = own_authority.read()
    assert known
    assert known.names == ("attic.local",)


def test_the_sites_certificate_is_renewed_and_devices_trust_it_still(
    machine: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = machine("garden")
    with monkeypatch.context() as short:
        short.setattr(authority, "_LEAF_DAYS", 29)
        certificate.ensure(plain=True)
    known, first = (tls / "authority.pem").read_text(), (tls / "cert.pem").read_text()
    assert certificate.ensure(plain=True)
    assert (tls / "authority.pem").read_text() == known
    assert (tls / "cert.pem").read_text() != first
    assert verified(tls, name="garden.local") == ""
    # A power cut between an authority and what it certifies, or a lost one: it is still known for ours.
    (tls / "authority.pem").unlink()
    assert certificate.ours()
    assert certificate.ensure(plain=True)
    assert verified(tls, name="garden.local") == ""
    # One that was put there by somebody is theirs.
    theirs = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=Theirs"
    command = [*theirs.split(), "-keyout", tls / "key.pem", "-out", tls / "cert.pem"]
    subprocess.run(command, capture_output=True, check=True)
    assert not certificate.ensure(plain=True)


MAKE = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days} \
    -config /dev/stdin -keyout authority-key.pem -out authority.pem <<'END'
[req]
prompt = no
distinguished_name = dn
x509_extensions = x
[dn]
CN = x
[x]
basicConstraints = critical, CA:TRUE{path}
{constraints}
END
"""
NO_ADDRESS = "excluded;IP:0.0.0.0/0.0.0.0, excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0"
# A name of several lines: openssl writes it as if the list had ended there.
_ENDS = r"\nExcluded:\nIP:0.0.0.0/0.0.0.0\nIP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0"
TRICK = f"""nameConstraints = critical, @names
[names]
permitted;DNS.0 = garden.local
permitted;DNS.1 = attic.local{_ENDS}
permitted;DNS.2 = bank.example
"""
GOOD = f"nameConstraints = critical, permitted;DNS:garden.local, {NO_ADDRESS}"


@pytest.mark.parametrize(
    "constraints, path, days, fits",
    [
        (GOOD, ", pathlen:0", 99, True),
        ("", ", pathlen:0", 99, False),
        (GOOD, "", 99, False),
        (GOOD, ", pathlen:0", 9, False),
        (GOOD.replace("critical, ", ""), ", pathlen:0", 99, False),
        (f"nameConstraints = critical, {NO_ADDRESS}", ", pathlen:0", 99, False),
        ("nameConstraints = critical, permitted;DNS:garden.local", ", pathlen:0", 99, False),
        (GOOD.replace("garden", "attic"), ", pathlen:0", 99, False),
        (GOOD.replace("garden.local", "local"), ", pathlen:0", 99, False),
        (GOOD.replace(", ", ", permitted;DNS:bank.example, ", 1), ", pathlen:0", 99, False),
        (GOOD.replace(", ", ", permitted;email:example.org, ", 1), ", pathlen:0", 99, False),
        (TRICK, ", pathlen:0", 99, False),
        (TRICK.replace("permitted;DNS.2 = bank.example\n", ""), ", pathlen:0", 99, False),
    ],
)
def test_no_other_authority_is_taken_for_the_machines(
    machine: Callable[..., Path], constraints: str, path: str, days: int, fits: bool
) -> None:
    """Out of a backup, say, that somebody else has made."""
    tls = machine("garden")
    tls.mkdir()
    script = MAKE.format(constraints=constraints, path=path, days=days)
    subprocess.run(["sh", "-ec", script], cwd=tls, capture_output=True, check=True)
    assert authority.fits((), tls / "authority.pem", tls / "authority-key.pem") is fits
    if fits:
        _see_one_alone_is_taken(tls)
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", "authority-key.pem"], cwd=tls, check=True
    )
    assert not authority.fits((), tls / "authority.pem", tls / "authority-key.pem")


def _see_one_alone_is_taken(tls: Path) -> None:
    """Under its older name openssl reads the first, where devices would be given the second."""
    good, pem = (tls / "authority.pem").read_text(), tls / "two.pem"
    first = good.replace(" CERTIFICATE", " X509 CERTIFICATE")
    for text in (first, first + good, good + good, f"x\n{good}"):
        pem.write_text(text)
        assert not authority.fits((), pem, tls / "authority-key.pem")


def test_many_names_are_read_back(machine: Callable[..., Path]) -> None:
    tls = machine("garden")
    told = [f"{'a' * 60}.{number}.local" for number in range(300)]
    assert certificate.ensure(told, plain=True)
    assert authority.permitted(tls / "authority.pem") == [*told, "garden.local"]
    assert not certificate.ensure(told, plain=True)


def test_what_is_published_is_what_devices_show(machine: Callable[..., Path]) -> None:
    tls = machine("garden")
    certificate.ensure(plain=True)
    known = own_authority.read()
    assert known
    for digest, text in (("sha256", known.sha256), ("sha1", known.sha1)):
        said = subprocess.run(
            ["openssl", "x509", "-in", tls / "authority.pem", "-noout", "-fingerprint", f"-{digest}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert said.strip().endswith(f"={text}")
    assert ssl.DER_cert_to_PEM_cert(known.der) == known.pem
    assert "PRIVATE" not in own_authority.FILE.read_text()
    assert abs(known.ends - time.time() - 3652 * DAY) < DAY
