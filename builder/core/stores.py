"""What is in the cache: how large it is, what it is for, and whether it can go."""

import contextlib
import fcntl
import fnmatch
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.core import kept, paths
from builder.core.errors import BuildError
from builder.core.progress import step

# By name; of several that fit, the first. What has entries of its own is listed entry by entry.
_WHY = {
    "bases/*": "a base to bake on; goes by itself when it was not used for 30 days",
    "layers/*": "a base with what an image needs; goes by itself when it was not used for 30 days",
    "pool": "packages that bakes install; each goes when it was not used for 30 days",
    "downloads": "publishers' images, to bake another base of without a download",
    "keys": "publishers' keys that were fetched",
    "tools": "Packer, as HashiCorp released it",
    "packer": "what Packer keeps of the bases",
    "packer-plugins": "Packer's plugins",
    "published": "images as providers take them",
    "kvm": "whether guests come up with KVM here",
    "venv-oldest-*": "the oldest Python libraries that the tests of the application run with",
    "venv-*": "a Python environment that build.py runs in",
    "app-*": "a system that the tests of the application run on",
    "mysql-sid": "a database server that the tests of the application use",
    "axe-core-*": "what the tests of the pages judge them by",
    "hypothesis": "what the tests of the application draw from",
    "package-tests": "systems that the tests of the package run on",
    "bare": "systems on which the tests have nothing installed",
    "*": "of another version, or of somebody else",
}
_WITH_ENTRIES = ("bases", "layers")


@dataclass(frozen=True)
class Entry:
    """Something in the cache."""

    name: str
    """Its path in the cache."""
    path: Path
    bytes: int
    used: float
    """When, in seconds of the epoch."""
    why: str

    def __str__(self) -> str:
        day = time.strftime("%Y-%m-%d", time.localtime(self.used))
        return f"{self.bytes / 1e6:>8.0f} MB  {day}  {self.name:<36}  {self.why}"


def listing() -> list[Entry]:
    """All that is kept, the largest first."""
    top = paths.cache_dir()
    places = []
    for path in sorted(top.iterdir()):
        of_them = path.iterdir() if path.name in _WITH_ENTRIES else [path]
        places += [one for one in of_them if _is_whole(one) and (one is path or one.is_dir())]
    found = []
    with step("Measuring the cache", f"Measured the cache: {len(places)} entries") as now:
        for done, path in enumerate(places):
            now.update(path.relative_to(top).as_posix(), done / len(places))
            found.append(_entry(top, path))
    return sorted(found, key=lambda one: (-one.bytes, one.name))


def _is_whole(path: Path) -> bool:
    """Neither half-made nor a lock or a log of something else."""
    return path.suffix not in (".lock", ".log") and not path.name.startswith("work-")


def _entry(top: Path, path: Path) -> Entry:
    name = path.relative_to(top).as_posix()
    why = next(text for pattern, text in _WHY.items() if fnmatch.fnmatch(name, pattern))
    used = kept.last_use(path) if path.is_dir() else path.stat().st_mtime
    return Entry(name, path, kept.size(path), used, why)


def choose(names: Sequence[str]) -> list[Entry]:
    """The entries of these names, patterns among them (``layers/ubuntu-*``), or in them (``bases``); all if
    there is no name.

    :raises BuildError: there is none of a name.
    """
    there = listing()
    for name in names:
        if not any(_is_called(one, name) for one in there):
            raise BuildError(f"there is no {name} in the cache", "./build.py cache lists what there is")
    return [one for one in there if not names or any(_is_called(one, name) for name in names)]


def _is_called(entry: Entry, name: str) -> bool:
    return any(fnmatch.fnmatch(entry.name, pattern) for pattern in (name, f"{name.rstrip('/')}/*"))


def clear(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Remove entries, but for those in use. Returns those that are gone, and those that stay."""
    gone: list[Entry] = []
    stay: list[Entry] = []
    for one in entries:
        (gone if _remove(one.path) else stay).append(one)
    return gone, stay


def _remove(path: Path) -> bool:
    # Of what it is made with, of it while it is used, and of what is half-made in it.
    locks = [path.with_name(f"{path.name}.lock"), path.with_suffix(".lock"), *path.glob("lock")]
    locks += [*path.glob("*/lock"), *path.glob("*.lock")]
    with contextlib.ExitStack() as held:
        for lock in {*locks}:
            if lock.is_file():
                handle = held.enter_context(lock.open("ab"))
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
        if _is_named_by_a_process(path):
            return False
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return True


def _is_named_by_a_process(path: Path) -> bool:
    """Whether one runs a program in it, or has something in it mounted (proc(5))."""
    needle = f"{path}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        for told in ("cmdline", "mountinfo"):
            with contextlib.suppress(OSError):
                if needle in (process / told).read_bytes():
                    return True
    return False
