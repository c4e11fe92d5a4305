"""What the names of images end with."""

from pathlib import Path

from builder.core.errors import BuildError

QCOW2 = ".qcow2"
CARD = ".img.zst"
_ALL = (QCOW2, CARD)


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image, and not of a definition."""
    return name.endswith(_ALL)


def suffix(image: Path) -> str:
    """What an image's name ends with.

    :raises BuildError: it is no image of ours.
    """
    for known in _ALL:
        if image.name.endswith(known):
            return known
    raise BuildError(f"{image.name} is no image", f"An image's name ends with {' or '.join(_ALL)}")


def stem(image: Path) -> str:
    """An image's name without that."""
    return image.name.removesuffix(suffix(image))
