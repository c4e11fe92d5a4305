"""``microblog harden``: what a careful administrator does to a new server; and takes back.

A table of measures. All that each changes is in the ledger, so that undoing it leaves the
administrator's own configuration as it was. It takes itself back unless it is confirmed from a new
session: a door that was closed by mistake opens again.
"""

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from microblog.errors import HostError
from microblog.host.extras import doors
from microblog.host.machine import apt, files, firewall, layout, ledger, lock, privileges, services

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
_UFW_CONF, _UFW_DEFAULTS = Path("/etc/ufw/ufw.conf"), Path("/etc/default/ufw")
# Other firewalls, as packages: apt takes some of them away for ufw, and ufw would fight with the rest.
_FIREWALLS = ("firewalld", "netfilter-persistent", "iptables-persistent", "shorewall", "ferm")
# A rule for what comes in, as 'ufw show added' has it; and the port there that it names.
_RULE = re.compile(
    r"ufw (?P<does>allow|deny|reject|limit) (?:in )?(?:on (?P<link>\S+) )?(?:log(?:-all)? )?"
    r"(?P<rest>(?!out ).*)"
)
_PORTS = re.compile(
    r"(?:^|\bto \S+ port )(?P<ports>[\d:]+(?:,[\d:]+)*)"
    r"(?:/(?P<kind>\w+))?(?: proto (?P<proto>\w+))?(?:\s|$)"
)
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
    :ivar whose: another program's, which is left to it; empty for nobody's.
    """

    what: str
    in_place: Callable[[], bool]
    apply: Callable[[Callable[[str], None]], None]
    whose: Callable[[], str] = lambda: ""


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
    wanted = [measure for measure in MEASURES if not measure.in_place() and not measure.whose()]
    lines += [f"Would do: {measure.what}" for measure in wanted]
    return [*_who_comes_in(), *lines, *_closing()]


def _packages() -> list[str]:
    ours = [] if _other_firewall() else ["ufw"]
    return [*ours, "unattended-upgrades", *(["fail2ban", "python3-systemd"] if doors.installed() else [])]


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
        wanted = [measure for measure in MEASURES if not measure.in_place() and not measure.whose()]
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
        if then["session"] and then["session"] == doors.session():
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
    """Take back what was not confirmed before the machine went down, or the package goes."""
    if _PENDING.exists():
        ledger.take_back(_COMMAND, say)
        _settle_timer()
        say("What 'microblog harden' did was not confirmed, and is undone")


def _await_confirmation(say: Callable[[str], None]) -> None:
    note = {"since": time.time(), "session": doors.session()}
    files.write(_PENDING, json.dumps(note), 0o600)
    services.run("systemctl", "stop", f"{_TIMER}.timer")
    # One that has failed would keep its name.
    services.run("systemctl", "reset-failed", f"{_TIMER}.service")
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


def _who_comes_in() -> list[str]:
    if not doors.installed():
        return []
    if doors.NOLOGIN.exists():
        raise HostError(f"nobody but root can log in: {doors.NOLOGIN} is there", f"rm {doors.NOLOGIN}")
    admins = list(doors.administrators())
    if not admins:
        raise HostError(
            "nobody could log in any more: no user who may use sudo has an SSH key that sshd takes",
            "adduser YOU; adduser YOU sudo; put your public key into ~YOU/.ssh/authorized_keys; log in"
            " as YOU once; then: microblog harden",
        )
    _refuse_closed_ssh()
    return [f"Logging in stays possible, by key, for: {', '.join(admins)}", *exceptions()]


def exceptions() -> list[str]:
    """What is left open, as administrators of this machine have it."""
    found = [f"Left as it is: {line}" for line in doors.exceptions()] if doors.installed() else []
    if other := _other_firewall():
        stay = ", ".join(map(str, dict.fromkeys(_open_ports())))
        found.append(f"Left as it is: this machine's firewall is {other}'s, which has to let ports {stay} in")
    return found


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
    include = re.search(r"(?im)^\s*include\s+/etc/ssh/sshd_config\.d/\*\.conf", main)
    if not include:
        raise HostError(
            "/etc/ssh/sshd_config does not include /etc/ssh/sshd_config.d/*.conf", "add that line at its top"
        )
    if doors.host_key_kinds() == {"ECDSA"}:
        raise HostError(
            "nobody could log in any more: sshd has an ECDSA host key alone, a kind that harden switches off",
            "ssh-keygen -A; then: microblog harden",
        )
    _try_sshd(main[: include.start()], main[include.start() :])
    before = _SSHD.read_bytes().decode() if _SSHD.exists() else None
    ledger.write(_COMMAND, _SSHD, _SSHD_TEXT, 0o644, then=[_RELOAD_SSHD])
    # A file of the folder whose name comes before was not in the trial.
    if not _sshd_closed():
        if before is None:
            _SSHD.unlink()
            ledger.forget(_COMMAND, _SSHD)
        else:
            ledger.write(_COMMAND, _SSHD, before, 0o644, then=[_RELOAD_SSHD])
        raise HostError(
            f"sshd keeps to a file of {_SSHD.parent} that comes before {_SSHD.name}",
            "take what it says of log-ins out of it; then: microblog harden",
        )
    if services.state("ssh.service") == "active":
        services.run(*_RELOAD_SSHD)


def _try_sshd(above: str, below: str) -> None:
    """Have sshd read the file in its place before it is there: were the power cut between, an sshd that
    refuses it would not start any more.

    :param above: sshd_config above the folder's Include, and from it on.
    :raises HostError: it does not take it, or does otherwise all the same.
    """
    part, whole = layout.RUN / "sshd-trial.conf", layout.RUN / "sshd-trial"
    files.write(part, _SSHD_TEXT, 0o600)
    files.write(whole, f"{above}\nInclude {part}\n{below}", 0o600)
    try:
        test = services.run("/usr/sbin/sshd", "-t", "-f", str(whole))
        said = {name: values[0] for name, values in doors.settings(config=whole).items()}
    finally:
        part.unlink()
        whole.unlink()
    if test.returncode:
        raise HostError(f"sshd does not accept it: {test.stdout.strip()[:200]}", "it is as it was")
    for name, value in _SSHD_WANTED.items():
        if said.get(name) != value:
            raise HostError(
                f"sshd keeps {name} {said.get(name, '?')}: a line above the Include in sshd_config says so",
                "take that line out of /etc/ssh/sshd_config; then: microblog harden",
            )


def _ufw_on() -> bool:
    return "Status: active" in services.run("ufw", "status").stdout


def _firewall_on() -> bool:
    """Whether what nobody has allowed is kept out."""
    if _other_firewall():
        return firewall.firewalld() or bool(firewall.dropping())
    return firewall.ufw_on()


def _other_firewall() -> str:
    """The firewall that this machine has, where it is not ufw: a second one would fight with it, and apt
    would take some of them away for it. Empty for none."""
    if _ufw_on():
        return ""
    for name in _FIREWALLS:
        if apt.installed(name):
            return name
    return firewall.dropping()


def _rules(port: int) -> set[str]:
    """What ufw does with those who come to a port: of the rules that name it, up to the first that is for all
    who come. One that keeps only some out is no matter."""
    found = set()
    for line in services.run("ufw", "show", "added").stdout.splitlines():
        if not (rule := _RULE.fullmatch(line.partition(" comment ")[0])) or rule["link"] == "lo":
            continue
        ports = _PORTS.search(rule["rest"])
        if not ports or not _names(port, ports["ports"]) or "udp" in (ports["kind"], ports["proto"]):
            continue
        for_all = not rule["link"] and not re.search(r"\b(?:from|to) (?!any\b)", rule["rest"])
        if for_all or rule["does"] in ("allow", "limit"):
            found.add(rule["does"])
        if for_all:
            break
    return found


def _names(port: int, ports: str) -> bool:
    spans = (part.partition(":") for part in ports.split(","))
    return any(int(first) <= port <= int(last or first) for first, _, last in spans)


def _refuse_closed_ssh() -> None:
    """:raises HostError: somebody's rule would close SSH with the firewall."""
    if _other_firewall() or not apt.installed("ufw"):
        return
    for port in doors.ports():
        if (rules := _rules(port)) and not rules & {"allow", "limit"}:
            raise HostError(
                f"nobody could log in any more: a rule of ufw's closes SSH's port {port}",
                f"ufw delete {min(rules)} {port}/tcp; then: microblog harden",
            )


