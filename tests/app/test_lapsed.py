"""Buttons on pages that were open for longer than the session they are from."""

import html
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from app_client import PASSWORD, Browser, token
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import TooManyRequests

from microblog import units
from microblog.database import db, utc_now
from microblog.models import Post, PublicPost, User, preferences
from microblog.models.account import delete_account, suspend
from microblog.models.post import add_post
from microblog.web import limits
from microblog.web.posts import views

pytestmark = pytest.mark.any_database


@pytest.fixture
def susan(client, make_user):
    make_user("susan")
    make_user("david")
    client.login()
    return client


def draft(page):
    return re.search(r"<textarea[^>]*>\s*(.*?)</textarea>", page.text, re.DOTALL)[1]


@pytest.mark.parametrize("ending", ["the browser was closed", "logged out elsewhere"])
def test_a_written_post_is_not_lost(app, susan, ending):
    page = susan.get("/")
    if ending == "the browser was closed":
        susan.client = app.test_client()
    else:
        with app.app_context():
            User.find("susan").set_password("another horse")
            db.session.commit()
    answer = susan.post("/", {"csrf_token": token(page), "body": "almost lost"})
    assert answer.headers["Location"] == "/login?next=%2F" or answer.headers["Location"] == "/login?next=/"
    password = PASSWORD if "browser" in ending else "another horse"
    home = susan.login(password=password, path=answer.headers["Location"]).headers["Location"]
    assert draft(susan.get(home)) == "almost lost"
    # Not a second time, and not by itself.
    assert draft(susan.get("/")) == ""
    with app.app_context():
        assert db.session.query(Post).count() == 0


# Every form that takes a written text: its page, where it is sent, its field.
WRITTEN = {
    "posts.home": ("/", "/", "body"),
    "posts.reply": ("{mine}", "{mine}/reply", "body"),
    "posts.edit": ("{mine}/edit", "{mine}/edit", "body"),
    "people.report": ("/user/david/report", "/user/david/report", "comment"),
    "people.report_post": ("{theirs}/report", "{theirs}/report", "comment"),
    "account.settings": ("/settings", "/settings", "about"),
    "messages.conversation": ("/messages/david", "/messages/david", "body"),
}


def two_posts(app):
    """Of susan and of david, to whom she may write: where they are."""
    with app.app_context():
        susan, david = User.find("susan"), User.find("david")
        numbers = {name: add_post(user, "a post").id for name, user in (("mine", susan), ("theirs", david))}
        preferences.change(david.id, messages_from_all=True)
        db.session.commit()
    return {name: f"/post/{number}" for name, number in numbers.items()}


@pytest.mark.parametrize("endpoint", WRITTEN)
@pytest.mark.parametrize("again", [False, True])
def test_no_written_text_is_lost(app, susan, endpoint, again):
    """Neither to a log-in that is over, nor to a page from before the last one."""
    posts = two_posts(app)
    page, path, field = (text.format(**posts) for text in WRITTEN[endpoint])
    opened = susan.get(page)
    if again:
        susan.logout()
        susan.login()
    else:
        susan.client = app.test_client()
    text = "almost lost\n" + "ж😀" * 60
    form = {"csrf_token": token(opened), field: text}
    answer = susan.post(path, form, headers={"Referer": f"http://localhost{page}"})
    if not again:
        assert answer.headers["Location"].startswith("/login?next=")
        answer = susan.login(path=answer.headers["Location"])
    assert answer.headers["Location"] == page
    # No other page shows it, but for posts, which are written on several.
    if endpoint not in ("posts.home", "posts.reply"):
        for other in (told[0].format(**posts) for told in WRITTEN.values()):
            assert other == page or "almost lost" not in susan.get(other).text, other
    assert html.unescape(draft(susan.get(page))) == text
    assert "almost lost" not in susan.get(page).text


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("endpoint", ["posts.home", "messages.conversation"])
def test_nobody_else_is_shown_it(app, susan, make_user, endpoint, remembered):
    """Who logs in next in that browser; whoever wrote it is, though."""
    posts = two_posts(app)
    make_user("maria")
    page, path, name = (part.format(**posts) for part in WRITTEN[endpoint])
    if remembered:
        susan.logout()
        susan.login(remember_me="y")
    susan.get(page)
    if remembered:
        # The browser was closed: of its cookies, one is left.
        with susan.client.session_transaction(**susan.options) as session:
            session.clear()
    with app.app_context():
        User.find("susan").set_password("another horse")
        db.session.commit()
    susan.post(path, {"csrf_token": "x", name: "for nobody else"})
    with susan.client.session_transaction(**susan.options) as session:
        assert session["draft"] == "for nobody else"
        copied = dict(session)
    for who, password, seen in (("maria", PASSWORD, False), ("susan", "another horse", True)):
        kept = Browser(app)
        with kept.client.session_transaction(**kept.options) as session:
            session.update(copied)
        kept.login(who, password)
        with kept.client.session_transaction(**kept.options) as session:
            assert ("for nobody else" in str(dict(session))) == seen
        assert not seen or "for nobody else" in kept.get(page).text


