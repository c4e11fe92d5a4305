"""Lay out an SD card as Raspberry Pi OS does: no root rights, no mounts, no loop devices.

An MBR; at 8 MiB the boot partition, FAT32, labelled ``bootfs``, where the Pi's firmware finds
itself, the kernel and the files that an owner edits; behind it the root file system, ext4, labelled
``rootfs``. (https://github.com/RPi-Distro/pi-gen, export-image/prerun.sh)
"""

from pathlib import Path

from builder.core.command import program
from builder.core.work import Work
from builder.disk import fat, rootfs

_MIB = 1 << 20
BOOT_START = 8 * _MIB
"""Where the boot partition begins, in bytes."""
BOOT_SIZE = 512 * _MIB
"""Of the boot partition, in bytes."""
ROOT_START = BOOT_START + BOOT_SIZE
"""Where the root file system begins, in bytes."""
DISK_ID = "6d696372"
"""Of the MBR. Partitions go by it: PARTUUID=6d696372-02 is the root file system (images/bases/pi.sh)."""
FIRMWARE = "boot/firmware"
"""Where the boot partition is mounted."""
_LABEL = "bootfs"


def assemble(root_tar: Path, image: Path, size: int, seed: str, work: Work) -> None:
    """Write a raw disk image that a Raspberry Pi boots from.

    :param root_tar: the root file system, the boot partition's files in it.
    :param image: the sparse file to write.
    :param size: of the disk, in bytes.
    :param seed: what the file system's identifiers are derived from.
    :raises BuildError: a tool fails, or the root does not fit.
    """
    with image.open("wb") as out:
        out.truncate(size)
    table = work / "table"
    sectors = [number // 512 for number in (BOOT_START, BOOT_SIZE, ROOT_START)]
    table.write_text(
        f"label: dos\nlabel-id: 0x{DISK_ID}\n"
        f"start={sectors[0]}, size={sectors[1]}, type=c\nstart={sectors[2]}, type=83\n"
    )
    work.run(["sh", "-c", 'exec "$0" --quiet "$1" < "$2"', program("sfdisk", "fdisk"), image, table])
    firmware = work / "firmware"
    rootfs.write(root_tar, image, ROOT_START, size - ROOT_START, "rootfs", seed, work, [(FIRMWARE, firmware)])
    write_boot(image, firmware, work)


def write_boot(image: Path, firmware: Path, work: Work) -> None:
    """Make the boot partition anew, with the files of a directory."""
    fat.make(image, BOOT_START, BOOT_SIZE, _LABEL, DISK_ID, work)
    fat.copy_in(image, BOOT_START, list(firmware.iterdir()), work)
