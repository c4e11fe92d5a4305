"""Files that are whole or not there."""

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def partial(path: Path) -> Path:
    """What becomes the file once it is whole."""
    return path.with_name(f".{path.name}.new")


def write(path: Path, data: str, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Write a file at once: whoever looks, even after a power cut, sees the old one or the new one.

    Only for directories in which nobody but root can write.

    :param mode: the permission bits; a secret is never readable to others, not for a moment.
    :raises OSError: with the file's name, which the system's own error for a full disk lacks.
    """
    new = partial(path)
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(data)
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
        replace(new, path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None


def link(path: Path, target: Path) -> None:
    """Make a symbolic link at once, in place of whatever was there."""
    new = partial(path)
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    replace(new, path)


def replace(old: Path, new: Path) -> None:
    """Rename a file and see the new name onto the disk."""
    old.replace(new)
    sync_directory(new.parent)


def sync(file: BinaryIO) -> None:
    """See a file that another program wrote onto the disk."""
    os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """See a directory's entries onto the disk (fsync(2): a file's own fsync does not)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
