"""Avatars, drawn from the name: nothing to upload, nothing to fetch from elsewhere."""

import hashlib
import zlib

from microblog.web.security import GRAVATAR

# Far enough apart to be told from each other.
HUES = (8, 28, 45, 75, 120, 155, 180, 205, 230, 262, 295, 330)
# A name always looks the same; a month, as for static files, lets a new way of drawing through.
CACHE = "public, max-age=2592000"

_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">\
<rect width="64" height="64" fill="hsl({hue},46%,{light}%)"/>\
<g fill="hsl({other},52%,{dark}%)" transform="rotate({turn} 32 32)">{shape}</g>\
<text x="32" y="33" fill="#fff" font-family="Iowan Old Style,Palatino Linotype,Palatino,Noto Serif,\
Georgia,serif" font-size="33" font-weight="600" text-anchor="middle" dominant-baseline="central">\
{letter}</text></svg>
"""
_SHAPES = (
    '<circle cx="52" cy="10" r="26"/>',
    '<path d="M0 64 64 0v64z"/>',
    '<path d="M0 40q16-14 32 0t32 0v24H0z"/>',
    '<circle cx="32" cy="66" r="34"/>',
    '<path d="M0 0h24v64H0z"/>',
    '<path d="M32-4 68 32 32 68-4 32z"/>',
)


def draw(name: str) -> str:
    """A picture for a name, as SVG: its letter on a colour and a shape of its own.

    Letters have a contrast of 4.5 to 1 or more on either colour (WCAG 2.2, 1.4.3).

    :param name: a username, of letters, digits and underscores alone.
    """
    number = zlib.crc32(name.lower().encode())
    hue = HUES[number % len(HUES)]
    return _SVG.format(
        hue=hue,
        light=32,
        other=(hue + 30) % 360,
        dark=25,
        turn=number // len(HUES) % 8 * 45,
        shape=_SHAPES[number // len(HUES) // 8 % len(_SHAPES)],
        letter=name[0].upper(),
    )


def gravatar(email: str) -> str:
    """Where Gravatar has the picture for an address, or draws one: https://docs.gravatar.com/rest/hash/."""
    digest = hashlib.sha256(email.strip().lower().encode()).hexdigest()
    return f"{GRAVATAR}/avatar/{digest}?s=176&d=identicon"
