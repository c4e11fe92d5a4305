"""raw.zst: a raw disk packed by zstd, as a card's image is."""

from pathlib import Path

from builder.core.command import program
from builder.core.work import Work
from builder.disk.format import Format


def pack(raw: Path, to: Path, work: Work) -> None:
    """Pack a raw disk."""
    work.run([program("zstd", "zstd"), "-q", "-f", "-T0", "-6", raw, "-o", to])


def unpack(image: Path, raw: Path, work: Work) -> None:
    """Unpack it; what is zero becomes holes."""
    work.run([program("zstd", "zstd"), "-q", "-d", "-f", "--sparse", image, "-o", raw])


FORMAT = Format(".img.zst", pack, unpack, is_for="cards, Raspberry Pi Imager; a disk over SSH")
