import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy
from app_client import PASSWORD, Browser, token
from sqlalchemy import func, select

from microblog.config import Config
from microblog.database import db, utc_now
from microblog.models import (
    Attempts,
    Barrier,
    Post,
    Session,
    Token,
    User,
    applications,
    preferences,
    throttle,
    tokens,
)
from microblog.models.post import add_post
from microblog.models.throttle import Limit, address, attempt, forgive
from microblog.web import build_app, housekeeping, limits

THREE = Limit("test", 3, 600)


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""

    class Clock:
        now = utc_now()

        def forward(self, **delta):
            self.now += timedelta(**delta)

    clock = Clock()
    for name in ("utc_now", "shared_now"):
        monkeypatch.setattr(throttle, name, lambda: clock.now)
    return clock


def test_a_window(context, clock):
    key, other = THREE.key("susan"), THREE.key("david")
    assert [attempt(key) for _ in range(3)] == [0, 0, 0]
    clock.forward(seconds=100)
    assert attempt(key) == 500
    assert attempt(other) == 0
    # More attempts do not make it longer.
    clock.forward(seconds=499)
    assert attempt(key) == 1
    clock.forward(seconds=1)
    assert [attempt(key) for _ in range(3)] == [0, 0, 0]
    assert attempt(key) == 600


def test_what_was_right_does_not_count(context):
    key = THREE.key("susan")
    for _ in range(10):
        assert attempt(key) == 0
        forgive(key)
    forgive(key)
    assert [attempt(key) for _ in range(4)][:3] == [0, 0, 0]


def test_one_limit_spares_the_next(context):
    mine, shared = THREE.key("mine"), Limit("shared", 4, 600).key("all")
    for _ in range(20):
        attempt(mine, shared)
    assert attempt(shared) == 0


def test_keys_are_apart_and_hidden(context):
    keys = {THREE.key("a", "b").digest, THREE.key("ab").digest, Limit("x", 3, 6).key("a", "b").digest}
    assert len(keys) == 3
    attempt(THREE.key("susan@example.org", "\ud800 no UTF-8", "x" * 100_000))
    assert len(db.session.execute(select(Attempts.digest)).scalar_one()) == 64


def test_expired_rows_go(context, clock):
    for number in range(10):
        attempt(THREE.key(number))
    clock.forward(seconds=599)
    throttle.sweep()
    attempt(THREE.key("new"))
    clock.forward(seconds=1)
    throttle.sweep()
    assert db.session.execute(select(func.count()).select_from(Attempts)).scalar_one() == 1


def test_at_once(app):
    """Those who come at the same time are counted each."""
    start, waits = threading.Barrier(8), []

    def run():
        with app.app_context():
            start.wait(60)
            waits.extend(attempt(THREE.key("susan")) for _ in range(5))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(waits) == 40
    assert waits.count(0) == 3


@pytest.mark.parametrize(
    "text, stands_for",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("no address", ""),
        (None, ""),
    ],
)
def test_addresses(text, stands_for):
    assert address(text) == stands_for


def wrong(visitor, times, name="susan"):
    return [visitor.login(name, "wrong horse").status_code for _ in range(times)]


@pytest.fixture
def tight(monkeypatch):
    """Limits that a test reaches soon."""
    table = {"LOGIN_HERE": 3, "LOGIN_ADDRESS": 5, "LOGIN_ACCOUNT": 6, "LOGIN_DEVICE": 3, "REGISTRATION": 2}
    table |= {"POST": 2, "FOLLOW": 2}
    table |= {"PASSWORD": 2, "NEW_EMAIL": 2, "RESET_ADDRESS": 3, "RESET_ACCOUNT": 2}
    for name, most in table.items():
        limit = getattr(limits, name)
        monkeypatch.setattr(limits, name, Limit(limit.name, most, limit.seconds))


def at(app, address):
    return Browser(app, environ={"REMOTE_ADDR": address})


def test_log_in_is_limited(app, client, make_user, tight):
    make_user("susan")
    assert wrong(client, 4) == [200, 200, 200, 429]
    response = client.login()
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 900
    assert "15 minutes" in response.text
    assert not client.logged_in()
    # The same person by their other name, and another one, from another address.
    make_user("david")
    elsewhere = at(app, "192.0.2.1")
    assert elsewhere.login().status_code == 302


