"""Pages of posts that are kept but for their parts: a part is this reader's, and of this moment."""

import re
import secrets
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from app_client import Browser, token

from microblog.database import db, utc_now
from microblog.models import Post, Reader, User, applications, feeds, sessions
from microblog.models.account import suspend
from microblog.models.feeds import home_page
from microblog.models.post import add_post
from microblog.models.site import set_public
from microblog.web import cards, extensions, feed_pages, jinja, last_seen
from microblog.web.people import views

ROOT = Path(__file__).resolve().parents[2]
PATHS = [
    "/",
    "/explore",
    "/user/susan",
    "/search?q=word",
    "/search?q=word+%3Cb%3E%00name%00",
    "/explore?before=MIDDLE",
]


@pytest.fixture
def browsers(app, make_user):
    """Susan, who wrote more than a page, and David, who reads in another language."""
    make_user("susan")
    make_user("david")
    with app.app_context():
        User.find("david").locale = "es"
        for number in range(25):
            add_post(User.find("susan"), f"a word, <b> and \u0001name\u0001 {number}")
        db.session.commit()
    found = {name: Browser(app) for name in ("susan", "david")}
    for name, browser in found.items():
        browser.login(name)
    return found


def change(app, name, **values):
    """As another process would."""
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.update(User.__table__).where(User.__table__.c.username == name).values(values))


@contextmanager
def asked(app):
    """What the database is asked meanwhile."""
    statements = []

    def note(*args):
        statements.append(args[2])

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


@pytest.mark.any_database
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["susan", "david"])
def test_a_kept_page_is_as_one_made_afresh(browsers, path, name, monkeypatch):
    if "MIDDLE" in path:
        numbers = re.findall(r"/post/(\d+)/delete", browsers["susan"].get("/explore").text)
        path = path.replace("MIDDLE", numbers[5])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _size: "once")
    # On a slow machine, a minute passes between two of these pages.
    now = utc_now()
    for module in (cards, jinja):
        monkeypatch.setattr(module, "utc_now", lambda: now)
    # The first page of a log-in makes its token, which the second then signs anew: maybe a second later.
    kept = [browsers[name].get(path).text for _ in range(3)][1:]
    # As where something is seldom so.
    monkeypatch.setattr(feed_pages, "any", lambda _values: True, raising=False)
    afresh = browsers[name].get(path).text
    assert f'<span class="top-name">{name}</span>' in afresh
    assert "\0" not in afresh
    assert kept == [afresh, afresh]


@pytest.mark.any_database
def test_a_page_is_made_once_for_all_readers(browsers, monkeypatch):
    browsers["susan"].get("/explore")
    monkeypatch.delattr(feed_pages, "render_template")
    assert browsers["susan"].get("/explore").status_code == 200


@pytest.mark.parametrize("path", PATHS[:4])
def test_to_read_needs_no_session_of_sqlalchemys(browsers, path, monkeypatch):
    browsers["susan"].get(path)
    monkeypatch.setattr(db.session.registry, "createfunc", None)
    assert browsers["susan"].get(path).status_code == 200


@pytest.mark.parametrize("path", PATHS[:2])
def test_how_often_a_post_was_liked_comes_with_it(app, browsers, path):
    """No statement more asks for that, nor for what the reader did."""
    browsers["david"].submit("/user/susan/follow", page="/user/susan")
    number = re.findall(r'id="post-(\d+)"', browsers["david"].get("/explore").text)[0]
    browsers["susan"].submit(f"/post/{number}/like", page="/")
    for name in ("david", "susan"):
        browsers[name].get(path)
        with asked(app) as statements:
            page = browsers[name].get(path).text
        assert '<span class="act-count">1</span>' in page
        assert page.count('aria-pressed="true"') == (name == "susan")
        assert ["group_concat" in text for text in statements if "post_counts" in text] == [True]


def of_pages(statements):
    """Those that ask who reads, and for parts of feeds: others are asked now and then."""
    return [text for text in statements if "sessions" in text or "group_concat" in text]


@pytest.mark.parametrize("path", PATHS)
def test_what_a_page_asks_first_is_asked_with_who_reads(app, browsers, path, monkeypatch):
    """And is what it would be by itself."""
    monkeypatch.setattr(feeds, "_FRESH", 1e6)
    david = browsers["david"]
    david.submit("/user/susan/follow", page="/user/susan")
    monkeypatch.setattr(feeds, "FEW_AUTHORS", 0)
    if "MIDDLE" in path:
        path = path.replace("MIDDLE", re.findall(r'id="post-(\d+)"', david.get("/explore").text)[4])
    david.get(path)
    with asked(app) as statements:
        together = david.get(path).text
    monkeypatch.setattr(extensions, "_first", lambda _number: None)
    with asked(app) as more:
        apart = david.get(path).text
    assert (len(of_pages(statements)), len(of_pages(more))) == (2 if "before" in path else 1, 2)
    shown = [re.findall(r'id="post-(\d+)"', page) for page in (together, apart)]
    assert shown[0] == shown[1] != []


