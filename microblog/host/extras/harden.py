"""``microblog harden``: what a careful administrator does to a new server; and takes back.

A table of measures. Each is a file of its own or a service's state, so that undoing one leaves
the administrator's own configuration as it was.
"""

import grp
import os
import pwd
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from microblog.errors import HostError
from microblog.host.machine import apt, files, lock, services

# First of the directory: sshd takes each setting's first value (sshd_config(5)).
_SSHD = Path("/etc/ssh/sshd_config.d/00-microblog.conf")
_SSHD_TEXT = """\
# Written by 'microblog harden'; 'microblog harden --undo' removes it.
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
MaxAuthTries 3
# What ssh-audit calls weak goes from the distribution's own lists.
KexAlgorithms -ecdh-sha2-*,diffie-hellman-group14-*,diffie-hellman-group-exchange-*
HostKeyAlgorithms -ecdsa-*,sk-ecdsa-*
MACs -hmac-sha1*,hmac-sha2-256,hmac-sha2-512,umac-64*,umac-128@openssh.com
"""
_UPGRADES = Path("/etc/apt/apt.conf.d/60microblog-upgrades")
_UPGRADES_TEXT = """\
// Written by 'microblog harden': security updates every day, by themselves.
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
"""
_JAIL = Path("/etc/fail2ban/jail.d/microblog.conf")
_JAIL_TEXT = """\
# Written by 'microblog harden'.
[sshd]
enabled = true
backend = systemd
"""
_JAILER = "fail2ban.service"
_UFW_MARK = Path("/etc/ufw/microblog")
_WEB_PORTS = (80, 443)


@dataclass(frozen=True)
class Measure:
    """:ivar what: in a few words.
    :ivar in_place: whether it is.
    :ivar apply: put it in place.
    :ivar undo: take it back, if it was this command that put it there.
    """

    what: str
    in_place: Callable[[], bool]
    apply: Callable[[Callable[[str], None]], None]
    undo: Callable[[], None]


def check() -> list[tuple[str, bool]]:
    """What is in place and what is not; changes nothing."""
    _check_root()
    return [(measure.what, measure.in_place()) for measure in MEASURES]


def harden(say: Callable[[str], None]) -> None:
    """Put all measures in place.

    :raises HostError: before anything is changed, if it would lock the administrator out.
    """
    _check_root()
    with lock.sole(say):
        if _sshd_installed() and not (admins := list(_admins_with_keys())):
            raise HostError(
                "nobody could log in any more: no user who may use sudo has an SSH key",
                "adduser YOU; adduser YOU sudo; put your public key into ~YOU/.ssh/authorized_keys; log in"
                " as YOU once; then: microblog harden",
            )
        if _sshd_installed():
            say(f"Logging in stays possible, by key, for: {', '.join(admins)}")
        for measure in MEASURES:
            if not measure.in_place():
                measure.apply(say)
                say(f"Done: {measure.what}")


def undo(say: Callable[[str], None]) -> None:
    """Take back what :func:`harden` has put in place; what it installed stays installed."""
    _check_root()
    with lock.sole(say):
        for measure in reversed(MEASURES):
            measure.undo()
    say("What 'microblog harden' did is undone")


def _sshd_installed() -> bool:
    return Path("/usr/sbin/sshd").exists()


def _admins_with_keys() -> Iterator[str]:
    """Users other than root who may use sudo, have a shell, and a key that opens the door."""
    if not Path("/usr/bin/sudo").exists():
        return
    members: set[str] = set()
    for group in ("sudo", "admin", "wheel"):
        try:
            entry = grp.getgrnam(group)
        except KeyError:
            continue
        members.update(entry.gr_mem)
        members.update(user.pw_name for user in pwd.getpwall() if user.pw_gid == entry.gr_gid)
    # cloud-init gives its user a line instead.
    for path in Path("/etc/sudoers.d").glob("*"):
        members.update(
            re.findall(r"^([a-z_][\w-]*)\s+ALL\s*=", path.read_text(errors="replace"), re.MULTILINE)
        )
    for name in sorted(members - {"root"}):
        try:
            user = pwd.getpwnam(name)
            keys = Path(user.pw_dir, ".ssh/authorized_keys").read_text(errors="replace")
        except (KeyError, OSError):
            continue
        if not user.pw_shell.endswith(("nologin", "false")) and re.search(
            r"^[^#\n]*(ssh|ecdsa)-\S+ \S+", keys, re.M
        ):
            yield name


