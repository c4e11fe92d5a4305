"""The forms in which images come: what their names end with, and how each becomes a raw disk."""

from collections.abc import Callable
from pathlib import Path

from builder.command import program, run
from builder.errors import BuildError


def _from_qcow2(image: Path, raw: Path, log: Path) -> None:
    run([program("qemu-img", "qemu-utils"), "convert", "-O", "raw", image, raw], log)


def _from_zstd(image: Path, raw: Path, log: Path) -> None:
    run([program("zstd", "zstd"), "-q", "-d", "-f", "--sparse", image, "-o", raw], log)


QCOW2 = ".qcow2"
CARD = ".img.zst"
_UNPACKERS: dict[str, Callable[[Path, Path, Path], None]] = {QCOW2: _from_qcow2, CARD: _from_zstd}


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image, and not of a definition."""
    return name.endswith(tuple(_UNPACKERS))


def suffix(image: Path) -> str:
    """What an image's name ends with.

    :raises BuildError: it is no image of ours.
    """
    for known in _UNPACKERS:
        if image.name.endswith(known):
            return known
    raise BuildError(f"{image.name} is no image", f"An image's name ends with {' or '.join(_UNPACKERS)}")


def stem(image: Path) -> str:
    """An image's name without that."""
    return image.name.removesuffix(suffix(image))


def unpack(image: Path, raw: Path, log: Path) -> None:
    """Write an image's disk into a sparse file.

    :raises BuildError: it is no image, or it is damaged.
    """
    _UNPACKERS[suffix(image)](image, raw, log)
