"""Passkeys, with a device of the test's own: real keys, as a browser hands them on."""

import base64
import hashlib
import html
import json
import re
import secrets
import struct

import pytest
from app_client import PASSWORD, Browser
from test_second_factor import clock, code_of, susan

from microblog.database import db
from microblog.models import User, passkeys, second_factor, webauthn

cbor = pytest.importorskip("fido2.cbor")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")

__all__ = ["clock", "susan"]
PAGE = "/settings/passkeys"
ORIGIN = "http://localhost"


def letters(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def asked(page):
    """What the page has a browser ask for."""
    found = re.search(r"data-options='([^']*)'", page.text)
    return json.loads(html.unescape(found[1])) if found else None


class Device:
    """Keeps one key (ES256), and counts."""

    def __init__(self, host="localhost"):
        self.host, self.counter = host, 0
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.credential = secrets.token_bytes(32)

    def data(self, flags, more=b""):
        return hashlib.sha256(self.host.encode()).digest() + struct.pack(">BI", flags, self.counter) + more

    def client(self, kind, options, **changes):
        said = {"type": kind, "challenge": options["challenge"], "origin": ORIGIN, "crossOrigin": False}
        return json.dumps({**said, **changes}).encode()

    def make(self, options, flags=0x41, **changes):
        numbers = self.key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (numbers.x, numbers.y))
        public = cbor.encode({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        attested = bytes(16) + struct.pack(">H", len(self.credential)) + self.credential + public
        whole = cbor.encode({"fmt": "none", "attStmt": {}, "authData": self.data(flags, attested)})
        client = self.client("webauthn.create", options, **changes)
        return {"id": letters(self.credential), "client": letters(client), "attestation": letters(whole)}

    def show(self, options, flags=0x01, **changes):
        self.counter += 1
        data, client = self.data(flags), self.client("webauthn.get", options, **changes)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        said = {"id": self.credential, "client": client, "data": data, "signature": signature}
        return {name: letters(value) for name, value in said.items()}


def begin(browser, clock, **changes):
    """The page on which the browser is to make one."""
    clock[0] += 30
    fields = {"name": "My key", "password": PASSWORD, "code": code_of(browser.secret, clock)}
    return browser.submit(PAGE, {**fields, **changes})


def give(browser, path, answer, page):
    return browser.submit(
        path, {"passkey": answer if isinstance(answer, str) else json.dumps(answer)}, page=page
    )


def add(browser, clock, device):
    answer = device.make(asked(begin(browser, clock)))
    return give(browser, f"{PAGE}/new", answer, PAGE)


def of_susan(app):
    with app.app_context():
        return passkeys.of(User.find("susan").id)


@pytest.fixture
def device(app, susan, clock):
    """One whose passkey susan has."""
    device = Device()
    add(susan, clock, device)
    assert len(of_susan(app)) == 1
    clock[0] += 1
    return device


@pytest.fixture
def half_way(app, susan):
    """Another browser, in which susan has given the password."""
    browser = Browser(app)
    browser.login()
    return browser


def question(browser, clock):
    clock[0] += 1
    return asked(browser.get("/login/code"))


def show(browser, answer):
    """Without opening the page once more, which asks anew."""
    with browser.client.session_transaction(**browser.options) as session:
        kept = session.get("passkey")
    page = browser.get("/login/code")
    csrf = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]
    with browser.client.session_transaction(**browser.options) as session:
        session["passkey"] = kept
    return browser.post("/login/code", {"csrf_token": csrf, "passkey": json.dumps(answer)})


def test_a_log_in_by_a_passkey(app, susan, device, half_way, clock):
    options = question(half_way, clock)
    assert options["rpId"] == "localhost"
    assert [one["id"] for one in options["allowCredentials"]] == [letters(device.credential)]
    answer = show(half_way, device.show(options))
    assert answer.status_code == 302
    assert half_way.logged_in()
    assert of_susan(app)[0].used_at
    # The code and the recovery codes are as good as before.
    other = Browser(app)
    other.login()
    clock[0] += 30
    assert other.submit("/login/code", {"code": code_of(susan.secret, clock)}).status_code == 302
    assert other.logged_in()


def test_an_answer_counts_once(app, device, half_way, clock):
    options = question(half_way, clock)
    answer = device.show(options)
    with half_way.client.session_transaction(**half_way.options) as session:
        copied = dict(session)
    show(half_way, answer)
    assert half_way.logged_in()
    # Who has copied cookie and answer.
    thief = Browser(app)
    with thief.client.session_transaction(**thief.options) as session:
        session.update(copied)
    assert "was not taken" in show(thief, answer).text
    # Also where the device does not count.
    with app.app_context():
        db.session.execute(passkeys.Passkey.__table__.update().values(counter=0))
        db.session.commit()
    device.counter = -1
    with thief.client.session_transaction(**thief.options) as session:
        session.update(copied)
    assert "was not taken" in show(thief, device.show(options)).text
    assert not thief.logged_in()


def test_a_copy_of_a_device_is_noticed(device, half_way, clock):
    show(half_way, device.show(question(half_way, clock)))
    half_way.logout()
    half_way.login()
    device.counter -= 1
    assert "was not taken" in show(half_way, device.show(question(half_way, clock))).text


@pytest.mark.any_database
@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "http://evil.example"},
        {"origin": "https://localhost"},
        {"type": "webauthn.create"},
        {"challenge": letters(bytes(32))},
        # JSON may have half a character.
        {"challenge": "\ud800"},
        {"crossOrigin": True},
        {"flags": 0},
    ],
)
def test_what_is_for_another_page_is_refused(device, half_way, clock, changes):
    answer = show(half_way, device.show(question(half_way, clock), **changes))
    assert "was not taken" in answer.text
    assert not half_way.logged_in()


