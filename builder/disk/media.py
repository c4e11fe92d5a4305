"""The forms in which images come, baked here or published elsewhere: how each becomes a raw disk."""

from pathlib import Path

from builder.core.needs import Program
from builder.core.work import Work
from builder.defs.endings import CARD, QCOW2, is_image, stem, suffix
from builder.disk import stream
from builder.disk.format import Unpack
from builder.disk.formats import qcow2, raw_zst

__all__ = ["CARD", "QCOW2", "is_image", "stem", "suffix"]
FORMATS = {QCOW2: qcow2.FORMAT, CARD: raw_zst.FORMAT}
"""Those of images that are baked here, by what their names end with."""
pack_qcow2 = qcow2.FORMAT.pack
pack_card = raw_zst.FORMAT.pack

# What publishers' images end with: packed, a raw disk is inside; else any that qemu-img knows.
_PUBLISHED: dict[str, Unpack] = {
    ".xz": stream.unpacker(Program("xz", "xz-utils")),
    ".zst": stream.unpacker(Program("zstd", "zstd")),
    ".gz": stream.unpacker(Program("gzip", "gzip")),
    "": qcow2.FORMAT.unpack,
}


def unpack(image: Path, raw: Path, work: Work) -> None:
    """Write an image's disk into a sparse file.

    :raises BuildError: it is no image, or it is damaged.
    """
    FORMATS[suffix(image)].unpack(image, raw, work)


def unpack_published(image: Path, raw: Path, work: Work) -> None:
    """Write the disk of a publisher's image into a sparse file.

    :raises BuildError: it is damaged.
    """
    found = next(unpacker for ending, unpacker in _PUBLISHED.items() if image.name.endswith(ending))
    found(image, raw, work)