def test_no_form_for_a_text_is_forgotten(app, susan):
    """Whatever page has a field for several lines."""
    posts = two_posts(app)
    kinds = {"username": "david", "number": posts["mine"].rpartition("/")[2]}
    found = set()
    for rule in app.url_map.iter_rules():
        if "GET" not in rule.methods or rule.rule.startswith("/api/") or not rule.arguments <= set(kinds):
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda name: kinds[name[1]], rule.rule)
        if rule.endpoint == "people.report_post":
            path = f"{posts['theirs']}/report"
        answer = susan.get(path)
        for action, field in areas(answer.text, path) if answer.mimetype == "text/html" else ():
            found.add((app.url_map.bind("localhost").match(action, method="POST")[0], field))
    assert found == {(endpoint, field) for endpoint, (_page, _path, field) in WRITTEN.items()}


def areas(text, path):
    """Where forms that have a field for several lines lead, and the field."""
    for form in re.findall(r"<form.*?</form>", text, re.DOTALL):
        for field in re.findall(r'<textarea[^>]*\sname="(\w+)"', form):
            action = re.match(r'<form[^>]*\saction="([^"]*)"', form)
            yield action[1] if action else path, field


def test_an_edit_that_comes_too_late_is_there_to_be_copied(app, susan):
    post = two_posts(app)["mine"]
    opened = susan.get(f"{post}/edit")
    susan.client = app.test_client()
    answer = susan.post(f"{post}/edit", {"csrf_token": token(opened), "body": "almost lost"})
    with app.app_context():
        db.session.execute(sa.update(Post.__table__).values(created_at=utc_now() - timedelta(hours=1)))
        db.session.commit()
    page = susan.login(path=answer.headers["Location"]).headers["Location"]
    assert draft(susan.get(page)) == "almost lost"
    assert susan.get(page).status_code == 302


@pytest.mark.parametrize("endpoint", [name for name in WRITTEN if name != "account.settings"])
def test_what_was_one_too_many_is_not_lost(app, susan, monkeypatch, endpoint):
    def full(*_keys):
        raise TooManyRequests(retry_after=60)

    monkeypatch.setattr(limits, "check", full)
    posts = two_posts(app)
    page, path, field = (text.format(**posts) for text in WRITTEN[endpoint])
    sent = {"csrf_token": token(susan.get(page)), field: "not now"}
    assert susan.post(path, sent).status_code == 429
    assert draft(susan.get(page)) == "not now"


def test_an_answer_that_was_too_long_at_first_stays_an_answer(app, susan):
    """The page that said so is at its form's own address, where there is nothing to be read."""
    susan.write("hello")
    page = re.search(r'href="(/post/\d+)"', susan.get("/").text)[1]
    sent = {"csrf_token": token(susan.get(page)), "once": "a", "body": "short enough"}
    susan.client = app.test_client()
    answer = susan.post(f"{page}/reply", sent, headers={"Referer": f"http://localhost{page}/reply"})
    back = susan.login(path=answer.headers["Location"]).headers["Location"]
    assert (back, draft(susan.get(back))) == (page, "short enough")


def test_what_was_saved_in_the_end_is_not_offered_again(app, susan, monkeypatch):
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(app, "testing", False)
    monkeypatch.setattr(units.time, "sleep", lambda _seconds: None)
    path = f"{two_posts(app)['mine']}/edit"
    form = {"csrf_token": token(susan.get(path)), "body": "at last"}

    def busy(*_arguments):
        raise OperationalError("UPDATE", {}, Fault(1213, "Deadlock"))

    with monkeypatch.context() as patch:
        patch.setattr(views, "edit_post", busy)
        assert susan.post(path, form).status_code == 503
    assert susan.post(path, form).status_code == 302
    assert susan.post(path, {**form, "body": "and later"}).status_code == 302
    assert draft(susan.get(path)) == "and later"


@pytest.mark.every_database
@pytest.mark.parametrize("change", [suspend, delete_account])
def test_who_is_gone_since_the_button_was_pressed_writes_nothing(app, susan, monkeypatch, change):
    """Between the log-in's check and the post, an administrator was faster, or another browser."""

    def slow(_text):
        # On another connection than the request's.
        with app.app_context():
            change(User.find("susan"))
            db.session.commit()

    monkeypatch.setattr(views, "detect", slow)
    answer = susan.write("too late")
    assert answer.headers["Location"] == "/"
    assert "too late" not in susan.get("/").text
    with app.app_context():
        assert db.session.query(Post).count() == db.session.query(PublicPost).count() == 0


def test_a_page_from_before_the_last_log_in(susan):
    page = susan.get("/")
    susan.logout()
    susan.login()
    answer = susan.post("/", {"csrf_token": token(page), "body": "almost lost"})
    assert answer.headers["Location"] == "/"
    home = susan.get("/")
    assert draft(home) == "almost lost"
    assert "open for too long" in home.text


