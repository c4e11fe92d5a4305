"""Who can come in over SSH and be root, judged by what sshd and sudo themselves say."""

import fnmatch
import grp
import ipaddress
import os
import pwd
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from microblog import names
from microblog.host.machine import privileges, services

SSHD = Path("/usr/sbin/sshd")
_SUDO = Path("/usr/bin/sudo")
_SHADOW = Path("/etc/shadow")
# A line of authorized_keys(5) that is a key: options, if any, stand before its type.
_KEY = re.compile(
    r"^(?P<options>(?:[^\s\"]|\"(?:[^\"\\]|\\.)*\")*\s+)?(?P<type>(?:ssh|sk-ssh|ecdsa|sk-ecdsa)-\S+)\s+AAAA\S+"
)
# With a key of RSA's one signs by any of these (RFC 8332).
_RSA = {"ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"}
_CONFIGS = Path("/etc/ssh")
# Who is not root is let in by nobody while this is there (pam_nologin(8)).
NOLOGIN = Path("/etc/nologin")
# Of a command that finds keys: what is known without the key that somebody comes with (sshd_config(5)).
_TOKENS = re.compile(r"%(.)")
_NO_SHELLS = ("nologin", "false", "sync")


def installed() -> bool:
    """Whether there is an sshd."""
    return SSHD.exists()


@dataclass(frozen=True)
class Connection:
    """From where somebody comes, and to where: what sshd's Match blocks look at."""

    peer: str
    address: str
    port: int


def session() -> int:
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


def connection() -> Connection:
    """The one through which this was called; else one as from this machine's network."""
    if pid := session():
        for line in services.run("ss", "-Htnp", "state", "established").stdout.splitlines():
            # ss(8): receive queue, send queue, local address, peer's, process.
            fields = line.split()
            if len(fields) > 3 and f"pid={pid}," in line:
                (address, _, port), (peer, _, _) = (field.rpartition(":") for field in fields[2:4])
                bare = [one.strip("[]").removeprefix("::ffff:").partition("%")[0] for one in (peer, address)]
                return Connection(bare[0], bare[1], int(port))
    own = next((one for one in names.machine_addresses() if ":" not in one), "127.0.0.1")
    return Connection(own, own, (ports() or [22])[0])


def settings(
    user: str = "", through: Connection | None = None, config: Path | None = None
) -> dict[str, list[str]]:
    """sshd's settings in force, by their names in small letters.

    :param user: for one who logs in, :param through: there.
    :param config: those of another file than sshd's own.
    """
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    who = ["-f", str(config)] if config else []
    if user and through:
        who += ["-C", f"user={user},host={through.peer},addr={through.peer}"]
        who += ["-C", f"laddr={through.address},lport={through.port}"]
    found: dict[str, list[str]] = {}
    for line in services.run(str(SSHD), "-T", *who).stdout.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name.lower(), []).append(value.strip())
    return found


def host_key_kinds() -> set[str]:
    """Of what sshd has to show that it is itself, and is there: ``ED25519``, ``RSA``, ``ECDSA``."""
    found = set()
    for path in settings().get("hostkey", []):
        told = services.run("ssh-keygen", "-l", "-f", path)
        # 256 SHA256:2fXK... root@shelf (ED25519)
        if told.returncode == 0 and (kind := re.search(r"\((\S+)\)\s*\Z", told.stdout)):
            found.add(kind[1])
    return found


def exceptions() -> list[str]:
    """What administrators have let be, for some users or from some places: sshd's Match blocks."""
    found = []
    for path in (_CONFIGS / "sshd_config", *sorted((_CONFIGS / "sshd_config.d").glob("*.conf"))):
        who = ""
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
            words = line.split("#")[0].replace("=", " ").split()
            name, value = (word.lower() for word in (*words, "", "")[:2])
            if name == "match":
                who = "" if value == "all" else " ".join(words[1:])
            weak = (name == "permitrootlogin" and value != "no") or (
                name in ("passwordauthentication", "kbdinteractiveauthentication") and value == "yes"
            )
            if who and weak:
                found.append(f"{path} has for {who}: {' '.join(words)}")
    return found


