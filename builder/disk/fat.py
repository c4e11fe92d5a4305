"""FAT file systems within disk images, by mtools: no mount, no root."""

from pathlib import Path

from builder.core.command import program
from builder.core.work import Work

_SECTOR = 512


def make(image: Path, offset: int, size: int, label: str, serial: str, work: Work) -> None:
    """Make an empty FAT32 file system in a disk image.

    :param offset: where it begins, and
    :param size: how long it is, both in bytes.
    :param serial: eight hexadecimal digits.
    """
    work.run(
        [program("mkfs.vfat", "dosfstools"), "-F", "32", "-n", label, "-i", serial,
         f"--offset={offset // _SECTOR}", image, str(size // 1024)],
    )  # fmt: skip


def copy_in(image: Path, offset: int, files: list[Path], work: Work, folder: str = "") -> None:
    """Copy files, and directories with all below them, into a folder, over what is there."""
    # -s: with subdirectories, -m: with their times, -o: over others (mtools(1)).
    work.run(
        [program("mcopy", "mtools"), "-s", "-m", "-o", "-i", f"{image}@@{offset}", *sorted(files),
         f"::{folder}"],
    )  # fmt: skip


def copy_out(image: Path, offset: int, to: Path, work: Work) -> None:
    """Copy all that is in a file system into a directory."""
    work.run([program("mcopy", "mtools"), "-s", "-m", "-n", "-i", f"{image}@@{offset}", "::*", to])


def read(image: Path, offset: int, name: str, work: Work) -> bytes:
    """A file's content. :param work: a directory for half-done files."""
    copy = work / "fat-file"
    copy.unlink(missing_ok=True)
    work.run([program("mcopy", "mtools"), "-i", f"{image}@@{offset}", f"::{name}", copy])
    return copy.read_bytes()
