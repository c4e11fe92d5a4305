"""Pictures drawn from names."""

import colorsys
import hashlib
import re
import xml.etree.ElementTree as ElementTree

import pytest
from app_client import Browser

from microblog.web.people import avatars


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
        "M0 0h24v64H0z",
    )
    assert all(part in avatars.draw("susan") for part in parts)
    every = "".join(avatars.draw(f"s{number}") for number in range(300))
    assert {int(hue) for hue in re.findall(r'height="64" fill="hsl\((\d+)', every)} == set(avatars.HUES)
    assert avatars.HUES == (8, 28, 45, 75, 120, 155, 180, 205, 230, 262, 295, 330)


@pytest.mark.parametrize("name", ["<svg>", "a b", "é", "x" * 33, "%00", "a.b", "..%2Fx"])
def test_what_is_no_name(client, name):
    assert client.get(f"/avatar/{name}.svg").status_code == 404


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