def ports() -> list[int]:
    """Where sshd listens, or will after its next start: those must stay open."""
    if not installed():
        return []
    said = settings()
    found = [address.rpartition(":")[2] for address in said.get("listenaddress", [])]
    found = found or said.get("port", [])
    # From Ubuntu 22.10 on systemd may listen for it, on ports of its own unit.
    if services.state("ssh.socket") == "active":
        listed = services.run("systemctl", "show", "--property=Listen", "ssh.socket").stdout
        found += re.findall(r":(\d+) \(Stream\)", listed)
    found += [str(port) for port, program in services.listening() if program.startswith("sshd")]
    return sorted({int(port) for port in found if port.isdigit()}) or [22]


def administrators() -> Iterator[str]:
    """Users other than root who come in with a key, and become root."""
    if not _SUDO.exists():
        return
    through = connection()
    for user in pwd.getpwall():
        if user.pw_uid == 0 or user.pw_shell.endswith(_NO_SHELLS) or not Path(user.pw_shell).exists():
            continue
        if _may_sudo(user.pw_name) and _comes_in(user, through):
            yield user.pw_name


def _may_sudo(name: str) -> bool:
    """Whether sudo lets somebody run everything as root, without a password or with one that they have."""
    said = services.run("sudo", "-n", "-l", "-U", name).stdout
    free = "!authenticate" in said.partition("may run the following")[0]
    may = False
    # Where several match, the last one counts (sudoers(5)).
    for who, tags, commands in re.findall(r"^\s+\(([^)]*)\)\s+((?:[A-Z_]+:\s*)*)(.*)$", said, re.MULTILINE):
        run_as = {word.strip() for word in who.partition(":")[0].split(",")}
        if run_as & {"ALL", "root"} and "ALL" in [part.strip() for part in commands.split(",")]:
            may = "NOPASSWD:" in tags or (free and "PASSWD:" not in tags) or _has_password(name)
    return may


def _has_password(name: str) -> bool:
    """shadow(5): an empty field, *, or ! before it, lets nobody in."""
    password = _shadow(name)[1]
    return len(password) > 1 and not password.startswith(("!", "*"))


def _expired(name: str) -> bool:
    """Whether the account has ended, or its password, without which nobody comes in (shadow(5)): the third
    field is the day of its last change, 0 for one that has to be changed; then how long it holds, and how
    long it may still be changed."""
    _, _, changed, _, holds, _, grace, ends, *_ = (*_shadow(name), "")
    today = time.time() / 86400
    if ends.isdigit() and int(ends) <= today:
        return True
    if not changed.isdigit():
        return False
    over = int(changed) + int(holds) if holds.isdigit() and int(changed) else None
    if over is not None and grace.isdigit() and over + int(grace) < today:
        return True
    return (int(changed) == 0 or (over is not None and over < today)) and not _has_password(name)


def _shadow(name: str) -> list[str]:
    for line in _SHADOW.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) > 7:
            return fields
    return [name, *[""] * 8]


def _comes_in(user: pwd.struct_passwd, through: Connection) -> bool:
    said = settings(user.pw_name, through)
    first = {name: values[0] for name, values in said.items()}
    if first.get("pubkeyauthentication") != "yes" or first.get("forcecommand", "none") != "none":
        return False
    # A shell is no longer there.
    if first.get("chrootdirectory", "none") != "none":
        return False
    # Without PAM sshd looks at the password's lock itself.
    if first.get("usepam") == "no" and _shadow(user.pw_name)[1].startswith("!"):
        return False
    # A list of lists: one of them has to be a key and nothing else (sshd_config(5)).
    methods = first.get("authenticationmethods", "any").split()
    if not {"any", "publickey"} & set(methods) or _expired(user.pw_name):
        return False
    groups = {group.gr_name for group in grp.getgrall() if user.pw_name in group.gr_mem}
    groups.add(grp.getgrgid(user.pw_gid).gr_name)
    if _listed(said, "denyusers", {user.pw_name}) or _listed(said, "denygroups", groups):
        return False
    if "allowusers" in said and not _listed(said, "allowusers", {user.pw_name}):
        return False
    if "allowgroups" in said and not _listed(said, "allowgroups", groups):
        return False
    # Whoever sits at the machine itself may come from anywhere else.
    peer = through.peer if session() else ""
    strict = first.get("strictmodes", "yes") == "yes"
    algorithms = first.get("pubkeyacceptedalgorithms", first.get("pubkeyacceptedkeytypes", ""))
    taken = set(filter(None, algorithms.split(",")))
    return any(
        _opens(path, user, strict, taken, peer)
        for path in _key_files(first.get("authorizedkeysfile", ""), user)
    ) or _opened_by(_told_by_command(first, user), taken, peer)


