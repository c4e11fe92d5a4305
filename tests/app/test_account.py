import json
import re
import threading
from datetime import timedelta

import pytest
from app_client import PASSWORD, Browser, token
from mail_sink import Sink
from sqlalchemy import select, update

from microblog.config import MailServer
from microblog.database import db, utc_now
from microblog.models import Token, User, account, barriers, markers, reports, tokens
from microblog.models.post import add_post
from microblog.models.reactions import bookmark, like, repost
from microblog.models.site import OPEN, Looks, set_looks, set_registration
from microblog.models.tokens import LIFETIME
from microblog.models.versions import edit_post
from microblog.web import browsers as browser_names
from microblog.web import letters, limits
from microblog.web.admin import views as admin_views

NEW = "another horse"


class Post:
    """The mails that an application has sent."""

    def __init__(self, app, sink):
        self.mailer = app.extensions["microblog.mailer"]
        self.sink = sink

    def arrived(self):
        """All of them, now that they are sent."""
        assert self.mailer.wait(60)
        found, self.sink.messages = self.sink.messages, []
        return found

    def link(self):
        """The path of the link in the one mail that has come."""
        (message,) = self.arrived()
        return re.search(r"https://example\.org(/\S+)", message.get_content())[1]


@pytest.fixture
def mailing(make_app, app):
    """An application that sends mail: it, and the mails."""
    with Sink() as sink:
        server = MailServer("127.0.0.1", sink.port)
        app = make_app(mail=server, host_names=("example.org",), https=True, admins=("root@example.org",))
        yield app, Post(app, sink)
        assert app.extensions["microblog.mailer"].wait(60)


@pytest.fixture
def post(mailing):
    return mailing[1]


@pytest.fixture
def visitor(mailing):
    return Browser(mailing[0], "https://example.org")


@pytest.fixture
def susan(visitor, make_user):
    """Somebody logged in, on the site that sends mail."""
    make_user("susan")
    visitor.login()
    return visitor


def ask(visitor, email="susan@example.org"):
    return visitor.submit("/reset", {"email": email})


def reset(visitor, path, password=NEW):
    return visitor.submit(path, {"password": password, "password2": password})


# A forgotten password


def test_reset(visitor, post, make_user):
    make_user("susan")
    other = Browser(visitor.client.application, "https://example.org")
    other.login()
    ask(visitor, " Susan@Example.ORG ")
    path = post.link()
    page = visitor.get(path)
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "easy to guess" in reset(visitor, path, "susan1234").text
    assert reset(visitor, path).headers["Location"] == "/login"
    assert not other.logged_in()
    visitor.login()
    assert not visitor.logged_in()
    visitor.login(password=NEW)
    assert visitor.logged_in()


def test_a_link_works_once(visitor, post, make_user):
    make_user("susan")
    ask(visitor)
    path = post.link()
    reset(visitor, path)
    response = visitor.get(path)
    assert response.headers["Location"] == "/reset"
    assert "no longer valid" in visitor.get("/reset").text


def test_a_link_works_once_for_two_at_once(visitor, post, make_user, monkeypatch):
    """Both find the token good, and one of them uses it first."""
    make_user("susan")
    ask(visitor)
    path = post.link()
    monkeypatch.setattr(tokens, "use", lambda _token: False)
    assert reset(visitor, path).headers["Location"] == "/reset"
    visitor.login(password=NEW)
    assert not visitor.logged_in()


def test_a_token_is_deleted_once(app, make_user):
    make_user("susan")
    with app.app_context():
        secret = tokens.issue(User.find("susan"), tokens.RESET)
        db.session.commit()
        _user, token = tokens.find(secret, tokens.RESET)
        assert tokens.use(token)
        assert not tokens.use(token)
        db.session.rollback()


def test_a_link_ends(visitor, post, make_user, monkeypatch):
    make_user("susan")
    ask(visitor)
    path = post.link()
    assert visitor.get(path).status_code == 200
    monkeypatch.setattr(tokens, "shared_now", lambda: utc_now() + LIFETIME)
    assert visitor.get(path).headers["Location"] == "/reset"


@pytest.mark.parametrize(
    "change", [{"password_hash": "x"}, {"email": "new@example.org"}, {"suspended_at": utc_now()}]
)
def test_a_link_ends_with_what_it_was_for(visitor, post, make_user, app, change):
    make_user("susan")
    ask(visitor)
    path = post.link()
    with app.app_context():
        user = User.find("susan")
        for name, value in change.items():
            setattr(user, name, value)
        db.session.commit()
    assert visitor.get(path).headers["Location"] == "/reset"