def test_right_ones_do_not_count(app, make_user, tight):
    make_user("susan")
    for _ in range(6):
        assert Browser(app).login().status_code == 302


def test_one_address_is_limited_whatever_the_names(app, client, make_user, tight):
    make_user("susan")
    assert [client.login(f"user{number}", "wrong").status_code for number in range(6)] == [200] * 5 + [429]
    neighbour = at(app, "2001:db8::1")
    assert [neighbour.login(f"user{number}", "wrong").status_code for number in range(5)] == [200] * 5
    assert at(app, "2001:db8::2").login().status_code == 429
    assert at(app, "2001:db8:0:1::1").login().status_code == 302


def test_a_guesser_cannot_lock_the_owner_out(app, client, make_user, tight):
    """Many addresses together reach the account's limit: from each other one, a few attempts are left."""
    make_user("susan")
    client.login()
    client.logout()
    stranger = at(app, "198.51.100.1")
    stranger.login("nobody", PASSWORD)
    for number in range(2):
        wrong(at(app, f"192.0.2.{number}"), 3)
    assert at(app, "203.0.113.1").login().status_code == 302
    assert wrong(at(app, "203.0.113.2"), 3) == [200, 200, 429]
    assert wrong(at(app, "192.0.2.0"), 1) == [429]
    assert stranger.login().status_code == 302
    assert client.login().status_code == 302
    # The known browser is no way to guess on.
    client.logout()
    assert wrong(client, 4)[-1] == 429
    assert client.login().status_code == 429


def test_a_known_browser_is_known_for_its_account_alone(app, client, make_user, tight):
    make_user("susan")
    make_user("david")
    client.login("david")
    client.logout()
    for number in range(2):
        wrong(at(app, f"192.0.2.{number}"), 3)
    assert wrong(client, 3) == [200, 200, 429]


@pytest.mark.any_database
@pytest.mark.parametrize("value", ["", "x", "WzEsInggIl0.x", "[]", "é"])
def test_a_forged_cookie(client, make_user, value):
    make_user("susan")
    response = client.client.get("/login", headers={"Cookie": f"known={value}"})
    response = client.client.post(
        "/login", data={"csrf_token": token(response), "username": "susan", "password": PASSWORD}
    )
    assert response.status_code == 302


def test_registration_is_limited(app, tight):
    codes = [at(app, "192.0.2.1").register(f"user{number}").status_code for number in range(3)]
    assert codes == [302, 302, 429]
    assert at(app, "192.0.2.2").register("user9").status_code == 302


