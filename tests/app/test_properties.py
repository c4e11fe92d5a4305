"""Rules that hold for whatever anybody writes: tried on texts drawn from all that Unicode has."""

import re
import unicodedata
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree

import pytest
from app_client import PASSWORD, Browser
from drawn import LINES, TEXTS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.test import create_environ, run_wsgi_app

from microblog import i18n
from microblog.config import HOST_NAME, MailServer
from microblog.database import db
from microblog.detection import detect
from microblog.mailer import Mailer
from microblog.models import Reader, User, passwords, tokens, words
from microblog.models.markup import tag_key
from microblog.models.post import ID_MAX, POST_MAX, Post, add_post, clean_body
from microblog.models.search import search_page
from microblog.models.user import EMAIL, USERNAME, clean_about
from microblog.web.cursor import cursor, row_id
from microblog.web.hosts import bare
from microblog.web.people import avatars
from microblog.web.people.views import is_name
from microblog.web.security import safe_path
from microblog.web.text import linked

ID_TEXTS = st.one_of(st.integers().map(str), st.integers(ID_MAX - 2, ID_MAX + 2).map(str), TEXTS)


@pytest.mark.parametrize("rule", [clean_body, clean_about])
@given(text=TEXTS)
def test_what_is_clean_stays_as_it_is(rule, text):
    once = rule(text)
    assert rule(once) == once
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", once)
    assert once == once.strip()


@given(text=TEXTS)
def test_cleaning_takes_nothing_that_is_to_be_seen(text):
    """Letters, digits, signs: all of them and in their order, as the one character that each is."""

    def seen(text):
        return [
            letter
            for letter in unicodedata.normalize("NFC", text)
            if unicodedata.category(letter)[0] not in "CZ"
        ]

    body = clean_body(text)
    assert body == "" or seen(body) == seen(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text))


@given(text=TEXTS)
def test_a_post_is_counted_as_it_is_stored(text):
    body = clean_body(text)
    assert body == unicodedata.normalize("NFC", body)
    assert len(body) <= len(unicodedata.normalize("NFC", text))
    # However its letters are composed.
    assert clean_body(unicodedata.normalize("NFD", body)) == body


