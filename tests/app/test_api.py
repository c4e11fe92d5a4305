"""The tutorial's API: its addresses and fields, tokens, and who may do what with one."""

import base64
from datetime import timedelta

import pytest
import sqlalchemy as sa
from app_client import PASSWORD, Browser, token

from microblog.database import db, utc_now
from microblog.models import AccessToken, User, applications, invitations, second_factor, site
from microblog.models.account import delete_account, suspend
from microblog.models.post import add_post
from microblog.web import limits


class Script:
    """A program that calls: with a token, or a name and a password."""

    def __init__(self, app, secret=None):
        self.client = app.test_client()
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def __getattr__(self, method):
        def call(path, **options):
            headers = {**self.headers, **options.pop("headers", {})}
            return self.client.open(path, method=method.upper(), headers=headers, **options)

        return call


def basic(name, password=PASSWORD):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def log_in(app):
    def make(name="susan"):
        answer = Script(app).post("/api/tokens", headers=basic(name))
        assert answer.status_code == 200, answer.text
        return Script(app, answer.json["token"])

    return make


def number_of(app, name):
    with app.app_context():
        return User.find(name).id


def refused(answer, code):
    assert answer.status_code == code, answer.text
    assert set(answer.json) == {"error", "message"}
    return answer.json["message"]


