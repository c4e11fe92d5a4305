"""FLEET.toml: which machines a fleet has, and where."""

import dataclasses
import ipaddress
import re
import sys
from pathlib import Path
from typing import Any

from builder.core.errors import BuildError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KINDS = ("database", "app", "balancer")
"""Of machines, each an image's name; also the order in which they are made."""
_NAME = r"[a-z][a-z0-9-]{0,30}"
_HOST = r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
_TEXTS = {"site": _HOST, "owner": r"[^\s@'\"\\]+@[^\s@'\"\\]+", "shared": r"[0-9.]+"}
_LISTS = {"ssh_keys": r"(ssh-|ecdsa-|sk-)\S+ \S+( .*)?", "seal_to": r"age1\S+|ssh-(ed25519|rsa) \S+( .*)?"}
_SETTING = re.compile(r"[A-Z_]+")
# What follows from the fleet itself.
_OURS = ("SECRET_KEY", "DATABASE_URL", "HOST_NAMES", "PROXY_NETWORKS", "DRAIN_SECONDS", "CLAIM_CODE")
# Two databases that lose each other stop both.
_NOT_TWO = 2


@dataclasses.dataclass(frozen=True)
class Machine:
    """One of a fleet's."""

    kind: str
    name: str
    address: str
    """In the network that the machines have for themselves."""


@dataclasses.dataclass(frozen=True)
class Fleet:
    """What FLEET.toml says."""

    site: str
    """The name that visitors open."""
    owner: str
    """Whom the certificate's authority writes to."""
    ssh_keys: tuple[str, ...]
    seal_to: tuple[str, ...]
    """For whom the file of secrets is encrypted: age's own keys, or SSH's; for nobody if empty."""
    shared: str
    """The address that one of several balancers has; empty where there is one."""
    settings: dict[str, str]
    """More of the application's, by name."""
    machines: tuple[Machine, ...]
    begun: bool = False
    """Whether its databases have run together: from then on none begins a cluster of its own."""

    def of(self, kind: str) -> list[Machine]:
        """The machines of a kind, as they are written."""
        return [machine for machine in self.machines if machine.kind == kind]

    def find(self, name: str) -> Machine:
        """:raises BuildError: there is no such machine."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise BuildError(
            f"the fleet has no machine {name!r}",
            f"There are: {', '.join(machine.name for machine in self.machines)}",
        )


def load(path: Path) -> Fleet:
    """Read it.

    :raises BuildError: it is not there, or it says what can't be.
    """
    return read(_text(path), path)


def read(text: str, path: Path) -> Fleet:
    """The fleet that a text describes. :param path: for messages. Raises as :func:`load`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"{path} is not TOML: {error}", "Mend that line") from error
    for name in values:
        if name not in (*_TEXTS, *_LISTS, *KINDS, "settings", "begun"):
            raise _wrong(path, f"there is no field {name!r}", "See docs/fleet.md for those there are")
    texts = {name: values.get(name, "") for name in _TEXTS}
    for name, value in texts.items():
        if not (value == "" and name == "shared") and not _is(_TEXTS[name], value):
            raise _wrong(path, f"{name} can't be {value!r}", f"Add or mend the line: {name} = ...")
    lists = {name: values.get(name, []) for name in _LISTS}
    for name, value in lists.items():
        if not isinstance(value, list) or not all(_is(_LISTS[name], one) for one in value):
            raise _wrong(path, f"{name} is no list of keys", f'Write: {name} = ["ssh-ed25519 AAAA..."]')
    if not lists["ssh_keys"]:
        raise _wrong(path, "ssh_keys is missing", "Without one nobody can log in to a machine")
    begun = values.get("begun", False)
    if not isinstance(begun, bool):
        raise _wrong(path, f"begun can't be {begun!r}", "Write true, or leave that line out")
    fleet = Fleet(
        site=texts["site"], owner=texts["owner"], shared=texts["shared"], begun=begun,
        ssh_keys=tuple(lists["ssh_keys"]), seal_to=tuple(lists["seal_to"]),
        settings=_settings(path, values.get("settings", {})),
        machines=tuple(one for kind in KINDS for one in _machines(path, kind, values.get(kind, {}))),
    )  # fmt: skip
    _must_make_sense(path, fleet)
    return fleet


