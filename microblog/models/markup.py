"""What in a text is more than text: addresses, @names and #tags. One rule for what is stored and for what is
shown."""

import re
import unicodedata

from microblog.models.user import USERNAME_MAX, USERNAME_MIN
from microblog.models.words import LETTERS

# A tag's, in characters, as it is stored.
TAG_MAX = 64
# Characters that would turn text around: an address that reads otherwise than it goes is no link.
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Not by IGNORECASE: to Python, U+017F and U+212A are then an "s" and a "k".
FOUND = re.compile(
    rf"(?<![\w/])(?P<url>[hH][tT][tT][pP][sS]?://[^\s<>\"`{_BIDI}]+)"
    rf"|(?<![\w@./-])@(?P<name>[A-Za-z0-9_]{{{USERNAME_MIN},{USERNAME_MAX}}})(?![\w@-])"
    rf"|(?<![{LETTERS}#&./@-])#(?P<tag>[{LETTERS}]+)"
)


def names(text: str) -> list[str]:
    """Whom a text names, each once, in lower case; whether there is such an account or not."""
    if "@" not in text:
        return []
    return list(dict.fromkeys(match["name"].lower() for match in FOUND.finditer(text) if match["name"]))


def tags(text: str) -> list[str]:
    """A text's hashtags as they are found, each once."""
    if "#" not in text:
        return []
    found = (tag_key(match["tag"]) for match in FOUND.finditer(text) if match["tag"])
    return list(dict.fromkeys(filter(None, found)))


def tag_key(text: str) -> str:
    """A tag as it is found, whatever its case; empty, if it is none: one that is all digits is a number."""
    key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    is_tag = re.fullmatch(f"[{LETTERS}]{{1,{TAG_MAX}}}", key) and any(map(str.isalpha, key))
    return key if is_tag else ""
