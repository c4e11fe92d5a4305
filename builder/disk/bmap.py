"""The block map of a card's image: what must be written to a card, and its checksums.

The format is bmaptool's, version 2.0 (https://github.com/yoctoproject/bmaptool). What is mapped is
what the file systems use, zeros too: on a card that was used before, a block of zeros left out
would be a block of something else.
"""

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.core.errors import BuildError
from builder.disk.ext4 import FileSystem

BLOCK = 4096
_CHUNK = 1 << 20
_NO_SUM = "0" * 64


@dataclass(frozen=True)
class Range:
    """Blocks that belong together, both ends included."""

    first: int
    last: int
    sha256: str = ""

    @property
    def offset(self) -> int:
        """Where it begins, in bytes."""
        return self.first * BLOCK

    @property
    def size(self) -> int:
        """In bytes; at the end of an image, what is there of it may be less."""
        return (self.last - self.first + 1) * BLOCK


@dataclass(frozen=True)
class BlockMap:
    """What must be written."""

    image_size: int
    """Of the whole disk, in bytes."""
    ranges: list[Range]

    @property
    def mapped(self) -> int:
        """Bytes to write, rounded up to whole blocks."""
        return sum(part.size for part in self.ranges)


def of_card(image: Path, boot_start: int) -> BlockMap:
    """The map of a raw disk: the boot partition as far as it has ever been written, the root file
    system's blocks in use, and what is before them.

    :raises BuildError: the file system's blocks are not as large as this map's.
    """
    size = image.stat().st_size
    root = FileSystem.root_of(image)
    head = _last_data(image, root.offset)
    if head <= boot_start:
        raise BuildError(f"{image.name} has an empty boot partition")
    ranges = [Range(0, (head - 1) // BLOCK)]
    start = root.offset // BLOCK
    for first, last in _in_use(root):
        ranges.append(Range(start + first, start + last))
    with image.open("rb") as disk:
        return BlockMap(
            size, [Range(part.first, part.last, _sum(disk, part.offset, part.size)) for part in ranges]
        )


def _last_data(image: Path, end: int) -> int:
    """Where, before ``end``, the last byte that is not zero is followed by zeros alone."""
    with image.open("rb") as disk:
        while end > 0:
            start = max(0, end - _CHUNK)
            disk.seek(start)
            found = disk.read(end - start).rstrip(b"\0")
            if found:
                return start + len(found)
            end = start
    return 0


def _in_use(root: FileSystem) -> Iterator[tuple[int, int]]:
    """The runs of a file system's blocks that are not free."""
    size, count, free = root.blocks()
    if size != BLOCK:
        raise BuildError(f"{root.image.name}: its file system's blocks are not of {BLOCK} bytes")
    at = 0
    for block in (*free, count):
        if block > at:
            yield at, block - 1
        at = block + 1


def _sum(disk: BinaryIO, offset: int, size: int) -> str:
    digest = hashlib.sha256()
    disk.seek(offset)
    while size > 0:
        chunk = disk.read(min(size, _CHUNK))
        if not chunk:
            break
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def write(block_map: BlockMap, path: Path) -> None:
    """Write the map as bmaptool reads it."""
    blocks = -(-block_map.image_size // BLOCK)
    mapped = sum(part.last - part.first + 1 for part in block_map.ranges)
    lines = "".join(
        f'        <Range chksum="{part.sha256}">{_span(part)}</Range>\n' for part in block_map.ranges
    )
    text = (
        '<?xml version="1.0" ?>\n<bmap version="2.0">\n'
        f"    <ImageSize>{block_map.image_size}</ImageSize>\n"
        f"    <BlockSize>{BLOCK}</BlockSize>\n"
        f"    <BlocksCount>{blocks}</BlocksCount>\n"
        f"    <MappedBlocksCount>{mapped}</MappedBlocksCount>\n"
        "    <ChecksumType>sha256</ChecksumType>\n"
        f"    <BmapFileChecksum>{_NO_SUM}</BmapFileChecksum>\n"
        f"    <BlockMap>\n{lines}    </BlockMap>\n</bmap>\n"
    )
    # The file's own checksum is that of itself with zeros in the checksum's place.
    path.write_text(text.replace(_NO_SUM, hashlib.sha256(text.encode()).hexdigest(), 1))


def _span(part: Range) -> str:
    return str(part.first) if part.first == part.last else f"{part.first}-{part.last}"


def read(path: Path) -> BlockMap:
    """A map that was written here.

    :raises BuildError: it is damaged.
    """
    try:
        text = path.read_text()
        tree = ET.fromstring(text)  # noqa: S314 - its checksum is looked at below
        claimed = _text(tree, "BmapFileChecksum")
        if hashlib.sha256(text.replace(claimed, _NO_SUM, 1).encode()).hexdigest() != claimed:
            raise ValueError("its checksum is wrong")
        return BlockMap(int(_text(tree, "ImageSize")), list(_ranges(tree.iter("Range"))))
    except (OSError, ValueError, ET.ParseError) as error:
        raise BuildError(
            f"{path.name} can't be used: {error}", "Bake the image anew, or copy the file again"
        ) from error


def _text(tree: ET.Element, name: str) -> str:
    return (tree.findtext(name) or "").strip()


def _ranges(elements: Iterable[ET.Element]) -> Iterator[Range]:
    for element in elements:
        first, _, last = (element.text or "").strip().partition("-")
        yield Range(int(first), int(last or first), element.get("chksum", ""))