def _apply_sshd(say: Callable[[str], None]) -> None:
    if not _sshd_installed():
        return
    main = Path("/etc/ssh/sshd_config").read_text(errors="replace")
    if not re.search(r"(?im)^\s*include\s+/etc/ssh/sshd_config\.d/\*\.conf", main):
        raise HostError(
            "/etc/ssh/sshd_config does not include /etc/ssh/sshd_config.d/*.conf", "add that line at its top"
        )
    files.write(_SSHD, _SSHD_TEXT, 0o644)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    test = services.run("/usr/sbin/sshd", "-t")
    if test.returncode:
        _SSHD.unlink()
        raise HostError(f"sshd does not accept it: {test.stdout.strip()[:200]}", "nothing was changed")
    _reload_sshd()


def _reload_sshd() -> None:
    if services.state("ssh.service") == "active":
        services.run("systemctl", "reload", "ssh.service")


def _undo_sshd() -> None:
    if _SSHD.exists():
        _SSHD.unlink()
        _reload_sshd()


def _ssh_ports() -> list[int]:
    """Where sshd listens: those must stay open, whatever they are."""
    if not _sshd_installed():
        return []
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    said = services.run("/usr/sbin/sshd", "-T").stdout
    # In small letters until OpenSSH 10.
    ports = re.findall(r"(?im)^port (\d+)$", said)
    # From Ubuntu 22.10 on systemd may listen for it, on ports of its own unit.
    if services.state("ssh.socket") == "active":
        said = services.run("systemctl", "show", "--property=Listen", "ssh.socket").stdout
        ports += re.findall(r":(\d+) \(Stream\)", said)
    return sorted({int(port) for port in ports}) or [22]


def _firewall_on() -> bool:
    return "Status: active" in services.run("ufw", "status").stdout


def _apply_firewall(say: Callable[[str], None]) -> None:
    apt.ensure(say, "ufw")
    # Open first, close afterwards.
    for port in (*_ssh_ports(), *_WEB_PORTS):
        services.run("ufw", "allow", f"{port}/tcp")
    done = services.run("ufw", "--force", "enable")
    if not _firewall_on():
        last = (done.stdout.strip().splitlines() or ["it does not say why"])[-1]
        raise HostError(f"ufw does not start: {last}", "ufw enable")
    files.write(_UFW_MARK, "Enabled by 'microblog harden'.\n", 0o644)


def _undo_firewall() -> None:
    if _UFW_MARK.exists():
        services.run("ufw", "--force", "disable")
        for port in (*_ssh_ports(), *_WEB_PORTS):
            services.run("ufw", "delete", "allow", f"{port}/tcp")
        _UFW_MARK.unlink()


def _upgrades_on() -> bool:
    said = services.run("apt-config", "dump", "APT::Periodic").stdout
    return apt.installed("unattended-upgrades") and 'APT::Periodic::Unattended-Upgrade "1"' in said


def _apply_upgrades(say: Callable[[str], None]) -> None:
    apt.ensure(say, "unattended-upgrades")
    files.write(_UPGRADES, _UPGRADES_TEXT, 0o644)


def _jail_on() -> bool:
    return not _sshd_installed() or "sshd" in services.run("fail2ban-client", "status").stdout


def _apply_jail(say: Callable[[str], None]) -> None:
    apt.ensure(say, "fail2ban", "python3-systemd")
    files.write(_JAIL, _JAIL_TEXT, 0o644)
    services.run("systemctl", "enable", _JAILER)
    if services.run("systemctl", "restart", _JAILER).returncode or not services.wait_for(_jail_on):
        raise HostError("fail2ban does not start", services.log_of(_JAILER))


def _undo_jail() -> None:
    if _JAIL.exists():
        _JAIL.unlink()
        services.run("systemctl", "try-restart", _JAILER)


MEASURES = (
    Measure(
        "SSH: keys alone, not for root",
        lambda: not _sshd_installed() or (_SSHD.exists() and _SSHD.read_text() == _SSHD_TEXT),
        _apply_sshd,
        _undo_sshd,
    ),
    Measure("firewall: SSH and the web alone", _firewall_on, _apply_firewall, _undo_firewall),
    Measure(
        "security updates by themselves",
        _upgrades_on,
        _apply_upgrades,
        lambda: _UPGRADES.unlink(missing_ok=True),
    ),
    Measure("fail2ban: who guesses passwords is shut out", _jail_on, _apply_jail, _undo_jail),
)


def _check_root() -> None:
    if os.geteuid() != 0:
        raise HostError("only root can harden a machine", "sudo microblog harden")
