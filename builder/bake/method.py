"""How an image can be baked: what Packer's template is given, and what is made of its result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from builder.bases.cached import CachedBase
from builder.core.needs import Folder
from builder.defs.definition import Image


@dataclass(frozen=True)
class Method:
    """One way to bake, as an image's definition names it."""

    prepare: Callable[[Image, CachedBase, str, Path, Path], dict[str, object]]
    """(image, base, accelerator, work directory, log) -> the template's variables."""
    flatten: Callable[[Path, Path, Path], None]
    """(work directory, a raw disk's path, log): write what the bake left on the disk."""
    pack: Callable[[Image, Path, Path, Path], list[Path]]
    """(image, work directory, path of the results less what their names end with, log) -> the files,
    the image first."""
    suffix: str
    """What the image's name ends with."""
    emulates: bool
    """Whether it runs in a machine, which an accelerator makes faster."""
    needs_root: bool


_METHODS = Folder("builder/bake/methods")


def load(name: str) -> Method:
    """A method, by its name."""
    found: Method = _METHODS.load(name).METHOD
    return found


def code(name: str) -> ModuleType:
    """The module that has it."""
    return _METHODS.load(name)
