"""Rules that hold for whatever anybody writes: tried on texts drawn from all that Unicode has."""

import html
import random
import re
import unicodedata

import pytest

from microblog.language import detect
from microblog.models import words
from microblog.models.post import POST_MAX, clean_body
from microblog.models.user import clean_about
from microblog.web.cursor import row_id
from microblog.web.text import linked

PIECES = [
    *("a", "Z", "9", " ", "\n", "\r\n", "_", "@", "#", "<", ">", "&", '"', "'", "\\", "\0", "\t", "%"),
    *("\x1b", "https://", "example.org", "/a?b=c&d", "@susan", "javascript:", "ß", "İ", "\u017f", "\u212a"),
    *("é", "e\u0301", "й", "и\u0306", "ё", "\u202e", "\u200b", "\u2028", "😀", "👩\u200d👩", "日本", "の"),
    *("한", "ไ", "ह\u093f", "ﬃ"),
]


def texts():
    dice = random.Random(20)  # noqa: S311

    def piece():
        if dice.random() < 0.8:
            return dice.choice(PIECES)
        return chr(dice.choice((dice.randrange(0x3000), 0x1F600)))

    def anything():
        # No surrogates: they are in no text that comes by UTF-8.
        return chr(dice.choice((dice.randrange(0xD800), dice.randrange(0xE000, 0x110000))))

    for _ in range(400):
        yield "".join(piece() for _ in range(dice.randrange(1, 40)))
    for _ in range(100):
        yield "".join(anything() for _ in range(20))


TEXTS = list(texts())


@pytest.mark.parametrize("rule", [clean_body, clean_about])
def test_what_is_clean_stays_as_it_is(rule):
    for text in TEXTS:
        once = rule(text)
        assert rule(once) == once
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", once)
        assert once == once.strip()


def test_a_post_is_counted_as_it_is_stored():
    for text in TEXTS:
        body = clean_body(text)
        assert body == unicodedata.normalize("NFC", body)
        assert len(body) <= len(unicodedata.normalize("NFC", text))
        # However its letters are composed.
        assert clean_body(unicodedata.normalize("NFD", body)) == body
        assert len(body[:POST_MAX]) <= POST_MAX


def test_links_change_no_text_and_let_no_markup_through():
    for text in TEXTS:
        made = str(linked(text))
        assert set(re.findall(r"<(/?\w+)", made)) <= {"a", "/a"}
        if "…" not in made and "://" not in text:
            assert html.unescape(re.sub(r"</?a\b[^>]*>", "", made)) == text
        for target in re.findall(r'href="([^"]*)"', made):
            assert re.match(r"(?i)https?://|/user/\w", html.unescape(target))


def test_a_text_is_found_by_its_own_words_however_they_are_written():
    for text in TEXTS:
        body = clean_body(text)
        index = set(words.stored(body).split())
        assert all(re.fullmatch(r"[a-z0-9_]{3,40}", word) for word in index)
        for asked in (body, unicodedata.normalize("NFD", body), body.swapcase().casefold()):
            assert set(words.asked(asked)) <= index, (body, asked)
        # The words of a whole post fit in any database's column.
        assert len(words.stored(body[:POST_MAX])) < 2**14


def test_a_language_is_known_or_not():
    for text in TEXTS[::5]:
        assert re.fullmatch(r"[a-z]{2}", detect(text) or "xx")


@pytest.mark.parametrize("number", [-1, 2**63, 10**30, None])
def test_what_is_no_place_in_a_list(number):
    assert row_id(number) is None


@pytest.mark.parametrize("number", [0, 1, 2**31, 2**63 - 1])
def test_what_is_a_place_in_a_list(number):
    assert row_id(number) == number