def test_who_follows_few_is_asked_for_no_latest_posts(app, browsers, make_user, monkeypatch):
    """Once that is known; and they are, once they follow more."""
    make_user("mary")
    monkeypatch.setattr(feeds, "FEW_AUTHORS", 1)
    monkeypatch.setattr(feeds, "_FRESH", 1e6)
    david = browsers["david"]
    with app.app_context():
        feeds.Window(Post.id, feeds.WINDOW).end(feeds.TOP)
    firsts = []
    for name in ("susan", "mary"):
        david.submit(f"/user/{name}/follow", page=f"/user/{name}")
        for _ in range(2):
            with asked(app) as statements:
                assert david.get("/").text.count("<article") == feeds.Page.SIZE
            first, *more = of_pages(statements)
            assert "sessions" in first
            firsts.append(("group_concat" in first, len(more)))
    assert firsts == [(True, 1), (False, 1), (False, 1), (True, 0)]


def test_who_is_not_logged_in_is_told_nothing_that_was_asked_first(app, browsers):
    susan = browsers["susan"]
    susan.get("/explore")
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.delete(sessions.Session.__table__))
    with asked(app) as statements:
        assert susan.get("/explore").status_code == 302
    assert ["group_concat" in text for text in statements if "sessions" in text] == [True]


FIELDS = ("username", "locale", "is_admin", "is_moderator", "has_barriers", "last_seen", "following_count")


@pytest.mark.parametrize(
    "said",
    [
        (None, False, False, False, None, 0),
        ("es", True, False, False, utc_now(), 7),
        (None, False, True, False, None, 1),
        ("ru", False, False, True, None, 70_000),
    ],
)
def test_a_reader_is_what_the_account_is(context, said):
    """Of which one text is read."""
    user = User("susan", "susan@example.org", "password")
    for name, value in zip(FIELDS[1:], said, strict=True):
        setattr(user, name, value)
    db.session.add(user)
    db.session.flush()
    secret = sessions.start(user.id, "a browser", False)
    db.session.commit()
    reader = Reader.from_id(f"{user.id}.{secret}")
    assert (reader.id, reader.secret, reader.has_unread) == (user.id, secret, False)
    assert tuple(getattr(reader, name) for name in FIELDS) == ("susan", *said)
    program = applications.find(applications.issue(user.id, None, "read"))
    assert tuple(getattr(program.reader, name) for name in FIELDS) == ("susan", *said)


def test_who_has_a_session_reads_what_was_written_in_it(app, browsers):
    with app.app_context():
        user = User.find("susan")
        add_post(user, "not committed yet")
        db.session.flush()
        assert home_page(user).posts[0].body == "not committed yet"
        db.session.rollback()
        assert home_page(user).posts[0].body != "not committed yet"


@pytest.mark.any_database
def test_a_reader_cannot_be_changed_by_mistake(app, browsers):
    with browsers["susan"].client.session_transaction() as session, app.app_context():
        reader = Reader.from_id(session["_user_id"])
        assert reader.username == "susan"
        with pytest.raises(AttributeError):
            reader.locale = "ru"


def test_what_one_is_told_is_on_a_kept_page_once(browsers):
    susan = browsers["susan"]
    susan.get("/")
    susan.submit("/settings", {"about": "", "locale": ""})
    assert susan.get("/").text.count('class="notice"') == 1
    assert susan.get("/").text.count('class="notice"') == 0


def test_another_process_changes_who_the_reader_is(app, browsers):
    assert 'href="/user/susan"' in browsers["susan"].get("/").text
    change(app, "susan", username="Sue", name_key="sue")
    for is_admin in (False, True):
        change(app, "Sue", is_admin=is_admin)
        page = browsers["susan"].get("/").text
        assert ('<span class="top-name">Sue</span>' in page, 'href="/admin"' in page) == (True, is_admin)
        assert 'src="/avatar/Sue.svg" alt="" width="44"' in page.partition("<textarea")[0]
    change(app, "Sue", is_admin=False, locale="ru")
    page = browsers["susan"].get("/").text
    assert ("/admin" in page, "Обзор" in page) == (False, True)


def test_who_it_is_and_what_they_wrote_is_one_statement(app, browsers):
    david = browsers["david"]
    for path, more in (("/user/susan", 0), ("/user/SUSAN?before=junk", 1), ("/user/nobody", 0)):
        david.get(path)
        with asked(app) as statements:
            david.get(path)
        assert len([text for text in statements if "name_key" in text or "sessions" in text]) == 1 + more


