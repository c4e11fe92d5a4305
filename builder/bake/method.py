"""How an image can be baked: what Packer's template is given, and what is made of its result."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from builder.bases.cached import CachedBase
from builder.core.errors import BuildError
from builder.core.needs import Folder
from builder.core.work import Work
from builder.defs import definition
from builder.defs.definition import Image


class Prepare(Protocol):
    """Makes ready what Packer works on, in the work's directory. Returns the template's variables."""

    def __call__(self, image: Image, base: CachedBase, accelerator: str, work: Work) -> dict[str, object]: ...


class Flatten(Protocol):
    """Writes a raw disk of what a bake left in the work's directory."""

    def __call__(self, work: Work, to: Path) -> None: ...


class Pack(Protocol):
    """Makes the results of that. Returns the files, the image first.

    :param to: their path, less what their names end with.
    """

    def __call__(self, image: Image, work: Work, to: Path) -> list[Path]: ...


class WayIn(Protocol):
    """The command by which somebody gets into what failed and is kept; empty if it is not there."""

    def __call__(self, work: Work) -> str: ...


@dataclass(frozen=True)
class Method:
    """One way to bake, as an image's definition names it."""

    prepare: Prepare
    flatten: Flatten
    pack: Pack
    way_in: WayIn
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


def require(name: str, insist: str | None = None) -> Image:
    """An image's definition, if it can be baked by who asks.

    :param insist: the base that it is to be baked on.
    :raises BuildError: there is none, it can't be baked on that base, or it takes root.
    """
    image = definition.load_image(name)
    if insist:
        definition.load_base_for(image, insist)
    if load(image.method).needs_root and os.geteuid() != 0:
        raise BuildError(
            f"{name} is baked in a chroot, which needs root", f"Run as root: ./build.py images {name}"
        )
    return image
