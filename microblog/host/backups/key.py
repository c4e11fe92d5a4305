"""A repository's key: 128 random bits as nine words that can be read aloud, written down and typed.

Each word is 16 bits by the scheme of proquints (https://arxiv.org/abs/0901.4016): consonant, vowel,
consonant, vowel, consonant. The ninth is a checksum, so that a slip of the pen is told from another
repository's key.
"""

import binascii
import re
import secrets

from microblog.errors import HostError

_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"
_WORD = re.compile(f"(?:[{_CONSONANTS}][{_VOWELS}]){{2}}[{_CONSONANTS}]")
WORDS = 9


def new() -> str:
    """A new key, in words with hyphens between, as restic is given it."""
    data = secrets.token_bytes(2 * (WORDS - 1))
    return "-".join(_word(number) for number in (*_numbers(data), binascii.crc_hqx(data, 0)))


def read(typed: str) -> str:
    """A key as somebody has typed it: in capitals, with spaces, in several lines.

    :raises HostError: it is none; which word is wrong, where that can be told.
    """
    words = re.findall(r"[^\s,;.-]+", typed.lower())
    for place, word in enumerate(words, 1):
        if not _WORD.fullmatch(word):
            raise HostError(
                f"the key's word {place} is no word of a key", f"it has {WORDS}, each like babad or lusib"
            )
    if len(words) != WORDS:
        raise HostError(
            f"a key has {WORDS} words, not {len(words)}", "type all that are on the recovery sheet"
        )
    data = b"".join(_number(word).to_bytes(2, "big") for word in words)
    if binascii.crc_hqx(data[:-2], 0) != int.from_bytes(data[-2:], "big"):
        raise HostError("one of the key's words is mistyped", "compare each with the recovery sheet")
    return "-".join(words)


def _numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def _word(number: int) -> str:
    return (
        _CONSONANTS[number >> 12]
        + _VOWELS[number >> 10 & 3]
        + _CONSONANTS[number >> 6 & 15]
        + _VOWELS[number >> 4 & 3]
        + _CONSONANTS[number & 15]
    )


def _number(word: str) -> int:
    return (
        _CONSONANTS.index(word[0]) << 12
        | _VOWELS.index(word[1]) << 10
        | _CONSONANTS.index(word[2]) << 6
        | _VOWELS.index(word[3]) << 4
        | _CONSONANTS.index(word[4])
    )
