import pytest
from app_client import PASSWORD, Browser, token

from microblog.database import db
from microblog.models import User, passwords
from microblog.models.user import EMAIL_MAX, USERNAME_MAX

pytestmark = pytest.mark.any_database

LONG = "ten characters and a few more " * 4 + "to 128 !"


def cookie(response, name):
    found = [line for line in response.headers.getlist("Set-Cookie") if line.startswith(f"{name}=")]
    return found[-1] if found else None


@pytest.mark.every_database
def test_register_log_out_log_in(client):
    assert client.register().headers["Location"] == "/"
    assert client.logged_in()
    client.logout()
    assert not client.logged_in()
    assert client.login().headers["Location"] == "/"
    assert client.logged_in()


@pytest.mark.every_database
@pytest.mark.parametrize("name", ["susan", "SUSAN", "susan@example.org", " Susan@Example.ORG "])
def test_log_in_by_name_or_email_in_any_case(client, make_user, name):
    make_user("Susan")
    client.login(name)
    assert client.logged_in()


@pytest.mark.every_database
@pytest.mark.parametrize(
    "name, password", [("susan", "wrong horse"), ("nobody", PASSWORD), ("s" * 254, "x" * 128)]
)
def test_log_in_fails(client, make_user, name, password):
    make_user("susan")
    response = client.login(name, password)
    assert response.status_code == 200
    assert "Wrong username or password." in response.text
    assert not client.logged_in()


@pytest.mark.parametrize("field, value", [("username", ""), ("username", "s" * 255), ("password", "p" * 129)])
def test_log_in_refuses_what_no_account_has(client, field, value):
    response = client.login(**{field: value})
    assert "invalid-feedback" in response.text


def test_an_unknown_name_is_hashed_for_too(context, monkeypatch):
    db.session.add(User("susan", "susan@example.org", PASSWORD))
    calls = []
    real = passwords.check_password_hash

    def count(password_hash, password):
        calls.append(password_hash.partition("$")[0])
        return real(password_hash, password)

    monkeypatch.setattr(passwords, "check_password_hash", count)
    assert User.authenticate("susan", "wrong") is None
    assert User.authenticate("nobody", "wrong") is None
    assert calls == [passwords.METHOD] * 2


@pytest.mark.every_database
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"username": ""}, "choose a username"),
        ({"username": "ab"}, "3 to 32 characters"),
        ({"username": "s" * (USERNAME_MAX + 1)}, "3 to 32 characters"),
        ({"username": "s" * 50_000}, "3 to 32 characters"),
        ({"username": "su san"}, "Only letters"),
        ({"username": "susan\n"}, None),
        ({"username": "sus\0an"}, "Only letters"),
        ({"username": "sus😀n"}, "Only letters"),
        ({"username": "Admin"}, "taken"),
        ({"username": "s" * USERNAME_MAX}, None),
        ({"email": ""}, "enter your e-mail"),
        ({"email": "susan"}, "not an e-mail"),
        ({"email": "susan@localhost"}, "not an e-mail"),
        ({"email": "susan@example..org"}, "not an e-mail"),
        ({"email": "susan@example.org\nBcc: all@example.org"}, "not an e-mail"),
        ({"email": "s@" + "e" * 63 + ("." + "e" * 63) * 3}, "at most 254"),
        ({"email": "s@" + "e" * (EMAIL_MAX - 2)}, "not an e-mail"),
        ({"email": "s@" + ("e" * 49 + ".") * 5 + "ee"}, None),
        ({"password": "short", "password2": "short"}, "8 to 128"),
        ({"password": "p" * 129, "password2": "p" * 129}, "8 to 128"),
        ({"password": LONG, "password2": LONG}, None),
        ({"password": "password1", "password2": "password1"}, "easy to guess"),
        ({"password": "susan1234", "password2": "susan1234"}, "easy to guess"),
        ({"password2": "another horse"}, "differ"),
    ],
)
def test_registration_checks(client, changes, message):
    response = client.register(**{"username": "susan", "email": "susan@example.org", **changes})
    if message is None:
        assert response.status_code == 302
    else:
        assert response.status_code == 200
        assert message in response.text
        assert not client.logged_in()


