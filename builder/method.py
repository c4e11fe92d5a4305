"""How an image can be baked: what Packer's template is given, and what is made of its result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder import bake_chroot, bake_machine, media
from builder.base import CachedBase
from builder.definition import Image


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


METHODS = {
    "machine": Method(
        *(bake_machine.prepare, bake_machine.flatten, bake_machine.pack, media.QCOW2),
        emulates=True,
        needs_root=False,
    ),
    "chroot": Method(
        *(bake_chroot.prepare, bake_chroot.flatten, bake_chroot.pack, media.CARD),
        emulates=False,
        needs_root=True,
    ),
}