def test_the_top_of_a_profile_is_kept_for_whom_it_is_the_same(app, browsers, make_user, monkeypatch):
    """And shows each reader what is theirs, with their own token; and counts as they are."""
    now = utc_now()
    for module in (cards, jinja, last_seen):
        monkeypatch.setattr(module, "utc_now", lambda: now)
    for name, does in (("mary", ""), ("fan", "follow"), ("foe", "block"), ("deaf", "mute")):
        make_user(name)
        browsers[name] = Browser(app)
        browsers[name].login(name)
        if does:
            browsers[name].submit(f"/user/susan/{does}", page="/user/susan")
    with app.app_context():
        set_public(True)
        db.session.commit()
    app.extensions["microblog.looks"].forget()
    browsers["visitor"] = Browser(app)

    def tops(name=None):
        found = {}
        for one in [name] if name else browsers:
            page = browsers[one].get("/user/susan").text
            found[one] = page.partition('<section class="profile"')[2].partition("</section>")[0]
            assert (found[one].count('name="csrf_token"') > 0) == (one not in ("susan", "visitor"))
            if one not in ("susan", "visitor"):
                assert set(re.findall(r'csrf_token" value="([^"]+)"', found[one])) == {
                    token(browsers[one].get("/"))
                }
        return found

    # The first page of a log-in makes its token, which the second signs anew; a visitor's begins no session.
    for browser in browsers.values():
        for _ in range(2):
            browser.get("/user/susan")
    kept = tops()
    assert "Set-Cookie" not in Browser(app).get("/user/susan").headers
    for name in browsers:
        views._kept_about.cache_clear()
        assert tops(name)[name] == kept[name] != ""
    views._kept_about.cache_clear()
    for _ in range(2):
        tops()
    assert views._kept_about.cache_info()[:2] == (len(browsers), len(browsers))
    change(app, "susan", followers_count=7, about="| a new | line\nand another")
    assert {"7" in top and "| a new | line\nand another" in top for top in tops().values()} == {True}


@pytest.mark.any_database
def test_a_card_leads_back_to_the_page_on_which_it_is(browsers):
    for there, back in (("/explore?before=7", ["/explore?before=7"]), ("//evil.example", []), ("", [])):
        card = browsers["david"].get("/user/susan/card", query_string={"next": there}).text
        assert 'action="/user/susan/follow"' in card
        assert re.findall(r'name="next" value="([^"]*)"', card) == back


def test_a_profile_is_of_now(app, browsers):
    browsers["david"].get("/user/susan")
    change(app, "susan", about="new words", followers_count=77)
    page = browsers["david"].get("/user/susan").text
    assert ("new words" in page, "77" in page) == (True, True)
    with app.app_context():
        suspend(User.find("susan"))
        db.session.commit()
    assert browsers["david"].get("/user/susan").status_code == 404
    assert "<article" not in browsers["david"].get("/explore").text


@pytest.mark.any_database
def test_each_session_has_its_own_token_and_it_stays_good(browsers):
    for browser in browsers.values():
        # The first page begins the session's; it is signed once after that.
        browser.get("/")
    tokens = {name: token(browsers[name].get("/")) for name in browsers}
    assert tokens["susan"] != tokens["david"]
    assert token(browsers["susan"].get("/explore")) == tokens["susan"]
    for name, other in (("susan", "david"), ("david", "susan")):
        sent = {"body": f"by {name}", "csrf_token": tokens[other]}
        browsers[name].client.post("/", data=sent)
        assert f"by {name}" not in browsers["susan"].get("/user/" + name).text.partition('class="feed"')[2]
        browsers[name].client.post("/", data={**sent, "csrf_token": tokens[name]})
        assert f"by {name}" in browsers["susan"].get("/user/" + name).text


# SQLAlchemy makes an alias's columns when they are first asked for; a thread that asks meanwhile finds none.
_COMPLETE = """
from sqlalchemy import Table
from sqlalchemy.sql.selectable import AliasedReturnsRows
from microblog.models import feeds
make = AliasedReturnsRows._populate_column_collection
def made(alias, *arguments, **options):
    assert not isinstance(alias.element, Table), f"{alias.name} was not complete"
    make(alias, *arguments, **options)
AliasedReturnsRows._populate_column_collection = made
feeds._everybody(False), feeds._nearest_authors(False)
feeds._recent(False), feeds._latest(False), feeds._older_authors(), feeds._rows()
"""


def test_the_first_readers_of_a_process_may_come_at_once():
    done = subprocess.run([sys.executable, "-c", _COMPLETE], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