@pytest.mark.every_database
@pytest.mark.parametrize(
    "changes", [{"username": "SUSAN", "email": "other@example.org"}, {"email": "Susan@example.org"}]
)
def test_names_and_addresses_are_unique_in_any_case(client, make_user, changes):
    make_user("susan")
    response = client.register(**{"username": "david", **changes})
    assert "taken" in response.text or "has an account already" in response.text


@pytest.mark.every_database
def test_two_take_the_same_name_at_once(client, make_user, monkeypatch):
    """The form finds the name free, and somebody has it when it is saved."""
    make_user("susan")
    real, calls = User.find, []

    def late(name):
        calls.append(name)
        return None if len(calls) <= 2 else real(name)

    monkeypatch.setattr(User, "find", staticmethod(late))
    response = client.register("susan")
    assert response.status_code == 200
    assert "taken" in response.text


def test_nothing_is_accepted_without_a_token(client, make_user):
    make_user("susan")
    assert client.post("/login", {"username": "susan", "password": PASSWORD}).status_code == 400
    assert client.post("/register", {"username": "david"}).status_code == 400
    client.login()
    assert client.post("/", {"body": "forged"}).headers["Location"] == "/"
    assert "<article" not in client.get("/explore").text
    response = client.post("/logout")
    assert response.status_code == 302
    assert "Please try again" in client.get("/").text
    assert client.logged_in()


def test_no_log_out_by_get(client, make_user):
    make_user("susan")
    client.login()
    response = client.get("/logout")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert client.logged_in()


def test_the_log_in_page_leads_back(client, make_user):
    make_user("susan")
    path = client.get("/explore?before=5").headers["Location"]
    assert path.startswith("/login?next=")
    assert client.login(path=path).headers["Location"] == "/explore?before=5"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "/%09/evil.example",
        "%09//evil.example",
        "%0D%0ASet-Cookie:%20a=b",
        "/%0D%0ASet-Cookie:%20a=b",
        "javascript:alert(1)",
        "evil.example",
        "http:/evil.example",
        "",
    ],
)
def test_next_leads_nowhere_else(client, make_user, target):
    make_user("susan")
    response = client.login(path=f"/login?next={target}")
    assert response.headers["Location"] == "/"


def test_a_session_starts_anew_at_log_in(client, make_user):
    make_user("susan")
    client.get("/login")
    with client.client.session_transaction() as session:
        session["planted"] = "by somebody else"
        before = session["csrf_token"]
    client.login()
    with client.client.session_transaction() as session:
        assert "planted" not in session
        assert session.get("csrf_token") != before


@pytest.mark.every_database
def test_remember_me(app, client, make_user):
    make_user("susan")
    assert cookie(client.login(), "remember") is None
    client.logout()
    remembered = cookie(client.login(remember_me="y"), "remember")
    assert "HttpOnly" in remembered
    assert "SameSite=Lax" in remembered

    value = remembered.partition(";")[0]
    later = app.test_client(use_cookies=False)
    assert "susan" in later.get("/", headers={"Cookie": value}).text
    with app.app_context():
        User.find("susan").set_password("another horse")
        db.session.commit()
    assert "susan" not in later.get("/", headers={"Cookie": value}).text


def test_log_out_forgets(client, make_user):
    make_user("susan")
    client.login(remember_me="y")
    client.logout()
    assert not client.logged_in()


def test_cookies_behind_tls(make_app, app, make_user):
    make_user("susan")
    tls = make_app(trusted_proxies=1, https=True)
    visitor = tls.test_client(use_cookies=False)
    proxied = {"X-Forwarded-Proto": "https"}
    response = visitor.get("/login", headers=proxied)
    session = cookie(response, "__Host-session")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(session.split("; "))
    form = {"csrf_token": token(response), "username": "susan", "password": PASSWORD, "remember_me": "y"}
    response = visitor.post("/login", data=form, headers={"Cookie": session.partition(";")[0], **proxied})
    remember = cookie(response, "__Host-remember")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(remember.split("; "))


def test_the_remember_cookie_behind_tls_can_be_deleted(make_app, app, make_user):
    """Browsers keep a __Host- cookie when the line that deletes it is not Secure itself."""
    make_user("susan")
    browser = Browser(make_app(https=True), base_url="https://localhost")
    browser.login(remember_me="y")
    response = browser.logout()
    assert "Secure" in cookie(response, "__Host-remember").split("; ")
    assert not browser.logged_in()
