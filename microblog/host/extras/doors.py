"""Who can come in over SSH and be root, judged by what sshd and sudo themselves say."""

import fnmatch
import grp
import os
import pwd
import re
import time
from collections.abc import Iterator
from pathlib import Path

from microblog.host.machine import services

SSHD = Path("/usr/sbin/sshd")
_SUDO = Path("/usr/bin/sudo")
_SHADOW = Path("/etc/shadow")
# A line of authorized_keys(5) that is a key: options, if any, stand before its type.
_KEY = re.compile(
    r"^(?P<options>(?:[^\s\"]|\"(?:[^\"\\]|\\.)*\")*\s+)?(?:ssh|sk-ssh|ecdsa|sk-ecdsa)-\S+\s+AAAA\S+"
)
_NO_SHELLS = ("nologin", "false", "sync")


def installed() -> bool:
    """Whether there is an sshd."""
    return SSHD.exists()


def settings(user: str = "") -> dict[str, list[str]]:
    """sshd's settings in force, by their names in small letters. :param user: for one who logs in."""
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    who = ["-C", f"user={user},host=localhost,addr=127.0.0.1"] if user else []
    found: dict[str, list[str]] = {}
    for line in services.run(str(SSHD), "-T", *who).stdout.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name.lower(), []).append(value.strip())
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
    for user in pwd.getpwall():
        if user.pw_uid == 0 or user.pw_shell.endswith(_NO_SHELLS) or not Path(user.pw_shell).exists():
            continue
        if _may_sudo(user.pw_name) and _comes_in(user):
            yield user.pw_name


def _may_sudo(name: str) -> bool:
    """Whether sudo lets somebody run everything as root, without a password or with one that they have."""
    said = services.run("sudo", "-n", "-l", "-U", name).stdout
    for who, tags, commands in re.findall(r"^\s+\(([^)]*)\)\s+((?:[A-Z_]+:\s*)*)(.*)$", said, re.MULTILINE):
        run_as = {word.strip() for word in who.partition(":")[0].split(",")}
        if run_as & {"ALL", "root"} and "ALL" in [part.strip() for part in commands.split(",")]:
            return "NOPASSWD:" in tags or _has_password(name)
    return False


def _has_password(name: str) -> bool:
    """shadow(5): an empty field, *, or ! before it, lets nobody in."""
    password = _shadow(name)[1]
    return len(password) > 1 and not password.startswith(("!", "*"))


def _expired(name: str) -> bool:
    """Whether the account has ended: shadow(5), the eighth field, in days since 1970."""
    ends = _shadow(name)[7]
    return ends.isdigit() and int(ends) <= time.time() / 86400


def _shadow(name: str) -> list[str]:
    for line in _SHADOW.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) > 7:
            return fields
    return [name, *[""] * 8]


def _comes_in(user: pwd.struct_passwd) -> bool:
    said = settings(user.pw_name)
    first = {name: values[0] for name, values in said.items()}
    if first.get("pubkeyauthentication") != "yes" or first.get("forcecommand", "none") != "none":
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
    strict = first.get("strictmodes", "yes") == "yes"
    return any(_opens(path, user, strict) for path in _key_files(first.get("authorizedkeysfile", ""), user))


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


def _opens(path: Path, user: pwd.struct_passwd, strict: bool) -> bool:
    """Whether a file has a key that sshd takes, for a shell and not for one command."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if strict and not _safe(path.resolve(), user):
            return False
    except OSError:
        return False
    for line in lines:
        match = None if line.lstrip().startswith("#") else _KEY.match(line.strip())
        options = (match["options"] or "").lower() if match else ""
        if match and not re.search(
            r"(?:^|,)\s*(?:command=|expiry-time=|cert-authority|no-pty|restrict)", options
        ):
            return True
    return False


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