def with_machine(path: Path, kind: str, name: str, address: str) -> str:
    """The text of FLEET.toml with one machine more, the last of its kind.

    :raises BuildError: there is one of that name, or it can't be.
    """
    text = _text(path)
    before = read(text, path).machines
    if any(machine.name == name for machine in before):
        raise BuildError(f"the fleet has a machine {name!r} already", "Give the new one another name")
    lines = text.splitlines()
    head = rf"\s*\[\s*{kind}\s*\].*"
    start = next((number for number, line in enumerate(lines) if _is(head, line)), None)
    if start is None:
        raise _unreadable(path, kind)
    end = next(
        (number for number, line in enumerate(lines) if number > start and line.lstrip().startswith("[")),
        len(lines),
    )
    while not lines[end - 1].strip():
        end -= 1
    lines.insert(end, f'{name} = "{address}"')
    return _changed(path, lines, kind, {*before, Machine(kind, name, address)})


def without_machine(path: Path, name: str) -> str:
    """The text of FLEET.toml with one machine less.

    :raises BuildError: there is none of that name, or the others can't be without it.
    """
    text = _text(path)
    fleet = read(text, path)
    gone = fleet.find(name)
    # Any machine may have the name of a field: the line is the one in its own table.
    lines, table = [], ""
    for line in text.splitlines():
        if found := re.match(r"\s*\[\s*([^\]]*?)\s*\]", line):
            table = found[1]
        if table != gone.kind or not _is(rf"\s*[\"']?{name}[\"']?\s*=.*", line):
            lines.append(line)
    return _changed(path, lines, gone.kind, {*fleet.machines} - {gone})


def _changed(path: Path, lines: list[str], kind: str, wanted: set[Machine]) -> str:
    """The text of these lines. :raises BuildError: it can't be, or has others than these machines."""
    text = "\n".join(lines) + "\n"
    if {*read(text, path).machines} != wanted:
        raise _unreadable(path, kind)
    return text


def _unreadable(path: Path, kind: str) -> BuildError:
    hint = f"Change it by hand, then: ./build.py fleet make {path}"
    return _wrong(path, f"the machines of [{kind}] are not written a line each", hint)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"{path} can't be read: {error}", "docs/fleet.md has an example") from error


def _wrong(path: Path, what: str, hint: str) -> BuildError:
    return BuildError(f"{path}: {what}", hint)


def _is(shape: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(shape, value) is not None


def _settings(path: Path, given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise _wrong(path, "settings is no table", "Write [settings], then a line each")
    for name, value in given.items():
        if name in _OURS:
            raise _wrong(path, f"{name} follows from the fleet", "Leave that line out")
        if not _SETTING.fullmatch(name) or not isinstance(value, str) or not value.isprintable():
            raise _wrong(path, f"the setting {name} is no text", f'Write: {name} = "..."')
    return dict(given)


def _machines(path: Path, kind: str, given: Any) -> list[Machine]:
    if not isinstance(given, dict) or not given:
        raise _wrong(path, f"there is no {kind}", f'Write [{kind}], then a line each: NAME = "10.0.0.2"')
    for name, address in given.items():
        if not _is(_NAME, name):
            raise _wrong(path, f"{name!r} is no name for a machine", "Use small letters, digits and -")
        _must_be_address(path, name, address)
    return [Machine(kind, name, address) for name, address in given.items()]


def _must_be_address(path: Path, name: str, address: Any) -> None:
    try:
        ipaddress.IPv4Address(address if isinstance(address, str) else "")
    except ValueError as error:
        raise _wrong(path, f"{name}: {address!r} is no IPv4 address", "Mend that line") from error


def _must_make_sense(path: Path, fleet: Fleet) -> None:
    """:raises BuildError: machines share what each must have for itself, or there is one too few."""
    if fleet.shared:
        _must_be_address(path, "shared", fleet.shared)
    seen: set[str] = set()
    addresses = [*(machine.address for machine in fleet.machines), *filter(None, [fleet.shared])]
    for one in (*(machine.name for machine in fleet.machines), *addresses):
        if one in seen:
            raise _wrong(path, f"{one} is there twice", "Each machine has a name and an address of its own")
        seen.add(one)
    if len(fleet.of("database")) == _NOT_TWO:
        raise _wrong(
            path, "two databases are worse than one: when they lose each other, both stop",
            f"Have one, or three: write those into it by hand, then: ./build.py fleet make {path}",
        )  # fmt: skip
    if len(fleet.of("balancer")) > 1 and not fleet.shared:
        raise _wrong(
            path, "there are several balancers, and no address that one of them has",
            'Add a line before the tables: shared = "10.0.0.5"',
        )  # fmt: skip
