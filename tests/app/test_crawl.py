"""Whatever is sent to whichever route: no error of the server's own."""

import re
from urllib.parse import quote

import pytest
from app_client import PASSWORD, Browser, token

from microblog.database import db
from microblog.models import User, second_factor
from microblog.models.post import add_post
from microblog.web import limits

# On every database, whose numbers end at different places.
pytestmark = pytest.mark.once("libraries")

HOSTILE = [
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "0",
        "-1",
        "1",
        str(2**31),
        str(2**63),
        str(2**63 - 1),
        str(2**63 - 5000),
        "9" * 400,
        "1e9",
        "NaN",
        "0x10",
        "١٢",
    ),
    *("x" * 70, "x" * 5000, "😀" * 50, "é\u0301\u202e\u2028", "\ud800", "\x1b[2J", "\r\nSet-Cookie: a=b"),
    *("'", '"', "' OR 1=1 --", "%", "_", "\\", "%s%(x)s", "{{ 7*7 }}", "{0.__class__}", "*", '"*', "a* OR b"),
    *("<script>alert(1)</script>", "javascript:alert(1)", "//evil.example", "https://evil.example/", "NEAR("),
    *("../../../etc/passwd", "susan", "SUSAN", "susan@example.org", "None", "null", "true", "[]", "{}"),
    *("\N{KELVIN SIGN}ate", "ﬃ", "ſusan"),
]
# Raw: what no well-behaved client would send.
RAW = ["%ff%fe", "%", "%zz", "a=%C0%AF", "=", "&&&", "q=%00&q=%ff", "before=%F0%9F", "q" * 9000]
HEADERS = [
    {"Accept-Language": "\xff" * 50},
    {"Accept-Language": "x" * 3000},
    {"Accept-Language": "es;q=nan, ru;q=-1, en;q=" + "9" * 400},
    {"Accept": "*/*;q=x,,;"},
    {"Cookie": "session=x; remember_token=\xff|0; known=."},
    {"Cookie": "session=" + "A" * 4000},
    {"Referer": "\xff"},
    {"Range": "bytes=-9"},
    {"If-Modified-Since": "yesterday"},
    {"X-Forwarded-For": "\xff,,", "X-Forwarded-Proto": "gopher"},
    {"Content-Type": "multipart/form-data"},
    {"Content-Type": "application/json"},
    {"Content-Type": "\xff"},
    {"Content-Length": "-1"},
]
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PROPFIND")
# These would end the visit.
ENDS = {"auth.logout", "account.delete"}


# An administrator is a member who gets further.
@pytest.fixture(params=["visitor", "administrator"])
def browser(request, app, make_app, make_user):
    """Each kind of visitor, on a site with everything turned on."""
    make_user("susan")
    with app.app_context():
        susan = User.find("susan")
        susan.is_admin = request.param == "administrator"
        add_post(susan, "hola", "es")
        db.session.commit()
    browser = Browser(make_app(gravatar=True))
    browser.name = request.param
    if request.param == "visitor":
        # Whose log-in is half done: a visitor who sees one more page.
        with app.app_context():
            second_factor.turn_on(User.find("susan"), second_factor.new_seed(), 0)
            db.session.commit()
    browser.login()
    assert browser.logged_in() == (request.param != "visitor")
    return browser


@pytest.fixture(autouse=True)
def without_limits(monkeypatch):
    """Else most of it would be turned away at the door."""
    monkeypatch.setattr(limits, "check", lambda *_keys: None)


def routes(app):
    return [rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"]


def fill(rule, value):
    return re.sub(r"<(?:\w+:)?\w+>", value, rule.rule)


def ok(response):
    assert response.status_code < 500, response.request.path
    # What was sent comes back as text alone.
    assert "<script>alert" not in response.text
    return response


def quoted(text):
    return quote(text, safe="", errors="surrogatepass")


def test_addresses(app, browser):
    for rule in routes(app):
        for value in HOSTILE:
            query = "&".join(f"{name}={quoted(value)}" for name in ("q", "next", "before", "after"))
            ok(browser.get(f"{fill(rule, quoted(value))}?{query}"))
        for raw in RAW:
            ok(browser.get(f"{fill(rule, raw)}?{raw}"))


def test_methods(app, browser):
    for rule in routes(app):
        for method in METHODS:
            for name in ("susan", "1", "x"):
                ok(browser.client.open(fill(rule, name), method=method, **browser.options))


def test_headers(app, browser):
    for rule in routes(app):
        for headers in HEADERS:
            ok(browser.get(fill(rule, "susan"), headers=headers))
            ok(browser.post(fill(rule, "susan"), headers=headers))


def test_forms(app, browser):
    """Every form with everything: in all fields, and in one field at a time, the others filled in right."""
    secret = token(browser.get("/login" if browser.name == "visitor" else "/"))
    for rule in routes(app):
        if "POST" not in rule.methods or rule.endpoint in ENDS:
            continue
        path = fill(rule, "susan" if "username" in rule.arguments else "1")
        names = re.findall(r'<(?:input|textarea|select)[^>]*\sname="(\w+)"', browser.get(path).text)
        names = [*dict.fromkeys([*names, "next", "submit"])]
        right = {name: "x@example.org" if "mail" in name else PASSWORD for name in names}
        for number, value in enumerate(HOSTILE):
            data = value.encode("utf-8", "surrogatepass")
            ok(browser.post(path, {**dict.fromkeys(names, data), "csrf_token": secret}))
            ok(browser.post(path, {**right, names[number % len(names)]: data, "csrf_token": secret}))
        # A field twice, and bodies that are no form.
        ok(browser.post(path, {**{name: ["a", "b"] for name in names}, "csrf_token": secret}))
        ok(browser.client.post(path, data=b"\xff\xfe\x00", **browser.options))
        ok(browser.client.post(path, json={"csrf_token": secret, "body": [1]}, **browser.options))
        urlencoded = "application/x-www-form-urlencoded"
        ok(browser.client.post(path, data="body=%ff%fe", content_type=urlencoded, **browser.options))
