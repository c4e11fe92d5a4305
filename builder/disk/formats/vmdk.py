"""vmdk, streamOptimized: as VMware's and VirtualBox's tools and AWS read it, packed, from front to back.

VMware, "Virtual Disk Format 5.0".
"""

from pathlib import Path

from builder.core.command import program
from builder.core.work import Work
from builder.disk.format import Format
from builder.disk.formats import qcow2


def pack(raw: Path, to: Path, work: Work) -> None:
    """Convert a raw disk, or any that qemu-img knows."""
    work.run(
        [program("qemu-img", "qemu-utils"), "convert", "-O", "vmdk", "-o", "subformat=streamOptimized",
         raw, to]
    )  # fmt: skip


FORMAT = Format(".vmdk", pack, qcow2.unpack, "vmdk", "VMware, AWS")
