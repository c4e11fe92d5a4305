"""Where things are: the checkout, its results, and the cache."""

import contextlib
import os
import pwd
import tempfile
from pathlib import Path

from builder.core.errors import BuildError

ROOT = Path(__file__).resolve().parent.parent.parent
BUILDER = ROOT / "builder"
DEFINITIONS = ROOT / "images"
OUT = DEFINITIONS / "out"
DIST = ROOT / "dist"
PACKER = ROOT / "packer"


def cache_dir() -> Path:
    """The user's cache directory for this product, made if missing.

    ``MICROBLOG_CACHE``, else ``$XDG_CACHE_HOME/microblog``, else ``~/.cache/microblog``.

    :raises BuildError: it can't be made or written.
    """
    named = os.environ.get("MICROBLOG_CACHE")
    path = Path(named).absolute() if named else _of_the_user("XDG_CACHE_HOME", ".cache")
    return _own(path, "Name a directory of yours on a large disk: export MICROBLOG_CACHE=DIR")


def data_dir() -> Path:
    """The user's data directory for this product, for what must not get lost; made if missing.

    :raises BuildError: it can't be made or written.
    """
    path = _of_the_user("XDG_DATA_HOME", ".local/share")
    return _own(path, "Name a directory of yours: export XDG_DATA_HOME=DIR")


def _of_the_user(variable: str, usual: str) -> Path:
    """As the XDG Base Directory Specification has it, where a relative path counts as none."""
    named = os.environ.get(variable, "")
    try:
        home = Path(named) if Path(named).is_absolute() else Path.home() / usual
    except RuntimeError as error:
        raise BuildError("this user has no home directory", "Name one: export HOME=DIR") from error
    return home / "microblog"


def _own(path: Path, hint: str) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{path} can't be made: {error.strerror}", hint) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise BuildError(f"{path} can't be written", hint)
    return path


def own_definitions() -> list[Path]:
    """Where the user keeps definitions of their own, beside the checkout's: ``MICROBLOG_DEFINITIONS``.

    It is laid out as images/ is, with a folder provision/ of scripts besides.

    :raises BuildError: it is not there.
    """
    named = os.environ.get("MICROBLOG_DEFINITIONS")
    if not named:
        return []
    path = Path(named).absolute()
    if not path.is_dir():
        raise BuildError(f"MICROBLOG_DEFINITIONS names {path}, which is no directory", "Make it, or unset it")
    return [path]


def base_file(name: str) -> Path:
    """A file beside the definitions of bases: the checkout's, or one of the user's own."""
    return _first(name, [top / "bases" for top in (DEFINITIONS, *own_definitions())])


def script(name: str) -> Path:
    """A script that provisions: the checkout's, or one of the user's own."""
    return _first(name, script_folders())


def script_folders() -> list[Path]:
    """The folders of those."""
    return [PACKER / "provision", *(top / "provision" for top in own_definitions())]


def _first(name: str, folders: list[Path]) -> Path:
    """Of files of one name the first; where there is none, where the last would be."""
    there = [folder / name for folder in folders]
    found = [path for path in there if path.is_file()]
    if len(found) > 1:
        raise BuildError(f"there are two files {name}: {found[0]} and {found[1]}", "Give yours another name")
    return (found or there[-1:])[0]


def make_own(directory: Path) -> Path:
    """A directory of results, made if missing.

    :raises BuildError: who asks may not write there, or to what is in it.
    """

    def nearest() -> Path:
        return next(path for path in (directory, *directory.parents) if path.exists())

    if os.statvfs(nearest()).f_flag & os.ST_RDONLY:
        raise BuildError(
            f"{directory} can't be written to: its file system is read-only",
            "Copy the checkout to a place that can be written to, and work there",
        )
    with contextlib.suppress(PermissionError):
        directory.mkdir(parents=True, exist_ok=True)
    there = nearest()
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


def make_named(directory: Path, option: str, mode: int = 0o777) -> Path:
    """A directory that somebody named by an option, made if missing.

    :raises BuildError: it can't be made, or nothing can be made in it.
    """
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        known = isinstance(error, FileExistsError)
        reason = "it is no directory" if known else error.strerror
        hint = f"Name another directory with {option}"
        raise BuildError(f"{directory} can't be written to: {reason}", hint) from error
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
