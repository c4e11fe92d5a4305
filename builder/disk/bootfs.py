"""The boot partition of a card's image, wherever its publisher has laid it out."""

from pathlib import Path

from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk import fat, partition

_FAT = ("C", "B", "E", "6")
"""Types of a partition that holds a FAT file system (MBR)."""
_LABEL = "bootfs"


def start(image: Path) -> int:
    """Where it begins, in bytes.

    :raises BuildError: there is none.
    """
    return _boot(partition.table(image), image).offset


def _boot(table: partition.Table, image: Path) -> partition.Partition:
    found = table.first(_FAT)
    if found is None:
        raise BuildError(f"{image.name} has no FAT partition", "Is it the image of a Raspberry Pi's card?")
    return found


def write(image: Path, firmware: Path, work: Work) -> None:
    """Make it anew, with the files of a directory."""
    table = partition.table(image)
    boot = _boot(table, image)
    fat.make(image, boot.offset, boot.size, _LABEL, table.identifier.removeprefix("0x"), work)
    fat.copy_in(image, boot.offset, list(firmware.iterdir()), work)


def read(image: Path, firmware: Path, work: Work) -> None:
    """Copy its files into a directory."""
    fat.copy_out(image, start(image), firmware, work)
