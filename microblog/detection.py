"""Which language a text is in, where python3-langdetect is installed.

https://github.com/Mimino666/langdetect
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

# Of langdetect's 55 languages, the most written with Latin and Cyrillic letters: these take
# 7 MB, which workers share, and 0.04 s of their start; all of them 63 MB and 0.6 s.
LANGUAGES = ("bg", "de", "en", "es", "fr", "it", "mk", "nl", "pl", "pt", "ru", "sv", "tr", "uk")
# Other scripts tell by themselves.
SCRIPTS = {
    "zh": re.compile("[\u3040-\u30ff\u4e00-\u9fff]"),
    "ko": re.compile("[\uac00-\ud7af]"),
    "ar": re.compile("[\u0620-\u064a\u0671-\u06d3]"),
    "el": re.compile("[\u0391-\u03c9]"),
    "he": re.compile("[\u05d0-\u05ea]"),
    "hi": re.compile("[\u0905-\u0939]"),
    "th": re.compile("[\u0e01-\u0e2e]"),
}
# Neighbours that share a script, or are so like the one that is known that they pass for it, by letters
# and words of their own; None: not one that we could name.
NEIGHBOURS: dict[str, list[tuple[str | None, re.Pattern[str]]]] = {
    # Only Japanese has syllables beside Chinese characters; without any, _of_characters decides.
    "zh": [("ja", re.compile("[\u3040-\u30ff]"))],
    "ar": [("ur", re.compile("[ٹڈڑںےۓھہ]")), ("fa", re.compile("[پچژگیک]"))],
    "ru": [("sr", re.compile("[ђћ]", re.IGNORECASE)), (None, re.compile("[јљњџѓќѕўіїєґ]", re.IGNORECASE))],
    "bg": [("sr", re.compile("[ђћ]", re.IGNORECASE)), (None, re.compile("[јљњџѓќѕыэё]", re.IGNORECASE))],
    "mk": [("sr", re.compile(r"[ђћ]|\b(?:је|су|није|сам|смо)\b", re.IGNORECASE))],
    "uk": [(None, re.compile("[ўыэё]", re.IGNORECASE))],
}
_GALICIAN = re.compile(
    r"\b(?:unha|unhas|nunha|coa|coas|moi|máis|xa|xente|hoxe|aínda|tamén|grazas|teño)\b", re.IGNORECASE
)
NEIGHBOURS["es"] = NEIGHBOURS["pt"] = [(None, _GALICIAN)]
# With less to go by, or less sure than this, it would be a guess.
LETTERS_MIN = 8
SURE = 0.95
MOSTLY = 0.7

_CYRILLIC = {"bg", "mk", "ru", "uk"}
# One sign at a time: several at once would take the @ from a name.
_NO_WORDS = re.compile(r"(?:https?://\S+|[@#]\w+|[\W\d_])+")


def detect(text: str) -> str | None:
    """The code of the language a text is in, such as "es"; None if that is not sure."""
    words = _NO_WORDS.sub(" ", text).strip()
    letters = len(words.replace(" ", ""))
    for code, script in SCRIPTS.items():
        if len(script.findall(words)) * 2 > letters:
            return _neighbour(code, words)
    if letters < LETTERS_MIN or (factory := _factory()) is None:
        return None
    from langdetect import LangDetectException

    detector = factory.create()
    detector.append(words)
    try:
        found = detector.get_probabilities()
    except LangDetectException:
        return None
    if not found:
        return None
    best = found[0].lang
    # Cyrillic languages divide a text among them more than others do.
    likely = sum(one.prob for one in found if one.lang == best or {best, one.lang} <= _CYRILLIC)
    return _neighbour(best, words) if likely >= SURE and found[0].prob >= MOSTLY else None


def load() -> None:
    """Make ready what the first text would else wait for: processes that are forked later share it."""
    _factory()


def _neighbour(code: str, words: str) -> str | None:
    """The language that only seems to be this one, if it is not."""
    for other, marks in NEIGHBOURS.get(code, ()):
        if marks.search(words):
            return other
    return _of_characters("".join(SCRIPTS["zh"].findall(words))) if code == "zh" else code


def _of_characters(text: str) -> str | None:
    """Chinese or Japanese, by which country's characters it can be written with: 学 is one of Japan's and the
    mainland's, 東 of Japan's and Taiwan's, both in one text are Japanese. Their old character sets know.

    What more than one of them writes is not known: 北京大学, 東京.
    """
    if not _can_write("cp932", text):
        return "zh"
    if not _can_write("gb2312", text) and not _can_write("big5", text):
        return "ja"
    # Past the first half of Japan's set are those that it hardly writes any more, as 國 and 學, or never did,
    # as 很: a byte tells (JIS X 0208, level 1).
    usual = all(b"\xb0" <= one.encode("euc_jp", "replace") < b"\xd0" for one in text)
    return None if usual else "zh"


def _can_write(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@cache
def _factory() -> Any:
    """langdetect with our languages loaded; None where it is not installed."""
    try:
        from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
    except ImportError:
        return None
    factory = DetectorFactory()
    # The same text gives the same answer.
    factory.set_seed(0)
    factory.load_json_profile(
        [Path(PROFILES_DIRECTORY, code).read_text(encoding="utf-8") for code in LANGUAGES]
    )
    return factory
