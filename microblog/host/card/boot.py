"""What a Raspberry Pi's card does with ``microblog.txt``, and how it greets.

Read early in the boot, before the network and the site; the account of the administrator is made
when there is a database. A group of settings is first put where it belongs, then taken out of the
file: after a power cut it is only done once more.
"""

import json
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from microblog import claiming, names, own_authority
from microblog.config import Config
from microblog.errors import HostError
from microblog.host.card import bootfile
from microblog.host.database import claim
from microblog.host.machine import files, layout, services, signals
from microblog.host.site import envfile, front

BOOT = Path("/boot/firmware")
# An account that is to be made, for root's eyes alone.
_ADMIN = layout.ETC / "first-admin.json"
_WIFI = Path("/etc/netplan/60-microblog.yaml")
# Raspberry Pi OS's network is NetworkManager's, and its Wi-Fi is off until somebody names a country.
_NETWORK_MANAGER = Path("/usr/sbin/NetworkManager")
_CONNECTION = Path("/etc/NetworkManager/system-connections/microblog.nmconnection")
_MANAGER_STATE = Path("/var/lib/NetworkManager/NetworkManager.state")
_RFKILL = Path("/var/lib/systemd/rfkill")
_COUNTRY = Path("/etc/modprobe.d/microblog-wifi.conf")
# Whoever has an account on the Pi: its owner's key opens it, whatever Imager or cloud-init calls it.
_KEYS = Path("/etc/ssh/authorized_keys.d/owner")
_SSHD = Path("/etc/ssh/sshd_config.d/20-microblog.conf")
_SSHD_TEXT = "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u {}\n"
_HOSTNAME, _HOSTS = Path("/etc/hostname"), Path("/etc/hosts")


def read(say: Callable[[str], None], boot: Path = BOOT) -> None:
    """Use what the owner has written on the card; answer every mistake by a file beside it.

    :raises HostError: the card cannot be written.
    """
    path, errors = boot / bootfile.NAME, boot / bootfile.ERRORS
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        # Explorer hides the second .txt of what it has made of it.
        if not (boot / f"{bootfile.NAME}.txt").exists():
            return
        mistake = bootfile.Mistake(0, f"the file is called {bootfile.NAME}.txt; rename it to {bootfile.NAME}")
        _write(errors, bootfile.report([mistake]))
        return
    try:
        found = bootfile.read(bootfile.decode(data))
    except ValueError as error:
        _write(errors, bootfile.report([bootfile.Mistake(0, str(error))]))
        say(f"{bootfile.NAME} cannot be used: {error}")
        return
    for group, values in list(found.groups.items()):
        # Each on its own: what one of them stumbles over may be somebody else's.
        try:
            _APPLY[group](values)
        except (HostError, OSError) as error:
            found.failed(group, error.message if isinstance(error, HostError) else str(error))
            continue
        say(f"Used from {bootfile.NAME}: {', '.join(dict.fromkeys(map(_plain, values)))}")
    if found.groups:
        _wipe(path, found.rewritten())
    if found.mistakes:
        _write(errors, bootfile.report(found.mistakes))
        say(f"{len(found.mistakes)} lines of {bootfile.NAME} cannot be used: see {bootfile.ERRORS}")
    elif errors.exists():
        errors.unlink()


