"""Pictures drawn from names."""

import colorsys
import hashlib
import math
import re
import string
import struct
import xml.etree.ElementTree as ElementTree
import zlib

import pytest
from app_client import Browser

from microblog.web.people import avatars
from microblog.web.people.drawing import Canvas

pytestmark = pytest.mark.any_database


def test_a_picture(client):
    response = client.get("/avatar/susan.svg")
    assert response.status_code == 200
    assert response.mimetype == "image/svg+xml"
    assert "public" in response.headers["Cache-Control"]
    assert "Set-Cookie" not in response.headers
    assert "Cookie" not in response.headers.get("Vary", "")
    assert ElementTree.fromstring(response.text).findtext("{http://www.w3.org/2000/svg}text") == "S"


def test_a_name_has_one_picture_and_names_differ():
    assert avatars.draw("Susan") == avatars.draw("susan")
    assert len({avatars.draw(f"s{number}") for number in range(300)}) > 150
    # Of one version and the next.
    parts = (
        'fill="hsl(120,46%,32%)"',
        'fill="hsl(150,52%,25%)" transform="rotate(90 32 32)"',
        "M0 0 24 0 24 64 0 64z",
    )
    assert all(part in avatars.draw("susan") for part in parts)
    every = "".join(avatars.draw(f"s{number}") for number in range(300))
    assert {int(hue) for hue in re.findall(r'height="64" fill="hsl\((\d+)', every)} == set(avatars.HUES)
    assert avatars.HUES == (8, 28, 45, 75, 120, 155, 180, 205, 230, 262, 295, 330)


@pytest.mark.parametrize("name", ["<svg>", "a b", "é", "x" * 33, "%00", "a.b", "..%2Fx"])
def test_what_is_no_name(client, name):
    for kind in ("svg", "png"):
        assert client.get(f"/avatar/{name}.{kind}").status_code == 404


def decoded(png):
    """A picture's width, and its rows of colours (https://www.w3.org/TR/png-3/)."""
    assert png[:8] == bytes.fromhex("89504e470d0a1a0a")
    parts, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(kind + data),)
        parts[kind] = data
        at += length + 12
    assert list(parts) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    assert rest == [8, 3, 0, 0, 0]
    palette = [tuple(parts[b"PLTE"][at : at + 3]) for at in range(0, len(parts[b"PLTE"]), 3)]
    pixels = zlib.decompress(parts[b"IDAT"])
    assert len(pixels) == height * (width + 1)
    lines = [pixels[at : at + width + 1] for at in range(0, len(pixels), width + 1)]
    assert {line[0] for line in lines} == {0}
    return width, [[palette[number] for number in line[1:]] for line in lines]


def colours_of(name):
    """Of the ground and the shape, as the SVG has them."""
    told = re.findall(r"hsl\((\d+),(\d+)%,(\d+)%\)", avatars.draw(name))
    parts = [
        colorsys.hls_to_rgb(int(hue) / 360, int(light) / 100, int(much) / 100) for hue, much, light in told
    ]
    return [tuple(round(255 * part) for part in colour) for colour in parts]


