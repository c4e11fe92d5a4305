"""Pictures of few colours, as PNG (https://www.w3.org/TR/png-3/): what programs show that show no SVG."""

import math
import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

Point = tuple[float, float]
Colour = tuple[int, int, int]

# Letters as strokes, 8 wide and 12 high (c), from the top left; after "~", a point that a curve is drawn to.
_STROKES = {
    "A": "0c408c 2868",
    "B": "000c 0040~7073~764606 46~8689~8c4c0c",
    "C": "83~7040~0006~0c4c~7c89",
    "D": "000c3c~8c86~803000",
    "E": "80000c8c 0666",
    "F": "80000c 0666",
    "G": "83~7040~0006~0c4c~8c8757",
    "H": "000c 808c 0686",
    "I": "404c 2060 2c6c",
    "J": "6069~6c3c~0c09",
    "K": "000c 8008 358c",
    "L": "000c8c",
    "M": "0c0048808c",
    "N": "0c008c80",
    "O": "40~8086~8c4c~0c06~0040",
    "P": "0c0040~8083~864606",
    "Q": "40~8086~8c4c~0c06~0040 588c",
    "R": "0c0040~8083~864606 468c",
    "S": "82~7040~0003~0646~8689~8c4c~1c0a",
    "T": "0080 404c",
    "U": "0008~0c4c~8c8880",
    "V": "004c80",
    "W": "002c446c80",
    "X": "008c 800c",
    "Y": "004680 464c",
    "Z": "00800c8c",
    "0": "40~7076~7c4c~1c16~1040",
    "1": "13404c 1c7c",
    "2": "03~0040~8083~860c8c",
    "3": "02~1040~7073~7646~8689~8c4c~1c0a 2646",
    "4": "6c600888",
    "5": "70000545~8589~8c4c~1c0a",
    "6": "71~0108~0c4c~8c88~8545~0508",
    "7": "00802c",
    "8": "40~7073~7646~1613~1040 46~8689~8c4c~0c09~0646",
    "9": "1c~8b84~8040~0004~0747~8784",
    "_": "0c8c",
}
_POINT = re.compile(r"(~?)(\w)(\w)")
_PIECES = 8


def curve(start: Point, to: Point, end: Point) -> list[Point]:
    """Points of a quadratic Bézier curve, without its first."""
    told = []
    for step in range(1, _PIECES + 1):
        t = step / _PIECES
        one, two, three = (1 - t) ** 2, 2 * t * (1 - t), t * t
        told.append(tuple(one * a + two * b + three * c for a, b, c in zip(start, to, end, strict=True)))
    return told  # type: ignore[return-value]


def strokes(letter: str) -> list[list[Point]]:
    """The lines of a letter, digit or underscore, in units of its height / 12."""
    lines = []
    for part in _STROKES[letter].split():
        line: list[Point] = []
        bend: Point | None = None
        for bent, x, y in _POINT.findall(part):
            point = (float(int(x, 16)), float(int(y, 16)))
            if bent:
                bend = point
            else:
                line += [point] if bend is None else curve(line[-1], bend, point)
                bend = None
        lines.append(line)
    return lines


class Canvas:
    """A square, of at most 256 colours, with its coordinates from 0 to 64 as in the SVG.

    Edges are hard: it is large enough to be shown smaller, and thereby softened.
    """

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.size = 64 * scale
        self._rows = [bytearray(self.size) for _row in range(self.size)]

    def _span(self, row: int, start: float, end: float, colour: int) -> None:
        first = min(max(0, math.ceil(start - 0.5)), self.size)
        last = min(max(first, math.ceil(end - 0.5)), self.size)
        self._rows[row][first:last] = bytes((colour,)) * (last - first)

    def _reached(self, top: float, bottom: float) -> range:
        return range(max(0, math.ceil(top - 0.5)), min(self.size, math.ceil(bottom - 0.5)))

    def disc(self, centre: Point, radius: float, colour: int) -> None:
        x, y, r = (part * self.scale for part in (*centre, radius))
        for row in self._reached(y - r, y + r):
            half = math.sqrt(max(0.0, r * r - (row + 0.5 - y) ** 2))
            self._span(row, x - half, x + half, colour)

    def area(self, outline: Sequence[Point], colour: int) -> None:
        """What a closed line goes round."""
        points = [(x * self.scale, y * self.scale) for x, y in outline]
        edges = list(zip(points, [*points[1:], points[0]], strict=True))
        for row in self._reached(min(y for _x, y in points), max(y for _x, y in points)):
            y = row + 0.5
            crossed = sorted(
                x1 + (y - y1) * (x2 - x1) / (y2 - y1)
                for (x1, y1), (x2, y2) in edges
                if (y1 <= y) != (y2 <= y)
            )
            for start, end in zip(crossed[::2], crossed[1::2], strict=True):
                self._span(row, start, end, colour)

    def line(self, points: Sequence[Point], width: float, colour: int) -> None:
        """With round ends and corners."""
        for (x1, y1), (x2, y2) in pairwise(points):
            across = width / 2 / math.hypot(x2 - x1, y2 - y1)
            dx, dy = (y2 - y1) * across, (x1 - x2) * across
            corners = [(x1 + dx, y1 + dy), (x2 + dx, y2 + dy), (x2 - dx, y2 - dy), (x1 - dx, y1 - dy)]
            self.area(corners, colour)
        for point in points:
            self.disc(point, width / 2, colour)

    def png(self, palette: Sequence[Colour]) -> bytes:
        return png(self._rows, palette)


def png(rows: Sequence[bytes | bytearray], palette: Sequence[Colour], opacity: bytes = b"") -> bytes:
    """A file.

    :param rows: of numbers of colours, one a byte.
    :param opacity: of the first colours, 0 to 255; the others are opaque.
    """
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    colours = bytes(part for colour in palette for part in colour)
    # Each row as it is, which a byte before it says.
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    parts: Iterable[tuple[bytes, bytes]] = (
        (b"IHDR", head),
        (b"PLTE", colours),
        *([(b"tRNS", opacity)] if opacity else []),
        (b"IDAT", pixels),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