@pytest.mark.any_database
@pytest.mark.parametrize("token", ["x", "x" * 43, "%00", "%F0%9F%98%80", "..", "x" * 5000, "%ED%A0%80"])
def test_what_is_no_token(visitor, token):
    for path in ("/reset/", "/confirm/"):
        assert visitor.get(path + token).status_code in (302, 404)


def test_only_a_digest_is_kept(visitor, post, make_user, app):
    make_user("susan")
    ask(visitor)
    secret = post.link().rpartition("/")[2]
    # 256 bits.
    assert len(secret) == 43
    with app.app_context():
        (row,) = db.session.execute(select(Token)).scalars()
        assert secret not in repr(vars(row))
        assert len(row.digest) == 64


def test_a_token_is_for_one_purpose(susan, post):
    susan.submit("/settings/email", {"email": "new@example.org", "password": PASSWORD})
    path = post.link()
    assert susan.get(path.replace("/confirm/", "/reset/")).headers["Location"] == "/reset"


@pytest.mark.any_database
def test_nothing_tells_who_has_an_account(visitor, post, make_user, monkeypatch):
    """Neither the answer, nor what is done before it: somebody is looked up in the mailer's thread."""
    make_user("susan")
    threads = []

    def find(_name):
        threads.append(threading.current_thread().name)

    monkeypatch.setattr(User, "find", staticmethod(find))
    answers = [ask(visitor, f"{name}@example.org") for name in ("susan", "nobody")]
    post.arrived()
    assert threads == ["mail", "mail"]
    assert answers[0].headers["Location"] == answers[1].headers["Location"] == "/login"
    assert answers[0].data == answers[1].data


@pytest.mark.any_database
def test_asking_is_limited_whether_there_is_an_account_or_not(visitor, post, make_user):
    make_user("susan")
    most = limits.RESET_ACCOUNT.most
    for name in ("susan", "nobody"):
        codes = [ask(visitor, f"{name}@example.org").status_code for _ in range(most + 1)]
        assert codes == [302] * (most + 1)
    # More would be somebody else's mischief, and would keep nobody out: these links are good as yet.
    assert len(post.arrived()) == most
    rest = limits.RESET_ADDRESS.most - 2 * most - 2
    codes = [ask(visitor, f"user{number}@example.org").status_code for number in range(rest + 1)]
    assert codes == [302] * rest + [429]


def test_no_mail_to_nobody_or_the_suspended(visitor, post, make_user, app):
    make_user("susan")
    with app.app_context():
        User.find("susan").suspended_at = utc_now()
        db.session.commit()
    ask(visitor)
    ask(visitor, "nobody@example.org")
    assert post.arrived() == []


@pytest.mark.any_database
def test_the_mail_speaks_the_readers_language(visitor, post, make_user, app):
    make_user("susan")
    with app.app_context():
        User.find("susan").locale = "ru"
        db.session.commit()
    ask(visitor)
    (message,) = post.arrived()
    assert message.recipients == ["susan@example.org"]
    assert "susan" in message.get_content()


@pytest.mark.any_database
def test_a_host_header_gets_into_no_link(mailing, post, make_user):
    make_user("susan")
    app = mailing[0]
    visitor = Browser(app, "https://example.org")
    visitor.options["environ_base"] = {"HTTP_X_FORWARDED_HOST": "evil.example"}
    ask(visitor)
    assert "evil" not in str(post.arrived()[0])


@pytest.mark.any_database
def test_without_mail(client, make_user):
    make_user("susan")
    assert "/reset" not in client.get("/login").text
    assert "sends no mail" in client.get("/reset").text


# Settings


@pytest.mark.any_database
@pytest.mark.parametrize(
    "path", ["/settings", "/settings/email", "/settings/password", "/settings/delete", "/settings/export"]
)
def test_settings_are_for_those_logged_in(client, path):
    assert client.get(path).headers["Location"].startswith("/login?next=")


def test_profile_and_language(client, make_user, app):
    make_user("susan")
    client.login()
    client.submit("/settings", {"about": " One\r\nTwo\x00 😀 ", "locale": "es"})
    with app.app_context():
        user = User.find("susan")
        assert (user.about, user.locale) == ("One\nTwo  😀", "es")
    assert 'lang="es"' in client.get("/settings").text
    client.submit("/settings", {"about": "", "locale": ""})
    with app.app_context():
        assert User.find("susan").locale is None


