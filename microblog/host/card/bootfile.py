"""``microblog.txt``: the few settings that the owner of a Raspberry Pi writes on its card.

Edited with any editor of any system, by people who never did such a thing: what is wrong in it is
told line by line, and what is right counts all the same.
"""

import base64
import binascii
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from microblog import claiming
from microblog.printable import is_printable

NAME = "microblog.txt"
ERRORS = "microblog-errors.txt"

TEMPLATE = """\
# Microblog: settings for this card.
#
# Write your values behind the = and take away the # at the beginning of the line. Then save this
# file, put the card into the Raspberry Pi and power it on. After a minute or two open
#
#     http://microblog.local
#
# All of it may stay as it is: with a network cable the site comes up, and whoever opens it from the same
# network within an hour of the first start makes it theirs. Later it asks for a code, which is on the
# screen, in the greeting of SSH, or chosen here.
# The Pi reads a line once and then puts the # back; passwords are removed. What it could not use
# it leaves, and says why in microblog-errors.txt beside this file. Later changes work the same way.
# Quotes around a value are not part of it; a space at its beginning or end needs them.

# The name that visitors see, at most 40 characters.
#site name = Microblog

# The name in the address, http://NAME.local: letters, digits and hyphens.
#host name = microblog

# Your account on the site, which may administer it. All three together.
#admin user = susan
#admin email = susan@example.org
#admin password = 

# Or, to make that account in the browser at any time: a code of your own, 8 letters A to Z.
#claim code = 

# Wi-Fi. The country (two letters, as DE or US) decides which channels are allowed. All three together.
#wifi country = 
#wifi name = 
#wifi password = 
# In the password's place, for a network that has none:
#wifi open = yes
# And for one that does not show its name:
#wifi hidden = yes

# To log in with SSH, as the user pi, or who else has an account on it: the line of your .pub file. One
# line for each key.
#ssh key = ssh-ed25519 AAAA...
"""

