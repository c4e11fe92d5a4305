"""Copy a disk without what its file system has freed: no deleted key, no deleted log, and a smaller file.

A guest's discards are not enough for that: they reach whole clusters of the image file alone.
"""

from pathlib import Path

from builder.command import program, run
from builder.ext4 import FileSystem

_CHUNK = 1 << 20


def compact(disk: Path, to: Path, work: Path, log: Path) -> None:
    """Write a raw disk of what is in use on a disk; the rest of it is holes.

    :param disk: an image of any format; its root file system is ext4, and was left in order.
    :param work: a directory for half-done files.
    :raises BuildError: a tool fails, or the file system is damaged.
    """
    convert = [program("qemu-img", "qemu-utils"), "convert"]
    full, partition = work / "full.raw", work / "partition.raw"
    run([*convert, "-O", "raw", disk, full], log)
    root = FileSystem.root_of(full)
    # The partition in a file of its own: e2fsck 1.47 forgets the offset it was given as soon as it
    # has replayed a journal.
    part = f"driver=raw,offset={root.offset},size={root.size},file.driver=file,file.filename={full}"
    run([*convert, "-O", "raw", "--image-opts", part, partition], log)
    # Files that were deleted while a process had them open are freed at the next mount, or by this:
    # -p mends what is safe to mend and fails at the rest; exit code 1 means mended (e2fsck(8)).
    run([program("e2fsck", "e2fsprogs"), "-fp", partition], log, good=(0, 1))
    # -ra: a raw image with the data of all blocks in use (e2image(8)).
    run([program("e2image", "e2fsprogs"), "-ra", "-O", str(root.offset), partition, to], log)
    partition.unlink()
    _copy_around(full, to, root)
    full.unlink()


def _copy_around(source: Path, target: Path, root: FileSystem) -> None:
    """Copy what is before and behind the root file system: partition tables, boot loaders."""
    size = source.stat().st_size
    with source.open("rb") as read, target.open("r+b") as write:
        write.truncate(size)
        for start, end in ((0, root.offset), (root.offset + root.size, size)):
            read.seek(start)
            write.seek(start)
            while start < end:
                chunk = read.read(min(_CHUNK, end - start))
                start += len(chunk)
                if chunk.strip(b"\0"):
                    write.write(chunk)
                else:
                    write.seek(len(chunk), 1)
