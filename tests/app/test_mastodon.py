"""Mastodon's API, as Mastodon.py drives it over a socket, and as its documentation describes the answers."""

import base64
import hashlib
import inspect
import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import mastodon
import pytest
import sqlalchemy as sa
from app_client import PASSWORD, Browser, token
from test_api import Script
from werkzeug.serving import make_server

from microblog.database import db, utc_now
from microblog.models import Client, Grant, Report, User, applications, reactions
from microblog.models.account import suspend
from microblog.models.post import POST_MAX, add_post
from microblog.web import limits

OOB = "urn:ietf:wg:oauth:2.0:oob"
SCOPES = ["read", "write", "follow", "push"]
# What each entity has, by its page under https://docs.joinmastodon.org/entities/: a field's type; with "?",
# it may be null; an entity's own name, or in brackets, a list of them.
ENTITIES = json.loads((Path(__file__).parent / "mastodon_entities.json").read_text())
TYPES = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "hash": dict,
    "array": list,
    "datetime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z").fullmatch,
    "date": re.compile(r"\d{4}-\d\d-\d\d").fullmatch,
    "url": re.compile(r"https?://[^\s]+").fullmatch,
    "id": re.compile(r"\d+").fullmatch,
}


def fits(value, kind):
    if kind.endswith("?"):
        return value is None or fits(value, kind[:-1])
    if kind.startswith("["):
        return isinstance(value, list) and all(fits(one, kind[1:-1]) for one in value)
    if kind in ENTITIES:
        check(kind, value)
        return True
    wanted = TYPES[kind]
    if isinstance(wanted, type):
        return isinstance(value, wanted) and (wanted is not int or not isinstance(value, bool))
    return isinstance(value, str) and wanted(value) is not None


def check(entity, value):
    """An answer is what the documentation says of it."""
    assert isinstance(value, dict), value
    for name, kind in ENTITIES[entity].items():
        at = value
        for part in name.split("."):
            assert part in at, f"{entity} without {name}"
            at = at[part]
        assert fits(at, kind), f"{entity}.{name}: {at!r} is not {kind}"


