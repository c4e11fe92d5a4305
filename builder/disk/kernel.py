"""The kernel of a disk: which of several is the newest, and a copy of it."""

import re
from collections.abc import Iterable
from pathlib import Path

from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk import media
from builder.disk.ext4 import FileSystem

PREFIX = "vmlinuz-"


def newest(names: Iterable[str]) -> str | None:
    """Of the names of files the kernel's of the newest version; None where there is no kernel.

    By its numbers: 6.12.57 is newer than 6.12.9, and what follows a ~ is older than what has none
    (deb-version(7)).
    """
    kernels = [name for name in names if name.startswith(PREFIX)]
    return max(kernels, key=_version, default=None)


def _version(name: str) -> list[tuple[int, int, str]]:
    """Parts that compare as versions do: ~, then the end, then words, then numbers."""
    parts = re.findall(r"~|\d+|[^\d~]+", name.removeprefix(PREFIX))
    kinds = [
        (0, 0, "") if part == "~" else (3, int(part), "") if part.isdigit() else (2, 0, part)
        for part in parts
    ]
    return [*kinds, (1, 0, "")]


def copy(raw: Path, to: Path) -> None:
    """Copy the newest kernel of a raw disk.

    :raises BuildError: there is none.
    """
    boot = FileSystem.boot_of(raw)
    system, directory = (boot, "") if boot else (FileSystem.root_of(raw), "/boot")
    name = newest(system.names(directory or "/"))
    if name is None:
        raise BuildError("there is no kernel in /boot", "Is a linux-image package among the base's packages?")
    system.copy_out(f"{directory}/{name}", to)


def of_image(image: Path, work: Work) -> Path:
    """The kernel of a disk image of any format, copied into a directory for half-done work.

    :raises BuildError: there is none.
    """
    raw, found = work / "kernel.raw", work / "vmlinuz"
    media.unpack(image, raw, work)
    copy(raw, found)
    raw.unlink()
    return found
