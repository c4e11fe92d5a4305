"""Parts of ``microblog mail`` and ``harden`` that need no machine."""

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from name_server import serve

from microblog.host.extras import doors, mx, postfix

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
    assert doors._comes_in(ada) is comes_in  # type: ignore[arg-type]
    # An account that has ended lets nobody in.
    monkeypatch.setattr(doors, "_shadow", lambda name: [name, "$6$x$y", *[""] * 5, "1", ""])
    assert not doors._comes_in(ada)  # type: ignore[arg-type]


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
    assert doors._opens(keys, SimpleNamespace(pw_uid=os.getuid()), False) is opens  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "may"),
    [
        ("    (ALL : ALL) ALL\n", True),
        ("    (root) NOPASSWD: ALL\n", True),
        ("    (ALL) /bin/true\n", False),
        ("    (www-data) ALL\n", False),
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
