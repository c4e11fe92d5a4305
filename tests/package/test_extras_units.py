"""Parts of ``microblog mail`` and ``harden`` that need no machine."""

import os
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from database_servers import mirror
from name_server import serve

from builder.core import paths
from microblog import names
from microblog.errors import HostError
from microblog.host.extras import dns, doors, harden, https, mx, postfix
from microblog.host.site import identity
from microblog.protocol import DNS_FIELDS

MX = {
    "one.example MX": ["20 backup.example.net", "10 mx.one.example"],
    "none.example A": ["192.0.2.1"],
    "null.example MX": ["0 "],
    "self.example MX": ["10 host.example"],
}


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The only one that this machine's resolver is told of."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        threading.Thread(target=serve, args=(udp, MX), daemon=True).start()
        monkeypatch.setattr(mx, "_PORT", udp.getsockname()[1])
        monkeypatch.setattr(mx, "_servers", lambda: ["127.0.0.1"])
        yield


def test_a_domains_mail_servers_are_asked_for(name_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mx.hosts("one.example") == ["mx.one.example", "backup.example.net"]
    assert mx.hosts("none.example") == mx.hosts("nowhere.example") == []
    assert mx.hosts("null.example") == [""]
    monkeypatch.setattr(postfix.names, "machine_names", lambda: ["host.example", "one.example"])
    told = {
        domain: postfix._taken_elsewhere(domain) for domain in ("one.example", "self.example", "null.example")
    }
    assert told == {"one.example": True, "self.example": False, "null.example": False}


def test_a_name_server_that_is_none_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        monkeypatch.setattr(mx, "_PORT", udp.getsockname()[1])
    monkeypatch.setattr(mx, "_servers", lambda: ["127.0.0.1"])
    assert mx.hosts("one.example") is None
    # One that sends a name that leads in circles holds nobody up.
    circle = struct.pack("!6H", 7, 0x8180, 1, 0, 0, 0) + b"\xc0\x0c" + struct.pack("!HH", 15, 1)
    monkeypatch.setattr(mx, "_ask", lambda *_: circle)
    assert mx.hosts("one.example") is None


# Each kind of address that the internet does not know, and who has it.
LOCAL = {
    "a home's": "10.1.2.3",
    "Docker's": "172.17.0.1",
    "the end of those": "172.31.255.254",
    "a home's, too": "192.168.1.9",
    "a provider's NAT's": "100.64.0.1",
    "the end of its": "100.127.255.254",
    "nobody's, given by itself": "169.254.7.7",
    "unique to a site": "fd12:3456::1",
    "a link's": "fe80::1",
    "the loopback's": "127.0.1.1",
    "for documentation": "2001:db8::1",
}
KNOWN = ("93.184.215.14", "2606:2800:21f:cb07::1")


@pytest.mark.parametrize("local", LOCAL.values(), ids=LOCAL)
def test_spf_names_addresses_of_the_whole_internet_alone(local: str) -> None:
    assert postfix.spf([local]) == "v=spf1 a mx -all"
    assert postfix.behind_nat([local])
    four, six = KNOWN
    assert postfix.spf([local, four, six]) == f"v=spf1 a mx ip4:{four} ip6:{six} -all"
    assert not postfix.behind_nat([local, four, six])


@pytest.mark.parametrize("neighbour", ["172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "11.0.0.1"])
def test_spf_leaves_out_no_address_beside_those(neighbour: str) -> None:
    assert postfix.spf([neighbour]) == f"v=spf1 a mx ip4:{neighbour} -all"
    assert not postfix.behind_nat([neighbour])


def test_each_kind_of_address_has_its_own_way_out() -> None:
    """With an IPv6 address of its own a machine may yet send by IPv4 through somebody's NAT."""
    four, six = KNOWN
    assert postfix.behind_nat(["10.0.0.5", six])
    assert not postfix.behind_nat([six])
    assert not postfix.behind_nat(["169.254.7.7", six])
    assert not postfix.behind_nat([four, "fd12:3456::1"])
    assert postfix.behind_nat([])


def test_a_bridge_to_a_machines_own_guests_is_no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel says of the way counts, and Docker's address beside it does not."""
    four, six = KNOWN
    monkeypatch.setattr(names, "_ipv4_addresses", lambda: ["172.17.0.1", four])
    monkeypatch.setattr(names, "_ipv6_addresses", lambda: ["2606:2800:21f:cb07::9", six])
    monkeypatch.setattr(names, "outward_addresses", lambda: [four, six])
    assert names.machine_addresses() == [four, "172.17.0.1", six, "2606:2800:21f:cb07::9"]
    monkeypatch.setattr(postfix, "_key", lambda domain: Path("/dev/null"))
    monkeypatch.setattr(postfix.privileges, "require_root", lambda *_: None)
    monkeypatch.setattr(postfix.Config, "load", lambda _: postfix.Config("k", "sqlite://"))
    monkeypatch.setattr(postfix.services, "run", lambda *words: subprocess.CompletedProcess(words, 0, "k"))

    def told_of_nat() -> bool:
        return "behind NAT" in postfix.records("one.example")[-1]

    for ways, told in (
        # Public by IPv6 alone; public by IPv4; by a private address, whatever another interface has.
        (["172.17.0.1", six], [six]),
        (["172.17.0.1", four], [four]),
        (["10.0.0.5", four], ["10.0.0.5"]),
    ):
        monkeypatch.setattr(names, "machine_addresses", lambda ways=ways: ways)
        monkeypatch.setattr(names, "outward_addresses", lambda told=told: told)
        assert told_of_nat() is (told == ["10.0.0.5"])
    # Without any way out, what there is.
    monkeypatch.setattr(names, "outward_addresses", list)
    monkeypatch.setattr(names, "machine_addresses", lambda: ["10.0.0.5"])
    assert told_of_nat()


def test_the_kernel_is_asked_for_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for an address of its own, which is there without any network."""
    monkeypatch.setattr(names, "_OUTSIDE", ((socket.AF_INET, "127.0.0.9"), (socket.AF_INET6, "fe80::1")))
    assert names.outward_addresses() == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("$myhostname, one.example, localhost", "host.example, localhost"),
        ("$mydomain, localhost.$mydomain, localhost", "localhost.$mydomain, localhost"),
        ("One.Example localhost", "localhost"),
        ("one.example", "localhost"),
        ("two.example, localhost", None),
    ],
)
def test_a_relay_takes_mail_to_the_sites_own_domain(
    monkeypatch: pytest.MonkeyPatch, written: str, kept: "str | None"
) -> None:
    meant = written.replace("$myhostname", "host.example").replace("$mydomain", "one.example")

    told_of = {"-h": written, "-hx": meant}
    monkeypatch.setattr(postfix.services, "answer", lambda *command: told_of[command[1]] + "\n")
    # Without one, this machine does, which has the domain's name and is its MX.
    monkeypatch.setattr(postfix.names, "machine_names", lambda: ["one.example"])
    monkeypatch.setattr(postfix.mx, "hosts", lambda _: ["one.example"])
    told = postfix._settings(postfix.Relay("smtp.example.net", 587, "", ""), "one.example")
    assert told.get("mydestination") == kept
    assert "mydestination" not in postfix._settings(None, "one.example")


@pytest.mark.parametrize(
    ("line", "comes_in"),
    [
        ("", True),
        ("authenticationmethods publickey,password publickey", True),
        ("authenticationmethods publickey,keyboard-interactive", False),
        ("pubkeyauthentication no", False),
        ("forcecommand internal-sftp", False),
        ("denyusers ad* bob", False),
        ("denygroups staff admins", False),
        ("allowusers bob", False),
        ("allowusers bob ada@10.0.0.*", True),
        ("allowgroups wheel", False),
        ("allowgroups admins", True),
        ("authorizedkeysfile /nowhere/%u", False),
        ("authorizedkeysfile /nowhere/%u %h/.ssh/authorized_keys", True),
    ],
)
def test_who_comes_in_is_what_sshd_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, comes_in: bool
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/authorized_keys").write_text("ssh-ed25519 AAAAC3Nz ada@laptop\n")
    said = ["pubkeyauthentication yes", "strictmodes no", "authorizedkeysfile .ssh/authorized_keys"]
    said = [*(entry for entry in said if not line or entry.split()[0] != line.split()[0]), line]

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, 0, "\n".join(said))

    monkeypatch.setattr(doors.services, "run", run)
    monkeypatch.setattr(doors.Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(doors.grp, "getgrall", lambda: [SimpleNamespace(gr_name="admins", gr_mem=["ada"])])
    monkeypatch.setattr(doors.grp, "getgrgid", lambda _: SimpleNamespace(gr_name="ada"))
    monkeypatch.setattr(doors, "_shadow", lambda name: [name, "$6$x$y", *[""] * 7])
    ada = SimpleNamespace(pw_name="ada", pw_dir=str(tmp_path), pw_uid=os.getuid(), pw_gid=7)
    through = doors.Connection("127.0.0.1", "127.0.0.1", 22)
    assert doors._comes_in(ada, through) is comes_in  # type: ignore[arg-type]
    # An account that has ended lets nobody in.
    monkeypatch.setattr(doors, "_shadow", lambda name: [name, "$6$x$y", *[""] * 5, "1", ""])
    assert not doors._comes_in(ada, through)  # type: ignore[arg-type]


TODAY = int(time.time() // 86400)


@pytest.mark.parametrize(
    ("fields", "ended"),
    [
        # Of shadow(5): password, last change, and least, most days, warning, grace, end.
        (["x", "20000", "", "", "", "", ""], False),
        (["!", "20000", "0", "99999", "7", "", ""], False),
        (["!", "", "", "30", "", "", ""], False),
        # To be changed by one who knows it, or by nobody.
        (["$6$x$y", "0", "0", "99999", "7", "", ""], False),
        (["!", "0", "0", "99999", "7", "", ""], True),
        (["$6$x$y", str(TODAY - 40), "0", "30", "7", "", ""], False),
        (["!", str(TODAY - 40), "0", "30", "7", "", ""], True),
        (["$6$x$y", str(TODAY - 40), "0", "30", "7", "20", ""], False),
        (["$6$x$y", str(TODAY - 40), "0", "30", "7", "5", ""], True),
        (["$6$x$y", "20000", "0", "99999", "7", "", str(TODAY)], True),
        (["$6$x$y", "20000", "0", "99999", "7", "", str(TODAY + 1)], False),
    ],
)
def test_an_account_or_a_password_that_has_ended(
    monkeypatch: pytest.MonkeyPatch, fields: list[str], ended: bool
) -> None:
    monkeypatch.setattr(doors, "_shadow", lambda name: [name, *fields, ""])
    assert doors._expired("ada") is ended


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("none", None),
        ("/usr/bin/keys", ["/usr/bin/keys", "ada"]),
        ("/usr/bin/keys --of %u --in %h %%", ["/usr/bin/keys", "--of", "ada", "--in", "/home/ada", "%"]),
        # Who has to be told the key cannot be asked without.
        ("/usr/bin/keys %u %f", None),
    ],
)
def test_a_command_of_sshds_is_asked_for_keys(
    monkeypatch: pytest.MonkeyPatch, command: str, asked: "list[str] | None"
) -> None:
    ran: list[str] = []

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        ran.extend(words)
        return subprocess.CompletedProcess(words, 0, "ssh-ed25519 AAAAC3Nz\n")

    monkeypatch.setattr(doors.services, "run", run)
    first = {"authorizedkeyscommand": command, "authorizedkeyscommanduser": "nobody"}
    ada = SimpleNamespace(pw_name="ada", pw_dir="/home/ada", pw_uid=1000)
    told = doors._told_by_command(first, ada)  # type: ignore[arg-type]
    assert told == ("ssh-ed25519 AAAAC3Nz\n" if asked else "")
    assert ran == (["timeout", "10", "runuser", "-u", "nobody", "--", *asked] if asked else [])


@pytest.mark.parametrize(
    ("conf", "theirs"),
    [
        ("[renewalparams]\nauthenticator = nginx\n", True),
        ("[renewalparams]\nrenew_hook = systemctl reload apache2\n", True),
        ("[renewalparams]\nrenew_hook = /usr/bin/microblog https --deploy\n", False),
        (None, False),
    ],
)
def test_somebodys_certificate_of_our_name_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conf: str | None, theirs: bool
) -> None:
    monkeypatch.setattr(https, "_LINEAGE", tmp_path)
    monkeypatch.setattr(https, "_RENEWAL", tmp_path / "microblog.conf")
    if conf is not None:
        (tmp_path / "microblog.conf").write_text(conf)
    monkeypatch.setattr(https.privileges, "require_root", lambda *_: None)
    monkeypatch.setattr(https.nginx, "installed", lambda: True)
    monkeypatch.setattr(https.certificate, "see_shown", lambda: None)

    def goes_on() -> None:
        raise HostError("it goes on", "")

    monkeypatch.setattr(https.providers, "see_not_roots", goes_on)
    with pytest.raises(HostError) as caught:
        https.enable(("blog.example.org",), "", "", print, by_root=False)
    assert ("somebody's" in caught.value.message) == theirs
    assert (caught.value.message == "it goes on") != theirs
    # And 'https --off' takes away its own alone.
    ran: list[object] = []
    monkeypatch.setattr(https.lock, "sole", lambda _say: nullcontext())
    monkeypatch.setattr(https.own_authority, "read", lambda: None)
    monkeypatch.setattr(https.hsts, "days_to_wait", lambda: 0)
    monkeypatch.setattr(https.ledger, "run", lambda *words: ran.append(words))
    monkeypatch.setattr(https.nginx, "mark_stale", goes_on)
    with pytest.raises(HostError):
        https.disable(print)
    assert bool(ran) != theirs


def test_what_a_match_lets_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "_CONFIGS", tmp_path)
    (tmp_path / "sshd_config.d").mkdir()
    main = tmp_path / "sshd_config"
    main.write_text(
        "PasswordAuthentication yes\nMatch User bob # he\n  passwordauthentication = yes\n"
        "  PermitRootLogin no\nMatch all\nPasswordAuthentication yes\n"
    )
    other = tmp_path / "sshd_config.d/a.conf"
    other.write_text("Match Address 10.0.0.0/8\n PermitRootLogin prohibit-password\n")
    assert doors.exceptions() == [
        f"{main} has for User bob: passwordauthentication yes",
        f"{other} has for Address 10.0.0.0/8: PermitRootLogin prohibit-password",
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("ufw allow 22/tcp", {"allow"}),
        ("ufw limit 20:30/tcp comment 'as of 80'", {"limit"}),
        ("ufw deny 22,2222/tcp", {"deny"}),
        ("ufw allow 22/udp", set()),
        ("ufw allow 2222", set()),
        ("ufw route allow 22", set()),
        ("ufw allow OpenSSH", set()),
        # As 'ufw show added' of version 0.36 has others.
        ("ufw allow from 10.0.0.0/8 to any port 22 proto tcp", {"allow"}),
        ("ufw allow to 192.0.2.5 port 22 proto tcp", {"allow"}),
        ("ufw allow in on eth0 to any port 22", {"allow"}),
        ("ufw allow log 22/tcp", {"allow"}),
        ("ufw allow to any port 22 proto udp", set()),
        # What goes out, comes from there, or comes from this machine itself, opens nothing.
        ("ufw allow out 22/tcp", set()),
        ("ufw reject out 22/tcp", set()),
        ("ufw allow from any port 22", set()),
        ("ufw allow in on lo to any port 22", set()),
        # One that keeps some out closes nothing; the first that is for all counts.
        ("ufw deny from 10.0.0.22 to any port 22,2222 proto tcp", set()),
        ("ufw deny from 203.0.113.9 to any port 22\nufw allow 22/tcp", {"allow"}),
        ("ufw allow 22\nufw deny 22/tcp", {"allow"}),
        ("ufw deny 22\nufw allow 22/tcp", {"deny"}),
        ("ufw allow from 10.0.0.0/8 to any port 22 proto tcp\nufw deny 22/tcp", {"allow", "deny"}),
    ],
)
def test_rules_of_ufws(monkeypatch: pytest.MonkeyPatch, line: str, found: set[str]) -> None:
    said = f"Added user rules (see 'ufw status' for running firewall):\n{line}\n"
    monkeypatch.setattr(
        harden.services, "run", lambda *command: subprocess.CompletedProcess(command, 0, said)
    )
    assert harden._rules(22) == found
    assert harden._rules(80) == set()


@pytest.mark.parametrize(
    ("options", "opens"),
    [
        ("", True),
        ('from="10.0.0.*",no-x11-forwarding ', True),
        ('command="/bin/true" ', False),
        ('environment="A=command=",no-agent-forwarding ', True),
        ("restrict ", False),
        ("cert-authority ", False),
        ("# ", False),
    ],
)
def test_a_key_that_opens_is_one_for_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, opens: bool
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{options}ssh-ed25519 AAAAC3Nz ada@laptop\n")
    ada = SimpleNamespace(pw_uid=os.getuid(), pw_dir=str(tmp_path))
    assert doors._opens(keys, ada, False, set()) is opens  # type: ignore[arg-type]
    assert doors._opens(keys, ada, False, {"ssh-ed25519"}) is opens  # type: ignore[arg-type]
    assert not doors._opens(keys, ada, False, {"rsa-sha2-512"})  # type: ignore[arg-type]
    # RSA's keys sign by newer names than theirs.
    keys.write_text(f"{options}ssh-rsa AAAAB3Nz ada@laptop\n")
    assert doors._opens(keys, ada, False, {"rsa-sha2-512"}) is opens  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("patterns", "opens"),
    [
        ("192.0.2.7", True),
        ("198.51.100.1,192.0.2.0/24", True),
        ("192.0.2.*", True),
        ("*,!192.0.2.8", True),
        ("*.one.example", True),
        ("198.51.100.1", False),
        ("198.51.100.*,2001:db8::/32", False),
        ("*,!192.0.2.0/24", False),
        ("!192.0.2.8", False),
    ],
)
def test_a_key_for_other_places_opens_nothing_to_who_comes_from_here(patterns: str, opens: bool) -> None:
    line = f'no-x11-forwarding,from="{patterns}" ssh-ed25519 AAAAC3Nz ci@elsewhere\n'
    assert doors._opened_by(line, set(), "192.0.2.7") is opens
    # At the machine itself nobody knows from where they will come.
    assert doors._opened_by(line, set())


@pytest.mark.parametrize(
    ("said", "may"),
    [
        ("    (ALL : ALL) ALL\n", True),
        ("    (root) NOPASSWD: ALL\n", True),
        ("    (ALL) /bin/true\n", False),
        ("    (www-data) ALL\n", False),
        # Of several that match the last one counts: a cloud's image has its user in both.
        ("    (ALL : ALL) ALL\n    (ALL) NOPASSWD: ALL\n", True),
        ("User ada is not allowed to run sudo on here.\n", False),
    ],
)
def test_who_may_be_root_is_what_sudo_says(monkeypatch: pytest.MonkeyPatch, said: str, may: bool) -> None:
    monkeypatch.setattr(
        doors.services,
        "run",
        lambda *command: subprocess.CompletedProcess(command, 0, f"User ada may:\n{said}"),
    )
    monkeypatch.setattr(doors, "_shadow", lambda name: [name, "$6$x$y", *[""] * 7])
    assert doors._may_sudo("ada") is may
    monkeypatch.setattr(doors, "_shadow", lambda name: [name, "!", *[""] * 7])
    assert doors._may_sudo("ada") is (may and "NOPASSWD" in said)


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What opens an account, in a file that is as it should be."""
    monkeypatch.setattr(dns, "FOLDER", tmp_path / "dns")
    path = tmp_path / "dns.ini"
    path.write_text("dns_linode_key = x\n")
    path.chmod(0o600)
    return path


def test_credentials_are_roots_alone(secret: Path) -> None:
    assert dns.read(secret) == "dns_linode_key = x\n"
    link = secret.with_name("link")
    link.symlink_to(secret)
    for wrong in (link, secret.parent, secret.with_name("nowhere"), Path("/dev/null")):
        with pytest.raises(HostError):
            dns.read(wrong)
    for mode in (0o640, 0o604):
        secret.chmod(mode)
        with pytest.raises(HostError, match="open to others"):
            dns.read(secret)


def test_a_provider_is_one_of_the_table(secret: Path) -> None:
    dns.Dns("linode", secret).check()
    dns.Dns("route53").check()
    for provider, credentials, said in (
        ("nobody", secret, "no plugin"),
        ("linode", None, "is not known"),
        ("route53", secret, "takes no --credentials"),
    ):
        with pytest.raises(HostError, match=said):
            dns.Dns(provider, credentials).check()
    (dns.FOLDER).mkdir()
    (dns.FOLDER / "linode.ini").touch()
    dns.Dns("linode").check()
    options = dns.Dns("linode", wait=5).options()
    assert options[:2] == ["--authenticator", "dns-linode"]
    assert options[2:] == [
        *("--dns-linode-credentials", str(dns.FOLDER / "linode.ini")),
        *("--dns-linode-propagation-seconds", "5"),
    ]


def test_credentials_that_are_refused_leave_what_was_there(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns.ledger, "FOLDER", tmp_path / "ledger")
    monkeypatch.setattr(dns.ledger.files, "write", lambda path, text, *_: path.write_text(text))
    kept = dns.Dns("linode", secret).kept
    with pytest.raises(HostError), dns.Dns("linode", secret).keeping():
        assert kept.read_text() == secret.read_text()
        raise HostError("refused", "")
    assert not kept.exists()
    assert not dns.ledger.entries("https")
    with dns.Dns("linode", secret).keeping():
        pass
    bad = secret.with_name("bad.ini")
    bad.write_text("bad")
    bad.chmod(0o600)
    with pytest.raises(HostError), dns.Dns("linode", bad).keeping():
        raise HostError("refused", "")
    assert kept.read_text() == secret.read_text()
    assert dns.FOLDER.stat().st_mode & 0o777 == 0o700


def test_what_opens_an_account_goes_with_its_use(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a provider's before, and each copy: of what somebody has written there by hand, too."""
    monkeypatch.setattr(dns.ledger, "FOLDER", tmp_path / "ledger")
    monkeypatch.setattr(dns.ledger.files, "write", lambda path, text, *_: path.write_text(text))

    def held() -> "set[str]":
        found = [path for path in tmp_path.rglob("*") if path.is_file() and path != secret]
        return {path.name for path in found if "dns_" in path.read_text()}

    dns.FOLDER.mkdir(mode=0o700)
    dns.Dns("linode").kept.write_text("dns_linode_key = by hand\n")
    with dns.Dns("linode", secret).keeping():
        pass
    assert held() == {"0001-linode.ini", "linode.ini"}
    # What was changed since is kept aside, when all is taken back.
    dns.Dns("linode").kept.write_text("dns_linode_key = rotated\n")
    with dns.Dns("gandi", secret).keeping():
        pass
    dns.forget(keep=dns.Dns("gandi").kept)
    assert held() == {"gandi.ini"}
    assert dns.ledger.noted("https", dns.Dns("gandi").kept)
    dns.forget()
    assert held() == set()
    assert not dns.ledger.entries("https")
    assert not dns.FOLDER.exists()


def test_a_relays_password_goes_with_the_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns.ledger, "FOLDER", tmp_path / "ledger")
    monkeypatch.setattr(dns.ledger.files, "write", lambda path, text, *_: path.write_text(text))
    monkeypatch.setattr(postfix, "_PASSWORDS", tmp_path / "relay")
    monkeypatch.setattr(postfix.services, "run", lambda *words: subprocess.CompletedProcess(words, 0, ""))
    relay = postfix.Relay("smtp.example.net", 465, "me", "p w")
    postfix._write_password(relay)
    (tmp_path / "relay.db").write_text("me:p w")
    postfix._forget_password()
    assert not list(tmp_path.glob("relay*"))
    assert not postfix.ledger.noted("mail", tmp_path / "relay")
    # What is said to a relay is said to nobody else: no other mail server begins with TLS.
    before, after = postfix._settings(relay, "one.example"), postfix._settings(None, "one.example")
    assert before["smtp_tls_wrappermode"] == "yes"
    assert (after["smtp_tls_wrappermode"], after["smtp_sasl_password_maps"]) == ("no", "")


@pytest.mark.parametrize("ours", [False, True])
def test_an_opendkim_at_the_usual_port_is_somebodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    """A mail server that signs by it is not changed without --force; what versions before the ledger have
    set up is."""
    milters = "inet:127.0.0.1:8891, inet:127.0.0.1:11332"
    told = {
        "-h": milters,
        "-n": f"smtpd_milters = {milters}\nvirtual_alias_maps = hash:/etc/postfix/virtual\n",
    }
    monkeypatch.setattr(postfix.services, "answer", lambda *command: told[command[1]])
    monkeypatch.setattr(postfix.apt, "installed", lambda _: True)
    monkeypatch.setattr(dns.ledger, "FOLDER", tmp_path / "ledger")
    monkeypatch.setattr(postfix, "_PASSWORDS", tmp_path / "relay")
    monkeypatch.setattr(postfix, "_MASTER_SHIPPED", tmp_path / "master.cf")
    monkeypatch.setattr(postfix, "_OPENDKIM_CONFIG", tmp_path / "opendkim.conf")
    if ours:
        (tmp_path / "opendkim.conf").touch()
    named = "smtpd_milters, virtual_alias_maps"
    assert postfix.theirs() == ("" if ours else f"postfix is somebody's mail server already: {named} are set")


@pytest.mark.parametrize("told", ["MAIL_PORT=587\nMAIL_USE_TLS=true\n", "MAIL_USE_SSL=true\n", ""])
def test_the_log_in_at_another_mail_server_goes_with_it_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """With it, and TLS by a certificate that nobody knows, the site could not send by postfix."""
    path = tmp_path / "microblog.env"
    before = f"SECRET_KEY={'k' * 64}\nDATABASE_URL=sqlite:////x\nMAIL_FROM=a@one.example\n"
    before += f"{told}MAIL_USERNAME=me\nMAIL_PASSWORD='p w'\nMAIL_SERVER=smtp.example.net\n" if told else ""
    path.write_text(before)
    monkeypatch.setattr(dns.ledger, "FOLDER", tmp_path / "ledger")
    monkeypatch.setattr(postfix.layout, "env_file", lambda: path)
    written: list[str] = []
    write = postfix.files.write

    def seen(where: Path, text: str, *rest: int) -> None:
        if where == path:
            written.append(text)
        write(where, text, *rest)

    monkeypatch.setattr(dns.ledger.files, "write", seen)
    postfix._tell_the_site(postfix.Config.load(path), "one.example")
    mail = postfix.Config.load(path).mail
    assert mail
    assert (mail.host, mail.port, mail.username, mail.password, mail.tls) == ("localhost", 25, "", "", "")
    # In one piece: a power cut leaves no settings that are refused.
    assert len(written) == 1
    dns.ledger.take_back("mail", written.append)
    assert sorted(path.read_text().splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_mail_server_of_somebody_keeps_its_names_when_the_machine_has_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    """Mail comes to these: under another one it would be turned away."""
    (tmp_path / "name").write_text("mail.one.example\n")
    (tmp_path / "mailname").write_text("mail.one.example\n")
    for name, path in (("_LAST", "name"), ("_MAILNAME", "mailname"), ("_POSTCONF", "name")):
        monkeypatch.setattr(identity, name, tmp_path / path)
    monkeypatch.setattr(identity.names, "machine_names", lambda: ["box1.one.example"])
    monkeypatch.setattr(identity.files, "write", lambda path, text, _: path.write_text(text))
    monkeypatch.setattr(identity.services, "answer", lambda *_: "mail.one.example, one.example\n")
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        identity.services, "run", lambda *step: ran.append(step) or subprocess.CompletedProcess(step, 0, "")
    )
    said: list[str] = []
    assert identity.follow(said.append, lambda: by_hand) is not by_hand
    assert bool(ran) is not by_hand
    assert ("mail." in (tmp_path / "mailname").read_text()) is by_hand
    assert ("somebody has set postfix up" in said[0]) is by_hand
    # Said once.
    assert not identity.follow(said.append, lambda: by_hand)
    assert len(said) == 1


def plugins(release: str, folder: Path) -> dict[str, str]:
    """The code of certbot's plugins for providers of the DNS that a release of Debian's has."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    lines = mirror(release) or [f"deb http://deb.debian.org/debian {release} main"]
    (folder / "sources.list").write_text("\n".join(lines))
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    options = [f"--option={name}={value}" for name, value in settings.items()]
    subprocess.run(["apt-get", "--quiet", *options, "update"], check=True, stdout=subprocess.DEVNULL)
    names = subprocess.run(
        ["apt-cache", *options, "pkgnames", "python3-certbot-dns-"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    wanted = {name: dns.Dns(name).package for name in dns.PROVIDERS if dns.Dns(name).package in names}
    download = ["apt-get", "--quiet", *options, "download", *wanted.values()]
    subprocess.run(download, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found = {}
    for provider in wanted:
        (deb,) = folder.glob(f"*-{provider}_*.deb")
        subprocess.run(["dpkg-deb", "--extract", deb, folder / provider], check=True)
        found[provider] = "".join(path.read_text() for path in (folder / provider).rglob("*.py"))
    return found


@pytest.mark.thorough
@pytest.mark.parametrize(("release", "column"), [("bookworm", 1), ("trixie", 2)])
def test_the_table_of_providers_is_that_of_the_distributions_plugins(
    release: str, column: int, tmp_path: Path
) -> None:
    """Which there are, what each wants to be told, and that it reads what a page is told."""
    table = (paths.ROOT / "docs/https.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `(\w+)`.*\| *(\w*) *\| *(\w*) *\|$", table)
    assert {row[0] for row in rows} == set(dns.PROVIDERS)
    found = plugins(release, tmp_path)
    assert set(found) == {row[0] for row in rows if row[column] == "yes"}
    for provider in set(found) & set(DNS_FIELDS):
        code = found[provider].replace("'", '"')
        fields = {name.replace("_", "-") for name in DNS_FIELDS[provider]}
        assert fields <= set(re.findall(r'conf\("([a-z-]+)"\)', code)), provider
        asked = re.search(r"\._configure_credentials\(.*?\n {8,12}\)\n", code, re.DOTALL)
        assert asked, provider
        assert set(re.findall(r'"([a-z-]+)": ', asked[0])) <= fields, provider
