"""raw: the disk's bytes as they are; what is zero is a hole in the file."""

from pathlib import Path

from builder.core.work import Work
from builder.disk import sparse
from builder.disk.format import Format


def pack(raw: Path, to: Path, work: Work) -> None:
    """Copy it."""
    to.unlink(missing_ok=True)
    sparse.copy(raw, 0, to, 0, raw.stat().st_size)


def unpack(image: Path, raw: Path, work: Work) -> None:
    """Copy it back."""
    pack(image, raw, work)


FORMAT = Format(".img", pack, unpack, "raw", "dd, Hetzner's rescue system, bhyve")
