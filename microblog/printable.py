"""Text that people can see: in the name of a site, in what a page or a card says."""

import re

# What joins letters and emoji, and the letters of flags within one: not seen, but part of what is.
_JOINING = re.compile("[\u200c\u200d\U000e0020-\U000e007f]")

# What is not seen, and sets a text.
LINES = "\n\t"


def is_printable(text: str) -> bool:
    """Whether each character of a line is seen, or joins others that are; as of nothing at all."""
    seen = _JOINING.sub("", text)
    return seen.isprintable() and bool(seen) == bool(text)


def visible(text: str, beside: str = "") -> str:
    """A stranger's text for a terminal or a page: with a question mark for what is not seen.

    :param beside: characters that may stay all the same, as :data:`LINES`.
    """
    return "".join(letter if letter.isprintable() or letter in beside else "?" for letter in text)
