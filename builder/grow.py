"""Make a disk larger: its last partition, and the root file system in it. No mount, no root rights."""

import re
from pathlib import Path

from builder.command import output, program, run
from builder.ext4 import FileSystem

_CHUNK = 1 << 20


def grow(disk: Path, size: int, work: Path, log: Path) -> None:
    """Grow a raw disk; one that is as large already stays as it is.

    :param disk: its root file system is ext4, and nothing is behind it but a GPT's second copy.
    :param size: in bytes.
    :param work: a directory for half-done files.
    :raises BuildError: a tool fails, or the file system is damaged.
    """
    if disk.stat().st_size >= size:
        return
    root = FileSystem.root_of(disk)
    partition = work / "partition.raw"
    _copy_sparse(disk, root.offset, partition, 0, root.size)
    # What was there becomes holes, for holes are what is not copied back.
    with disk.open("r+b") as out:
        out.truncate(root.offset)
        out.truncate(size)
    sfdisk = program("sfdisk", "fdisk")
    if _is_gpt(disk):
        run([program("sgdisk", "gdisk"), "--move-second-header", disk], log)
    number = _number(sfdisk, disk, root.offset)
    run(["sh", "-c", 'echo ", +" | exec "$0" --quiet --no-reread -N "$1" "$2"', sfdisk, number, disk], log)
    grown = FileSystem.root_of(disk)
    with partition.open("r+b") as out:
        out.truncate(grown.size)
    run([program("e2fsck", "e2fsprogs"), "-fp", partition], log, good=(0, 1))
    run([program("resize2fs", "e2fsprogs"), partition], log)
    _copy_sparse(partition, 0, disk, root.offset, grown.size)
    partition.unlink()


def _is_gpt(disk: Path) -> bool:
    with disk.open("rb") as stream:
        stream.seek(512)
        return stream.read(8) == b"EFI PART"


def _number(sfdisk: str, disk: Path, offset: int) -> str:
    """The number of the partition that begins at an offset in bytes."""
    for line in output([sfdisk, "--dump", disk]).splitlines():
        match = re.match(r".*?(\d+) : start= *(\d+),", line)
        if match and int(match[2]) * 512 == offset:
            return match[1]
    raise AssertionError(offset)


def _copy_sparse(source: Path, start: int, target: Path, to: int, size: int) -> None:
    """Copy ``size`` bytes; what is zero becomes holes."""
    target.touch()
    with source.open("rb") as read, target.open("r+b") as write:
        read.seek(start)
        write.seek(to)
        left = size
        while left and (chunk := read.read(min(_CHUNK, left))):
            left -= len(chunk)
            if chunk.strip(b"\0"):
                write.write(chunk)
            else:
                write.seek(len(chunk), 1)
        write.truncate(max(write.tell(), target.stat().st_size))
