"""How an image can be baked: what Packer's template is given, and what is made of its result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder.bake import in_chroot, in_machine
from builder.bases.base import CachedBase
from builder.defs.definition import Image
from builder.disk import media


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
        *(in_machine.prepare, in_machine.flatten, in_machine.pack, media.QCOW2),
        emulates=True,
        needs_root=False,
    ),
    "chroot": Method(
        *(in_chroot.prepare, in_chroot.flatten, in_chroot.pack, media.CARD),
        emulates=False,
        needs_root=True,
    ),
}
