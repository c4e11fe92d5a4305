"""Which language a text is in, where python3-langdetect is installed.

https://github.com/Mimino666/langdetect
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

# Of langdetect's 55 languages, the most written with Latin and Cyrillic letters: these take
# 6 MB of each worker that somebody writes through, and 0.04 s at the first post; all of
# them 63 MB and 0.6 s.
LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pl", "pt", "ru", "sv", "tr", "uk")
# Other scripts tell by themselves. Japanese comes before Chinese, whose characters it uses too.
SCRIPTS = {
    "ja": re.compile("[\u3040-\u30ff]"),
    "zh": re.compile("[\u4e00-\u9fff]"),
    "ko": re.compile("[\uac00-\ud7af]"),
    "ar": re.compile("[\u0620-\u064a]"),
    "el": re.compile("[\u0391-\u03c9]"),
    "he": re.compile("[\u05d0-\u05ea]"),
    "hi": re.compile("[\u0905-\u0939]"),
    "th": re.compile("[\u0e01-\u0e2e]"),
}
# With less to go by, or less sure than this, it would be a guess.
LETTERS_MIN = 8
SURE = 0.95

_NO_WORDS = re.compile(r"https?://\S+|[@#]\w+|[\W\d_]+")


def detect(text: str) -> str | None:
    """The code of the language a text is in, such as "es"; None if that is not sure."""
    words = _NO_WORDS.sub(" ", text).strip()
    letters = len(words.replace(" ", ""))
    for code, script in SCRIPTS.items():
        if len(script.findall(words)) * 2 > letters:
            return code
    if letters < LETTERS_MIN or (factory := _factory()) is None:
        return None
    from langdetect import LangDetectException

    detector = factory.create()
    detector.append(words)
    try:
        best = detector.get_probabilities()[:1]
    except LangDetectException:
        return None
    return best[0].lang if best and best[0].prob >= SURE else None


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
