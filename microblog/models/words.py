"""The words of a text, as they are stored and as they are asked for: one rule for both.

Case, accents and other ways to write a letter do not count. Scripts without spaces are cut into single
characters and pairs of neighbours. What comes out is of a few plain characters and at least three of
them, so that every search engine takes it for one word, and all of them find the same.
"""

import base64
import hashlib
import re
import unicodedata

# InnoDB's full-text index leaves out words of fewer letters (innodb_ft_min_token_size), and of more than 84.
_SHORTEST = 3
_LONGEST = 40

# What Unicode does not take apart.
_LETTERS = str.maketrans(
    {
        **{"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h", "ı": "i"},
        # Persian keyboards and Arabic ones differ.
        **{"ŧ": "t", "ŋ": "n", "ي": "ی", "ى": "ی", "ك": "ک"},
    }
)
# Accents, vowel points, and what has no width. The Cyrillic й is a letter, not an и with an accent.
_MARKS = re.compile(
    "(?<!и)[\u0300-\u036f]|(?<=и)[\u0300-\u0305\u0307-\u036f]"
    "|[\u00ad\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff]"
)
# Letters and digits, and the vowel signs of Indian and neighbouring scripts, which are neither to Python.
LETTERS = r"\w\u0900-\u0963\u0966-\u0df3\u0e31-\u0e4e\u0eb1-\u0ece\u0f18-\u0fbc\u102b-\u109d\u1780-\u17d3"
_WORD = re.compile(f"[{LETTERS}]+")
# Chinese, Japanese, Thai, Lao, Burmese and Khmer have no spaces; Korean writes particles onto its words.
_NO_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def stored(text: str) -> str:
    """A post's words for the index, each once, between spaces."""
    found: dict[str, None] = {}
    for word in _words(text):
        for part in (word, *(word.split("_") if "_" in word else ())):
            found.update(dict.fromkeys(_pieces(part)))
    return f" {' '.join(dict.fromkeys(map(_key, found)))} "


def asked(text: str) -> list[str]:
    """The words that a post must hold to be an answer, each once, as :func:`stored` writes them."""
    found: dict[str, None] = {}
    for word in _words(text):
        found.update(dict.fromkeys(_pairs(word)))
    return list(dict.fromkeys(map(_key, found)))


def _words(text: str) -> list[str]:
    if text.isascii():
        return _WORD.findall(text.lower())
    text = unicodedata.normalize("NFKD", text).casefold()
    text = _MARKS.sub("", unicodedata.normalize("NFKD", text)).translate(_LETTERS)
    return [piece for word in _WORD.findall(unicodedata.normalize("NFC", text)) for piece in _by_script(word)]


def _by_script(word: str) -> list[str]:
    """A word that goes from a script without spaces to another one, or back, is several."""
    if word.isascii():
        return [word]
    pieces, end = [], 0
    for match in _NO_SPACES.finditer(word):
        pieces += [word[end : match.start()], match[0]]
        end = match.end()
    return [piece for piece in (*pieces, word[end:]) if piece]


def _pairs(word: str) -> list[str]:
    """What is asked for: the word, or the pairs in it."""
    if len(word) < 2 or not _NO_SPACES.match(word):
        return [word]
    return [word[start : start + 2] for start in range(len(word) - 1)]


def _pieces(word: str) -> list[str]:
    """What is stored: the word, or the pairs in it and its characters."""
    return [*word, *_pairs(word)] if _NO_SPACES.match(word) else [word] if word else []


def _key(word: str) -> str:
    """A word as the index has it."""
    if word.isascii() and len(word) <= _LONGEST:
        return word.ljust(_SHORTEST, "_")
    # 40 bits: two words that meet would be one mistaken answer.
    digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=5).digest()
    return f"_{base64.b32encode(digest).decode().lower()}"