def make_admin(say: Callable[[str], None], boot: Path = BOOT) -> None:
    """Make the administrator's account that was asked for, if one was."""
    try:
        wanted = json.loads(_ADMIN.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    done = subprocess.run(
        [
            *("/usr/bin/microblog", "user", "add", wanted["admin user"], wanted["admin email"]),
            *("--admin", "--password-stdin"),
        ],
        input=f"{wanted['admin password']}\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=signals.apart(),
    )
    _ADMIN.unlink()
    lines = done.stdout.strip().splitlines() or ["it says nothing"]
    if done.returncode == 0:
        say(f"Made the account of the administrator {wanted['admin user']}")
        return
    words = " - ".join(line.strip().removeprefix("microblog: ") for line in lines[-2:])
    errors = boot / bootfile.ERRORS
    mistake = bootfile.Mistake(0, f"the administrator's account could not be made: {words}")
    had = errors.read_text(encoding="utf-8") if errors.exists() else ""
    _write(errors, f"{had}\r\n{bootfile.report([mistake])}" if had else bootfile.report([mistake]))
    say(mistake.text)


def greeting(boot: Path = BOOT) -> str:
    """Where the site is, whether it is up, and what to do next: for the screen and for SSH."""
    if os.geteuid() == 0:
        follow_avahi()
    addresses = [f"http://{names.local_name()}"]
    addresses += [f"http://{address}" for address in names.machine_addresses() if ":" not in address]
    lines = [f"Microblog    {'    '.join(addresses)}"]
    if known := own_authority.read():
        lines.append(f"HTTPS        http://{known.names[0]}/certificate    SHA-256 of the authority:")
        lines.append(known.sha256)
    if len(addresses) == 1:
        lines.append(
            "There is no network: plug in a cable, or write the Wi-Fi into microblog.txt on the card."
        )
    if front.answers():
        lines += _state()
    elif services.state("site-first.service") in ("active", "failed"):
        lines.append("The site does not answer. What is wrong: sudo microblog doctor")
    else:
        lines.append("The site is starting; the first time this takes a few minutes.")
    # Whoever is not root cannot look into the card's first partition; that is no error here.
    if os.path.exists(boot / bootfile.ERRORS):  # noqa: PTH110
        lines.append(f"Not everything in microblog.txt could be used: read {bootfile.ERRORS} on the card.")
    return "".join(f"{line}\n" for line in lines)


def _state() -> list[str]:
    """Of a site that answers: whether it is new, and its code, for who may read that."""
    try:
        config = Config.load(layout.env_file())
        code = claim.code(config)
    except HostError:
        return ["The site is up. Open it in a browser on the same network."]
    if not code:
        return ["The site is up. To administer it: log in there; or sudo microblog user promote NAME"]
    return [
        "The site is up, and new: open it in a browser on the same network, and it is yours.",
        f"Its code, which it does not ask for in the hour after its first start: {code}",
    ]


def follow_avahi() -> None:
    """Note the name by which avahi has the machine: where another has its own already, it takes microblog-2.

    The site's certificate and nginx's names follow, without anybody waiting for them.
    """
    said = services.run(
        *("busctl", "call", "org.freedesktop.Avahi", "/", "org.freedesktop.Avahi.Server", "GetHostNameFqdn")
    )
    # As in: s "microblog.local"
    found = re.fullmatch(r's "([^"]+)"', said.stdout.strip())
    before = names.local_name()
    if said.returncode or not found or found[1].lower() == before:
        return
    names.LOCAL.parent.mkdir(mode=0o755, exist_ok=True)
    files.write(names.LOCAL, f"{found[1].lower()}\n", 0o644)
    if names.local_name() != before:
        services.run("systemd-run", "--quiet", "--no-block", "/usr/bin/microblog", "setup", "--daily")


def _plain(name: str) -> str:
    """A setting as it is written; keys of SSH are numbered."""
    return name.rstrip(" 0123456789")


def _site(values: dict[str, str]) -> None:
    _answer("SITE_NAME", values["site name"])


def _claim(values: dict[str, str]) -> None:
    _answer(claiming.SETTING, claiming.normal(values["claim code"]))


def _answer(name: str, value: str) -> None:
    """Setup takes it over, as it does what is answered to debconf."""
    _, gid = layout.user_ids()
    answered = layout.ANSWERED
    before = envfile.without(answered.read_text(encoding="utf-8"), [name]) if answered.exists() else ""
    files.write(answered, f"{before}{name}={envfile.quote(value)}\n", 0o640, 0, gid)


def _host(values: dict[str, str]) -> None:
    name = bootfile.host_name(values["host name"])
    files.write(_HOSTNAME, f"{name}\n", 0o644)
    lines = [line for line in _HOSTS.read_text().splitlines() if not line.startswith("127.0.1.1")]
    files.write(_HOSTS, "\n".join([*lines, f"127.0.1.1 {name}", ""]), 0o644)
    socket.sethostname(name)


def _admin(values: dict[str, str]) -> None:
    # Before its lines go: the account itself is made when there is a database.
    from microblog.models.passwords import PASSWORD_MAX, PASSWORD_MIN, easy_to_guess
    from microblog.models.user import RESERVED, USERNAME_MAX, USERNAME_MIN, is_email, is_username

    name, email, password = (values[f"admin {what}"] for what in ("user", "email", "password"))
    if not is_username(name):
        raise HostError(f'"admin user" is {USERNAME_MIN} to {USERNAME_MAX} letters A to Z, digits and _')
    if name.lower() in RESERVED:
        raise HostError(f'the name {name} in "admin user" is reserved')
    if not is_email(email):
        raise HostError('"admin email" is no e-mail address')
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise HostError(f'"admin password" has to have {PASSWORD_MIN} to {PASSWORD_MAX} characters')
    if easy_to_guess(password, Config.site_name, name, email):
        raise HostError('"admin password" is too easy to guess')
    files.write(_ADMIN, json.dumps(values), 0o600)


def _wifi(values: dict[str, str]) -> None:
    if _NETWORK_MANAGER.exists():
        _network_manager(values)
    else:
        _netplan(values)


def _said_yes(values: dict[str, str], name: str) -> bool:
    return values.get(name, "").lower() in bootfile.YES


def _netplan(values: dict[str, str]) -> None:
    access: dict[str, object] = {}
    if "wifi password" in values:
        access["password"] = values["wifi password"]
    if _said_yes(values, "wifi hidden"):
        access["hidden"] = True
    interface = {
        "dhcp4": True,
        "optional": True,
        "regulatory-domain": values["wifi country"].upper(),
        "access-points": {values["wifi name"]: access},
    }
    # JSON is YAML.
    text = json.dumps({"network": {"version": 2, "wifis": {"wlan0": interface}}}, ensure_ascii=False)
    files.write(_WIFI, f"{text}\n", 0o600)
    done = services.run("netplan", "generate")
    if not done.returncode:
        return
    # One line alone, that which names a place: others quote the file, and it may hold a password.
    lines = done.stdout.strip().splitlines()
    places = [line for line in lines if re.search(r"\.yaml:\d+:\d+: ", line)]
    said = [*places, *lines, "it does not say why"][0][:200]
    if _takes_alone(text):
        raise HostError(f"another file in /etc/netplan is wrong, and none counts until it is mended: {said}")
    _WIFI.unlink()
    raise HostError(f"netplan does not take the Wi-Fi: {said}")


def _takes_alone(text: str) -> bool:
    """Whether netplan would take our file, were there no other."""
    with tempfile.TemporaryDirectory() as root:
        path = Path(root, *_WIFI.parts[1:])
        path.parent.mkdir(parents=True)
        files.write(path, text, 0o600)
        return services.run("netplan", "generate", "--root-dir", root).returncode == 0


def _network_manager(values: dict[str, str]) -> None:
    """A connection that NetworkManager reads when it starts (nm-settings-keyfile(5)).

    The name as numbers: whatever is in it, none of it is the file's own syntax.
    """
    name = "".join(f"{byte};" for byte in values["wifi name"].encode())
    text = f"[connection]\nid=microblog\ntype=wifi\n\n[wifi]\nmode=infrastructure\nssid={name}\n"
    if _said_yes(values, "wifi hidden"):
        text += "hidden=true\n"
    if "wifi password" in values:
        # A leading space would be taken away.
        password = values["wifi password"].replace("\\", "\\\\").replace(" ", "\\s")
        text += f"\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={password}\n"
    text += "\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
    _CONNECTION.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    files.write(_CONNECTION, text, 0o600)
    # For the next boot's kernel module, and for this one's, if it is loaded already.
    country = values["wifi country"].upper()
    files.write(_COUNTRY, f"options cfg80211 ieee80211_regdom={country}\n", 0o644)
    services.run("iw", "reg", "set", country)
    for switch in _RFKILL.glob("*:wlan"):
        files.write(switch, "0\n", 0o644)
    services.run("rfkill", "unblock", "wifi")
    if _MANAGER_STATE.exists():
        state = _MANAGER_STATE.read_text().replace("WirelessEnabled=false", "WirelessEnabled=true")
        files.write(_MANAGER_STATE, state, 0o600)


def _ssh(values: dict[str, str]) -> None:
    _KEYS.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    old = _KEYS.read_text().splitlines() if _KEYS.exists() else []
    files.write(_KEYS, "".join(f"{key}\n" for key in dict.fromkeys([*old, *values.values()])), 0o644)
    # sshd starts later in the boot.
    files.write(_SSHD, _SSHD_TEXT.format(_KEYS), 0o644)


_APPLY: dict[str, Callable[[dict[str, str]], None]] = {
    "site": _site, "host": _host, "admin": _admin, "claim": _claim, "wifi": _wifi, "ssh": _ssh,
}  # fmt: skip


def _wipe(path: Path, text: str) -> None:
    """Write over a file where it is: in another place, the old one's secrets would stay in free space."""
    with path.open("r+b") as file:
        file.write(b" " * path.stat().st_size)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        file.write(text.encode())
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, text: str) -> None:
    """For a FAT file system, which knows no owners."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
