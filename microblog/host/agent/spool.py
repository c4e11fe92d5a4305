"""A backup that is uploaded, in pieces: one file with a fixed name, in a folder of root's alone.

A piece is taken only where the last one ended: whoever was interrupted asks how far it got, and goes on.
"""

import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from microblog.errors import HostError
from microblog.host.agent import jobs
from microblog.host.machine import files

# No upload may take the disk's last room from the site.
SPARE_BYTES = 256 * 2**20
_READ = 64 * 1024


def path() -> Path:
    return _folder() / "upload"


def begin(size: int, mark: str) -> dict[str, Any]:
    """Begin an upload, or go on with the same one.

    :param mark: what the browser knows the file by, to tell whether it is the same.
    :raises HostError: there is no room for it.
    """
    now = state()
    if now and (now["size"], now["mark"]) == (size, mark):
        return now
    discard()
    free = shutil.disk_usage(jobs.STATE).free
    if free < size + SPARE_BYTES:
        raise HostError(
            f"there is no room: {free // 2**20} MiB are free, {(size + SPARE_BYTES) // 2**20} are needed",
            "delete something on the server's disk",
        )
    files.write(_about(), json.dumps({"size": size, "mark": mark}), 0o600, os.getuid(), os.getgid())
    os.close(os.open(path(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    return {"size": size, "mark": mark, "have": 0}


def take(source: BinaryIO, offset: int, length: int) -> dict[str, Any]:
    """Add a piece. Of one that ends too soon, what came is kept.

    :raises HostError: there is no upload, or it is not at this place.
    """
    now = state()
    if now is None:
        raise HostError("no upload has begun", "choose the file again")
    if offset != now["have"] or offset + length > now["size"]:
        raise HostError(f"the upload is at {now['have']} of {now['size']}", "go on from there")
    descriptor = os.open(path(), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        os.lockf(descriptor, os.F_LOCK, 0)
        # Another one may have added the same piece meanwhile.
        if os.fstat(descriptor).st_size != offset:
            raise HostError("the upload is elsewhere by now", "ask how far it is")
        while length and (data := source.read(min(_READ, length))):
            file.write(data)
            length -= len(data)
    return {**now, "have": path().stat().st_size}


def state() -> "dict[str, Any] | None":
    """How far an upload is: ``size``, ``mark``, ``have``; None without one."""
    try:
        about = jobs.load(_about())
        found = path().lstat()
    except (OSError, ValueError):
        return None
    return {**about, "have": found.st_size} if stat.S_ISREG(found.st_mode) else None


def whole() -> Path:
    """The uploaded file.

    :raises HostError: all of it is not there yet.
    """
    now = state()
    if now is None or now["have"] != now["size"]:
        raise HostError("the upload is not complete", "choose the file again: it goes on where it was")
    return path()


def discard() -> None:
    """Delete it, whatever is there in its place."""
    for one in (_about(), path()):
        with suppress(FileNotFoundError):
            one.unlink()


def _about() -> Path:
    return _folder() / "upload.json"


def _folder() -> Path:
    folder = jobs.STATE / "spool"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink():
        raise HostError(f"{folder} is a link", "take it away")
    return folder