@pytest.fixture
def site(app):
    """The application, on a port: its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def secret_of(app, make_user):
    """Make an account, and a token of it."""

    def make(name, scopes="read write follow"):
        with app.app_context():
            if User.find(name) is None:
                db.session.add(User(name, f"{name}@example.org", PASSWORD))
                db.session.commit()
            secret = applications.issue(User.find(name).id, None, scopes)
            db.session.commit()
        return secret

    return make


@pytest.fixture
def people(site, secret_of):
    def make(name, scopes="read write follow"):
        return mastodon.Mastodon(
            access_token=secret_of(name, scopes), api_base_url=site, version_check_mode="none"
        )

    return make


@pytest.fixture
def scripts(app, secret_of):
    return lambda name="susan", scopes="read write follow": Script(app, secret_of(name, scopes))


def number(person):
    return person.account_verify_credentials()["id"]


# --- Letting a program in


def make_program(app, uris=OOB, scopes="read write follow push"):
    answer = Script(app).post(
        "/api/v1/apps", data={"client_name": "An app", "redirect_uris": uris, "scopes": scopes}
    )
    assert answer.status_code == 200, answer.text
    check("CredentialApplication", answer.json)
    return answer.json


def authorize(browser, program, uri=OOB, press="allow", **more):
    values = {"response_type": "code", "client_id": program["client_id"], "redirect_uri": uri, **more}
    path = f"/oauth/authorize?{urlencode(values)}"
    return browser.submit(path, {press: "yes"})


def fetch(app, program, code, uri=OOB, **more):
    keys = {name: program[name] for name in ("client_id", "client_secret")}
    values = {"grant_type": "authorization_code", "code": code, "redirect_uri": uri, **keys, **more}
    return Script(app).post("/oauth/token", data=values)


def code_in(page):
    return re.search(r"<samp[^>]*>([\w-]{43})</samp>", page.text)[1]


@pytest.fixture
def susan(app, make_user):
    make_user()
    browser = Browser(app)
    browser.login()
    return browser


def plainly(function):
    """Newer versions want HTTPS where they are not told otherwise."""
    return {"allow_http": True} if "allow_http" in inspect.signature(function).parameters else {}


def test_mastodon_py_is_let_in_and_out(app, site, susan):
    client_id, client_secret = mastodon.Mastodon.create_app("An app", SCOPES, api_base_url=site)
    program = mastodon.Mastodon(
        client_id, client_secret, api_base_url=site, version_check_mode="none", ratelimit_method="throw"
    )
    path = program.auth_request_url(scopes=SCOPES, **plainly(program.auth_request_url)).removeprefix(site)
    code = code_in(susan.submit(path, {"allow": "yes"}))
    secret = program.log_in(code=code, scopes=SCOPES, **plainly(program.log_in))
    assert program.account_verify_credentials()["username"] == "susan"
    assert program.app_verify_credentials()["name"] == "An app"
    page = susan.get("/settings/programs")
    assert "An app" in page.text
    program.revoke_access_token(**plainly(program.revoke_access_token))
    assert Script(app, secret).get("/api/v1/accounts/verify_credentials").status_code == 401
    with app.app_context():
        kept = db.session.execute(sa.select(Client)).scalar()
        assert client_secret not in (kept.client_id, kept.secret_digest)


def test_a_code_is_for_its_program_once(app, susan):
    program, other = make_program(app), make_program(app)
    code = code_in(authorize(susan, program))
    for wrong in (
        fetch(app, other, code),
        fetch(app, program, code + "x"),
        fetch(app, program, code, "https://else.example/"),
        fetch(app, program, code, code_verifier="x" * 43),
    ):
        assert (wrong.status_code, wrong.json["error"]) == (400, "invalid_grant")
    assert fetch(app, {**program, "client_secret": "x"}, code).json["error"] == "invalid_client"
    answer = fetch(app, program, code)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    check("Token", answer.json)
    assert fetch(app, program, code).json["error"] == "invalid_grant"


def test_a_code_that_comes_twice_ends_what_it_gave(app, susan):
    program, other = make_program(app), make_program(app)

    def is_good(secret):
        return Script(app, secret).get("/api/v1/accounts/verify_credentials").status_code == 200

    code, kept = (code_in(authorize(susan, program)) for _ in range(2))
    first, second = (fetch(app, program, one).json["access_token"] for one in (code, kept))
    assert first != second and is_good(first) and is_good(second)
    # Another program's word ends nothing, nor does what was never a code.
    assert fetch(app, other, code).status_code == fetch(app, program, "x").status_code == 400
    assert is_good(first)
    # By whatever else it comes: whoever has it has it from somewhere.
    assert fetch(app, program, code, code_verifier="x" * 43).json["error"] == "invalid_grant"
    assert not is_good(first) and is_good(second)
    assert fetch(app, program, code).json["error"] == "invalid_grant"


def test_a_code_that_two_use_at_once_gives_nothing_that_lasts(app, susan, monkeypatch):
    program = make_program(app)
    code = code_in(authorize(susan, program))
    # The second one has found the code before the first one has used it up.
    execute, told = db.session.execute, []

    def meanwhile(statement, *arguments, **values):
        if isinstance(statement, sa.sql.Delete) and statement.table is Grant.__table__ and not told:
            told.append(None)
            db.session.rollback()
            thread = threading.Thread(target=lambda: told.append(fetch(app, program, code).json))
            thread.start()
            thread.join()
        return execute(statement, *arguments, **values)

    monkeypatch.setattr(db.session, "execute", meanwhile)
    assert fetch(app, program, code).json["error"] == "invalid_grant"
    secret = told[1]["access_token"]
    assert Script(app, secret).get("/api/v1/accounts/verify_credentials").status_code == 401


def test_a_code_ends_by_itself_and_is_swept(app, susan):
    program = make_program(app)
    code = code_in(authorize(susan, program))
    with app.app_context():
        db.session.execute(sa.update(Grant.__table__).values(expires_at=utc_now()))
        db.session.commit()
    assert fetch(app, program, code).json["error"] == "invalid_grant"
    with app.app_context():
        applications.sweep()
        assert db.session.execute(sa.select(Grant)).first() is None


def test_who_was_suspended_since_they_said_yes_lets_nobody_in(app, susan):
    program = make_program(app)
    code = code_in(authorize(susan, program))
    with app.app_context():
        suspend(User.find("susan"))
        db.session.commit()
    assert fetch(app, program, code).json["error"] == "invalid_grant"


@pytest.mark.any_database
def test_pkce(app, susan):
    program = make_program(app)
    # RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    hashed = hashlib.sha256(verifier.encode()).digest()
    assert base64.urlsafe_b64encode(hashed).decode().rstrip("=") == challenge
    pkce = {"code_challenge": challenge, "code_challenge_method": "S256"}
    code = code_in(authorize(susan, program, **pkce))
    assert fetch(app, program, code).json["error"] == "invalid_grant"
    assert fetch(app, program, code, code_verifier="x" * 43).json["error"] == "invalid_grant"
    assert fetch(app, program, code, code_verifier=verifier).status_code == 200
    plain = authorize_page(susan, program, code_challenge="x" * 43, code_challenge_method="plain")
    assert plain.status_code == 400


def authorize_page(browser, program, uri=OOB, **more):
    values = {"response_type": "code", "client_id": program["client_id"], "redirect_uri": uri, **more}
    return browser.get(f"/oauth/authorize?{urlencode(values)}")


@pytest.mark.any_database
def test_a_program_on_the_web_or_a_phone_gets_its_answer_there(app, susan):
    for uri, scheme in (("https://app.example/back?x=1", "https:"), ("app.example://back", "app.example:")):
        program = make_program(app, f"{uri}\n{OOB}")
        page = authorize_page(susan, program, uri, state="a b")
        # Else browsers do not follow the form's answer.
        assert f"form-action 'self' {scheme};" in page.headers["Content-Security-Policy"]
        answer = authorize(susan, program, uri, state="a b")
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(uri)
        told = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert told["state"] == ["a b"]
        assert fetch(app, program, told["code"][0], uri).status_code == 200
        denied = authorize(susan, program, uri, press="deny", state="a b")
        assert "error=access_denied" in denied.headers["Location"]
        # Nobody is sent there by a link alone, logged in or not: any address can be a program's.
        for wrong in (
            {"scope": "admin:read"},
            {"response_type": "token"},
            {"code_challenge": "x" * 43, "code_challenge_method": "plain"},
        ):
            for browser in (susan, Browser(app)):
                page = authorize_page(browser, program, uri, **wrong)
                assert (page.status_code, page.headers.get("Location")) == (400, None)


@pytest.mark.any_database
def test_nobody_is_sent_where_the_program_did_not_say(app, susan):
    program = make_program(app, "https://app.example/back")
    for uri in ("https://evil.example/", "https://app.example/back/", "https://app.example/back?x", OOB):
        for page in (authorize_page(susan, program, uri), authorize_page(susan, {"client_id": "x"}, uri)):
            assert page.status_code == 400
            assert "Location" not in page.headers


@pytest.mark.any_database
@pytest.mark.parametrize(
    "uri",
    [
        *("javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "/back", "app.example", ""),
        *("https://", "https://a.example/#x", "https://a.example/\\x", "https://a.example/;x", "ht tp://x"),
    ],
)
def test_where_no_program_can_be(app, uri):
    answer = Script(app).post("/api/v1/apps", data={"client_name": "x", "redirect_uris": uri})
    assert answer.status_code == 422
    assert set(answer.json) == {"error"}


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("A\u202e ppa\u2066", "A ppa"),
        (" Tusky\n2 ", "Tusky 2"),
        ("e\u0301" * 100, "é" * 100),
        ("\u200b\u3164", None),
    ],
)
def test_the_name_of_a_program_is_read_as_it_is_written(app, name, told):
    answer = Script(app).post("/api/v1/apps", data={"client_name": name, "redirect_uris": OOB})
    assert (answer.status_code, answer.json.get("name")) == ((200, told) if told else (422, None))


@pytest.mark.any_database
def test_a_form_from_elsewhere_lets_nobody_in(app, susan):
    program = make_program(app)
    path = f"/oauth/authorize?{urlencode({'client_id': program['client_id'], 'redirect_uri': OOB})}"
    susan.post(path, {"allow": "yes"})
    with app.app_context():
        assert db.session.execute(sa.select(Grant)).first() is None


def test_one_logs_in_first_with_all_that_ones_account_asks_for(app, make_user):
    make_user()
    program, browser = make_program(app), Browser(app)
    page = authorize_page(browser, program)
    login = page.headers["Location"]
    assert login.startswith("/login?next=")
    answer = browser.login(path=login)
    assert answer.headers["Location"].startswith("/oauth/authorize?")
    assert code_in(authorize(browser, program))
    # Another account: the way round by the log-in.
    other = authorize(browser, program, press="other")
    assert other.headers["Location"].startswith("/login?next=")
    assert not browser.logged_in()


def test_who_is_logged_out_meanwhile_comes_back_to_the_question(app, susan):
    program = make_program(app)
    page = authorize_page(susan, program)
    # Without a cookie, as where it has ended.
    browser = Browser(app)
    answer = browser.post(page.request.full_path, {"csrf_token": token(page), "allow": "yes"})
    assert unquote(answer.headers["Location"]).startswith("/login?next=/oauth/authorize?")
    with app.app_context():
        assert db.session.execute(sa.select(Grant)).first() is None
    assert browser.login(path=answer.headers["Location"]).headers["Location"].startswith("/oauth/authorize?")


def test_a_program_acts_for_itself(app, susan):
    program = make_program(app)
    keys = base64.b64encode(f"{program['client_id']}:{program['client_secret']}".encode()).decode()
    answer = Script(app).post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "scope": "read"},
        headers={"Authorization": f"Basic {keys}"},
    )
    check("Token", answer.json)
    script = Script(app, answer.json["access_token"])
    check("Application", script.get("/api/v1/apps/verify_credentials").json)
    # It is nobody.
    assert script.get("/api/v1/timelines/home").status_code == 422
    assert script.delete("/api/tokens").status_code == 204


def test_a_token_is_ended_by_its_program_alone(app, susan):
    program, other = make_program(app), make_program(app)
    secret = fetch(app, program, code_in(authorize(susan, program))).json["access_token"]

    def revoke(who, what):
        keys = {name: who[name] for name in ("client_id", "client_secret")}
        return Script(app).post("/oauth/revoke", data={**keys, "token": what})

    assert revoke(other, secret).status_code == 403
    assert Script(app, secret).get("/api/v1/timelines/home").status_code == 200
    assert revoke(program, secret).status_code == revoke(program, secret).status_code == 200
    assert Script(app, secret).get("/api/v1/timelines/home").status_code == 401


def test_programs_that_nobody_let_in_are_swept(app, susan):
    program, other = make_program(app), make_program(app)
    fetch(app, program, code_in(authorize(susan, program)))
    with app.app_context():
        db.session.execute(sa.update(Client.__table__).values(created_at=utc_now().replace(year=2020)))
        db.session.commit()
        applications.sweep()
        left = db.session.execute(sa.select(Client.client_id)).scalars().all()
    assert left == [program["client_id"]] != [other["client_id"]]


def test_who_registers_programs_by_the_hundred_waits(app):
    for _ in range(limits.PROGRAMS.most):
        make_program(app)
    values = {"client_name": "x", "redirect_uris": OOB}
    assert Script(app).post("/api/v1/apps", data=values).status_code == 429


@pytest.mark.any_database
def test_what_the_site_can_do_is_said(app):
    answer = Script(app).get("/.well-known/oauth-authorization-server")
    assert answer.json["code_challenge_methods_supported"] == ["S256"]
    assert answer.json["token_endpoint"] == "http://localhost/oauth/token"


@pytest.mark.any_database
def test_what_a_site_is_that_nobody_knows(app):
    script = Script(app)
    (link,) = script.get("/.well-known/nodeinfo").json["links"]
    assert link["rel"].endswith("/schema/2.0")
    answer = script.get(urlsplit(link["href"]).path)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.mimetype == "application/json"
    # What its schema calls required.
    assert set(answer.json) >= {"version", "software", "protocols", "services", "openRegistrations", "usage"}
    assert answer.json["software"]["name"] == "microblog"
    assert answer.json["openRegistrations"] is True
    assert set(script.get("/nodeinfo/1.0").json) == {"error"}


@pytest.mark.any_database
def test_whose_page_is_where_is_told_where_everybody_may_see_it(app, make_user):
    make_user()
    browser = Browser(app)
    browser.login()
    script = Script(app)

    def found(resource):
        answer = script.get(f"/.well-known/webfinger?{urlencode({'resource': resource})}")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert set(answer.json) == {"error"} or answer.status_code == 200
        return answer if answer.status_code == 200 else None

    here = "acct:susan@localhost"
    assert found(here) is None
    with app.app_context():
        User.find("susan").is_admin = True
        db.session.commit()
    browser.submit("/admin/registration", {"mode": "open", "public": "y"})
    answer = found(here)
    assert answer.mimetype == "application/jrd+json"
    told = json.loads(answer.data)
    assert told["subject"] == here
    assert told["aliases"] == ["http://localhost/user/susan"]
    for nobody in (
        "acct:nobody@localhost",
        "acct:susan@else.example",
        "susan",
        "",
        "https://localhost/",
        "acct:",
    ):
        assert found(nobody) is None
    browser.submit("/settings", {"about": "", "locale": "", "members_only": "y"})
    assert found(here) is None


# --- What there is to see and to do


def test_the_sites_limits(app, site, scripts):
    script = Script(app)
    check("V1_Instance", script.get("/api/v1/instance").json)
    check("Instance", script.get("/api/v2/instance").json)
    for version in (1, 2):
        told = script.get(f"/api/v{version}/instance").json
        assert told["configuration"]["statuses"]["max_characters"] == POST_MAX == 140
        assert told["configuration"]["statuses"]["max_media_attachments"] == 0
    program = mastodon.Mastodon(api_base_url=site, version_check_mode="none")
    program.retrieve_mastodon_version()
    assert program.mastodon_major == 4


def test_a_conversation_of_two(app, people, scripts):
    susan, david = people("susan"), people("david")
    me, other = number(susan), number(david)
    relation = david.account_follow(me)
    assert relation["following"]
    post = susan.status_post("Hello @david, https://example.org/ #Sunny")
    assert david.timeline_home()[0]["id"] == post["id"]
    assert [one["acct"] for one in post["mentions"]] == ["david"]
    assert [one["name"] for one in post["tags"]] == ["sunny"]
    assert 'href="https://example.org/"' in post["content"]
    answer = david.status_post("Yes", in_reply_to_id=post["id"])
    again = david.status_post("And yes", in_reply_to_id=answer["id"])
    assert str(answer["in_reply_to_account_id"]) == str(me)
    around = susan.status_context(answer["id"])
    assert [one["id"] for one in around["ancestors"]] == [post["id"]]
    assert [one["id"] for one in around["descendants"]] == [again["id"]]
    assert david.status_favourite(post["id"])["favourited"]
    assert david.status_favourite(post["id"])["favourites_count"] == 1
    passed_on = david.status_reblog(post["id"])
    assert passed_on["reblog"]["id"] == post["id"] != passed_on["id"]
    assert david.status_bookmark(post["id"])["bookmarked"]
    assert [one["id"] for one in david.favourites()] == [post["id"]]
    assert [one["id"] for one in david.bookmarks()] == [post["id"]]
    assert [one["id"] for one in susan.status_favourited_by(post["id"])] == [other]
    assert [one["id"] for one in susan.status_reblogged_by(post["id"])] == [other]
    kinds = [one["type"] for one in susan.notifications()]
    assert sorted(kinds) == ["favourite", "follow", "mention", "reblog"]
    assert [one["type"] for one in susan.notifications(types=["follow"])] == ["follow"]
    assert {one["type"] for one in david.notifications()} == {"mention"}
    # Each entity, as it is described.
    script = scripts("susan")
    for path, entity in (
        (f"/api/v1/accounts/{me}", "Account"),
        ("/api/v1/accounts/verify_credentials", "CredentialAccount"),
        (f"/api/v1/statuses/{post['id']}", "Status"),
        (f"/api/v1/statuses/{passed_on['id']}", "Status"),
        (f"/api/v1/statuses/{answer['id']}/context", "Context"),
        (f"/api/v1/statuses/{answer['id']}/source", "StatusSource"),
        ("/api/v2/search?q=david", "Search"),
        ("/api/v1/preferences", "Preferences"),
    ):
        check(entity, script.get(path).json)
    for path, entity in (
        ("/api/v1/timelines/home", "Status"),
        ("/api/v1/timelines/public", "Status"),
        ("/api/v1/timelines/tag/Sunny", "Status"),
        (f"/api/v1/accounts/{other}/statuses", "Status"),
        ("/api/v1/notifications", "Notification"),
        (f"/api/v1/accounts/relationships?id[]={other}", "Relationship"),
        (f"/api/v1/accounts/{me}/followers", "Account"),
        (f"/api/v1/accounts/{other}/following", "Account"),
        (f"/api/v1/statuses/{post['id']}/history", "StatusEdit"),
    ):
        rows = script.get(path).json
        assert rows, path
        for row in rows:
            check(entity, row)
    # And back again.
    assert not david.status_unfavourite(post["id"])["favourited"]
    assert not david.status_unreblog(post["id"])["reblogged"]
    assert not david.status_unbookmark(post["id"])["bookmarked"]
    assert not david.account_unfollow(me)["following"]
    susan.notifications_clear()
    assert susan.notifications() == []


@pytest.mark.parametrize("asked", ["", "@", "@@", "%20", "susan@elsewhere.example"])
def test_where_nobody_can_have_such_a_name_nobody_is_found(scripts, asked):
    answer = scripts().get(f"/api/v1/accounts/search?q={asked}")
    assert (answer.status_code, answer.json) == (200, [])


@pytest.mark.any_database
def test_pictures_are_those_that_programs_show(app, scripts):
    told = scripts().get("/api/v1/accounts/verify_credentials").json
    assert told["avatar"] == told["avatar_static"] == "http://localhost/avatar/susan.png"
    # As who has none: they look at how it ends.
    assert told["header"] == told["header_static"] == "http://localhost/headers/original/missing.png"
    for address in (told["avatar"], told["header"]):
        answer = Script(app).get(urlsplit(address).path)
        assert (answer.mimetype, answer.data[:4]) == ("image/png", b"\x89PNG")
        assert "public" in answer.headers["Cache-Control"]
        # Programs that are another site's pages show it, too.
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    instance = scripts().get("/api/v2/instance").json
    for address in (instance["thumbnail"]["url"], *(one["src"] for one in instance["icon"])):
        assert Script(app).get(urlsplit(address).path).data[:4] == b"\x89PNG"


def test_a_post_is_edited_and_removed(people):
    susan, david = people("susan"), people("david")
    post = susan.status_post("frist")
    changed = susan.status_update(post["id"], "first")
    assert changed["edited_at"]
    assert "first" in changed["content"]
    assert ["frist" in one["content"] for one in susan.status_history(post["id"])] == [True, False]
    for wrong in (lambda: david.status_update(post["id"], "mine"), lambda: david.status_delete(post["id"])):
        with pytest.raises(mastodon.MastodonNotFoundError):
            wrong()
    assert susan.status_delete(post["id"])["text"] == "first"
    with pytest.raises(mastodon.MastodonNotFoundError):
        susan.status(post["id"])


def test_one_key_is_one_post(scripts):
    script = scripts()
    key = {"Idempotency-Key": "abc"}
    first, second = (
        script.post("/api/v1/statuses", json={"status": "once"}, headers=key).json for _ in range(2)
    )
    assert first == second


@pytest.mark.any_database
@pytest.mark.parametrize(
    "sent",
    [
        *({"status": ""}, {"status": "x" * 141}, {"status": "x", "media_ids": ["1"]}, {}),
        *({"status": "x", "poll": {"options": ["a"]}}, {"status": "x", "spoiler_text": "careful"}),
        # What is not for everybody is not published.
        *({"status": "x", "visibility": "unlisted"}, {"status": "x", "visibility": "private"}),
        {"status": "x", "scheduled_at": "2030-01-01T00:00:00Z"},
    ],
)
def test_what_cannot_be_as_it_is_meant_is_not_written(scripts, sent):
    script = scripts()
    answer = script.post("/api/v1/statuses", json=sent)
    assert answer.status_code == 422
    assert set(answer.json) == {"error"}
    assert script.get("/api/v1/timelines/home").json == []


def test_lists_are_cut_as_mastodons(app, people, scripts):
    susan = people("susan")
    posts = [str(susan.status_post(f"number {count}")["id"]) for count in range(6)]
    script = scripts()

    def ids(**values):
        answer = script.get(f"/api/v1/timelines/home?{urlencode(values)}")
        return [row["id"] for row in answer.json], answer.headers.get("Link", "")

    newest_first = posts[::-1]
    found, link = ids(limit=2)
    assert found == newest_first[:2]
    assert f'max_id={posts[4]}>; rel="next"' in link
    assert f'min_id={posts[5]}>; rel="prev"' in link
    assert "limit=2" in link
    assert ids(limit=2, max_id=posts[4])[0] == [posts[3], posts[2]]
    # Next to it, and from the top.
    assert ids(limit=2, min_id=posts[1])[0] == [posts[3], posts[2]]
    assert ids(limit=2, since_id=posts[1])[0] == newest_first[:2]
    assert ids(max_id=posts[3], since_id=posts[0])[0] == [posts[2], posts[1]]
    assert ids(max_id=posts[0]) == ([], "")
    for odd in ("", "x", "-1", str(2**63), str(2**63 - 1), "9" * 30):
        assert len(ids(max_id=odd, min_id="", since_id="")[0]) == 6
    page = susan.timeline_home(limit=2)
    everything = susan.fetch_remaining(page)
    assert [str(row["id"]) for row in everything] == newest_first


def test_who_blocks_is_seen_no_more(app, people, scripts):
    susan, david, maria = people("susan"), people("david"), people("maria")
    me, other = number(susan), number(david)
    post, theirs = susan.status_post("hello"), david.status_post("hi")
    answer = maria.status_post("Yes", in_reply_to_id=post["id"])
    assert david.status(answer["id"])["in_reply_to_account_id"] == me
    assert susan.account_block(other)["blocking"]
    # No more is told of her than of somebody who is not there.
    assert david.account_relationships([me, int(me) + 1000]) == []
    assert david.status(answer["id"])["in_reply_to_id"] is None
    assert david.status(answer["id"])["in_reply_to_account_id"] is None
    for wrong in (
        lambda: david.account_block(me),
        lambda: david.account_mute(me),
        lambda: david.account_unfollow(me),
        lambda: david.report(me),
        lambda: david.account(me),
        lambda: david.status(post["id"]),
        lambda: david.status_favourite(post["id"]),
        lambda: david.status_post("x", in_reply_to_id=post["id"]),
        lambda: david.account_statuses(me),
        lambda: david.account_follow(me),
        lambda: susan.status(theirs["id"]),
    ):
        with pytest.raises(mastodon.MastodonNotFoundError):
            wrong()
    assert susan.account_relationships(other)[0]["blocking"]
    assert susan.report(other)
    assert david.timeline_public() and all(row["account"]["id"] != me for row in david.timeline_public())
    assert david.account_search("susan") == []
    assert [one["id"] for one in susan.blocks()] == [other]
    assert not susan.account_unblock(other)["blocking"]
    assert susan.account_mute(other)["muting"]
    assert [one["id"] for one in susan.mutes()] == [other]
    assert all(row["account"]["id"] != other for row in susan.timeline_public())
    # Whoever keeps each other away can each end their own part.
    assert david.account_block(me)["blocking"]
    relation = susan.account_relationships(other)[0]
    assert relation["muting"] and not relation["blocked_by"]
    assert not susan.account_unmute(other)["muting"]


def test_a_message_to_who_blocks_is_as_one_to_nobody(people, scripts):
    me = number(people("david"))
    people("susan").account_block(me)
    answers = [
        scripts("david").post("/api/v1/statuses", json={"status": f"@{name} hi", "visibility": "direct"})
        for name in ("susan", "nobody_here")
    ]
    assert [(answer.status_code, answer.text) for answer in answers] == [(422, answers[1].text)] * 2


def test_whom_one_has_muted_can_be_read_where_one_goes_to(people, scripts):
    susan, david = people("susan"), people("david")
    other, post = number(david), david.status_post("hi")
    susan.account_mute(other)
    assert susan.timeline_public() == []
    assert susan.status(post["id"])["id"] == post["id"]
    assert [row["id"] for row in susan.account_statuses(other)] == [post["id"]]
    assert [row["id"] for row in scripts("susan").get(f"/api/users/{other}/posts").json["items"]] == [
        int(post["id"])
    ]
    assert scripts("susan").get(f"/api/posts/{post['id']}").status_code == 200
    answer = susan.status_post("well", in_reply_to_id=post["id"])
    assert str(answer["in_reply_to_id"]) == str(post["id"])
    assert susan.status_favourite(post["id"])["favourited"]


def test_lists_go_on_past_what_is_not_to_be_seen(app, people):
    """Programs take an empty part of a list for its end."""
    susan, david = people("susan"), people("david")
    other = number(david)
    with app.app_context():
        me, them = User.find("susan"), User.find("david")
        posts = [add_post(me, "first")] + [add_post(them, f"number {count}") for count in range(50)]
        for post in posts:
            reactions.like(me, post)
            reactions.bookmark(me, post)
        for count in range(50):
            add_post(me, f"answer {count}", reply_to=posts[0])
        db.session.commit()
        first = str(posts[0].id)
    page = "/bookmarks"
    browser = Browser(app)
    browser.login()
    assert len(susan.bookmarks()) == len(susan.favourites()) == 20
    assert [str(row["id"]) for row in susan.account_statuses(number(susan), exclude_replies=True)] == [first]
    susan.account_block(other)
    for found in (susan.bookmarks(), susan.favourites()):
        assert [str(row["id"]) for row in found] == [first]
    assert "first" in browser.get(page).text
    susan.account_unblock(other)
    with app.app_context():
        suspend(User.find("david"))
        db.session.commit()
    for found in (susan.bookmarks(), susan.favourites()):
        assert [str(row["id"]) for row in found] == [first]
    assert "first" in browser.get(page).text


@pytest.mark.parametrize("what", ["favourites", "bookmarks"])
def test_what_one_likes_and_keeps_goes_on_by_its_links(app, scripts, what):
    """In the order in which it was done, not of the posts; there and back."""
    script = scripts("susan")
    with app.app_context():
        reader = User.find("susan")
        posts = [add_post(reader, f"number {count}") for count in range(9)]
        liked = [post.id for post in (*posts[4:], *posts[:4])]
        for number_ in liked:
            post = next(post for post in posts if post.id == number_)
            (reactions.like if what == "favourites" else reactions.bookmark)(reader, post)
        db.session.commit()

    def follow(answer, rel):
        url = re.search(rf'<([^>]+)>; rel="{rel}"', answer.headers["Link"])[1]
        return script.get(urlsplit(url)._replace(scheme="", netloc="").geturl())

    answer, there = script.get(f"/api/v1/{what}?limit=4"), []
    while answer.json:
        there.append([int(row["id"]) for row in answer.json])
        last, answer = answer, follow(answer, "next")
    assert there == [liked[:-5:-1], liked[4:0:-1], liked[:1]]
    back = follow(last, "prev")
    assert [int(row["id"]) for row in back.json] == there[1]


def test_who_is_suspended_is_not_there(app, people):
    susan, david = people("susan"), people("david")
    other, post = number(david), david.status_post("hi")
    answer = susan.status_post("Yes", in_reply_to_id=post["id"])
    with app.app_context():
        suspend(User.find("david"))
        db.session.commit()
    for wrong in (lambda: susan.account(other), lambda: susan.status(post["id"])):
        with pytest.raises(mastodon.MastodonNotFoundError):
            wrong()
    assert [row["id"] for row in susan.timeline_public()] == [answer["id"]]
    assert susan.status(answer["id"])["in_reply_to_id"] is None
    assert susan.status(answer["id"])["in_reply_to_account_id"] is None
    assert susan.account_search("david") == susan.account_relationships(other) == []
    with pytest.raises(mastodon.MastodonUnauthorizedError):
        david.timeline_home()


@pytest.mark.any_database
def test_what_is_written_is_no_markup(people):
    post = people("susan").status_post('<script>alert("x")</script>\n@susan')
    assert post["content"].startswith(
        '<p>&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;<br><a href="http://'
    )


@pytest.mark.any_database
def test_oneself(people):
    susan = people("susan")
    changed = susan.account_update_credentials(note="A line\nand another")
    assert changed["source"]["note"] == "A line\nand another"
    assert changed["note"] == "<p>A line<br>and another</p>"
    assert susan.account_lookup("@susan")["id"] == changed["id"]
    with pytest.raises(mastodon.MastodonNotFoundError):
        susan.account_lookup("susan@else.example")


def test_how_far_one_has_read(people):
    susan = people("susan")
    assert susan.markers_set("home", 12)["home"]["last_read_id"] in (12, "12")
    susan.markers_set("home", 13)
    (marker,) = susan.markers_get("home").values()
    assert marker["version"] == 2


@pytest.mark.any_database
def test_what_there_is_not(people):
    susan = people("susan")
    for nothing in (
        susan.filters,
        susan.lists,
        susan.custom_emojis,
        susan.announcements,
        susan.follow_requests,
        susan.suggestions,
        susan.scheduled_statuses,
        susan.domain_blocks,
    ):
        assert nothing() == []


@pytest.mark.any_database
def test_what_apps_ask_when_they_start(scripts):
    """Tusky, Ice Cubes, Elk and Phanpy: an error would be shown, or keep somebody from going on."""
    script = scripts()
    me = script.get("/api/v1/accounts/verify_credentials").json
    # By which they post, unless somebody chooses: posts are for everybody here.
    assert me["source"]["privacy"] == "public"
    assert script.get("/api/v1/preferences").json["posting:default:visibility"] == "public"
    for path in (
        *("/api/v1/custom_emojis", "/api/v1/filters", "/api/v2/filters", "/api/v1/lists"),
        *("/api/v1/announcements?with_dismissed=true", "/api/v1/trends/tags", "/api/v1/trends/statuses"),
        *("/api/v1/trends/links", "/api/v1/followed_tags", "/api/v1/suggestions", "/api/v2/suggestions"),
        *("/api/v1/scheduled_statuses", "/api/v1/domain_blocks", "/api/v1/endorsements"),
        *(
            "/api/v1/follow_requests",
            "/api/v1/featured_tags",
            "/api/v1/conversations",
            "/api/v1/notifications",
        ),
        *(f"/api/v1/accounts/{me['id']}/{what}" for what in ("featured_tags", "lists", "endorsements")),
        f"/api/v1/accounts/{me['id']}/statuses?pinned=true",
    ):
        answer = script.get(path)
        assert (answer.status_code, answer.json) == (200, []), path
    familiar = script.get(f"/api/v1/accounts/familiar_followers?id[]={me['id']}").json
    assert familiar == [{"id": me["id"], "accounts": []}]
    told = script.get("/api/v1/markers?timeline[]=home&timeline[]=notifications").json
    assert told == {}
    # They then look for what is new by themselves.
    assert "streaming_api" not in script.get("/api/v1/instance").json["urls"]
    assert "streaming" not in script.get("/api/v2/instance").json["configuration"]["urls"]
    assert script.get("/api/v1/push/subscription").status_code == 404


def test_search(people):
    susan = people("susan")
    post = susan.status_post("sunshine #beach")
    found = susan.search_v2("sunshine")
    assert [row["id"] for row in found["statuses"]] == [post["id"]]
    assert [row["acct"] for row in susan.search_v2("@sus", result_type="accounts")["accounts"]] == ["susan"]
    assert susan.search_v2("#beach", result_type="hashtags")["hashtags"][0]["name"] == "beach"


# What needs no token at all.
OPEN = re.compile(
    r"/api/v1/(apps|instance.*|custom_emojis|trends.*|directory|accounts/<int:number>/"
    r"(featured_tags|identity_proofs|endorsements))|/api/v2/instance/?|/api/tokens"
)


def _rules(app):
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/"):
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield method, rule.rule, re.sub(r"<(?:\w+:)?\w+>", "1", rule.rule)


@pytest.mark.any_database
def test_nothing_is_told_without_a_token_or_with_one_for_something_else(app, scripts):
    """Every address: no token, one that is none, one that may do nothing here."""
    nobody, wrong, nothing = Script(app), Script(app, "x" * 43), scripts("susan", "push")
    for method, rule, path in _rules(app):
        if OPEN.fullmatch(rule) or (method, rule) == ("POST", "/api/users"):
            continue
        for script in (nobody, wrong):
            answer = getattr(script, method.lower())(path)
            assert answer.status_code == 401, (method, rule, answer.text)
            assert answer.is_json
        answer = getattr(nothing, method.lower())(path)
        assert answer.status_code == 403, (
            method,
            rule,
            answer.text,
        )


def test_a_report(app, people, scripts):
    david = int(number(people("david")))
    answer = scripts("susan").post("/api/v1/reports", json={"account_id": str(david), "comment": "rude"})
    check("Report", answer.json)
    with app.app_context():
        (row,) = db.session.execute(sa.select(Report)).scalars()
        assert (row.subject_id, row.comment) == (david, "rude")


def test_a_report_of_many_posts_is_as_many_reports(app, people, scripts, monkeypatch):
    monkeypatch.setattr(limits, "REPORT", replace(limits.REPORT, most=3))
    david = int(number(people("david")))
    with app.app_context():
        ids = [str(add_post(db.session.get(User, david), f"number {n}").id) for n in range(4)]
        db.session.commit()
    script = scripts("susan")
    about = {"account_id": str(david), "comment": "e\u0301\x1b" * 600}
    assert script.post("/api/v1/reports", json={**about, "status_ids": ids}).status_code == 429
    with app.app_context():
        assert db.session.execute(sa.select(Report)).first() is None
    monkeypatch.setattr(limits, "REPORT", replace(limits.REPORT, most=7))
    answer = script.post("/api/v1/reports", json={**about, "status_ids": ids[:3]})
    check("Report", answer.json)
    with app.app_context():
        comments = db.session.execute(sa.select(Report.comment)).scalars().all()
        # As on the page: letters are the one character that they are, and nothing else.
        assert comments == ["é " * 250] * 3


def test_messages(app, people, scripts):
    susan, david = people("susan"), people("david")
    me, other = number(susan), number(david)
    with pytest.raises(mastodon.MastodonAPIError):
        # They do not follow each other.
        susan.status_post("@david hello", visibility="direct")
    susan.account_follow(other)
    david.account_follow(me)
    for wrong in ("to nobody", "@susan to oneself", "@nobody to who is not there"):
        with pytest.raises(mastodon.MastodonAPIError):
            susan.status_post(wrong, visibility="direct")
    message = susan.status_post("@david hello", visibility="direct")
    assert message["visibility"] == "direct"
    check("Status", scripts("david").get("/api/v1/conversations").json[0]["last_status"])
    (conversation,) = david.conversations()
    check("Conversation", scripts("david").get("/api/v1/conversations").json[0])
    assert conversation["unread"]
    assert conversation["last_status"]["id"] == message["id"]
    assert not david.conversations_read(conversation["id"])["unread"]
    assert not david.conversations()[0]["unread"]
    # Who deletes the conversation has it no more; the other one has.
    path = f"/api/v1/conversations/{conversation['id']}"
    assert scripts("maria").delete(path).status_code == 404
    assert scripts("david").delete(path).json == {}
    assert scripts("david").delete(path).status_code == 404
    assert david.conversations() == []
    assert susan.conversations()[0]["last_status"]["id"] == message["id"]
    # It is no post: nobody else finds it, nor who has deleted it.
    assert susan.status(message["id"])["content"] == message["content"]
    for reader in (susan, david, people("maria")):
        assert reader.timeline_public() == []
        if reader is not susan:
            with pytest.raises(mastodon.MastodonNotFoundError):
                reader.status(message["id"])
    assert people("maria").conversations() == []


def test_a_conversation_is_read_message_by_message(app, people, scripts):
    """As programs do it: the last one, and what is around it."""
    susan, david, maria = people("susan"), people("david"), people("maria")
    me, other = number(susan), number(david)
    susan.account_follow(other)
    david.account_follow(me)
    one = susan.status_post("@david one", visibility="direct")
    two = david.status_post("@susan two", visibility="direct", in_reply_to_id=one["id"])
    three = susan.status_post("@david three", visibility="direct", in_reply_to_id=two["id"])
    for reader, script in ((susan, scripts("susan")), (david, scripts("david"))):
        assert [str(row["account"]["id"]) for row in map(reader.status, (one["id"], two["id"]))] == [
            str(me),
            str(other),
        ]
        around = reader.status_context(two["id"])
        assert [row["id"] for row in around["ancestors"]] == [one["id"]]
        assert [row["id"] for row in around["descendants"]] == [three["id"]]
        assert {row["visibility"] for rows in around.values() for row in rows} == {"direct"}
        check("Context", script.get(f"/api/v1/statuses/{two['id']}/context").json)
        check("Status", script.get(f"/api/v1/statuses/{two['id']}").json)
    # Whoever else asks, and what else is asked, there is nothing.
    for path in ("", "/context"):
        missing = scripts("maria").get(f"/api/v1/statuses/{2**62 + 10**6}{path}")
        answer = scripts("maria").get(f"/api/v1/statuses/{one['id']}{path}")
        assert (answer.status_code, answer.text) == (404, missing.text)
        for edge in (2**62, 2**63 - 1, 2**63, 2**64):
            assert scripts("david").get(f"/api/v1/statuses/{edge}{path}").status_code == 404
    for act in ("favourite", "reblog", "bookmark"):
        assert scripts("david").post(f"/api/v1/statuses/{one['id']}/{act}").status_code == 404
    assert scripts("susan").delete(f"/api/v1/statuses/{one['id']}").status_code == 404
    assert maria.conversations() == []
    # What one has deleted is gone for them alone; who blocks is nobody.
    assert scripts("david").delete(f"/api/v1/conversations/{me}").json == {}
    assert scripts("david").get(f"/api/v1/statuses/{two['id']}").status_code == 404
    four = susan.status_post("@david four", visibility="direct")
    around = david.status_context(four["id"])
    assert around["ancestors"] == around["descendants"] == []
    assert [row["id"] for row in susan.status_context(four["id"])["ancestors"]] == [
        row["id"] for row in (one, two, three)
    ]
    david.account_block(me)
    assert scripts("susan").get(f"/api/v1/statuses/{four['id']}").status_code == 404
    assert scripts("susan").get(f"/api/v1/statuses/{four['id']}/context").status_code == 404