def _open_ports() -> list[int]:
    return [*doors.ports(), *_WEB_PORTS]


def _closing() -> list[str]:
    """The ports that the firewall will close to the network."""
    if _firewall_on() or _other_firewall():
        return []
    stay = set(_open_ports())
    listening = {(port, program) for port, program in services.listening() if port not in stay}
    if apt.installed("ufw"):
        listening = {(port, program) for port, program in listening if not _rules(port) & {"allow", "limit"}}
    found = sorted(listening)
    if not found:
        return []
    return [
        f"The firewall closes to the network: {', '.join(f'{port} ({program})' for port, program in found)}"
    ]


def _ufw_delete(port: int) -> list[str]:
    return ["ufw", "delete", "allow", f"{port}/tcp"]


def _apply_firewall(say: Callable[[str], None]) -> None:
    # Open first, close afterwards; a rule that is there is somebody else's, and ufw would replace it.
    for port in _open_ports():
        if not (rules := _rules(port)):
            ledger.run(_COMMAND, f"ufw allow {port}/tcp", ["ufw", "allow", f"{port}/tcp"], _ufw_delete(port))
        elif not rules & {"allow", "limit"}:
            say(f"Left as it is: a rule of ufw's keeps port {port} closed")
    if re.search(r'(?m)^DEFAULT_INPUT_POLICY="?ACCEPT', _UFW_DEFAULTS.read_text()):
        deny, allow = (["ufw", "default", policy, "incoming"] for policy in ("deny", "allow"))
        ledger.run(_COMMAND, "ufw default deny incoming", deny, allow)
    if not _firewall_on():
        _enable_ufw()
    # Judged by what it does now: names of services, and what is in its files, are rules, too.
    if shut := ", ".join(map(str, sorted(firewall.closed(set(doors.ports()))))):
        ledger.undo_run(_COMMAND, "ufw enable")
        ledger.undo_run(_COMMAND, "ufw default deny incoming")
        raise HostError(
            f"nobody could log in any more: a rule of ufw's closes SSH's port {shut}",
            "ufw show added lists them; take that one away; then: microblog harden",
        )


