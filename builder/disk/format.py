"""The forms that a disk's file can have, found by looking into the folder of their modules."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.core.errors import BuildError
from builder.core.needs import Folder
from builder.core.work import Work

_FORMATS = Folder("builder/disk/formats")


class Pack(Protocol):
    """Makes a file of a raw disk."""

    def __call__(self, raw: Path, to: Path, work: Work) -> None: ...


class Unpack(Protocol):
    """Makes a raw disk, a sparse file, of a file."""

    def __call__(self, image: Path, raw: Path, work: Work) -> None: ...


@dataclass(frozen=True)
class Format:
    """One form."""

    suffix: str
    """What its files' names end with."""
    pack: Pack
    unpack: Unpack
    driver: str = ""
    """What QEMU calls it; empty for what it does not read by itself."""
    is_for: str = ""
    """Who takes it, in a few words."""


def names() -> list[str]:
    """The names of all."""
    return [name.replace("_", ".") for name in _FORMATS.names]


def find(name: str) -> Format:
    """A form, by its name, as ``raw.zst``.

    :raises BuildError: there is none.
    """
    if name not in names():
        raise BuildError(f"there is no format {name!r}", f"There are: {', '.join(names())}")
    found: Format = _FORMATS.load(name.replace(".", "_")).FORMAT
    return found
