"""Where things are: the checkout, its results, and the cache."""

import contextlib
import os
import pwd
from pathlib import Path

from builder.errors import BuildError

ROOT = Path(__file__).resolve().parent.parent
DEFINITIONS = ROOT / "images"
OUT = DEFINITIONS / "out"
DIST = ROOT / "dist"
PACKER = ROOT / "packer"


def cache_dir() -> Path:
    """The user's cache directory for this product, made if missing.

    ``MICROBLOG_CACHE``, else ``$XDG_CACHE_HOME/microblog``, else ``~/.cache/microblog``
    (XDG Base Directory Specification).
    """
    named = os.environ.get("MICROBLOG_CACHE")
    if named:
        path = Path(named)
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "microblog"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def make_own(directory: Path) -> Path:
    """A directory of results, made if missing.

    :raises BuildError: who asks may not write there, or to what is in it.
    """
    with contextlib.suppress(PermissionError):
        directory.mkdir(parents=True, exist_ok=True)
    there = next(path for path in (directory, *directory.parents) if path.exists())
    foreign = [path for path in (there, *there.glob(".*.lock")) if not os.access(path, os.W_OK)]
    if foreign or there != directory:
        owner = foreign[0].owner() if foreign else there.owner()
        raise BuildError(
            f"{directory} can't be written to by {_name()}: it belongs to {owner}",
            f"Run as root: chown -R {_name()} {directory}"
            if there == directory and ROOT.stat().st_uid == os.geteuid()
            else "Clone the repository for yourself, and work there",
        )
    return directory


def _name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def hand_over() -> None:
    """What root has made in somebody's checkout becomes theirs: the next run may be their own."""
    owner = ROOT.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for top in (OUT, DIST):
        if top.is_dir() and not top.is_symlink():
            _give(top, owner)


def _give(top: Path, owner: os.stat_result) -> None:
    # By open directories, never through a link: the tree is in the hands of somebody who is not root.
    for _, folders, files, directory in os.fwalk(top, follow_symlinks=False):
        for name in ("", *folders, *files):
            place = name or "."
            if os.stat(place, dir_fd=directory, follow_symlinks=False).st_uid == 0:
                os.chown(place, owner.st_uid, owner.st_gid, dir_fd=directory, follow_symlinks=False)
