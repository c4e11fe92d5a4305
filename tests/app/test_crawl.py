"""Whatever is sent to whichever route: no error of the server's own."""

import re
from datetime import timedelta
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from app_client import PASSWORD, Browser, token
from test_mastodon import OPEN

from microblog.database import db
from microblog.models import (
    Barrier,
    ConversationSide,
    Follow,
    Like,
    Message,
    Notification,
    Post,
    User,
    applications,
    barriers,
    messages,
    preferences,
    second_factor,
)
from microblog.models.account import suspend
from microblog.models.post import add_post
from microblog.models.site import set_public
from microblog.web import limits
from microblog.web.mastodon import conversations

# On every database, whose numbers end at different places.
pytestmark = pytest.mark.once("libraries")

# What databases may take in different ways.
STORED = [
    *("", "\0", "a\0b", "0", "-1", str(2**31), str(2**63), str(2**63 - 1), str(2**63 - 5000), "9" * 400),
    *("١٢", "x" * 5000, "😀" * 50, "é\u0301\u202e\u2028", "\ud800", "'", "\\", "%"),
    *("' OR 1=1 --", "%s%(x)s", '"*', "a* OR b", "\N{KELVIN SIGN}ate", "ſusan"),
]
HOSTILE = [
    *STORED,
    *("1", "_", "x" * 70, "\x1b[2J", "NEAR("),
    *(" ", "1e9", "NaN", "0x10", "\r\nSet-Cookie: a=b", '"', "{{ 7*7 }}", "{0.__class__}", "*", "ﬃ"),
    *("<script>alert(1)</script>", "javascript:alert(1)", "//evil.example", "https://evil.example/"),
    *("../../../etc/passwd", "susan", "SUSAN", "susan@example.org", "None", "null", "true", "[]", "{}"),
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
# What programs send: in the address, as a form, as JSON.
SENT = [
    *("username", "email", "password", "about_me", "body", "status", "note", "in_reply_to_id", "q", "id[]"),
    *(
        "client_name",
        "redirect_uris",
        "scopes",
        "website",
        "client_id",
        "client_secret",
        "grant_type",
        "code",
    ),
    *("max_id", "min_id", "since_id", "limit", "page", "per_page", "types[]", "home[last_read_id]", "token"),
    *("account_id", "status_ids[]", "comment", "source[language]", "language", "acct", "invitation"),
]
# As deep as there is room for.
DEEP = b"[" * 60_000
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PROPFIND")
# These would end the visit.
ENDS = {"auth.logout", "account.delete", "account.end_program", "api.revoke_token"}


# An administrator is a member who gets further.
@pytest.fixture(params=["visitor", "administrator"])
def browser(request, app, make_app, make_user):
    """Each kind of visitor, on a site with everything turned on."""
    make_user("susan")
    with app.app_context():
        susan = User.find("susan")
        susan.is_admin = request.param == "administrator"
        add_post(susan, "hola", "es")
        set_public(True)
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
    if request.param == "administrator":
        # And a program of theirs, which gets further at other addresses.
        with app.app_context():
            secret = applications.issue(User.find("susan").id, None, "read write follow")
            db.session.commit()
        browser.options["environ_base"] = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    return browser


@pytest.fixture(autouse=True)
def without_limits(monkeypatch):
    """Else most of it would be turned away at the door."""
    monkeypatch.setattr(limits, "check", lambda *_keys: None)


@pytest.fixture
def hostile(database):
    return HOSTILE if database == "sqlite" else STORED


def routes(app):
    return [rule for rule in all_routes(app) if not for_programs(rule)]


def all_routes(app):
    return [rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"]


def for_programs(rule):
    """Those have a test of their own."""
    return rule.rule.startswith(("/api/", "/oauth/"))


def fill(rule, value):
    # Of several words that may stand there, now this one, now that.
    path = re.sub(r"<any\(([^)]*)\):\w+>", lambda words: _one_of(words[1].split(", "), value), rule.rule)
    return re.sub(r"<(?:\w+:)?\w+>", lambda _: value, path)


def _one_of(words, value):
    return words[sum(value.encode("utf-8", "surrogatepass")) % len(words)]


def ok(response):
    assert response.status_code < 500, response.request.path
    # What was sent comes back as text alone.
    assert response.is_json or b"<script>alert" not in response.data
    return response


def quoted(text):
    return quote(text, safe="", errors="surrogatepass")


def test_addresses(app, browser, hostile):
    for rule in routes(app):
        for value in hostile:
            query = "&".join(f"{name}={quoted(value)}" for name in ("q", "next", "before", "after"))
            ok(browser.get(f"{fill(rule, quoted(value))}?{query}"))
        for raw in RAW:
            ok(browser.get(f"{fill(rule, raw)}?{raw}"))


@pytest.mark.any_database
def test_methods(app, browser):
    for rule in routes(app):
        if rule.endpoint in ENDS:
            continue
        for method in METHODS:
            for name in ("susan", "1", "x"):
                ok(browser.client.open(fill(rule, name), method=method, **browser.options))


@pytest.mark.any_database
def test_headers(app, browser):
    for rule in routes(app):
        for headers in HEADERS:
            ok(browser.get(fill(rule, "susan"), headers=headers))
            ok(browser.post(fill(rule, "susan"), headers=headers))


def test_forms(app, browser, hostile):
    """Every form with everything: in all fields, and in one field at a time, the others filled in right."""
    secret = token(browser.get("/login" if browser.name == "visitor" else "/"))
    for rule in routes(app):
        if "POST" not in rule.methods or rule.endpoint in ENDS:
            continue
        path = fill(rule, "susan" if "username" in rule.arguments else "1")
        names = re.findall(r'<(?:input|textarea|select)[^>]*\sname="(\w+)"', browser.get(path).text)
        names = [*dict.fromkeys([*names, "next", "submit"])]
        right = {name: "x@example.org" if "mail" in name else PASSWORD for name in names}
        for number, value in enumerate(hostile):
            data = value.encode("utf-8", "surrogatepass")
            ok(browser.post(path, {**dict.fromkeys(names, data), "csrf_token": secret}))
            ok(browser.post(path, {**right, names[number % len(names)]: data, "csrf_token": secret}))
        # A field twice, and bodies that are no form.
        ok(browser.post(path, {**{name: ["a", "b"] for name in names}, "csrf_token": secret}))
        ok(browser.client.post(path, data=b"\xff\xfe\x00", **browser.options))
        ok(browser.client.post(path, json={"csrf_token": secret, "body": [1]}, **browser.options))
        urlencoded = "application/x-www-form-urlencoded"
        ok(browser.client.post(path, data="body=%ff%fe", content_type=urlencoded, **browser.options))


@pytest.mark.parametrize("browser", ["administrator"], indirect=True)
def test_programs(app, browser):
    """Every address for programs with everything, in each of the ways in which a program may send it."""
    turn = 0
    for rule in all_routes(app):
        if not for_programs(rule) or rule.endpoint in ENDS:
            continue
        for value in HOSTILE[:12] if rule.arguments else ():
            ok(browser.get(fill(rule, quoted(value))))
        for headers in HEADERS if "oauth" in rule.rule else ():
            ok(browser.post(rule.rule, headers=headers))
        path = fill(rule, "susan" if "name" in rule.arguments else "1")
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            # One after the other: each address gets another few of them, with every name.
            for number in range(turn % 13, len(HOSTILE), 13):
                turn += 1
                value = HOSTILE[number]
                data = value.encode("utf-8", "surrogatepass")
                names = [SENT[number % len(SENT)]] if method == "GET" else SENT
                ways = [{"query_string": dict.fromkeys(names, data)}]
                if method != "GET":
                    inner = {"home": {"last_read_id": value}, "source": value, "status_ids": [value, {}]}
                    inner["visibility"] = ("public", "direct", value)[turn % 3]
                    ways = [{"data": dict.fromkeys(names, data)}]
                    ways.append({"json": {**dict.fromkeys(names, value), **inner}})
                for way in ways:
                    ok(browser.client.open(path, method=method, **way, **browser.options))
            for body in (b"{", b"[1]", b"null", b"\xff", b'{"status": "\\ud800"}', b'{"body": 1e999}', DEEP):
                json = {"data": body, "content_type": "application/json"}
                ok(browser.client.open(path, method=method, **json, **browser.options))


@pytest.mark.any_database
@pytest.mark.parametrize("browser", ["visitor"], indirect=True)
def test_programs_that_nobody_has_let_in(app, browser):
    """Each address in each way, with what is no token; also where everybody may read."""
    told = ["", "Bearer", "Bearer \xff", "Bearer x", f"Bearer {'x' * 5000}", "Basic =", "Basic eDp5", "\0"]
    turn = 0
    for rule in all_routes(app):
        if not for_programs(rule):
            continue
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            for name in ("1", "susan") if rule.arguments else ("",):
                turn += 1
                headers = {"Authorization": told[turn % len(told)]}
                sent = {"json": dict.fromkeys(SENT, HOSTILE[turn % len(HOSTILE)])} if method != "GET" else {}
                path = fill(rule, name)
                ok(browser.client.open(path, method=method, headers=headers, **sent, **browser.options))


# What is somebody's who blocks the caller. Numbers that nobody else's things have.
HIDDEN, POST, TOLD, NOTHING = 700_001, 700_002, 700_003, 700_009
SECRETS = ("hidden post", "hidden letter", "hidden about", "david")


@pytest.fixture
def david(app, make_user):
    """Somebody who blocks susan, with a post, a message and a notification: their numbers in addresses."""
    for name in ("susan", "maria"):
        make_user(name)
    with app.app_context():
        db.session.add(User("david", "david@example.org", PASSWORD))
        db.session.flush()
        db.session.execute(sa.update(User.__table__).where(User.username == "david").values(id=HIDDEN))
        db.session.commit()
        david, susan, maria = (User.find(name) for name in ("david", "susan", "maria"))
        david.about = "hidden about"
        add_post(susan, "susan's own")
        db.session.add(Post(id=POST, author_id=david.id, body="hidden post @maria #hidden"))
        preferences.change(david.id, messages_from_all=True)
        letter = messages.send(maria, david.id, "once", "hidden letter")
        told = {"user_id": david.id, "kind": "like", "actor_id": maria.id, "post_id": POST}
        db.session.add(Notification(id=TOLD, **told))
        barriers.block(david, susan)
        db.session.commit()
    return [HIDDEN, POST, TOLD, conversations.FIRST + letter]


def kept(app):
    """What there is of all but who calls."""
    tables = (User, Post, Message, ConversationSide, Notification, Like, Follow, Barrier)
    with app.app_context():
        return [sorted(map(repr, db.session.execute(sa.select(model.__table__)).all())) for model in tables]


def all_calls(app):
    """Each call of each address for programs, less what registers and lets in."""
    for rule in all_routes(app):
        if rule.rule.startswith("/api/") and rule.rule not in ("/api/v1/apps", "/api/tokens"):
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield rule, method


def ask(app, secret, rule, method, number):
    """With this number wherever there may be one."""
    if method == "GET":
        way = {"query_string": {"id[]": number, "acct": "david", "q": "david hidden", "max_id": number + 1}}
    else:
        told = dict.fromkeys(("account_id", "in_reply_to_id"), str(number))
        told |= {name: [str(number)] for name in ("id", "status_ids")}
        way = {"json": {**told, "status": "x @david", "visibility": "direct"}}
    way["headers"] = {"Authorization": f"Bearer {secret}"}
    return ok(app.test_client().open(fill(rule, str(number)), method=method, **way))


def test_programs_learn_and_change_nothing_of_who_blocks(app, david):
    """By any call, with any number of theirs: each is answered as one of what was never there."""
    with app.app_context():
        secret = applications.issue(User.find("susan").id, None, "read write follow")
        db.session.commit()
    before = kept(app)
    for rule, method in all_calls(app):
        if rule.rule == "/api/users" and method == "POST":
            continue
        nothing = ask(app, secret, rule, method, NOTHING)
        for number in (*david, 2**63 - 1, 2**63) if rule.arguments or method != "GET" else david[:1]:
            answer = ask(app, secret, rule, method, number)
            for secret_ in SECRETS:
                assert secret_ not in answer.text, (method, rule.rule, number, answer.text)
            if number in david:
                said = answer.text.replace(str(number), "N"), nothing.text.replace(str(NOTHING), "N")
                assert said[0] == said[1], (method, rule.rule, number)
                assert answer.status_code == nothing.status_code, (method, rule.rule, number)
    assert kept(app) == before


def test_programs_with_tokens_that_are_none(app, david):
    """Expired, ended, of who is suspended, of a program alone, and for another thing: none of it does
    anything, and none is told more than that."""
    with app.app_context():
        susan, maria = User.find("susan"), User.find("maria")
        client, _secret = applications.register("An app", ["urn:ietf:wg:oauth:2.0:oob"], "read write")
        tokens = {
            "expired": applications.issue(susan.id, None, "read write follow", timedelta(seconds=-1)),
            "ended": applications.issue(susan.id, client.id, "read write follow"),
            "of who is suspended": applications.issue(maria.id, client.id, "read write follow"),
            "of a program": applications.issue(None, client.id, "read write follow"),
            "for another thing": applications.issue(susan.id, client.id, "push"),
        }
        applications.revoke_secret(tokens["ended"], client.id)
        suspend(maria)
        db.session.commit()
    before = kept(app)
    for rule, method in all_calls(app):
        if OPEN.fullmatch(rule.rule) or rule.rule == "/api/users":
            continue
        for what, secret in tokens.items():
            code = ask(app, secret, rule, method, POST).status_code
            right = {"of a program": (401, 403, 422), "for another thing": (403,)}.get(what, (401,))
            # Which program it is, it may ask; and for what there is not.
            if rule.endpoint == "mastodon.verify_app" or rule.endpoint.startswith("mastodon.empty_"):
                right = (*right, 200) if what in ("of a program", "for another thing") else right
            assert code in right, (what, method, rule.rule, code)
    assert kept(app) == before
