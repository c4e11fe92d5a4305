"""Directories that are kept in the cache, NAME-KEY each: none is removed while it is used, nor at once
because another was made. What was not used for long goes, and the oldest where they take too much room.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from pathlib import Path
from typing import IO

from builder.core.progress import say

_DAYS = 30
_LARGEST = 24 << 30
"""What the directories of one store may take, in bytes."""
_NAME = re.compile(r".+-[0-9a-f]{16}")
_LOCK = "lock"
# Held until this process ends: a base is read until the image that is made of it is packed.
_held: dict[Path, IO[bytes]] = {}


def use(directory: Path) -> bool:
    """Use a directory until this process ends: no other will remove it. Returns whether it is there."""
    if not directory.is_dir():
        return False
    held = _held.get(directory)
    lock = directory / _LOCK
    if held is None or not _same(held, lock):
        try:
            held = lock.open("ab")
        except FileNotFoundError:
            return False
        fcntl.flock(held, fcntl.LOCK_SH)
        if not _same(held, lock):
            # It was removed while it was waited for.
            return False
        _held[directory] = held
    os.utime(lock)
    return True


def _same(held: IO[bytes], lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(held.fileno()), lock.stat())
    except FileNotFoundError:
        return False


def replace(new: Path, directory: Path) -> None:
    """Put a directory in the place of another, when nobody uses that any more."""
    (new / _LOCK).touch()
    _held.pop(directory, None)
    if directory.is_dir():
        with (directory / _LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"Waiting for another build.py that uses {directory.name}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(directory)
    new.rename(directory)


def forget(store: Path) -> None:
    """Remove what was not used for long, and the oldest of what takes too much room; nothing that is used."""
    found = [path for path in store.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
    sizes = {path: size(path) for path in found}
    for directory in sorted(found, key=last_use):
        old = last_use(directory) < time.time() - _DAYS * 86400
        if (old or sum(sizes.values()) > _LARGEST) and remove(directory):
            del sizes[directory]


def last_use(directory: Path) -> float:
    """When it was used last, in seconds of the epoch."""
    lock = directory / _LOCK
    return (lock if lock.exists() else directory).stat().st_mtime


def size(place: Path) -> int:
    """The room that a file or a directory takes, in bytes; a file with several names counts once."""
    found = {}
    for path in [place, *place.rglob("*")] if not place.is_symlink() else []:
        with contextlib.suppress(FileNotFoundError):
            told = path.lstat()
            found[told.st_dev, told.st_ino] = told.st_blocks * 512
    return sum(found.values())


def remove(directory: Path) -> bool:
    """Remove a directory, unless it is used. Returns whether it is gone."""
    with (directory / _LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(directory)
    return True