def _enable_ufw() -> None:
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
    return not doors.installed() or not _unwatched()


def _unwatched() -> list[int]:
    """The ports of sshd's from which fail2ban shuts nobody out; all, where its jail does not run."""
    ports = doors.ports()
    if "sshd" not in services.run("fail2ban-client", "status").stdout:
        return ports
    watched: set[str] = set()
    for action in (
        services.run("fail2ban-client", "get", "sshd", "actions").stdout.split("\n", 1)[-1].split(",")
    ):
        name = action.strip()
        if name.endswith("-allports"):
            return []
        said = services.run("fail2ban-client", "get", "sshd", "action", name, "port").stdout
        watched.update(word.strip() for word in said.replace("ssh", str(_SSH_PORT)).split(","))
    spans = [word.partition(":") for word in watched]
    return [
        port
        for port in ports
        if not any(
            first.isdigit() and int(first) <= port <= int(last if last.isdigit() else first)
            for first, _, last in spans
        )
    ]


def _apply_jail(say: Callable[[str], None]) -> None:
    text = _JAIL_TEXT.format(ports=",".join(map(str, doors.ports())))
    ledger.write(_COMMAND, _JAIL, text, 0o644, then=[["systemctl", "try-restart", _JAILER]])
    ledger.enable(_COMMAND, _JAILER)
    if services.run("systemctl", "restart", _JAILER).returncode:
        raise HostError("fail2ban does not start", services.log_of(_JAILER))
    # It answers while it still reads its jails.
    if not services.wait_for(lambda: "sshd" in services.run("fail2ban-client", "status").stdout):
        raise HostError("fail2ban does not start its jail sshd", services.log_of(_JAILER))
    if ports := ", ".join(map(str, _unwatched())):
        raise HostError(
            f"fail2ban's jail sshd leaves out port {ports}: somebody's jail.local says where it is",
            f"add {ports} to its port there; then: microblog harden",
        )


MEASURES = (
    Measure("SSH: keys alone, not for root", _sshd_closed, _apply_sshd),
    Measure("firewall: SSH and the web alone", _firewall_on, _apply_firewall, _other_firewall),
    Measure("security updates by themselves", _upgrades_on, _apply_upgrades),
    Measure("fail2ban: who guesses passwords is shut out", _jail_on, _apply_jail),
)
