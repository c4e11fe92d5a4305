"""vhd, fixed: as Azure takes it, a raw disk with a footer, of a whole number of MiB.

https://learn.microsoft.com/azure/virtual-machines/linux/create-upload-generic: without force_size the
size is rounded up to what a disk's geometry of old can express.
"""

from pathlib import Path

from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk.format import Format

_MIB = 1 << 20
_FOOTER = 512


def pack(raw: Path, to: Path, work: Work) -> None:
    """Convert a raw disk.

    :raises BuildError: its size is no whole number of MiB.
    """
    if raw.stat().st_size % _MIB:
        raise BuildError(f"{raw.name} has no whole number of MiB", "Make the base's disk_size one, as 3G")
    work.run(
        [program("qemu-img", "qemu-utils"), "convert", "-f", "raw", "-O", "vpc",
         "-o", "subformat=fixed,force_size=on", raw, to]
    )  # fmt: skip


def unpack(image: Path, raw: Path, work: Work) -> None:
    """Take the footer away: what is before it is the disk."""
    work.run([program("qemu-img", "qemu-utils"), "convert", "-f", "vpc", "-O", "raw", image, raw])


FORMAT = Format(".vhd", pack, unpack, "vpc", "Azure, Hyper-V")
