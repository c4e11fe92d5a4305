"""Avatars, drawn from the name: nothing to upload, nothing to fetch from elsewhere."""

import colorsys
import hashlib
import math
import zlib
from functools import lru_cache
from typing import NamedTuple

from microblog.web.people.drawing import Canvas, Colour, Point, curve, strokes
from microblog.web.security import GRAVATAR

# Far enough apart to be told from each other.
HUES = (8, 28, 45, 75, 120, 155, 180, 205, 230, 262, 295, 330)
# A name always looks the same; a month, as for static files, lets a new way of drawing through.
CACHE = "public, max-age=2592000"
# Of what programs show, who may be another site's page.
FOR_PROGRAMS = {
    "Cache-Control": CACHE,
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}

_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">\
<rect width="64" height="64" fill="hsl({hue},46%,{light}%)"/>\
<g fill="hsl({other},52%,{dark}%)" transform="rotate({turn} 32 32)">{shape}</g>\
<text x="32" y="33" fill="#fff" font-family="Iowan Old Style,Palatino Linotype,Palatino,Noto Serif,\
Georgia,serif" font-size="33" font-weight="600" text-anchor="middle" dominant-baseline="central">\
{letter}</text></svg>
"""
# Each as a circle (centre, radius), or the points of its outline.
_SHAPES: tuple[tuple[Point, float] | list[Point], ...] = (
    ((52, 10), 26),
    [(0, 64), (64, 0), (64, 64)],
    [
        (0, 40),
        *curve((0, 40), (16, 26), (32, 40)),
        *curve((32, 40), (48, 54), (64, 40)),
        (64, 64),
        (0, 64),
    ],
    ((32, 66), 34),
    [(0, 0), (24, 0), (24, 64), (0, 64)],
    [(32, -4), (68, 32), (32, 68), (-4, 32)],
)
# Of hues: how much of them, and how light, is the ground, and what is drawn on it.
_GROUND, _DRAWN = (46, 32), (52, 25)
# 320 pixels: telephones show a profile's picture so large.
_SCALE = 5
# Of a letter's 12 units, in the picture's 64, and how wide its strokes are.
_UNIT, _WIDTH = 1.75, 4.4


class _Look(NamedTuple):
    """How the picture of a name looks.

    :ivar hue: of the ground, in degrees; ``other`` of the shape.
    :ivar turn: of the shape, clockwise, in degrees.
    :ivar shape: its place in :data:`_SHAPES`.
    """

    hue: int
    other: int
    turn: int
    shape: int
    letter: str


def _look(name: str) -> _Look:
    number = zlib.crc32(name.lower().encode())
    hue = HUES[number % len(HUES)]
    turn = number // len(HUES) % 8 * 45
    return _Look(hue, (hue + 30) % 360, turn, number // len(HUES) // 8 % len(_SHAPES), name[0].upper())


def draw(name: str) -> str:
    """A picture for a name, as SVG: its letter on a colour and a shape of its own.

    Letters have a contrast of 4.5 to 1 or more on either colour (WCAG 2.2, 1.4.3).

    :param name: a username, of letters, digits and underscores alone.
    """
    look = _look(name)
    return _SVG.format(
        hue=look.hue,
        light=_GROUND[1],
        other=look.other,
        dark=_DRAWN[1],
        turn=look.turn,
        shape=_in_svg(_SHAPES[look.shape]),
        letter=look.letter,
    )


def _in_svg(shape: tuple[Point, float] | list[Point]) -> str:
    if isinstance(shape, tuple):
        (x, y), radius = shape
        return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}"/>'
    points = " ".join(f"{x:g} {y:g}" for x, y in shape)
    return f'<path d="M{points}z"/>'


def draw_png(name: str) -> bytes:
    """Likewise, as PNG, for programs that show no SVG. There is no font: the letter is drawn with strokes."""
    return _png(_look(name))


# A few milliseconds and kilobytes each.
@lru_cache(maxsize=256)
def _png(look: _Look) -> bytes:
    canvas = Canvas(_SCALE)
    shape = _SHAPES[look.shape]
    if isinstance(shape, tuple):
        canvas.disc(_turned(shape[0], look.turn), shape[1], 1)
    else:
        canvas.area([_turned(point, look.turn) for point in shape], 1)
    for line in strokes(look.letter):
        canvas.line([(32 + (x - 4) * _UNIT, 32 + (y - 6) * _UNIT) for x, y in line], _WIDTH, 2)
    return canvas.png([_colour(look.hue, *_GROUND), _colour(look.other, *_DRAWN), (255, 255, 255)])


def _turned(point: Point, degrees: int) -> Point:
    """Where a point of the picture is, turned about its middle."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    x, y = point[0] - 32, point[1] - 32
    return 32 + x * cosine - y * sine, 32 + x * sine + y * cosine


def _colour(hue: int, saturation: int, light: int) -> Colour:
    parts = colorsys.hls_to_rgb(hue / 360, light / 100, saturation / 100)
    red, green, blue = (round(255 * part) for part in parts)
    return red, green, blue


def gravatar(email: str) -> str:
    """Where Gravatar has the picture for an address, or draws one: https://docs.gravatar.com/rest/hash/."""
    digest = hashlib.sha256(email.strip().lower().encode()).hexdigest()
    return f"{GRAVATAR}/avatar/{digest}?s=176&d=identicon"