@pytest.mark.any_database
@pytest.mark.parametrize("data", [{"about": "x" * 281}, {"locale": "xx"}, {"locale": "e" * 100}])
def test_profile_checks(client, make_user, app, data):
    make_user("susan")
    client.login()
    assert client.submit("/settings", {"about": "", "locale": "", **data}).status_code == 200
    with app.app_context():
        assert (User.find("susan").about, User.find("susan").locale) == ("", None)


@pytest.mark.parametrize(("about", "kept"), [("😀" * 280, "😀" * 280), ("e\u0301" * 280, "é" * 280)])
def test_about_counts_characters(client, make_user, app, about, kept):
    make_user("susan")
    client.login()
    assert client.submit("/settings", {"about": about, "locale": ""}).status_code == 302
    with app.app_context():
        assert User.find("susan").about == kept


def test_a_new_password_ends_other_sessions(mailing, susan, post):
    other = Browser(mailing[0], "https://example.org")
    other.login(remember_me="y")
    data = {"password": PASSWORD, "new": NEW, "new2": NEW}
    assert "not your password" in susan.submit("/settings/password", {**data, "password": NEW}).text
    assert (
        "easy to guess"
        in susan.submit("/settings/password", {**data, "new": "susan1234", "new2": "susan1234"}).text
    )
    assert "differ" in susan.submit("/settings/password", {**data, "new2": PASSWORD}).text
    assert susan.submit("/settings/password", data).status_code == 302
    assert susan.logged_in()
    assert not other.logged_in()
    (message,) = post.arrived()
    assert message.recipients == ["susan@example.org"]
    assert "password" in message.get_content()
    assert NEW not in str(message)


def test_a_new_address(susan, post, app):
    data = {"email": "New@example.org", "password": PASSWORD}
    assert "not your password" in susan.submit("/settings/email", {**data, "password": NEW}).text
    susan.submit("/settings/email", data)
    (message,) = post.arrived()
    assert message.recipients == ["new@example.org"]
    path = re.search(r"https://example\.org(/\S+)", message.get_content())[1]
    with app.app_context():
        assert User.find("new@example.org") is None
    page = susan.get(path)
    assert "new@example.org" in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    with app.app_context():
        assert User.find("new@example.org") is None
    susan.submit(path)
    with app.app_context():
        assert User.find("new@example.org").username == "susan"
    assert susan.logged_in()
    (note,) = post.arrived()
    assert note.recipients == ["susan@example.org"]
    assert susan.get(path).status_code == 302


def test_an_address_that_somebody_took_meanwhile(susan, post, make_user, app):
    susan.submit("/settings/email", {"email": "david@example.org", "password": PASSWORD})
    path = post.link()
    make_user("david")
    susan.submit(path)
    assert "has an account already" in susan.get("/settings").text
    with app.app_context():
        assert User.find("susan").email == "susan@example.org"


def test_an_address_of_somebody_else(susan, post, make_user):
    make_user("david")
    response = susan.submit("/settings/email", {"email": "DAVID@example.org", "password": PASSWORD})
    assert "has an account already" in response.text
    assert post.arrived() == []


def test_a_new_address_where_no_mail_is_sent(client, make_user, app):
    make_user("susan")
    client.login()
    client.submit("/settings/email", {"email": "new@example.org", "password": PASSWORD})
    with app.app_context():
        assert User.find("new@example.org").username == "susan"


def test_export(client, make_user):
    make_user("susan")
    make_user("david")
    client.login()
    for body in ("One", 'Two "quotes" 😀\n</script>'):
        client.write(body)
    client.submit("/user/david/follow", page="/")
    response = client.get("/settings/export")
    assert response.headers["Content-Disposition"] == 'attachment; filename="microblog-susan.json"'
    assert response.mimetype == "application/json"
    data = json.loads(response.data)
    assert data["account"]["email"] == "susan@example.org"
    assert [item["body"] for item in data["posts"]] == ['Two "quotes" 😀\n</script>', "One"]
    assert [item["username"] for item in data["following"]] == ["david"]
    assert data["followers"] == []
    assert "password" not in response.text


def test_delete(client, make_user, app):
    make_user("susan")
    client.login(remember_me="y")
    client.write("Hello")
    assert "not your password" in client.submit("/settings/delete", {"password": NEW}).text
    assert client.submit("/settings/delete", {"password": PASSWORD}).headers["Location"] == "/"
    assert not client.logged_in()
    client.register()
    assert client.logged_in()
    assert "Hello" not in client.get("/explore").text


