"""Files of who bakes, laid into an image as they stand in a directory: etc/motd there is /etc/motd."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

from builder.core.errors import BuildError

SCRIPT = "overlay.sh"
_NAME = "overlay.tar"
_LAST = "clean.sh"


def scripts(provision: Sequence[str]) -> list[str]:
    """An image's scripts, and before the last, which tidies up, the one that lays the files."""
    at = provision.index(_LAST) if _LAST in provision else len(provision)
    return [*provision[:at], SCRIPT, *provision[at:]]


def pack(directory: Path, pool: Path) -> None:
    """Put the files where the script finds them: all root's, what can be run for everybody to run.

    :param pool: the directory of packages, which a bake reads.
    :raises BuildError: there is something that is no file, folder or link.
    """
    with tarfile.open(pool / _NAME, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(directory.rglob("*")):
            entry = archive.gettarinfo(path, path.relative_to(directory).as_posix())
            if entry is None or not (entry.isfile() or entry.isdir() or entry.issym() or entry.islnk()):
                raise BuildError(f"{path} is no file, folder or link", "Take it out of the overlay")
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            if entry.isfile():
                with path.open("rb") as stream:
                    archive.addfile(entry, stream)
            else:
                archive.addfile(entry)
