"""Posts as HTML that is kept: what is one reader's must never be another's."""

import re

import pytest
from app_client import Browser, token

from microblog.database import db, utc_now
from microblog.models import User
from microblog.models.post import add_post
from microblog.web import cards

pytestmark = pytest.mark.any_database


@pytest.fixture
def people(app, make_app, make_user):
    """Susan, who wrote a post in Spanish, David, and an administrator."""
    for name in ("susan", "david", "maria"):
        make_user(name)
    with app.app_context():
        User.find("maria").is_admin = True
        User.find("david").locale = "ru"
        add_post(User.find("susan"), "<b>hola</b> @david", "es")
        db.session.commit()
    app = make_app(translator_key="key")
    browsers = {name: Browser(app) for name in ("susan", "david", "maria")}
    for name, browser in browsers.items():
        browser.login(name)
    return browsers


def article(page):
    return re.search(r"<article.*?</article>", page.text, re.DOTALL)[0]


def test_each_reader_has_their_own(people):
    for _ in range(2):
        pages = {name: people[name].get("/explore?x=%22%3E%3Cb%3E") for name in people}
        shown = {name: article(page) for name, page in pages.items()}
        assert "/delete" not in shown["david"]
        assert re.search(r'action="/post/\d+/delete"', shown["susan"])
        assert re.search(r'action="/admin/post/\d+/delete"', shown["maria"])
        assert ("Перевести" in shown["david"], "Translate" in shown["susan"]) == (True, True)
        for name, page in pages.items():
            assert "&lt;b&gt;hola&lt;/b&gt;" in shown[name]
            assert "\0" not in page.text
            assert "><b>" not in page.text
            tokens = set(re.findall(r'name="csrf_token" value="([^"]+)"', shown[name]))
            assert tokens == {token(page)}
            assert 'name="next" value="/explore?x=%22%3E%3Cb%3E"' in shown[name]


def test_a_card_is_made_once(people):
    people["susan"].get("/explore")
    known = cards._card.cache_info()
    for name in ("susan", "susan"):
        people[name].get("/explore")
    assert cards._card.cache_info().misses == known.misses
    assert cards._card.cache_info().maxsize == cards.KEPT


def test_a_count_makes_no_card_anew(people, monkeypatch):
    # On a slow machine, a minute passes meanwhile.
    now = utc_now()
    monkeypatch.setattr(cards, "utc_now", lambda: now)
    for name in ("susan", "david"):
        page = people[name].get("/explore").text
    number = re.search(r'id="post-(\d+)"', page)[1]
    made = cards._card.cache_info().misses
    people["susan"].submit(f"/post/{number}/like", page="/explore")
    people["susan"].get("/explore")
    assert '<span class="act-count">1</span>' in article(people["david"].get("/explore"))
    assert cards._card.cache_info().misses == made


def test_a_card_is_short(people):
    """A page has twenty of them: their signs, which are not of ASCII, would make all of it twice as large in
    memory, and slower to send."""
    shown = article(people["maria"].get("/explore"))
    assert shown.isascii()
    assert len(shown) < 2_200
    assert "\n " not in shown


def test_what_a_post_says_is_not_changed_with_its_page(app, people):
    with app.app_context():
        add_post(User.find("susan"), "a\n    b\n\n  <c>")
        db.session.commit()
    assert "a\n    b\n\n  &lt;c&gt;" in article(people["david"].get("/explore"))


def test_back_from_a_translation_leads_to_its_page(people):
    page = article(people["david"].get("/user/susan"))
    form = re.search(r'<form class="translate".*?</form>', page, re.DOTALL)[0]
    assert re.search(r'name="next" value="/user/susan\??"', form)