_SIZE_MAX = 64 * 1024
SECRET = frozenset({"admin password", "claim code", "wifi password"})
_MANY = "ssh key"
# What is used together, or not at all.
GROUPS: dict[str, tuple[str, ...]] = {
    "site": ("site name",),
    "host": ("host name",),
    "admin": ("admin user", "admin email", "admin password"),
    "claim": ("claim code",),
    "wifi": ("wifi country", "wifi name", "wifi password", "wifi open", "wifi hidden"),
    "ssh": (_MANY,),
}
_OPTIONAL = frozenset({"wifi open", "wifi hidden"})
_GROUP_OF = {key: group for group, keys in GROUPS.items() for key in keys}
YES, _NO = frozenset({"yes", "true", "on", "1"}), frozenset({"no", "false", "off", "0"})
_COUNTRIES = Path("/usr/share/zoneinfo/iso3166.tab")
_KEY_TYPES = (
    *("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
)


@dataclass(frozen=True)
class Mistake:
    """What is wrong in a line. :ivar line: its number, from 1; 0 for the whole file."""

    line: int
    text: str


@dataclass
class BootFile:
    """What a file says.

    :ivar groups: the values of each group that is whole and right, by key; keys of SSH by number.
    :ivar mistakes: what is wrong with the others.
    """

    groups: dict[str, dict[str, str]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)
    _used: dict[int, str] = field(default_factory=dict)

    def failed(self, group: str, why: str) -> None:
        """A group could not be used after all: its lines stay, and the first is answered."""
        del self.groups[group]
        lines = [number for number, name in self._used.items() if _group(name) == group]
        for number in lines:
            del self._used[number]
        self.mistakes = sorted([*self.mistakes, Mistake(min(lines), why)], key=lambda one: one.line)

    def rewritten(self) -> str:
        """The file after use: lines that were used are comments again, without their secrets."""
        lines = list(self._lines)
        for number, key in self._used.items():
            lines[number - 1] = f"#{key} = " if key in SECRET else f"#{lines[number - 1].lstrip()}"
        return "".join(f"{line}\r\n" for line in lines)


def decode(data: bytes) -> str:
    """The text of a file, as editors write it.

    :raises ValueError: it is none.
    """
    if len(data) > _SIZE_MAX:
        raise ValueError("the file is too long to be this one")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("the file is no UTF-8 text: save it with the encoding UTF-8") from None
    if "\0" in text:
        raise ValueError("the file is no text: save it as plain text")
    return text


def read(text: str) -> BootFile:
    """Read a file and check every value in it."""
    found = BootFile(_lines=text.splitlines())
    values: dict[str, tuple[int, str]] = {}
    spoilt: set[str] = set()

    def wrong(number: int, words: str, key: str = "") -> None:
        found.mistakes.append(Mistake(number, words))
        spoilt.add(_GROUP_OF.get(key, ""))

    keys = 0
    for number, line in enumerate(found._lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        key, value = " ".join(re.split(r"[\s_-]+", name.strip().lower())), _unquoted(value.strip())
        if not equals:
            wrong(number, "there is no = between a name and a value; a comment begins with #")
        elif key not in _GROUP_OF:
            close = difflib.get_close_matches(key, _GROUP_OF, n=1)
            wrong(number, f'there is no setting "{key[:40]}"' + (f'; is it "{close[0]}"?' if close else ""))
        elif not value:
            wrong(number, f'there is nothing behind the =; write a value, or # before "{key}"', key)
        elif not is_printable(value):
            wrong(number, "there is a character in it that cannot be seen; type the value anew", key)
        elif key == _MANY:
            keys += 1
            values[f"{key} {keys}"] = (number, value)
        elif key in values:
            wrong(number, f'"{key}" is in line {values[key][0]} already; leave one of them', key)
        else:
            values[key] = (number, value)
    for name, (number, value) in values.items():
        key = _MANY if name.startswith(_MANY) else name
        check = _CHECKS.get(key)
        if check and (complaint := check(value)):
            wrong(number, complaint, key)
    for group, wanted in GROUPS.items():
        of_group = {name: values[name] for name in values if _group(name) == group}
        missing = [] if group == "ssh" else [key for key in wanted if key not in {*of_group, *_OPTIONAL}]
        if not of_group or group in spoilt:
            continue
        if of_group.get("wifi open", (0, ""))[1].lower() in YES:
            if "wifi password" in of_group:
                found.mistakes.append(
                    Mistake(of_group["wifi open"][0], "an open Wi-Fi has no password; leave one of them")
                )
                continue
            missing.remove("wifi password")
        if missing:
            first = min(number for number, _ in of_group.values())
            way = "; for a Wi-Fi without one: wifi open = yes" if missing == ["wifi password"] else ""
            found.mistakes.append(Mistake(first, f'"{missing[0]}" is missing: they are used together{way}'))
            continue
        found.groups[group] = {name: value for name, (_, value) in of_group.items()}
        found._used.update({number: name for name, (number, _) in of_group.items()})
    found.mistakes.sort(key=lambda mistake: mistake.line)
    return found


def _unquoted(value: str) -> str:
    """A value without a pair of quotes around all of it; what is between them counts, spaces included."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _group(name: str) -> str:
    return "ssh" if name.startswith(_MANY) else _GROUP_OF[name]


def report(mistakes: list[Mistake]) -> str:
    """What is written beside the file. No line is quoted: it may hold a password."""
    lines = [
        f"Not everything in {NAME} could be used. The site is up all the same.",
        "Mend these lines, put the card back and power the Pi on:",
        "",
        *(f"{f'Line {one.line}: ' if one.line else ''}{one.text}." for one in mistakes),
    ]
    return "".join(f"{line}\r\n" for line in lines)


def _site_name(value: str) -> str:
    return "" if len(value) <= 40 else "the site's name has more than 40 characters"


def host_name(value: str) -> str:
    """A host name as it is written down: without .local, in small letters."""
    return value.lower().removesuffix(".local")


def _claim_code(value: str) -> str:
    if claiming.is_code(claiming.normal(value)):
        return ""
    return "the code has 8 letters A to Z, four of them different"


def _host_name(value: str) -> str:
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", host_name(value)):
        return "" if host_name(value) != "localhost" else "every machine is called localhost"
    return "a host name has letters, digits and hyphens alone (no spaces, dots or umlauts), 63 at most"


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


def _yes_or_no(value: str) -> str:
    return "" if value.lower() in YES | _NO else "write yes or no"


def _ssh_key(value: str) -> str:
    kind, _, rest = value.partition(" ")
    if "PRIVATE KEY" in value:
        return "this is a private key, which nobody else may see; copy the line of the file ending with .pub"
    if kind not in _KEY_TYPES:
        return (
            "this is no public SSH key: one begins with ssh-ed25519 or ssh-rsa, as in a file ending with .pub"
        )
    try:
        blob = base64.b64decode(rest.split()[0], validate=True)
    except (binascii.Error, IndexError):
        blob = b""
    # It names its type itself (RFC 4253, 6.6).
    if blob[4 : 4 + len(kind)] != kind.encode() or len(blob) < 32:
        return "this SSH key is not whole; copy the whole line of the file ending with .pub"
    return ""


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "site name": _site_name,
    "host name": _host_name,
    "claim code": _claim_code,
    "wifi country": _country,
    "wifi name": _wifi_name,
    "wifi password": _wifi_password,
    "wifi open": _yes_or_no,
    "wifi hidden": _yes_or_no,
    _MANY: _ssh_key,
}