# An address that was never proven


def register(visitor, name, email="victim@example.org"):
    return visitor.register(name, email=email)


def test_an_address_is_proven_by_its_mail(visitor, post, app):
    register(visitor, "susan")
    path = post.link()
    assert "not confirmed yet" in visitor.get("/settings").text
    # In whatever browser the mail is read.
    other = Browser(visitor.client.application, "https://example.org")
    other.submit(path)
    assert "not confirmed yet" not in visitor.get("/settings").text
    with app.app_context():
        assert User.find("victim@example.org").email_confirmed
    # Nobody is told of a change that was none.
    assert post.arrived() == []


def test_a_squatter_does_not_keep_the_owner_out(mailing, post, app):
    squatter, owner = (Browser(mailing[0], "https://example.org") for _ in range(2))
    register(squatter, "mallory")
    squatters = post.link()
    assert register(owner, "susan").status_code == 302
    path = post.link()
    assert owner.get(squatters).headers["Location"] == "/settings"
    owner.submit(path)
    with app.app_context():
        assert User.find("victim@example.org").username == "susan"
        assert User.find("mallory").email.endswith(".invalid")
    # Nothing is mailed where nobody can be.
    assert post.arrived() == []
    change = {"password": PASSWORD, "new": "another horse", "new2": "another horse"}
    assert squatter.submit("/settings/password", change).headers["Location"] == "/settings"
    squatter.submit("/settings/email/proof", page="/settings")
    assert post.arrived() == []
    # Now it is hers.
    third = Browser(mailing[0], "https://example.org")
    assert "has an account already" in register(third, "pavel").text
    answer = squatter.submit("/settings/email", {"email": "victim@example.org", "password": "another horse"})
    assert "has an account already" in answer.text


def test_a_squatter_does_not_keep_an_owner_from_moving_there(susan, post, mailing, app):
    register(Browser(mailing[0], "https://example.org"), "mallory", "new@example.org")
    post.arrived()
    susan.submit("/settings/email", {"email": "new@example.org", "password": PASSWORD})
    susan.submit(post.link())
    with app.app_context():
        assert User.find("new@example.org").username == "susan"


def test_a_reset_proves_an_address(visitor, post, app):
    register(visitor, "susan")
    post.arrived()
    ask(visitor, "victim@example.org")
    reset(visitor, post.link())
    with app.app_context():
        assert User.find("susan").email_confirmed


@pytest.mark.any_database
def test_the_link_is_sent_again(visitor, post):
    register(visitor, "susan")
    post.arrived()
    for _ in range(limits.PROOF.most + 1):
        assert visitor.submit("/settings/email/proof", page="/settings").headers["Location"] == "/settings"
    assert len(post.arrived()) == limits.PROOF.most - 1


def test_a_new_password_is_told(visitor, post, make_user):
    make_user("susan")
    ask(visitor)
    reset(visitor, post.link())
    (message,) = post.arrived()
    assert "the password of your account" in message.get_content()


@pytest.mark.any_database
@pytest.mark.parametrize(
    "what, told",
    [
        ("email", "the e-mail address of your account"),
        ("second", "the second factor of your account"),
        ("codes", "new recovery codes were made for your account"),
    ],
)
def test_other_changes_are_told(mailing, post, make_user, what, told):
    make_user("susan")
    with mailing[0].test_request_context(base_url="https://example.org"):
        letters.tell_change(User.find("susan"), "susan@example.org", what)
    (message,) = post.arrived()
    assert told in message.get_content()


@pytest.mark.any_database
@pytest.mark.parametrize("email", ["first..last@example.org", ".susan@example.org", "o'hara+x@example.org"])
def test_every_address_that_registers_gets_its_mail(visitor, post, email):
    register(visitor, "susan", email)
    visitor.submit(post.link())
    visitor.logout()
    ask(visitor, email)
    (message,) = post.arrived()
    assert message.recipients[0].replace('"', "") == email
    assert "/reset/" in message.get_content()


# Log-ins


@pytest.fixture
def browsers(app, make_user):
    """Three in which Susan is logged in."""
    make_user("susan")
    make_user("david")
    found = [Browser(app) for _ in range(3)]
    for browser in found:
        browser.login(remember_me="y")
    return found


def cookies(browser):
    return browser.get("/").request.headers["Cookie"]