@pytest.mark.parametrize(
    "button",
    ["/post/1/delete", "/user/david/follow", "/settings/delete", "/admin/user/david/suspend", "/logout"],
)
@pytest.mark.parametrize(
    "told, leads",
    [
        ({"data": {"next": "/explore?before=5"}}, "/explore?before=5"),
        ({"headers": {"Referer": "http://localhost/user/david?after=1"}}, "/user/david?after=1"),
        ({"headers": {"Referer": "https://evil.example/"}}, None),
        ({"headers": {"Referer": "http://["}}, None),
        ({"data": {"next": "//evil.example"}}, "/"),
        ({}, "/"),
    ],
)
def test_a_button_leads_back_to_its_page(app, button, told, leads):
    answer = Browser(app).post(button, **told)
    if leads is None:
        assert answer.status_code == 400
        assert "Set-Cookie" not in answer.headers
    else:
        target = answer.headers["Location"]
        assert target.startswith("/login?next=")
        assert Browser(app).get(target).status_code == 200
        from urllib.parse import parse_qs, urlsplit

        assert parse_qs(urlsplit(target).query)["next"] == [leads]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Referer": "https://evil.example/"},
    ],
)
def test_from_elsewhere_no_cookie_is_set(app, headers):
    """It would take the place of the visitor's own."""
    answer = Browser(app).post("/", {"body": "planted"}, headers=headers)
    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers


class Fault(Exception):
    pass


def failing(times, *arguments):
    """A way to write posts that fails so often."""
    left, right = [times], views.add_post_once

    def add(*values):
        post = right(*values)
        if left[0]:
            left[0] -= 1
            raise OperationalError("INSERT", {}, Fault(*arguments))
        return post

    return add


@pytest.mark.parametrize("number", [1213, 1020, 1205, 1047, 2003, 2013])
def test_what_the_database_undid_or_lost_is_done_again(app, susan, monkeypatch, number):
    monkeypatch.setattr(views, "add_post_once", failing(2, number, "Deadlock found"))
    assert susan.write("in the end").status_code == 302
    with app.app_context():
        assert [post.body for post in db.session.query(Post)] == ["in the end"]
        assert User.find("susan").posts_count == 1


@pytest.mark.parametrize(
    "arguments", [("database is locked",), (1205, "Lock wait timeout"), (1213, "Deadlock")]
)
def test_a_post_survives_a_busy_database(app, susan, monkeypatch, arguments):
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(app, "testing", False)
    monkeypatch.setattr(views, "add_post_once", failing(units.MEETINGS, *arguments))
    monkeypatch.setattr(units.time, "sleep", lambda _seconds: None)
    page = susan.get("/")
    once = re.search(r'name="once" value="([^"]+)"', page.text)[1]
    answer = susan.post("/", {"csrf_token": token(page), "once": once, "body": "not now"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    home = susan.get("/")
    assert draft(home) == "not now"
    # What was sent may be there all the same: it is sent as what it was.
    assert re.search(r'name="once" value="([^"]*)"', home.text)[1] == once


def test_what_is_kept_is_offered_with_its_own_token_until_it_is_saved(app, susan, monkeypatch):
    """Neither another page's mistake nor a second click makes two posts of it."""
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(app, "testing", False)
    monkeypatch.setattr(units.time, "sleep", lambda _seconds: None)
    page = susan.get("/")
    form = {"csrf_token": token(page), "once": "of this page", "body": "not now"}
    with monkeypatch.context() as patch:
        patch.setattr(views, "add_post_once", failing(units.MEETINGS, 1213, "Deadlock"))
        assert susan.post("/", form).status_code == 503
    assert (
        susan.post("/", {"csrf_token": token(page), "once": "another", "body": "x" * 141}).status_code == 200
    )
    home = susan.get("/")
    assert draft(home) == "not now"
    assert 'name="once" value="of this page"' in home.text
    with monkeypatch.context() as patch:
        patch.setattr(views, "add_post_once", failing(units.MEETINGS, 1213, "Deadlock"))
        assert susan.post("/", form).status_code == 503
    # Back, and once more.
    assert susan.post("/", form).status_code == 302
    home = susan.get("/")
    assert draft(home) == ""
    assert 'name="once" value="of this page"' not in home.text


@pytest.mark.every_database
def test_who_deletes_a_post_and_goes_back_may_write_it_again(app, susan):
    """A click more or less is one post, as long as that is there; what is written later is not swallowed."""
    page = susan.get("/")
    form = {"csrf_token": token(page), "once": "of this page", "body": "again"}
    for _ in range(2):
        for _ in range(2):
            assert susan.post("/", form).status_code == 302
        with app.app_context():
            (post,) = db.session.query(Post)
            number = post.id
        susan.submit(f"/post/{number}/delete", page="/")
    with app.app_context():
        assert db.session.query(Post).count() == 0
