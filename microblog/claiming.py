"""The one-time code by which the owner of a new site proves to be it.

Made from the site's secret key, so that it is kept nowhere else, and is the same on all machines of a site.
Who can read the key, or the environment file, can have it: root and the application. Used up, it is
worth nothing.
"""

import hashlib
import hmac
import re

LENGTH = 8
# No vowels: it spells no word, and no letter of it is taken for a number.
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
SETTING = "CLAIM_CODE"
# As that setting: the first visitor to register is like any other.
NONE = "none"


def code(key: str) -> str:
    """The code of a site. :param key: its secret key."""
    number = int.from_bytes(hmac.new(key.encode(), b"claim code", hashlib.sha256).digest(), "big")
    letters = ""
    for _ in range(LENGTH):
        number, place = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[place]
    return letters


def normal(text: str) -> str:
    """A code as it is kept, of one as people write it: in any case, with spaces or hyphens."""
    return re.sub(r"[\s_-]+", "", text).upper()


def is_code(text: str) -> bool:
    """Whether an owner may choose that (:func:`normal`): letters A to Z, and not all alike."""
    return re.fullmatch(rf"[A-Z]{{{LENGTH}}}", text) is not None and len(set(text)) >= LENGTH // 2


def shown(code: str) -> str:
    """A code for people to read."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def holds(code: str, text: str) -> bool:
    """Whether what somebody has written is the code."""
    return hmac.compare_digest(code.encode(), normal(text).encode("utf-8", "replace"))


def seal(key: str, code: str) -> str:
    """What a browser keeps that has proven to be the owner's: for this code, and not the code itself."""
    return hmac.new(key.encode(), b"claimed with: " + code.encode(), hashlib.sha256).hexdigest()[:32]
