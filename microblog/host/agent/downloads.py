"""A backup for a browser: without the certificate's key, which the application may not read.

What else is in it (database, settings) is the application's own. A restored site without the key makes a
certificate anew, or gets one (``microblog https``).
"""

from pathlib import Path
from typing import Any, BinaryIO

from microblog.errors import HostError
from microblog.host.backups import archive, backup
from microblog.host.machine import layout
from microblog.host.updates import journal


def find(name: str) -> Path:
    """A backup by its file's name: one of those that are listed, nothing else.

    :raises HostError: there is no such backup.
    """
    path = next((path for path, _ in backup.listing() if path.name == name), None)
    if path is None or path.is_symlink() or not path.is_file():
        raise HostError(f"there is no backup {name}", "the list of backups is newer")
    return path


def give(target: BinaryIO, name: str) -> None:
    """Write a backup to ``target``, packed anew.

    :raises HostError: it is damaged; what was written is not whole then.
    """
    with find(name).open("rb") as file:
        archive.copy(file, target, without=backup.TLS_MEMBERS)


def listed() -> list[dict[str, Any]]:
    """The backups, newest first: ``name``, ``kind``, ``bytes``, ``at`` (seconds since 1970)."""
    found = []
    for path, kind in reversed(backup.listing()):
        status = path.lstat()
        found.append({"name": path.name, "kind": kind, "bytes": status.st_size, "at": status.st_mtime})
    return found


def delete(name: str) -> None:
    """:raises HostError: there is no such backup, or it is needed for a way back."""
    path = find(name)
    if layout.RESTORING.is_dir():
        raise HostError("a restore goes on", "wait for its end")
    journal.see_none("no backup is deleted")
    if layout.UPGRADING.exists():
        raise HostError("an upgrade has not come to its end", "microblog setup goes on with it")
    path.unlink()