def test_a_picture_for_programs(client):
    response = client.get("/avatar/susan.png")
    assert response.mimetype == "image/png"
    assert response.headers["Cache-Control"] == client.get("/avatar/susan.svg").headers["Cache-Control"]
    assert "Set-Cookie" not in response.headers
    width, rows = decoded(response.data)
    assert width == len(rows) >= 176
    # susan's shape is the left part of the picture, turned by 90 degrees: the upper one.
    ground, shape = colours_of("susan")
    assert [rows[at][2] for at in (0, width * 23 // 64, width * 25 // 64, -1)] == [
        shape,
        shape,
        ground,
        ground,
    ]
    assert {colour for row in rows for colour in row} == {ground, shape, (255, 255, 255)}


def test_programs_see_what_browsers_do():
    assert avatars.draw_png("Susan") == avatars.draw_png("susan") != avatars.draw_png("tusan")
    shapes = set()
    for number in range(60):
        name = f"{(string.ascii_letters + string.digits + '_')[number]}{number}"
        _width, rows = decoded(avatars.draw_png(name))
        assert {colour for row in rows for colour in row} == {*colours_of(name), (255, 255, 255)}
        shapes.add(re.search(r'32 32\)">(.*)</g>', avatars.draw(name))[1])
    assert len(shapes) == 6


@pytest.mark.parametrize(("centre", "radius"), [((32, 32), 20), ((52, 10), 26)])
def test_a_circle_is_round(centre, radius):
    canvas = Canvas(4)
    canvas.disc(centre, radius, 1)
    width, rows = decoded(canvas.png([(0, 0, 0), (255, 255, 255)]))
    for y in range(width):
        for x in range(width):
            away = math.hypot((x + 0.5) / 4 - centre[0], (y + 0.5) / 4 - centre[1])
            # Its edge is as wide as a point is.
            if abs(away - radius) > 0.25:
                assert (rows[y][x] == (255, 255, 255)) is (away < radius), (x, y)


def test_every_letter_is_drawn_whole():
    drawn = set()
    for letter in string.ascii_uppercase + string.digits + "_":
        width, rows = decoded(avatars.draw_png(f"{letter}x"))
        inked = [
            (x, y) for y, row in enumerate(rows) for x, colour in enumerate(row) if colour == (255, 255, 255)
        ]
        drawn.add(tuple(inked))
        # In the middle, and as large as letters are.
        assert all(width * 0.2 < at < width * 0.8 for point in inked for at in point)
        if letter != "_":
            high = max(y for _x, y in inked) - min(y for _x, y in inked)
            assert width * 0.35 < high < width * 0.45
    assert len(drawn) == 37


def test_a_picture_is_drawn_once(monkeypatch):
    first = avatars.draw_png("susan")
    monkeypatch.setattr(avatars, "Canvas", None)
    assert avatars.draw_png("SUSAN") is first


def luminance(hue, saturation, lightness):
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = colorsys.hls_to_rgb(hue / 360, lightness / 100, saturation / 100)
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_letters_can_be_read():
    for number in range(300):
        colours = re.findall(r"hsl\((\d+),(\d+)%,(\d+)%\)", avatars.draw(f"name{number}"))
        assert len(colours) == 2
        for colour in colours:
            assert 1.05 / (luminance(*map(int, colour)) + 0.05) >= 4.5


@pytest.mark.every_database
def test_gravatar_is_the_owners_choice_and_each_persons(make_app, app, make_user):
    make_user("susan")
    digest = hashlib.sha256(b"susan@example.org").hexdigest()
    off, on = Browser(app), Browser(make_app(gravatar=True))
    # What is known about an account's address is for those who have one.
    assert on.get("/avatar/susan.svg").status_code == 200
    for browser, hosts in (
        (off, "img-src 'self' data:;"),
        (on, "img-src 'self' data: https://www.gravatar.com;"),
    ):
        browser.login()
        assert hosts in browser.get("/").headers["Content-Security-Policy"]
    assert off.get("/avatar/susan.svg").status_code == 200
    response = on.get("/avatar/Susan.svg")
    assert response.status_code == 200 and "private" in response.headers["Cache-Control"]
    assert 'name="gravatar"' not in off.get("/settings").text
    on.submit("/settings", {"about": "", "locale": "", "gravatar": "y"})
    response = on.get("/avatar/Susan.svg")
    assert response.status_code == 302
    assert response.headers["Location"].startswith(f"https://www.gravatar.com/avatar/{digest}?")
    # Whom they block is told no address either: it is as of a name that nobody has.
    make_user("david")
    david = Browser(on.client.application)
    david.login("david")
    assert david.get("/avatar/susan.svg").status_code == 302
    on.submit("/user/david/block", page="/user/david")
    assert david.get("/avatar/susan.svg").status_code == 200
    assert "private" in response.headers["Cache-Control"]
    assert on.get("/avatar/nobody.svg").status_code == 200


@pytest.mark.parametrize("path", ["/avatar/nobody.svg", "/static/microblog.css"])
def test_what_is_the_same_for_everybody_has_nobodys_cookie(app, make_app, make_user, path):
    """Not even where somebody is looked up by their remember-me cookie, which begins a session."""
    make_user("susan")
    app = make_app(gravatar=True)
    browser = Browser(app)
    browser.login(remember_me="y")
    cookie = browser.get("/").request.headers["Cookie"]
    remember = next(part for part in cookie.split("; ") if part.startswith("remember="))
    response = app.test_client(use_cookies=False).get(path, headers={"Cookie": remember})
    assert "public" in response.headers["Cache-Control"] or path.startswith("/static")
    assert "Set-Cookie" not in response.headers
