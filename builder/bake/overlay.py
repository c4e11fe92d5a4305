"""Files of who bakes, laid into an image as they stand in a directory: etc/motd there is /etc/motd."""

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

from builder.core.errors import BuildError
from builder.core.request import Request
from builder.deb import repository

SCRIPT = "overlay.sh"
_NAME = "overlay.tar"
_LAST = "clean.sh"


def scripts(provision: Sequence[str]) -> list[str]:
    """An image's scripts, and before the last, which tidies up, the one that lays the files."""
    at = provision.index(_LAST) if _LAST in provision else len(provision)
    return [*provision[:at], SCRIPT, *provision[at:]]


def wanted(asked: Request) -> bool:
    """Whether there is anything to lay."""
    return bool(asked.overlay or asked.sources)


def require(directory: Path) -> None:
    """Look at a directory before anything is made for it.

    :raises BuildError: there is none, or in it something that is no file, folder or link, or can't be read.
    """
    if not directory.is_dir():
        raise BuildError(
            f"the directory {directory} does not exist", "Name the one whose files are to be laid"
        )
    for name, path in _below(directory):
        if not (path.is_symlink() or path.is_file() or path.is_dir()):
            raise BuildError(f"{path} is no file, folder or link", "Take it out of the overlay")
        if not path.is_symlink() and not os.access(path, os.R_OK):
            raise BuildError(f"{path} may not be read, to be laid as /{name}", "Give yourself the right to")


def pack(asked: Request, pool: Path) -> None:
    """Put the files where the script finds them: all root's, what can be run for everybody to run.

    :param pool: the directory of packages, which a bake reads.
    :raises BuildError: as :func:`require`.
    """
    if asked.overlay:
        require(asked.overlay)
    with tarfile.open(pool / _NAME, "w", format=tarfile.PAX_FORMAT) as archive:
        if asked.sources:
            data = asked.sources.encode()
            entry = tarfile.TarInfo(f"etc/apt/sources.list.d/{repository.SOURCES_FILE}")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
        for name, path in _below(asked.overlay):
            entry = archive.gettarinfo(path, name)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            if entry.isfile():
                with path.open("rb") as stream:
                    archive.addfile(entry, stream)
            else:
                archive.addfile(entry)


def _below(directory: Path | None) -> list[tuple[str, Path]]:
    """What is in a directory, by its name there."""
    found = sorted(directory.rglob("*")) if directory else []
    return [(path.relative_to(directory).as_posix(), path) for path in found if directory]
