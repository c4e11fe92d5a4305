"""The disks of this machine that a card's image may be written to (lsblk(8))."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.core.command import output, program
from builder.core.errors import BuildError

_COLUMNS = "PATH,SIZE,VENDOR,MODEL,SERIAL,RM,HOTPLUG,RO,TYPE,MOUNTPOINTS,TRAN"
_TYPES = frozenset({"disk"})
# SD cards in a built-in reader, and whatever hangs on USB, whether or not it calls itself removable.
_CARD_BUSES = frozenset({"usb", "mmc"})
# What is soldered in, as the kernel's MMC driver names it; lsblk counts all of that bus as pluggable.
_EMMC = "MMC"
_LARGEST_CARD = 300 * 10**9
"""In bytes: what is larger is written to only where its size was named."""
_SYS = Path("/sys/block")


@dataclass(frozen=True)
class Disk:
    """A disk.

    :ivar size: in bytes.
    :ivar why_not: why it can't be written to; empty if it can.
    :ivar caution: why it is not taken for a card, and so wants its size named; empty if it is.
    :ivar identity: another one for another disk at the same path, also for another card in the same reader.
    """

    path: Path
    size: int
    name: str
    why_not: str
    caution: str = ""
    identity: str = ""

    def __str__(self) -> str:
        return f"{self.path}  {self.size / 1e9:.1f} GB  {self.name}"


def listing(size: int = 0) -> list[Disk]:
    """All disks of this machine.

    :param size: what must fit, in bytes.
    """
    told = output([program("lsblk", "util-linux"), "--json", "--bytes", "--output", _COLUMNS])
    rows = json.loads(told)["blockdevices"]
    found = []
    for row in rows:
        if row["type"] in _TYPES and row["size"]:
            path, bytes_ = Path(row["path"]), int(row["size"])
            row["card"] = _told(path, "device/type")
            identity = " ".join([str(row.get("serial")), str(row["size"]), _told(path, "diskseq")])
            why_not = _why_not(row, size)
            found.append(Disk(path, bytes_, _name(row), why_not, _caution(row), identity))
    return found


def _told(path: Path, attribute: str) -> str:
    """What the kernel tells of a disk; empty if nothing. (diskseq: sysfs-block(5), Linux 5.15)"""
    name = re.sub(r"^(mmcblk\d+)\w+$", r"\1", path.name)
    try:
        return (_SYS / name / attribute).read_text().strip()
    except OSError:
        return ""


def _name(row: dict[str, Any]) -> str:
    words = [(row[key] or "").strip() for key in ("vendor", "model")]
    return " ".join(word for word in words if word) or "nameless"


def _why_not(row: dict[str, Any], size: int) -> str:
    mounted = [point for part in _tree(row) for point in part.get("mountpoints") or [] if point]
    if "/" in mounted or "[SWAP]" in mounted:
        return "this machine runs from it"
    if mounted:
        return f"it is in use, at {', '.join(sorted(mounted))}: unmount it first"
    for part in _tree(row):
        if part.get("type", "part") not in ("disk", "part", "loop", *_TYPES):
            return f"it is in use, as a part of {part['path']} ({part['type']}): take it out of that first"
    if row.get("card") == _EMMC or not (row["rm"] or row["hotplug"] or row["tran"] in _CARD_BUSES):
        return "it is built in, no card and no stick"
    if row["ro"]:
        return "it is write-protected: is there a slide on the card's edge?"
    if int(row["size"]) < size:
        return f"it has {int(row['size']) / 1e9:.1f} GB, the image needs {size / 1e9:.1f} GB"
    return ""


def _caution(row: dict[str, Any]) -> str:
    size = int(row["size"])
    if size > _LARGEST_CARD:
        return f"a disk of {size / 1e9:.0f} GB, larger than cards are"
    if not row["rm"] and row["tran"] != "mmc":
        return "a disk, no card and no stick"
    return ""


def _tree(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield row
    for child in row.get("children") or []:
        yield from _tree(child)


def choose(device: str | None, size: int, exact: int | None = None) -> Disk:
    """The disk to write to.

    :param device: its path, or None to be told which there are.
    :param size: what must fit, in bytes.
    :param exact: the disk's own size, in bytes, which must be named for what does not look like a card.
    :raises BuildError: it is not to be written to, or none was named.
    """
    disks = listing(size)
    good = [disk for disk in disks if not disk.why_not and not disk.caution]
    offer = "There are: " + "; ".join(map(str, good)) if good else "There is no card or stick in this machine"
    if device is None:
        raise BuildError("no disk was named", offer)
    path = Path(device).resolve()
    found = next((disk for disk in disks if disk.path == path), None)
    if found is None:
        raise BuildError(f"{device} is no disk", offer)
    if found.why_not:
        raise BuildError(f"{device} will not be written to: {found.why_not}", offer)
    if exact is not None and exact != found.size:
        raise BuildError(f"{device} has {found.size} bytes, not {exact}", "Is it another disk by now?")
    if found.caution and exact is None:
        raise BuildError(
            f"{device} is {found.caution}: {found.name}",
            f"If all on it may be lost, name its size, too: --size {found.size}",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise BuildError(f"only root may write to {device}", "Run it with sudo")
    return found