def test_who_has_an_account_is_not_asked_for_long(client, make_user, tight):
    make_user("susan")
    codes = [client.register("david", email="susan@example.org").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    client.login()
    data = {"email": "susan@example.org", "password": PASSWORD}
    assert [client.submit("/settings/email", data).status_code for _ in range(3)] == [200, 200, 429]


def test_a_password_is_not_guessed_in_an_open_session(client, make_user, tight):
    make_user("susan")
    client.login()
    data = {"password": "wrong horse", "new": "another horse", "new2": "another horse"}
    codes = [client.submit("/settings/password", data).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


def test_nobody_posts_or_follows_without_end(app, client, make_user, tight):
    for name in ("susan", "david"):
        make_user(name)
    client.login()
    assert [client.write(f"post {number}").status_code for number in range(3)] == [302, 302, 429]
    codes = [
        client.submit(f"/user/david/{what}", page="/").status_code for what in ("follow", "unfollow") * 2
    ]
    assert codes == [302, 302, 429, 429]
    with app.app_context():
        assert db.session.query(Post).count() == 2


# Whatever somebody may do to others: its limit, and how it is done on a page, and by a program.
DONE = [
    *(("POST", "/post/{post}/reply", {"body": "x"}), ("POST", "/post/{post}/edit", {"body": "x"})),
    *(("REACTION", f"/post/{{post}}/{act}", {}) for act in ("like", "unlike", "repost", "bookmark")),
    *(("FOLLOW", f"/user/david/{act}", {}) for act in ("block", "unblock", "mute", "unmute")),
    ("MESSAGE", "/messages/david", {"body": "x"}),
    *(("REPORT", "/user/david/report", {}), ("REPORT", "/post/{theirs}/report", {})),
    *(("POST", "/api/posts", {"body": "x"}), ("POST", "/api/v1/statuses", {"status": "x"})),
    *(("REACTION", f"/api/v1/statuses/{{post}}/{act}", {}) for act in ("favourite", "reblog", "bookmark")),
    *(("FOLLOW", f"/api/v1/accounts/{{david}}/{act}", {}) for act in ("follow", "unfollow", "block", "mute")),
    ("MESSAGE", "/api/v1/statuses", {"status": "@david x", "visibility": "direct"}),
    ("REPORT", "/api/v1/reports", {"account_id": "{david}"}),
]


@pytest.mark.any_database
def test_there_is_no_cheap_way_round_a_limit(app, client, make_user, monkeypatch):
    for name in ("susan", "david"):
        make_user(name)
    client.login()
    with app.app_context():
        susan, david = User.find("susan"), User.find("david")
        preferences.change(david.id, messages_from_all=True)
        known = {"post": add_post(susan, "a").id, "theirs": add_post(david, "b").id, "david": david.id}
        secret = applications.issue(susan.id, None, "read write follow")
        db.session.commit()
    page = client.get("/settings")
    program = {"Authorization": f"Bearer {secret}"}
    for limit, path, data in DONE:
        path = path.format(**known)
        data = {name: value.format(**known) for name, value in data.items()}
        sent = {"headers": program} if path.startswith("/api/") else {}
        codes = []
        for most in (1000, 0):
            monkeypatch.setattr(limits, limit, Limit(f"{limit} {path}", most, 600))
            codes.append(client.post(path, {**data, "csrf_token": token(page)}, **sent).status_code)
        assert codes[0] in (200, 201, 302) and codes[1] == 429, (path, codes)
        # As it was, for the next one.
        with app.app_context():
            db.session.execute(sqlalchemy.delete(Barrier))
            db.session.execute(sqlalchemy.update(User).values(has_barriers=False))
            db.session.commit()


@pytest.mark.any_database
def test_the_table_cannot_be_searched_through(app, make_app):
    """Who has it, and not the site's key, cannot try all addresses there are."""
    with app.app_context():
        one = THREE.key("192.0.2.1").digest
    with make_app(secret_key="another key for tests, of 32 or more").app_context():
        assert THREE.key("192.0.2.1").digest != one


def test_what_has_expired_goes_by_time(app, client, make_user, clock, monkeypatch):
    """And not in the way of who logs in: that would be a commit for each."""
    for number in range(40):
        with app.app_context():
            attempt(THREE.key(number))
    make_user("susan")
    clock.forward(days=1)
    commits = []

    def note(connection):
        commits.append(connection)

    with app.app_context():
        sqlalchemy.event.listen(db.engine, "commit", note)
    try:
        wrong(client, 1)
    finally:
        with app.app_context():
            sqlalchemy.event.remove(db.engine, "commit", note)
    # One for each limit that counts it: the address here, the address, the account.
    assert len(commits) == 3
    with app.app_context():
        assert db.session.query(Attempts).count() == 43
    fresh = build_app(Config(secret_key="k" * 32, database_url=app.config["SQLALCHEMY_DATABASE_URI"]))
    monkeypatch.setattr(housekeeping, "EVERY", 0)
    fresh.test_client().get("/login").close()
    with app.app_context():
        assert db.session.query(Attempts).count() == 3


@pytest.mark.any_database
def test_the_house_is_kept_now_and_then_not_after_every_page(app, monkeypatch):
    clock, cleaned = [1000.0], []
    monkeypatch.setattr(housekeeping, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(housekeeping, "clean", cleaned.append)
    fresh = build_app(Config(secret_key="k" * 32, database_url=app.config["SQLALCHEMY_DATABASE_URI"]))
    for moment, times in ((1001.0, 0), (1601.0, 1), (1602.0, 1), (2202.0, 2)):
        clock[0] = moment
        fresh.test_client().get("/healthz").close()
        assert len(cleaned) == times


def test_old_log_ins_and_links_go(app, client, make_user):
    make_user("susan")
    client.login()
    with app.app_context():
        User.find("susan")
        tokens.issue(User.find("susan"), tokens.RESET)
        for model in (Session, Token):
            db.session.execute(sqlalchemy.update(model).values(expires_at=utc_now()))
        db.session.commit()
    assert not client.logged_in()
    housekeeping.clean(app)
    with app.app_context():
        assert [db.session.query(model).count() for model in (Session, Token)] == [0, 0]