def test_wrong_keys_names_and_accounts_are_refused(app, device, half_way, clock, make_user):
    stranger = Device()
    for wrong in (
        {**stranger.show(question(half_way, clock)), "id": letters(device.credential)},
        stranger.show(question(half_way, clock)),
        {},
        {"id": 1, "client": [], "data": {}, "signature": None},
        dict.fromkeys(("id", "client", "data", "signature"), "%%%"),
        dict.fromkeys(("id", "client", "data", "signature"), ""),
        [],
        "x",
    ):
        assert "was not taken" in show(half_way, wrong).text
    device.host = "evil.example"
    assert "was not taken" in show(half_way, device.show(question(half_way, clock))).text
    device.host = "localhost"
    # Of another account, which was asked for its own.
    with app.app_context():
        db.session.execute(passkeys.Passkey.__table__.update().values(user_id=_other(make_user, app)))
        db.session.commit()
    assert "was not taken" in show(half_way, device.show(_kept(half_way))).text
    assert not half_way.logged_in()


def _other(make_user, app):
    make_user("david")
    return User.find("david").id


def _kept(browser):
    with browser.client.session_transaction(**browser.options) as session:
        return {"challenge": session["passkey"][0]}


def test_an_old_question_is_none(device, half_way, clock):
    options = question(half_way, clock)
    clock[0] += 601
    # Nor is half a log-in of that age.
    half_way.login()
    with half_way.client.session_transaction(**half_way.options) as session:
        session["passkey"] = [options["challenge"], int((clock[0] - 601) * 1000)]
    assert "was not taken" in show(half_way, device.show(options)).text


def test_machines_need_not_have_one_time(app, device, half_way, clock):
    """One that is an hour ahead asks, another gets the answer; and asks the next time. Each counts once."""
    clock[0] += 3600
    half_way.login()
    options = question(half_way, clock)
    clock[0] -= 3600
    assert show(half_way, device.show(options)).status_code == 302
    assert half_way.logged_in()
    for _ in range(2):
        half_way.logout()
        half_way.login()
        options = question(half_way, clock)
        with half_way.client.session_transaction(**half_way.options) as session:
            copied = dict(session)
        answer = device.show(options)
        assert show(half_way, answer).status_code == 302
        assert half_way.logged_in()
        thief = Browser(app)
        with thief.client.session_transaction(**thief.options) as session:
            session.update(copied)
        assert "was not taken" in show(thief, answer).text


@pytest.mark.any_database
def test_guessing_is_limited(device, half_way, clock):
    answers = [show(half_way, Device().show(question(half_way, clock))).status_code for _ in range(12)]
    assert 429 in answers


