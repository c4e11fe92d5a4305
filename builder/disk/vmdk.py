"""Disks as VMware's and VirtualBox's tools and AWS read them: streamOptimized VMDK."""

from pathlib import Path

from builder.core.command import program, run


def write(image: Path, to: Path, log: Path) -> None:
    """Convert an image (VMware, "Virtual Disk Format 5.0": packed, read from front to back)."""
    run(
        [program("qemu-img", "qemu-utils"), "convert", "-O", "vmdk", "-o", "subformat=streamOptimized",
         image, to],
        log,
    )  # fmt: skip
