"""Passwords: hashed, and not the ones that everybody tries first."""

import hashlib
import hmac
import re
from functools import cache
from pathlib import Path

from werkzeug.security import check_password_hash, generate_password_hash

PASSWORD_MIN = 8
PASSWORD_MAX = 128

# The one method of all supported Werkzeug versions: scrypt came with 2.3, and a database must
# open on an older system than the one it was written on. The count is OWASP's figure for
# PBKDF2-HMAC-SHA256: some 0.2 seconds on a server, a second or two on a Raspberry Pi 3.
METHOD = "pbkdf2:sha256:600000"

# Words that, with a few digits or signs around them, are most of what lists of stolen
# passwords begin with.
_COMMON = Path(__file__).with_name("common_passwords.txt")
# What people write for a letter, and what they put before and behind a word.
_SIGNS = str.maketrans("@$!+|", "asitl")
_DIGITS = str.maketrans("01345789", "oieastbg")
_TRIMMINGS = re.compile(r"^[\W\d_]{0,4}(.*?)[\W\d_]{0,6}$", re.DOTALL)
_ROWS = (
    *("abcdefghijklmnopqrstuvwxyz", "01234567890123456789"),
    *("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop", "йцукенгшщзхъ", "фывапролджэ"),
    *("1qaz2wsx3edc4rfv5tgb6yhn", "1q2w3e4r5t6y7u8i9o0p", "qazwsxedcrfvtgbyhnujm", "q1w2e3r4t5y6u7i8o9p0"),
)


def hash_password(password: str) -> str:
    return generate_password_hash(password, method=METHOD)


def check_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the one that was hashed. Without a hash: false, after the same time."""
    if password_hash is None:
        check_password_hash(f"{METHOD}$nobody$", password)
        return False
    if password_hash.startswith("scrypt:"):
        return _check_scrypt(password_hash, password)
    return check_password_hash(password_hash, password)


def _check_scrypt(password_hash: str, password: str) -> bool:
    """Of an account that was taken over: ``scrypt:N:R:P$SALT$HEX``, which only Werkzeug from 2.3 on knows."""
    try:
        method, salt, digest = password_hash.split("$", 2)
        n, r, p = (int(number) for number in method.split(":")[1:])
        key = hashlib.scrypt(
            password.encode(), salt=salt.encode(), n=n, r=r, p=p, maxmem=132 * n * r * p, dklen=64
        )
    except (ValueError, MemoryError):
        return False
    return hmac.compare_digest(key.hex(), digest)


def easy_to_guess(password: str, *about: str) -> bool:
    """Whether it is among the first that somebody would try.

    :param about: what is known of its owner: the username, the e-mail address, the site's name.
    """
    text = password.casefold()
    known = {part for item in about for part in _forms(item.casefold().partition("@")[0])}
    known |= {item.casefold() for item in about}
    return (
        len(set(text)) <= 2
        # Dates, telephone numbers.
        or (text.isdigit() and len(text) <= 10)
        or any(
            form in _common() or (len(form) >= 3 and form in known) or _in_a_row(form)
            for form in _forms(text) | _forms(_unit(text))
        )
    )


def _forms(text: str) -> set[str]:
    """The password, and the word that may be in it."""
    words = {text, text.translate(_SIGNS)}
    words |= {_TRIMMINGS.sub(r"\1", word) for word in words}
    words |= {word.translate(_SIGNS).translate(_DIGITS) for word in words}
    # "pass word", "pass-word"
    return words | {_solid(word) for word in words}


def _solid(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


def _unit(text: str) -> str:
    """What the text is a repetition of; itself if of nothing."""
    return text[: (text + text).find(text, 1)]


def _in_a_row(text: str) -> bool:
    """Whether the text is one piece of a row of keys, from either end, or that over and over."""
    unit = _unit(text)
    return len(text) >= 5 and len(unit) >= 3 and any(unit in row or unit[::-1] in row for row in _ROWS)


@cache
def _common() -> frozenset[str]:
    lines = _COMMON.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())
