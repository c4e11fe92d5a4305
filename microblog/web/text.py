"""What people write, as HTML: links, @names and #tags can be followed, all else is text."""

from functools import lru_cache
from urllib.parse import quote, urlsplit

from markupsafe import Markup, escape

from microblog.models.markup import FOUND, tag_key

# Longer addresses are shown cut short; they still lead where they lead.
SHOWN = 40

# At the end of an address these belong to the sentence around it.
_PUNCTUATION = ".,:;!?'*_~…·»”’"
_BRACKETS = {")": "(", "]": "[", "}": "{"}


@lru_cache(maxsize=2048)
def linked(text: str) -> Markup:
    """A post or a profile as safe HTML.

    http and https addresses become links to elsewhere, which search engines are told not to
    credit; @names become links to profiles, whether such an account exists or not: that would
    take a query each; #tags become links to the posts that have them.
    """
    parts = []
    end = 0
    link: Markup | None
    for match in FOUND.finditer(text):
        if match["name"]:
            link = Markup('<a href="/user/{0}">@{0}</a>').format(match["name"])
            length = len(match[0])
        elif match["tag"]:
            key = tag_key(match["tag"])
            link = Markup('<a href="/tag/{}">{}</a>').format(quote(key), match[0]) if key else None
            length = len(match[0])
        else:
            url = without_punctuation(match["url"])
            link, length = external(url), len(url)
        if link is None:
            continue
        parts += [escape(text[end : match.start()]), link]
        end = match.start() + length
    parts.append(escape(text[end:]))
    return Markup("").join(parts)


def without_punctuation(url: str) -> str:
    """An address less what follows it in its sentence: full stops, and brackets it does not open."""
    while url:
        last = url[-1]
        opening = _BRACKETS.get(last)
        if last not in _PUNCTUATION and (opening is None or url.count(opening) >= url.count(last)):
            break
        url = url[:-1]
    return url


def external(url: str) -> Markup | None:
    """A link to another site; None if the address has no host, or one that is made to mislead."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 - raises ValueError when it is no port
    except ValueError:
        return None
    # https://bank.example@evil.example goes to evil.example.
    if not host or not host[0].isalnum() or "@" in parts.netloc or "\\" in url:
        return None
    shown = url.partition("://")[2].rstrip("/")
    if len(shown) > SHOWN:
        shown = f"{shown[: SHOWN - 1]}…"
    return Markup('<a href="{}" rel="nofollow noopener ugc">{}</a>').format(url, shown)
