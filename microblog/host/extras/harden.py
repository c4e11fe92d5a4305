"""``microblog harden``: what a careful administrator does to a new server; and takes back.

A table of measures. All that each changes is in the ledger, so that undoing it leaves the
administrator's own configuration as it was. It takes itself back unless it is confirmed from a new
session: a door that was closed by mistake opens again.
"""

import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from microblog.errors import HostError
from microblog.host.extras import doors
from microblog.host.machine import apt, files, layout, ledger, lock, privileges, services

_COMMAND = "harden"
# First of the directory: sshd takes each setting's first value (sshd_config(5)).
_SSHD = Path("/etc/ssh/sshd_config.d/00-microblog.conf")
_SSHD_WANTED = {
    "permitrootlogin": "no",
    "passwordauthentication": "no",
    "kbdinteractiveauthentication": "no",
}
_SSHD_TEXT = """\
# Written by 'microblog harden'; 'microblog harden --undo' removes it.
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
X11Forwarding no
# What ssh-audit calls weak goes from the distribution's own lists.
KexAlgorithms -ecdh-sha2-*,diffie-hellman-group14-*,diffie-hellman-group-exchange-*
HostKeyAlgorithms -ecdsa-*,sk-ecdsa-*
MACs -hmac-sha1*,hmac-sha2-256,hmac-sha2-512,umac-64*,umac-128@openssh.com
"""
_RELOAD_SSHD = ["systemctl", "try-reload-or-restart", "ssh.service"]
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
port = {ports}
"""
_JAILER = "fail2ban.service"
# Where versions before the ledger have noted that the firewall is theirs.
_UFW_MARK = Path("/etc/ufw/microblog")
_UFW_CONF = Path("/etc/ufw/ufw.conf")
_SSH_PORT = 22
_WEB_PORTS = (80, 443)
# Not confirmed yet: since when, and in whose session. The timer is gone with a reboot, this is not.
_PENDING = layout.ETC / "harden-pending"
_TIMER = "microblog-harden-undo"
CONFIRM_MINUTES = 5


@dataclass(frozen=True)
class Measure:
    """:ivar what: in a few words.
    :ivar in_place: whether it is.
    :ivar apply: put it in place.
    """

    what: str
    in_place: Callable[[], bool]
    apply: Callable[[Callable[[str], None]], None]


def check() -> list[tuple[str, bool]]:
    """What is in place and what is not; changes nothing."""
    privileges.require_root("harden a machine", "sudo microblog harden")
    return [(measure.what, measure.in_place()) for measure in MEASURES]


def plan() -> list[str]:
    """What :func:`harden` would do; changes nothing.

    :raises HostError: it would lock the administrator out.
    """
    privileges.require_root("harden a machine", "sudo microblog harden")
    lines = [f"Would install: {name}" for name in _packages() if not apt.installed(name)]
    lines += [f"Would do: {what}" for what, in_place in check() if not in_place]
    return [*_who_comes_in(), *lines, *_closing()]


def _packages() -> list[str]:
    return ["ufw", "unattended-upgrades", *(["fail2ban", "python3-systemd"] if doors.installed() else [])]


def harden(say: Callable[[str], None], *, confirm: bool = True) -> None:
    """Put all measures in place.

    :param confirm: take all of it back, unless :func:`confirmed` is called from a new session in time.
    :raises HostError: before anything is changed, if it would lock the administrator out.
    """
    privileges.require_root("harden a machine", "sudo microblog harden")
    for line in _who_comes_in():
        say(line)
    # Fetched before anything is changed: whoever has no network is left as they were.
    apt.ensure(say, *_packages())
    with lock.sole(say):
        ledger.settle()
        _adopt()
        wanted = [measure for measure in MEASURES if not measure.in_place()]
        for line in _closing():
            say(line)
        if confirm and wanted and doors.installed() and services.booted():
            _await_confirmation(say)
        for measure in wanted:
            measure.apply(say)
            say(f"Done: {measure.what}")


def bake() -> None:
    """Write the files of an image that is being made, where nothing runs; its machines begin with them."""
    privileges.require_root("harden a machine", "sudo microblog harden")
    files.write(_SSHD, _SSHD_TEXT, 0o644)
    files.write(_UPGRADES, _UPGRADES_TEXT, 0o644)
    if _JAIL.parent.is_dir():
        files.write(_JAIL, _JAIL_TEXT.format(ports=_SSH_PORT), 0o644)
    # Not asked of sshd: what runs, and listens, is the build machine's.
    for port in (_SSH_PORT, *_WEB_PORTS):
        done = services.run("ufw", "allow", f"{port}/tcp")
        if done.returncode:
            raise HostError(f"ufw does not take a rule: {done.stdout.strip()[-200:]}", "apt-get install ufw")
    text = re.sub(r"(?m)^ENABLED=.*$", "ENABLED=yes", _UFW_CONF.read_text())
    files.write(_UFW_CONF, text, 0o644)


def confirmed(say: Callable[[str], None]) -> None:
    """Somebody has come in by the door as it is now: it stays so.

    :raises HostError: it is the session in which it was closed.
    """
    privileges.require_root("harden a machine", "sudo microblog harden")
    if not _PENDING.exists():
        say("There is nothing to confirm")
        return
    with suppress(ValueError, KeyError):
        then = json.loads(_PENDING.read_text())
        if then["session"] and then["session"] == _session():
            raise HostError(
                "this is the session in which the doors were closed", "log in anew, and confirm there"
            )
    _settle_timer()
    say("Confirmed: it stays")


def undo(say: Callable[[str], None]) -> None:
    """Take back what :func:`harden` has put in place; what it installed stays installed."""
    privileges.require_root("harden a machine", "sudo microblog harden")
    with lock.sole(say):
        _adopt()
        ledger.take_back(_COMMAND, say)
        _settle_timer()
    say("What 'microblog harden' did is undone")


def expire(say: Callable[[str], None]) -> None:
    """At a boot: take back what was not confirmed before the machine went down."""
    if _PENDING.exists():
        ledger.take_back(_COMMAND, say)
        _PENDING.unlink()
        say("What 'microblog harden' did was not confirmed, and is undone")


def _await_confirmation(say: Callable[[str], None]) -> None:
    note = {"since": time.time(), "session": _session()}
    files.write(_PENDING, json.dumps(note), 0o600)
    services.run("systemctl", "stop", f"{_TIMER}.timer")
    done = services.run(
        *(
            "systemd-run",
            f"--unit={_TIMER}",
            f"--on-active={CONFIRM_MINUTES}min",
            "--timer-property=AccuracySec=1s",
        ),
        *("/usr/bin/microblog", "harden", "--undo"),
    )
    if done.returncode:
        _PENDING.unlink()
        raise HostError(
            f"no timer can be set that would undo it: {done.stdout.strip()[:150]}",
            "microblog harden --no-confirm goes without",
        )
    say(
        f"In {CONFIRM_MINUTES} minutes all of it is undone, unless you log in anew, before you log out here,"
        " and there run: sudo microblog harden --confirm"
    )


def _settle_timer() -> None:
    _PENDING.unlink(missing_ok=True)
    services.run("systemctl", "stop", f"{_TIMER}.timer")


def _session() -> int:
    """The sshd process through which this was called; 0 where none is (proc(5), stat)."""
    pid = os.getpid()
    while pid > 1:
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            return 0
        if name.startswith("sshd"):
            return pid
        pid = int(rest.split()[1])
    return 0


def _who_comes_in() -> list[str]:
    if not doors.installed():
        return []
    admins = list(doors.administrators())
    if not admins:
        raise HostError(
            "nobody could log in any more: no user who may use sudo has an SSH key that sshd takes",
            "adduser YOU; adduser YOU sudo; put your public key into ~YOU/.ssh/authorized_keys; log in"
            " as YOU once; then: microblog harden",
        )
    return [f"Logging in stays possible, by key, for: {', '.join(admins)}"]


def _adopt() -> None:
    """Note what versions before the ledger have written."""
    for path, then in (
        (_SSHD, [_RELOAD_SSHD]),
        (_UPGRADES, []),
        (_JAIL, [["systemctl", "try-restart", _JAILER]]),
    ):
        ledger.adopt(_COMMAND, path, then)
    if _UFW_MARK.exists():
        for port in (*doors.ports(), *_WEB_PORTS):
            ledger.run(_COMMAND, f"ufw allow {port}/tcp", ["true"], _ufw_delete(port))
        ledger.run(_COMMAND, "ufw enable", ["true"], ["ufw", "--force", "disable"])
        _UFW_MARK.unlink()


def _sshd_closed() -> bool:
    """As sshd itself has it, whatever stands where."""
    if not doors.installed():
        return True
    said = doors.settings()
    return all(said.get(name, [""])[0] == value for name, value in _SSHD_WANTED.items())


def _apply_sshd(say: Callable[[str], None]) -> None:
    main = Path("/etc/ssh/sshd_config").read_text(errors="replace")
    if not re.search(r"(?im)^\s*include\s+/etc/ssh/sshd_config\.d/\*\.conf", main):
        raise HostError(
            "/etc/ssh/sshd_config does not include /etc/ssh/sshd_config.d/*.conf", "add that line at its top"
        )
    before = _SSHD.read_text() if _SSHD.exists() else None
    ledger.write(_COMMAND, _SSHD, _SSHD_TEXT, 0o644, then=[_RELOAD_SSHD])
    test = services.run("/usr/sbin/sshd", "-t")
    said = {name: values[0] for name, values in doors.settings().items()}
    kept = [
        f"{name} {said.get(name, '?')}" for name, value in _SSHD_WANTED.items() if said.get(name) != value
    ]
    if test.returncode or kept:
        if before is None:
            _SSHD.unlink()
            ledger.forget(_COMMAND, _SSHD)
        else:
            ledger.write(_COMMAND, _SSHD, before, 0o644, then=[_RELOAD_SSHD])
        if test.returncode:
            raise HostError(f"sshd does not accept it: {test.stdout.strip()[:200]}", "it is as it was")
        raise HostError(
            f"sshd keeps {kept[0]}: a line above the Include in sshd_config says so",
            "take that line out of /etc/ssh/sshd_config; then: microblog harden",
        )
    if services.state("ssh.service") == "active":
        services.run(*_RELOAD_SSHD)


def _firewall_on() -> bool:
    return "Status: active" in services.run("ufw", "status").stdout


def _open_ports() -> list[int]:
    return [*doors.ports(), *_WEB_PORTS]


def _closing() -> list[str]:
    """The ports that the firewall will close to the network."""
    if _firewall_on():
        return []
    stay = set(_open_ports())
    found = sorted({(port, program) for port, program in services.listening() if port not in stay})
    if not found:
        return []
    return [
        f"The firewall closes to the network: {', '.join(f'{port} ({program})' for port, program in found)}"
    ]


def _ufw_delete(port: int) -> list[str]:
    return ["ufw", "delete", "allow", f"{port}/tcp"]


def _apply_firewall(say: Callable[[str], None]) -> None:
    there = services.run("ufw", "show", "added").stdout
    # Open first, close afterwards; a rule that is there is somebody else's.
    for port in _open_ports():
        if not re.search(rf"(?m)^ufw allow {port}/tcp$", there):
            ledger.run(_COMMAND, f"ufw allow {port}/tcp", ["ufw", "allow", f"{port}/tcp"], _ufw_delete(port))
    done = ledger.run(_COMMAND, "ufw enable", ["ufw", "--force", "enable"], ["ufw", "--force", "disable"])
    if not _firewall_on():
        last = (done.stdout.strip().splitlines() or ["it does not say why"])[-1]
        raise HostError(f"ufw does not start: {last}", "ufw enable")


def _upgrades_on() -> bool:
    said = services.run("apt-config", "dump", "APT::Periodic").stdout
    return apt.installed("unattended-upgrades") and 'APT::Periodic::Unattended-Upgrade "1"' in said


def _apply_upgrades(say: Callable[[str], None]) -> None:
    ledger.write(_COMMAND, _UPGRADES, _UPGRADES_TEXT, 0o644)


def _jail_on() -> bool:
    return not doors.installed() or "sshd" in services.run("fail2ban-client", "status").stdout


def _apply_jail(say: Callable[[str], None]) -> None:
    text = _JAIL_TEXT.format(ports=",".join(map(str, doors.ports())))
    ledger.write(_COMMAND, _JAIL, text, 0o644, then=[["systemctl", "try-restart", _JAILER]])
    services.run("systemctl", "enable", _JAILER)
    if services.run("systemctl", "restart", _JAILER).returncode or not services.wait_for(_jail_on):
        raise HostError("fail2ban does not start", services.log_of(_JAILER))


MEASURES = (
    Measure("SSH: keys alone, not for root", _sshd_closed, _apply_sshd),
    Measure("firewall: SSH and the web alone", _firewall_on, _apply_firewall),
    Measure("security updates by themselves", _upgrades_on, _apply_upgrades),
    Measure("fail2ban: who guesses passwords is shut out", _jail_on, _apply_jail),
)