def good(app, cookie):
    return 'action="/logout"' in app.test_client(use_cookies=False).get("/", headers={"Cookie": cookie}).text


def only(cookie, name):
    return next(part for part in cookie.split("; ") if part.startswith(f"{name}="))


def test_log_out_ends_copied_cookies(app, browsers):
    stolen, other = cookies(browsers[0]), cookies(browsers[1])
    assert all(good(app, only(stolen, name)) for name in ("session", "remember"))
    browsers[0].logout()
    assert not any(good(app, only(stolen, name)) for name in ("session", "remember"))
    assert good(app, other)


def test_remember_me_ends_on_the_server(app, browsers, monkeypatch):
    cookie = only(cookies(browsers[0]), "remember")
    for days, still in ((89, True), (91, False), (3 * 365, False)):
        later = utc_now() + timedelta(days=days)
        monkeypatch.setattr("microblog.models.reader.utc_now", lambda later=later: later)
        assert good(app, cookie) is still


def test_log_ins_are_listed_and_ended(app, browsers):
    first, second, third = browsers
    page = first.get("/settings/sessions")
    digests = re.findall(r'name="session" value="(\w+)"', page.text)
    assert len(digests) == 3
    assert page.text.count("This browser") == 1
    stranger = Browser(app)
    stranger.login("david")
    for digest in digests:
        stranger.submit("/settings/sessions/end", {"session": digest}, page="/")
    assert all(browser.logged_in() for browser in browsers)
    this = re.search(r'name="session" value="(\w+)"', page.text.split("This browser")[1])[1]
    other = next(digest for digest in digests if digest != this)
    first.submit("/settings/sessions/end", {"session": other}, page="/settings/sessions")
    assert sorted([second.logged_in(), third.logged_in()]) == [False, True]
    assert first.logged_in()
    first.submit("/settings/sessions/end", page="/settings/sessions")
    assert not any(browser.logged_in() for browser in browsers)


def test_a_password_from_the_command_line_ends_all(app, browsers):
    with app.app_context():
        User.find("susan").set_password("another horse")
        db.session.commit()
    assert not any(browser.logged_in() for browser in browsers)


@pytest.mark.parametrize(
    "agent, name",
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8.0", "curl/8.0"),
        ("", "Unknown browser"),
    ],
)
def test_browsers_have_names(agent, name):
    assert browser_names.name(agent) == name


def test_the_last_administrator_stays(app, client, make_user):
    for name in ("susan", "david"):
        make_user(name)
    with app.app_context():
        User.find("susan").is_admin = True
        db.session.commit()
    client.login()
    client.submit("/settings/delete", {"password": PASSWORD})
    assert "last administrator" in client.get("/settings").text
    with app.app_context():
        User.find("david").is_admin = True
        db.session.commit()
    client.submit("/settings/delete", {"password": PASSWORD})
    with app.app_context():
        assert User.find("susan") is None


@pytest.fixture
def two_admins(app, make_user):
    for name in ("susan", "david", "mary"):
        make_user(name)
    with app.app_context():
        for name in ("susan", "david"):
            User.find(name).is_admin = True
        db.session.commit()


def leave(app, how, name):
    """One administrator less, as a visitor or on the command line; whether it was refused is seen later."""
    if how == "page":
        browser = Browser(app)
        browser.login(name)
        # Their form is open: only the button is left.
        form = token(browser.get("/settings/delete"))
        return lambda: browser.post("/settings/delete", {"csrf_token": form, "password": PASSWORD}).close()
    yes = ["--yes"] if how == "delete" else []
    return lambda: app.test_cli_runner().invoke(args=["user", how, *yes, name])


@pytest.mark.parametrize(
    "ways", [("page", "page"), ("page", "demote"), ("suspend", "page"), ("delete", "page")]
)
def test_of_the_last_two_administrators_who_leave_at_once_one_stays(app, two_admins, monkeypatch, ways):
    """Both have seen the other one before either has gone."""
    both, met = threading.Barrier(2), set()
    lock = account.lock_accounts

    def together(*ids):
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            both.wait(60)
        return lock(*ids)

    acts = [leave(app, way, name) for way, name in zip(ways, ("susan", "david"), strict=True)]
    monkeypatch.setattr(account, "lock_accounts", together)
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(met) == 2
    with app.app_context():
        left = (
            db.session.execute(select(User).where(User.is_admin, User.suspended_at.is_(None))).scalars().all()
        )
        assert len(left) == 1