def _told_by_command(first: dict[str, str], user: pwd.struct_passwd) -> str:
    """What sshd's command that finds keys, a directory's often, says of a user; empty where it has to be
    told the key, which nobody knows here."""
    words = shlex.split(first.get("authorizedkeyscommand", "none"))
    runs_as = first.get("authorizedkeyscommanduser", "none")
    if words in ([], ["none"]) or runs_as == "none":
        return ""
    if set(_TOKENS.findall(" ".join(words))) - set("%uhU"):
        return ""
    known = {"%": "%", "u": user.pw_name, "h": user.pw_dir, "U": str(user.pw_uid)}
    told = [_TOKENS.sub(lambda match: known[match[1]], word) for word in words]
    command = [*told, *([user.pw_name] if len(words) == 1 else [])]
    return services.run("timeout", "10", "runuser", "-u", runs_as, "--", *command).stdout


def _listed(said: dict[str, list[str]], setting: str, names: set[str]) -> bool:
    """ssh_config(5), PATTERNS; a user's may end with @HOST, which is taken to be any."""
    patterns = [word.partition("@")[0] for value in said.get(setting, []) for word in value.split()]
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _key_files(setting: str, user: pwd.struct_passwd) -> Iterator[Path]:
    for word in setting.split():
        if word == "none":
            continue
        path = word.replace("%h", user.pw_dir).replace("%u", user.pw_name).replace("%U", str(user.pw_uid))
        yield Path(user.pw_dir, path.replace("%%", "%"))


def _opens(path: Path, user: pwd.struct_passwd, strict: bool, taken: set[str], peer: str = "") -> bool:
    """Whether a file has a key that sshd takes."""
    home = Path(user.pw_dir)
    try:
        # As sshd does: one that they cannot read themselves is not read.
        owned = home.is_dir() and home.stat().st_uid == user.pw_uid
        with privileges.as_owner(home if owned else None):
            text = path.read_text(encoding="utf-8", errors="replace")
        if strict and not _safe(path.resolve(), user):
            return False
    except OSError:
        return False
    return _opened_by(text, taken, peer)


def _opened_by(text: str, taken: set[str], peer: str = "") -> bool:
    """Whether lines of authorized_keys(5) have a key for a shell and not for one command.

    :param taken: the algorithms that sshd takes; none: any.
    :param peer: the address from which somebody comes who will do so again; empty where that is not known.
    """
    for line in text.splitlines():
        match = None if line.lstrip().startswith("#") else _KEY.match(line.strip())
        options = (match["options"] or "").lower() if match else ""
        signs = (_RSA if match["type"] == "ssh-rsa" else {match["type"]}) if match else set()
        if (
            signs
            and (not taken or signs & taken)
            and not re.search(r"(?:^|,)\s*(?:command=|expiry-time=|cert-authority|no-pty|restrict)", options)
            and (not (places := re.search(r'(?:^|,)\s*from="([^"]*)"', options)) or _from(places[1], peer))
        ):
            return True
    return False


def _from(patterns: str, peer: str) -> bool:
    """Whether a key with ``from=`` lets somebody in who comes from an address (ssh_config(5), PATTERNS).

    Names are not looked up, and may be theirs.
    """
    found = not peer
    for pattern in filter(None, re.split(r"[,\s]+", patterns)):
        place = pattern.removeprefix("!")
        try:
            holds = not peer or ipaddress.ip_address(peer) in ipaddress.ip_network(place, strict=False)
        except ValueError:
            named = bool(re.search(r"[g-z]", place))
            holds = named or fnmatch.fnmatchcase(peer.lower(), place)
            if named and place != pattern:
                continue
        if holds and place != pattern and peer:
            return False
        found |= holds
    return found


def _safe(path: Path, user: pwd.struct_passwd) -> bool:
    """sshd's StrictModes: nobody else may write the file, nor what leads to it, up to the home."""
    home = Path(user.pw_dir).resolve()
    for place in (path, *path.parents):
        status = place.stat()
        if status.st_uid not in (0, user.pw_uid) or status.st_mode & 0o022:
            return False
        if place == home or place == Path(os.sep):
            break
    return True
