"""Make a disk larger: its last partition, and the root file system in it. No mount, no root rights."""

from pathlib import Path

from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk import partition as partitions
from builder.disk import sparse
from builder.disk.ext4 import FileSystem


def grow(disk: Path, size: int, work: Work) -> None:
    """Grow a raw disk; one that is as large already stays as it is.

    :param disk: its root file system is ext4, and nothing is behind it but a GPT's second copy.
    :param size: in bytes.
    :param work: a directory for half-done files.
    :raises BuildError: a partition is behind it, a tool fails, or the file system is damaged.
    """
    if disk.stat().st_size >= size:
        return
    root = FileSystem.root_of(disk)
    behind = [one.number for one in partitions.table(disk).partitions if one.offset > root.offset]
    if behind:
        raise BuildError(
            f"the root file system can't grow: partition {behind[0]} is behind it",
            "Leave out the base's disk_size, or take another of the publisher's images",
        )
    partition = work / "partition.raw"
    sparse.copy(disk, root.offset, partition, 0, root.size)
    # What was there becomes holes, for holes are what is not copied back.
    with disk.open("r+b") as out:
        out.truncate(root.offset)
        out.truncate(size)
    sfdisk = program("sfdisk", "fdisk")
    table = partitions.table(disk)
    if table.label == "gpt":
        work.run([program("sgdisk", "gdisk"), "--move-second-header", disk])
    number = next(str(one.number) for one in table.partitions if one.offset == root.offset)
    work.run(["sh", "-c", 'echo ", +" | exec "$0" --quiet --no-reread -N "$1" "$2"', sfdisk, number, disk])
    grown = FileSystem.root_of(disk)
    with partition.open("r+b") as out:
        out.truncate(grown.size)
    work.run([program("e2fsck", "e2fsprogs"), "-fp", partition], good=(0, 1))
    work.run([program("resize2fs", "e2fsprogs"), partition])
    sparse.copy(partition, 0, disk, root.offset, grown.size)
    partition.unlink()