@pytest.mark.parametrize("command", ["demote", "suspend", "delete"])
def test_the_last_administrator_stays_for_the_command_line_too(app, two_admins, command):
    run = app.test_cli_runner().invoke
    arguments = ["user", command, *(["--yes"] if command == "delete" else [])]
    # Who cannot log in is nobody who could do it.
    assert run(args=["user", "suspend", "susan"]).exit_code == 0
    refused = run(args=[*arguments, "david"]).exception
    assert "david is the last administrator" in str(refused)
    assert "promote" in refused.hint
    # It is nobody else's concern.
    for name in ("mary", "susan"):
        assert run(args=[*arguments, name]).exit_code == 0
    with app.app_context():
        assert User.find("david").is_admin and User.find("david").is_active


def test_who_has_become_an_administrator_is_not_suspended(app, client, two_admins, monkeypatch):
    """After the page was shown that has the button, and after the view has looked for the account."""
    client.login("susan")
    find = admin_views._find

    def find_and_promote(name):
        user = find(name)
        assert not user.is_admin
        with db.engine.begin() as connection:
            connection.execute(update(User.__table__).where(User.name_key == name).values(is_admin=True))
        return user

    monkeypatch.setattr(admin_views, "_find", find_and_promote)
    client.submit("/admin/user/mary/suspend", page="/admin").close()
    with app.app_context():
        assert User.find("mary").is_active


def test_an_export_has_what_was_done_to_posts(app, client, make_user):
    make_user("david")
    client.register("susan")
    with app.app_context():
        susan, david = User.find("susan"), User.find("david")
        his = add_post(david, "his")
        own = add_post(susan, "first", "en", his)
        db.session.commit()
        edit_post(susan, own, "second")
        for act in (like, bookmark, repost):
            act(susan, his)
        db.session.commit()
        his_id, own_id = his.id, own.id
    export = json.loads(client.get("/settings/export").text)
    passed_on, answer = export["posts"]
    assert passed_on["repost_of"] == his_id
    assert (answer["id"], answer["body"], answer["reply_to"]) == (own_id, "second", his_id)
    assert [text["body"] for text in answer["earlier_texts"]] == ["first"]
    assert [[row["post"] for row in export[name]] for name in ("likes", "bookmarks")] == [[his_id]] * 2


def test_an_export_has_whom_one_keeps_away_and_what_one_reported(app, client, make_user):
    for name in ("david", "maria", "peter"):
        make_user(name)
    client.register("susan")
    with app.app_context():
        susan, david, maria, peter = map(User.find, ("susan", "david", "maria", "peter"))
        barriers.block(susan, david)
        barriers.mute(susan, maria)
        barriers.block(peter, susan)
        reports.report(susan, david, "rude", None)
        reports.report(maria, susan, "rude", None)
        markers.note(susan.id, "home", 7)
        db.session.commit()
    export = json.loads(client.get("/settings/export").text)
    kept = {row["username"]: (row["is_blocked"], row["is_muted"]) for row in export["blocked_and_muted"]}
    # Not who blocks or reports them: they are not told.
    assert kept == {"david": (True, False), "maria": (False, True)}
    assert [(row["about"], row["comment"]) for row in export["reports"]] == [("david", "rude")]
    assert export["markers"] == {"home": 7}


def test_an_export_has_log_ins_too(client, make_user):
    make_user("susan")
    client.login()
    export = json.loads(client.get("/settings/export").text)
    assert len(export["log_ins"]) == 1
    assert export["account"]["email_confirmed"] is True
    assert export["account"]["is_administrator"] is False
    assert export["links_mailed"] == []


# Accounts that wait to be let in


def test_who_is_let_in_is_told(mailing, visitor, post, make_user):
    app = mailing[0]
    with app.app_context():
        set_registration(OPEN, True)
        set_looks(Looks("Our Garden", ""))
        db.session.commit()
    app.extensions["microblog.looks"].forget()
    visitor.register("david")
    assert not visitor.logged_in()
    make_user("boss")
    with app.app_context():
        User.find("boss").is_admin = True
        db.session.commit()
    boss = Browser(app, "https://example.org")
    boss.login("boss")
    boss.submit("/admin/user/david/unsuspend", page="/admin")
    (letter,) = post.arrived()
    assert letter["To"] == "david@example.org"
    assert letter["Subject"] == "You may come in"
    assert letter["From"].startswith("Our Garden <")
    assert "the owner of Our Garden has let you in" in letter.get_content()
    assert "https://example.org/login" in letter.get_content()