@pytest.mark.any_database
def test_adding_one_takes_the_password_and_a_code(app, susan, clock):
    assert asked(begin(susan, clock, password="wrong horse")) is None
    assert asked(begin(susan, clock, code="000000")) is None
    assert asked(begin(susan, clock, name=" ")) is None
    # What the browser has made counts for nothing where nobody has asked for it.
    device = Device()
    options = {"challenge": "x"}
    give(susan, f"{PAGE}/new", device.make(options), PAGE)
    page = begin(susan, clock)
    options = asked(page)
    assert options["rp"] == {"id": "localhost", "name": "Microblog"}
    assert options["user"]["name"] == "susan"
    assert "susan" not in base64.urlsafe_b64decode(options["user"]["id"] + "==").decode("latin-1")
    assert page.headers["Cache-Control"] == "no-store"
    for wrong in (
        device.make(options, origin="http://evil.example"),
        device.make(options, flags=0x01),
        device.make(options, flags=0x40),
        {},
        "x",
        {**device.make(options), "attestation": letters(b"\xa0")},
    ):
        begin(susan, clock)
        answer = give(susan, f"{PAGE}/new", wrong, PAGE)
        assert answer.status_code == 302
    assert of_susan(app) == []
    assert "No passkey was made" in susan.get(PAGE).text
    add(susan, clock, device)
    assert "My key" in susan.get(PAGE).text
    # A second time, it is somebody's already, and told to the browser.
    assert asked(begin(susan, clock))["excludeCredentials"] == [
        {"type": "public-key", "id": letters(device.credential)}
    ]
    add(susan, clock, device)
    assert len(of_susan(app)) == 1


def test_there_are_as_many_as_there_may_be(app, susan, clock, monkeypatch):
    monkeypatch.setattr(passkeys, "MOST", 1)
    add(susan, clock, Device())
    add(susan, clock, Device())
    assert len(of_susan(app)) == 1


def test_one_is_removed_with_the_password(app, susan, device, half_way, clock, make_user):
    digest = of_susan(app)[0].digest
    path = f"{PAGE}/{digest}/remove"
    make_user("david")
    david = Browser(app)
    david.login("david")
    assert david.get(path).status_code == 404
    assert "not your password" in susan.submit(path, {"password": "wrong horse"}).text
    susan.submit(path, {"password": PASSWORD})
    assert of_susan(app) == []
    assert question(half_way, clock) is None


@pytest.mark.any_database
def test_they_are_offered_where_browsers_know_them(app, susan, device, clock, monkeypatch):
    """For the name that they were made for, by HTTPS."""
    for url, offered in (
        ("http://localhost", True),
        ("http://127.0.0.1", False),
        ("https://127.0.0.1", False),
        ("http://garden.local", False),
        ("https://garden.local", False),
    ):
        browser = Browser(app, url)
        browser.login()
        assert (question(browser, clock) is not None) == offered, url
    monkeypatch.setattr(webauthn, "available", lambda: False)
    browser = Browser(app)
    browser.login()
    assert question(browser, clock) is None
    assert "by HTTPS and by its name" in susan.get(PAGE).text


def test_without_a_second_factor_there_are_none(app, client, make_user):
    make_user("susan")
    client.login()
    assert client.get(PAGE).headers["Location"] == "/settings/second-factor"
    assert client.submit(f"{PAGE}/new", {"passkey": "{}"}, page="/settings").headers["Location"] == PAGE


def test_they_go_with_the_second_factor(app, susan, device):
    """Turned off, or reset on the command line."""
    result = app.test_cli_runner().invoke(args=["user", "second-factor", "susan"])
    assert result.output == "susan has one, 1 passkey, and 10 recovery codes\n"
    result = app.test_cli_runner().invoke(args=["user", "second-factor", "susan", "--off"])
    assert "has no second factor any more" in result.output
    assert of_susan(app) == []
    with app.app_context():
        assert second_factor.of(User.find("susan").id) is None


def test_they_are_in_the_export_and_go_with_the_account(app, susan, device):
    (said,) = susan.get("/settings/export").json["second_factor"]["passkeys"]
    assert (said["name"], said["host"]) == ("My key", "localhost")
    susan.submit("/settings/delete", {"password": PASSWORD})
    with app.app_context():
        assert db.session.execute(db.select(passkeys.Passkey)).first() is None
