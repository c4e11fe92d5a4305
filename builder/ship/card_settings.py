"""The settings that are written to a card: what the Pi would refuse is refused before anything is written.

The rules are those of microblog/host/bootfile.py, which reads them on the Pi; a test compares both.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from builder.core.errors import BuildError

# What joins letters and emoji: not seen, but part of what is.
_JOINING = re.compile("[\u200c\u200d\U000e0020-\U000e007f]")
_COUNTRIES = Path("/usr/share/zoneinfo/iso3166.tab")
_KEY_TYPES = (
    *("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
)


def check(settings: Mapping[str, list[str]]) -> None:
    """:raises BuildError: the Pi would not take a value; it is not quoted, for it may be a password."""
    for key, values in settings.items():
        for value in values:
            wrong = _wrong(key, value)
            if wrong:
                raise BuildError(f"{_OPTIONS[key]}: {wrong}", "Nothing was written")


def _wrong(key: str, value: str) -> str:
    if not _JOINING.sub("", value) or not _JOINING.sub("", value).isprintable():
        return "there is nothing in it, or a character that cannot be seen"
    return _CHECKS[key](value)


def written(value: str) -> str:
    """A value as microblog.txt has it: in quotes, where a space or quotes at its ends would else be lost."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return f'"{value}"' if quoted or value != value.strip() else value


def keys(file: Path) -> list[str]:
    """The public keys in a file.

    :raises BuildError: there is none, or a private one.
    """
    text = file.read_text(errors="replace")
    if "PRIVATE KEY" in text:
        raise BuildError(f"{file} is a private key, which nobody else may see", f"Name {file}.pub instead")
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not found:
        raise BuildError(f"{file} has no key in it", "Name a file that ends with .pub")
    return found


def _host_name(value: str) -> str:
    name = value.lower().removesuffix(".local")
    if name == "localhost" or not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        return "a host name has letters, digits and hyphens alone, 63 at most, and is not localhost"
    return ""


def _country(value: str) -> str:
    try:
        known = re.findall(r"^([A-Z]{2})\t", _COUNTRIES.read_text(), re.MULTILINE)
    except OSError:
        known = []
    if re.fullmatch("[A-Za-z]{2}", value) and (not known or value.upper() in known):
        return ""
    return "the country has two letters, as in DE, GB or US"


def _wifi_name(value: str) -> str:
    return "" if len(value.encode()) <= 32 else "the name of a Wi-Fi has at most 32 characters"


def _wifi_password(value: str) -> str:
    if re.fullmatch(r"[ -~]{8,63}|[0-9A-Fa-f]{64}", value):
        return ""
    return "the password of a Wi-Fi has 8 to 63 letters, digits and signs of an English keyboard"


def _ssh_key(value: str) -> str:
    kind, _, rest = value.partition(" ")
    try:
        blob = base64.b64decode(rest.split()[0], validate=True)
    except (binascii.Error, IndexError):
        blob = b""
    # It names its type itself (RFC 4253, 6.6).
    if kind not in _KEY_TYPES or blob[4 : 4 + len(kind)] != kind.encode() or len(blob) < 32:
        return (
            "this is no public SSH key: one begins with ssh-ed25519 or ssh-rsa, as in a file ending with .pub"
        )
    return ""


_CHECKS: dict[str, Callable[[str], str]] = {
    "host name": _host_name,
    "wifi country": _country,
    "wifi name": _wifi_name,
    "wifi password": _wifi_password,
    "ssh key": _ssh_key,
}
_OPTIONS = {
    "host name": "--hostname",
    "wifi country": "--wifi-country",
    "wifi name": "--wifi",
    "wifi password": "the Wi-Fi's password",
    "ssh key": "--ssh-key",
}
