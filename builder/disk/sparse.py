"""Copy parts of disk images; what is zero becomes holes."""

from pathlib import Path

_CHUNK = 1 << 20


def copy(source: Path, start: int, target: Path, to: int, size: int) -> None:
    """Copy a part of a file into a part of another, which is zero there.

    :param start: where the part begins in the source, and
    :param to: where in the target, and
    :param size: how long it is, all in bytes.
    """
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
