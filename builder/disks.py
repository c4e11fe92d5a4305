"""The disks of this machine that a card's image may be written to (lsblk(8))."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.command import output, program
from builder.errors import BuildError

_COLUMNS = "PATH,SIZE,VENDOR,MODEL,RM,HOTPLUG,RO,TYPE,MOUNTPOINTS,TRAN"
_TYPES = frozenset({"disk"})
# SD cards in a built-in reader, and whatever hangs on USB, whether or not it calls itself removable.
_CARD_BUSES = frozenset({"usb", "mmc"})


@dataclass(frozen=True)
class Disk:
    """A disk. :ivar size: in bytes. :ivar why_not: why it can't be written to; empty if it can."""

    path: Path
    size: int
    name: str
    why_not: str

    def __str__(self) -> str:
        return f"{self.path}  {self.size / 1e9:.1f} GB  {self.name}"


def listing(size: int = 0) -> list[Disk]:
    """All disks of this machine.

    :param size: what must fit, in bytes.
    """
    told = output([program("lsblk", "util-linux"), "--json", "--bytes", "--output", _COLUMNS])
    rows = json.loads(told)["blockdevices"]
    return [
        Disk(Path(row["path"]), int(row["size"] or 0), _name(row), _why_not(row, size))
        for row in rows
        if row["type"] in _TYPES and row["size"]
    ]


def _name(row: dict[str, Any]) -> str:
    words = [(row[key] or "").strip() for key in ("vendor", "model")]
    return " ".join(word for word in words if word) or "nameless"


def _why_not(row: dict[str, Any], size: int) -> str:
    mounted = [point for part in _tree(row) for point in part.get("mountpoints") or [] if point]
    if "/" in mounted or "[SWAP]" in mounted:
        return "this machine runs from it"
    if mounted:
        return f"it is in use, at {', '.join(sorted(mounted))}: unmount it first"
    if not (row["rm"] or row["hotplug"] or row["tran"] in _CARD_BUSES):
        return "it is built in, no card and no stick"
    if row["ro"]:
        return "it is write-protected: is there a slide on the card's edge?"
    if int(row["size"]) < size:
        return f"it has {int(row['size']) / 1e9:.1f} GB, the image needs {size / 1e9:.1f} GB"
    return ""


def _tree(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield row
    for child in row.get("children") or []:
        yield from _tree(child)


def choose(device: str | None, size: int) -> Disk:
    """The disk to write to.

    :param device: its path, or None to be told which there are.
    :raises BuildError: it is not to be written to, or none was named.
    """
    disks = listing(size)
    good = [disk for disk in disks if not disk.why_not]
    offer = "There are: " + "; ".join(map(str, good)) if good else "There is no card or stick in this machine"
    if device is None:
        raise BuildError("no disk was named", offer)
    path = Path(device).resolve()
    found = next((disk for disk in disks if disk.path == path), None)
    if found is None:
        raise BuildError(f"{device} is no disk", offer)
    if found.why_not:
        raise BuildError(f"{device} will not be written to: {found.why_not}", offer)
    return found