class Parser(HTMLParser):
    """What a browser makes of it: the text that was written, and links alone."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.written = ""
        self.link = None

    def handle_starttag(self, tag, attributes):
        assert tag == "a"
        assert self.link is None
        self.link = dict(attributes)
        target = self.link["href"]
        if target.startswith("/"):
            assert set(self.link) == {"href"}
            kind, _, name = target[1:].partition("/")
            assert is_name(name) if kind == "user" else (kind == "tag" and tag_key(unquote(name)))
        else:
            assert set(self.link) == {"href", "rel"}
            parts = urlsplit(target)
            assert parts.scheme in ("http", "https")
            assert "@" not in parts.netloc

    def handle_endtag(self, tag):
        assert tag == "a"
        self.link = None

    def handle_data(self, data):
        # A long address is shown cut short.
        if self.link is None or self.link["href"].startswith(("/user/", "/tag/")):
            self.written += data
            return
        target = self.link["href"]
        self.written += target
        assert target.partition("://")[2].startswith(data.rstrip("…"))


@given(text=TEXTS)
@example("https://example.org/" + "x" * 60)
@example("https://example.org///")
def test_links_change_no_text_and_let_no_markup_through(text):
    # As both, what is cleaned before, is stored.
    text = clean_about(text)
    reader = Parser()
    reader.feed(str(linked(text)))
    reader.close()
    assert reader.written == text


@given(text=TEXTS)
def test_a_text_is_found_by_its_own_words_however_they_are_written(text):
    body = clean_body(text)
    index = set(words.stored(body).split())
    assert all(re.fullmatch(r"[a-z0-9_]{3,40}", word) for word in index)
    for asked in (body, unicodedata.normalize("NFD", body), body.swapcase().casefold()):
        assert set(words.asked(asked)) <= index, (body, asked)
    # The words of a whole post fit in any database's column.
    assert len(words.stored(body[:POST_MAX])) < 2**14


@settings(max_examples=25)
@given(
    texts=st.lists(TEXTS.map(lambda text: clean_body(text)[:POST_MAX]).filter(bool), min_size=1, max_size=4)
)
def test_every_post_is_found_by_what_it_says_and_read_as_it_was_written(context, texts):
    db.session.rollback()
    db.session.query(User).delete()
    author = User("susan", "susan@example.org", PASSWORD)
    db.session.add(author)
    db.session.flush()
    ids = [add_post(author, text).id for text in texts]
    db.session.commit()
    db.session.expire_all()
    assert [db.session.get(Post, number).body for number in ids] == texts
    for number, text in zip(ids, texts, strict=True):
        found = [post.id for post in search_page(text).posts]
        assert (number in found) == bool(words.asked(text))


@settings(max_examples=50)
@given(text=TEXTS, before=ID_TEXTS, after=ID_TEXTS)
def test_any_question_has_an_answer(context, text, before, after):
    query = {"before": before, "after": after}
    with context.test_request_context("/search", query_string=query):
        place = cursor()
    assert all(number is None or 0 <= number <= ID_MAX for number in place.values())
    assert search_page(clean_body(text)[:POST_MAX], **place).posts == []


@given(text=TEXTS)
def test_a_language_is_known_or_not(text):
    assert re.fullmatch(r"[a-z]{2}", detect(text) or "xx")


@pytest.mark.any_database
@given(
    wanted=st.one_of(
        TEXTS, st.lists(st.sampled_from(["es", "ru-RU", "*", ";q=", "0.5", ",", "x"])).map("".join)
    )
)
def test_every_browser_is_spoken_to_in_a_language_that_there_is(context, wanted):
    header = wanted.encode().decode("latin-1").replace("\r", "").replace("\n", "")
    with context.test_request_context(headers={"Accept-Language": header}):
        assert i18n.preferred() in i18n.LANGUAGES


@pytest.mark.parametrize("number", [-1, 2**63, 10**30, None])
def test_what_is_no_place_in_a_list(number):
    assert row_id(number) is None


@pytest.mark.parametrize("number", [0, 1, 2**31, 2**63 - 1])
def test_what_is_a_place_in_a_list(number):
    assert row_id(number) == number


NAMES = st.one_of(
    TEXTS,
    st.sampled_from(
        ["susan", "SUSAN", "Susan ", "\u017fusan", "susan@example.org", " susan", "susan\n", "süsan"]
    ),
    st.text("suanSUAN \u017f", min_size=4, max_size=6),
)


@given(name=NAMES)
@example("susan ")
@example("susan@example.org  ")
def test_a_name_is_found_in_any_case_and_no_other(app, make_user, name):
    with app.app_context():
        if User.find("susan") is None:
            make_user()
        found = User.find(name)
    assert (found is not None) == (name.lower() in ("susan", "susan@example.org"))
    # And what is a name makes a picture.
    if is_name(name):
        assert re.fullmatch("[A-Za-z0-9_]{1,32}", name)
        ElementTree.fromstring(avatars.draw(name))


@settings(max_examples=40)
@given(name=NAMES)
def test_who_registers_has_a_name_that_can_be_linked_to(app, name):
    with app.app_context():
        db.session.query(User).delete()
        db.session.commit()
    browser = Browser(app)
    browser.register(name, email="somebody@example.org")
    with app.app_context():
        user = db.session.query(User).one_or_none()
    if user is not None:
        assert user.username == name.strip()
        assert USERNAME.fullmatch(user.username)
        assert 3 <= len(user.username) <= 32
        assert f'href="/user/{user.username}"' in linked(f"(@{user.username})")


@given(text=TEXTS)
def test_what_is_no_log_in_and_no_token_is_nobodys(context, text):
    assert Reader.from_id(text) is None
    assert tokens.find(text, tokens.RESET) is None


@given(text=TEXTS, other=TEXTS)
def test_a_password_is_itself_alone(text, other):
    hashed = passwords.hash_password(text)
    assert passwords.check_password(hashed, text)
    # HMAC fills a short key with NULs (RFC 2104, 2); nobody types one.
    assert passwords.check_password(hashed, other) == (text.rstrip("\0") == other.rstrip("\0"))
    assert not passwords.check_password(None, text)


@given(text=TEXTS, about=TEXTS)
def test_case_and_trimmings_make_no_password_harder(text, about):
    easy = passwords.easy_to_guess(text, about)
    assert easy == passwords.easy_to_guess(text.casefold(), about)
    if len(text.casefold()) >= 3:
        assert passwords.easy_to_guess(text, text)
    assert passwords.easy_to_guess(f"password{text[:0]}1", about)


@given(
    target=st.lists(
        st.sampled_from(["/", "//", "\\", ":", "http:", "@", "evil.example", "?", "\t", "."])
    ).map("".join)
)
@example("/\t/evil.example")
@example("/%5cevil.example")
def test_no_redirect_leaves_the_site(target):
    path = safe_path(target)
    assert path is None or path == target
    if path is not None:
        # As browsers read it: a \ is a /, tabs and newlines are nothing (WHATWG URL, 4.4).
        read = re.sub(r"[\t\r\n]", "", path).replace("\\", "/")
        assert urlsplit(urljoin("https://here.example/login", read)).netloc == "here.example"


@given(host=st.one_of(TEXTS, st.from_regex(HOST_NAME, fullmatch=True)))
def test_a_host_is_a_name_or_nothing(host):
    name = bare(host)
    assert name == "" or re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:.]+", name)
    if not host.startswith("["):
        assert bare(name) == name


@pytest.mark.any_database
@settings(max_examples=40)
@given(
    value=LINES, header=st.sampled_from(["Host", "Referer", "Origin", "Cookie", "Sec-Fetch-Site", "Accept"])
)
@example("http://[", "Referer")
@example("http://[", "Origin")
@example("http://[::1", "Origin")
def test_no_header_is_an_error_of_the_sites(app, value, header):
    for method, path in (("GET", "/login"), ("POST", "/"), ("POST", "/logout")):
        # As nginx hands it on: the test client would make a URL of the Host.
        environ = create_environ(path, method=method, data={"body": "x"} if method == "POST" else None)
        environ[f"HTTP_{header.upper().replace('-', '_')}"] = value.encode().decode("latin-1")
        _, status, _ = run_wsgi_app(app, environ)
        assert not status.startswith("5")


ADDRESSES = st.from_regex(EMAIL, fullmatch=True).filter(lambda address: len(address) <= 254)


@given(to=ADDRESSES, name=LINES.filter(lambda name: len(name) <= 40 and name.isprintable()), text=TEXTS)
def test_every_address_that_may_register_can_be_written_to(to, name, text):
    mailer = Mailer(MailServer("localhost"), "noreply@example.org", name or "Microblog")
    message = mailer.message(to, "Your account was changed", text)
    sent = message_from_bytes(message.as_bytes(), policy=default)
    assert sent["To"].addresses[0].addr_spec.replace('"', "") == to
    assert sent["From"].addresses[0].addr_spec == "noreply@example.org"
    assert not sent.defects
