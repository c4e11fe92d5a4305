"""FAT file systems within disk images, by mtools: no mount, no root."""

from pathlib import Path

from builder.core.command import program, run

_SECTOR = 512


def make(image: Path, offset: int, size: int, label: str, serial: str, log: Path) -> None:
    """Make an empty FAT32 file system in a disk image.

    :param offset: where it begins, and
    :param size: how long it is, both in bytes.
    :param serial: eight hexadecimal digits.
    """
    run(
        [program("mkfs.vfat", "dosfstools"), "-F", "32", "-n", label, "-i", serial,
         f"--offset={offset // _SECTOR}", image, str(size // 1024)],
        log,
    )  # fmt: skip


def copy_in(image: Path, offset: int, files: list[Path], log: Path, folder: str = "") -> None:
    """Copy files, and directories with all below them, into a folder, over what is there."""
    # -s: with subdirectories, -m: with their times, -o: over others (mtools(1)).
    run(
        [program("mcopy", "mtools"), "-s", "-m", "-o", "-i", f"{image}@@{offset}", *sorted(files),
         f"::{folder}"],
        log,
    )  # fmt: skip


def copy_out(image: Path, offset: int, to: Path, log: Path) -> None:
    """Copy all that is in a file system into a directory."""
    run([program("mcopy", "mtools"), "-s", "-m", "-n", "-i", f"{image}@@{offset}", "::*", to], log)


def read(image: Path, offset: int, name: str, work: Path, log: Path) -> bytes:
    """A file's content. :param work: a directory for half-done files."""
    copy = work / "fat-file"
    copy.unlink(missing_ok=True)
    run([program("mcopy", "mtools"), "-i", f"{image}@@{offset}", f"::{name}", copy], log)
    return copy.read_bytes()
