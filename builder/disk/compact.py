"""Copy a disk without what its file system has freed: no deleted key, no deleted log, and a smaller file.

A guest's discards are not enough for that: they reach whole clusters of the image file alone.
"""

from pathlib import Path

from builder.core.command import program
from builder.core.work import Work
from builder.disk import sparse
from builder.disk.ext4 import FileSystem


def compact(disk: Path, to: Path, work: Work) -> None:
    """Write a raw disk of what is in use on a disk; the rest of it is holes.

    :param disk: an image of any format; its root file system is ext4, as is one of /boot where there is
        one, and both were left in order.
    :param work: a directory for half-done files.
    :raises BuildError: a tool fails, or the file system is damaged.
    """
    convert = [program("qemu-img", "qemu-utils"), "convert"]
    full, partition, used = work / "full.raw", work / "partition.raw", work / "partition.used"
    work.run([*convert, "-O", "raw", disk, full])
    systems = [FileSystem.root_of(full), *filter(None, [FileSystem.boot_of(full)])]
    done = 0
    for system in systems:
        # The partition in a file of its own: e2fsck 1.47 forgets the offset it was given as soon as it
        # has replayed a journal.
        part = f"driver=raw,offset={system.offset},size={system.size},file.driver=file,file.filename={full}"
        work.run([*convert, "-O", "raw", "--image-opts", part, partition])
        # Files that were deleted while a process had them open are freed at the next mount, or by this:
        # -p mends what is safe to mend and fails at the rest; exit code 1 means mended (e2fsck(8)).
        work.run([program("e2fsck", "e2fsprogs"), "-fp", partition], good=(0, 1))
        # -ra: a raw image with the data of all blocks in use (e2image(8)). The root's, the larger one,
        # goes where it belongs at once; what is there already would be lost to a second.
        e2image = [program("e2image", "e2fsprogs"), "-ra"]
        if system is systems[0]:
            work.run([*e2image, "-O", str(system.offset), partition, to])
        else:
            work.run([*e2image, partition, used])
            sparse.copy(used, 0, to, system.offset, system.size)
            used.unlink()
        partition.unlink()
    with to.open("r+b") as out:
        out.truncate(full.stat().st_size)
    # What is around them: partition tables, boot loaders.
    for system in sorted(systems, key=lambda system: system.offset):
        sparse.copy(full, done, to, done, system.offset - done)
        done = system.offset + system.size
    sparse.copy(full, done, to, done, full.stat().st_size - done)
    full.unlink()