def test_a_token_is_had_for_a_password_and_given_back(app, make_user, log_in):
    make_user()
    script = log_in()
    assert script.get("/api/users").status_code == 200
    with app.app_context():
        (row,) = db.session.execute(sa.select(AccessToken)).scalars()
        # Whoever reads the table has nothing.
        assert script.headers["Authorization"].split()[1] not in (row.digest, row.scopes)
        assert timedelta(minutes=59) < row.expires_at - utc_now() <= timedelta(hours=1)
    assert script.delete("/api/tokens").status_code == 204
    answer = script.get("/api/users")
    refused(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.any_database
@pytest.mark.parametrize(
    "headers", [basic("susan", "wrong"), basic("nobody"), {}, {"Authorization": "Basic ?"}]
)
def test_no_token_for_who_does_not_know_the_password(app, make_user, headers):
    make_user()
    answer = Script(app).post("/api/tokens", headers=headers)
    refused(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_who_guesses_passwords_waits_as_on_the_page(app, make_user):
    make_user()
    script = Script(app)
    for left in range(limits.LOGIN_HERE.most - 1, -1, -1):
        answer = script.post("/api/tokens", headers=basic("susan", "wrong"))
        assert answer.headers["X-RateLimit-Remaining"] == str(left)
    answer = script.post("/api/tokens", headers=basic("susan"))
    refused(answer, 429)
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["X-RateLimit-Limit"] == str(limits.LOGIN_HERE.most)


def test_a_second_factor_is_not_gone_round(app, make_user):
    make_user()
    with app.app_context():
        second_factor.turn_on(User.find("susan"), second_factor.new_seed(), 0)
        db.session.commit()
    assert "Settings" in refused(Script(app).post("/api/tokens", headers=basic("susan")), 403)


def test_a_browsers_log_in_counts_for_nothing(app, make_user):
    """Else another site's page could use it."""
    make_user()
    browser = Browser(app)
    browser.login()
    assert browser.get("/api/users").status_code == 401
    assert browser.post("/api/posts", {"body": "hello"}).status_code == 401


def test_a_suspended_account_has_no_tokens_and_a_deleted_one_leaves_none(app, make_user, log_in):
    make_user()
    script = log_in()
    with app.app_context():
        suspend(User.find("susan"))
        db.session.commit()
    refused(script.get("/api/users"), 401)
    refused(Script(app).post("/api/tokens", headers=basic("susan")), 403)
    with app.app_context():
        delete_account(User.find("susan"))
        db.session.commit()
        assert db.session.execute(sa.select(AccessToken)).first() is None


def test_another_password_ends_all_tokens(app, make_user, log_in):
    make_user()
    script = log_in()
    with app.app_context():
        User.find("susan").set_password("another horse, another day")
        db.session.commit()
    refused(script.get("/api/users"), 401)


def test_a_token_that_has_expired_is_none_and_is_swept(app, make_user):
    make_user()
    with app.app_context():
        secret = applications.issue(User.find("susan").id, None, "read", timedelta(seconds=-1))
        db.session.commit()
    refused(Script(app, secret).get("/api/users"), 401)
    with app.app_context():
        applications.sweep()
        assert db.session.execute(sa.select(AccessToken)).first() is None


def test_its_use_is_noted_once_an_hour(app, make_user, log_in):
    make_user()
    script = log_in()
    script.get("/api/users").close()
    tokens = AccessToken.__table__

    def used():
        with app.app_context():
            return db.session.execute(sa.select(tokens.c.last_used_at)).scalar()

    assert used() is not None
    for ago, noted in ((timedelta(minutes=59), False), (timedelta(minutes=61), True)):
        before = utc_now() - ago
        with app.app_context():
            db.session.execute(sa.update(tokens).values(last_used_at=before))
            db.session.commit()
        script.get("/api/users").close()
        assert (used() != before) == noted


def test_who_may_only_read_writes_nothing(app, make_user):
    make_user()
    with app.app_context():
        me = User.find("susan").id
        script = Script(app, applications.issue(me, None, "read:accounts"))
        db.session.commit()
    assert script.get("/api/users").status_code == 200
    for answer in (
        script.post("/api/posts", json={"body": "x"}),
        script.get("/api/posts"),
        script.put(f"/api/users/{me}", json={"about_me": "x"}),
    ):
        refused(answer, 403)
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_somebody_in_the_tutorials_fields(app, make_user, log_in):
    make_user("susan")
    make_user("david")
    script, me, other = log_in(), number_of(app, "susan"), number_of(app, "david")
    answer = script.get(f"/api/users/{me}").json
    assert set(answer) == {
        *("id", "username", "email", "last_seen", "about_me", "post_count"),
        *("follower_count", "following_count", "_links"),
    }
    assert answer["_links"]["avatar"] == "/avatar/susan.svg"
    # Somebody else's address is theirs.
    assert "email" not in script.get(f"/api/users/{other}").json
    refused(script.get("/api/users/999999"), 404)
    refused(script.get(f"/api/users/{2**63}"), 404)
    refused(script.get("/api/nothing"), 404)
    assert "POST" in script.delete("/api/users").headers["Allow"]


def test_pages_by_number_and_by_cursor(app, make_user, log_in):
    for number in range(7):
        make_user(f"user{number}")
    script = log_in("user0")
    seen, path = [], "/api/users?per_page=3"
    # Before the first page there is none, however it is asked for.
    assert script.get(path).json["_links"]["prev"] is None
    assert script.get(f"{path}&page=1").json["_links"]["prev"] is None
    while path:
        part = script.get(path).json
        seen.append([user["username"] for user in part["items"]])
        last, path = part, part["_links"]["next"]
    names = [f"user{number}" for number in range(7)]
    assert seen == [names[:3], names[3:6], names[6:]]
    assert last["_meta"] == {"page": 3, "per_page": 3, "total_pages": None, "total_items": None}
    # And back, and by number.
    back = script.get(last["_links"]["prev"]).json
    assert [user["username"] for user in back["items"]] == names[3:6]
    assert [user["username"] for user in script.get(back["_links"]["prev"]).json["items"]] == names[:3]
    assert script.get(back["_links"]["next"]).json["items"] == last["items"]
    by_number = script.get("/api/users?per_page=3&page=2").json
    assert [user["username"] for user in by_number["items"]] == names[3:6]
    assert "page=3" in by_number["_links"]["next"] and by_number["_links"]["prev"]
    refused(script.get("/api/users?page=1000"), 400)
    # The tutorial's default, and its most.
    assert script.get("/api/users").json["_meta"]["per_page"] == 10
    assert script.get("/api/users?per_page=1000").json["_meta"]["per_page"] == 100


def test_followers_and_followed(app, make_user, log_in):
    for name in ("susan", "david", "maria"):
        make_user(name)
    for name in ("david", "maria"):
        browser = Browser(app)
        browser.login(name)
        browser.submit("/user/susan/follow", page="/user/susan")
    script, me = log_in(), number_of(app, "susan")
    answer = script.get(f"/api/users/{me}/followers?per_page=1").json
    assert answer["_meta"]["total_items"] == answer["_meta"]["total_pages"] == 2
    more = script.get(answer["_links"]["next"]).json
    assert {part["items"][0]["username"] for part in (answer, more)} == {"david", "maria"}
    assert more["_links"]["next"] is None
    david = number_of(app, "david")
    (followed,) = script.get(f"/api/users/{david}/following").json["items"]
    assert followed["username"] == "susan"


def test_a_new_account_by_the_rules_of_the_page(app, make_user):
    script = Script(app)
    who = {"username": "susan", "email": "susan@example.org", "password": PASSWORD}
    for missing in who:
        refused(script.post("/api/users", json={**who, missing: None}), 400)
    for wrong in ({"username": "a b"}, {"email": "nowhere"}, {"password": "short"}, {"username": "admin"}):
        refused(script.post("/api/users", json={**who, **wrong}), 400)
    # Composed, this is of twice as many characters.
    longer = {"username": "maria", "email": "maria@example.org", "about_me": "\u0958" * 280}
    assert script.post("/api/users", json={**who, **longer}).json["about_me"] == "\u0915\u093c" * 140
    answer = script.post("/api/users", json={**who, "about_me": "hello"})
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/users/{answer.json['id']}"
    assert (answer.json["about_me"], answer.json["email"]) == ("hello", "susan@example.org")
    refused(script.post("/api/users", json=who), 400)


@pytest.mark.any_database
@pytest.mark.parametrize("mode", site.MODES)
@pytest.mark.parametrize("approval", [False, True])
def test_who_may_not_register_on_the_page_may_not_here(app, mode, approval):
    with app.app_context():
        site.set_registration(mode, approval)
        secret = invitations.issue("", 1, 1)
        db.session.commit()
    script = Script(app)
    who = {"username": "susan", "email": "susan@example.org", "password": PASSWORD}
    answer = script.post("/api/users", json=who)
    assert answer.status_code == (201 if mode == site.OPEN else 403)
    if mode == site.OPEN:
        assert bool(answer.json.get("waiting")) == approval
        assert script.post("/api/tokens", headers=basic("susan")).status_code == (403 if approval else 200)
    invited = {"username": "david", "email": "d@example.org", "password": PASSWORD, "invitation": secret}
    answer = script.post("/api/users", json=invited)
    assert answer.status_code == (403 if mode == site.CLOSED else 201)
    assert "waiting" not in answer.json
    # It was for one.
    assert script.post("/api/users", json={**invited, "username": "third"}).status_code == 403


def test_what_one_changes_of_oneself(app, make_user, log_in):
    make_user("susan")
    make_user("david")
    script, me, other = log_in(), number_of(app, "susan"), number_of(app, "david")
    same = {"username": "susan", "email": "susan@example.org", "about_me": "new\0 words"}
    assert script.put(f"/api/users/{me}", json=same).json["about_me"] == "new words"
    refused(script.put(f"/api/users/{other}", json={"about_me": "x"}), 403)
    for wrong in ({"username": "else"}, {"email": "else@example.org"}, {"about_me": "x" * 281}):
        refused(script.put(f"/api/users/{me}", json=wrong), 400)
    assert script.get(f"/api/users/{me}").json["about_me"] == "new words"


def test_posts(app, make_user, log_in):
    make_user("susan")
    make_user("david")
    script = log_in()
    answer = script.post("/api/posts", json={"body": " Hello\r\nworld "})
    assert (answer.status_code, answer.json["body"], answer.json["author"]) == (201, "Hello\nworld", "susan")
    path = answer.headers["Location"]
    assert script.get(path).json == answer.json
    assert script.get("/api/posts").json["items"] == [answer.json]
    assert script.get(f"/api/users/{number_of(app, 'susan')}/posts").json["_meta"]["total_items"] == 1
    for body in ("", " \n", "x" * 141, None, 1.5e300):
        assert script.post("/api/posts", json={"body": body}).status_code in (400, 201)
    assert refused(script.post("/api/posts", json={"body": "x" * 141}), 400)
    refused(log_in("david").delete(path), 404)
    assert script.delete(path).status_code == 204
    refused(script.delete(path), 404)
    refused(script.get(path), 404)


def test_what_is_sent_twice_with_one_key_is_one_post(app, make_user, log_in):
    make_user()
    script = log_in()
    key = {"Idempotency-Key": "1"}
    first, second = (script.post("/api/posts", json={"body": "once"}, headers=key).json for _ in range(2))
    assert first == second
    assert script.post("/api/posts", json={"body": "once"}).json["id"] != first["id"]


def test_posts_count_for_the_limit_of_the_page(app, make_user, log_in):
    make_user()
    answer = log_in().post("/api/posts", json={"body": "x"})
    assert answer.headers["X-RateLimit-Limit"] == str(limits.POST.most)
    assert answer.headers["X-RateLimit-Remaining"] == str(limits.POST.most - 1)


@pytest.mark.any_database
def test_other_sites_pages_may_ask(app, make_user, log_in):
    make_user()
    for answer in (log_in().get("/api/users"), Script(app).get("/api/users")):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    answer = Script(app).options("/api/posts", headers=asked)
    assert answer.status_code == 204
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in Script(app).get("/login").headers


def test_a_new_site_says_so(make_app, app):
    answer = Script(make_app(claim_code="abcd-efgh")).get("/api/users")
    refused(answer, 503)


def test_a_suspended_persons_things_are_not_told(app, make_user, log_in):
    make_user("susan")
    make_user("david")
    with app.app_context():
        david = User.find("david")
        post, number = add_post(david, "hola").id, david.id
        db.session.commit()
        suspend(User.find("david"))
        db.session.commit()
    script = log_in()
    for path in (f"/api/users/{number}", f"/api/users/{number}/posts", f"/api/posts/{post}"):
        refused(script.get(path), 404)
    assert script.get("/api/posts").json["items"] == []
    assert [user["username"] for user in script.get("/api/users").json["items"]] == ["susan"]


@pytest.fixture
def susan(app, make_user):
    make_user()
    browser = Browser(app)
    browser.login()
    return browser


def test_a_token_is_made_and_ended_in_the_settings(app, susan):
    page = susan.submit("/settings/programs", {"days": "30", "password": PASSWORD})
    assert page.headers["Cache-Control"] == "no-store"
    secret = page.text.partition('<samp class="text-break">')[2].partition("<")[0]
    script = Script(app, secret)
    assert script.get("/api/posts").status_code == 200
    refused(script.post("/api/posts", json={"body": "x"}), 403)
    page = susan.get("/settings/programs")
    assert secret not in page.text
    assert "A token of your own" in page.text
    number = page.text.partition('name="token" value="')[2].partition('"')[0]
    susan.post("/settings/programs/end", {"csrf_token": token(page), "token": number})
    refused(script.get("/api/posts"), 401)
    wrong = susan.submit("/settings/programs", {"days": "30", "password": "wrong"})
    assert "<samp" not in wrong.text


def test_nobody_ends_somebody_elses(app, susan, make_user, log_in):
    make_user("david")
    script = log_in("david")
    with app.app_context():
        number = db.session.execute(sa.select(AccessToken.id)).scalar()
    page = susan.get("/settings/programs")
    for which in (number, 2**63, "x"):
        susan.post("/settings/programs/end", {"csrf_token": token(page), "token": which})
    susan.post("/settings/programs/end", {"csrf_token": token(page)})
    assert script.get("/api/users").status_code == 200


def test_tokens_are_in_the_export(susan, log_in):
    log_in()
    (program,) = susan.get("/settings/export").json["programs"]
    assert program["may"] == ["read", "write"]
