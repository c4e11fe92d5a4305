"""The interface's languages: English in the source, others from ``translations/``.

``_``, ``_n`` and ``_l`` mark what visitors read. Python's own gettext looks it up, in
catalogs that ``microblog translate`` makes and the package's build compiles.
"""

import gettext
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from flask import Flask, Response, current_app, g, has_app_context, has_request_context, request

TRANSLATIONS = Path(__file__).parent / "translations"
DOMAIN = "messages"

# Each under its own name, so that everybody finds theirs.
LANGUAGES = {"en": "English", "es": "Español", "ru": "Русский"}
SOURCE = "en"


def init_app(app: Flask, chosen: Callable[[], str | None], own: Callable[[], str]) -> None:
    """Speak the visitor's language on every page.

    :param chosen: gives the language that the visitor has set, if there is one.
    :param own: gives the site's own language; an empty text if none is set.
    """
    app.extensions["microblog.i18n"] = chosen
    app.extensions["microblog.i18n.own"] = own
    app.jinja_env.globals.update(_=_, _n=_n, language=language)

    @app.after_request
    def add_headers(response: Response) -> Response:
        if response.mimetype == "text/html":
            response.headers["Content-Language"] = language(lookup=False)
            response.vary.add("Accept-Language")
        return response


def language(lookup: bool = True) -> str:
    """The language to speak now; English outside of a request.

    :param lookup: whether to find out what the visitor has set, which may ask the database;
        without it, and unless that is known by now, what their browser prefers.
    """
    if not has_app_context():
        return SOURCE
    known: str | None = g.get("language")
    if known is None:
        chosen = None
        if lookup and has_request_context():
            chosen = current_app.extensions["microblog.i18n"]()
        known = g.language = chosen if chosen in LANGUAGES else preferred()
    return known


def preferred() -> str:
    """What the visitor's browser prefers, of the languages that there are."""
    best = request.accept_languages.best_match(list(LANGUAGES)) if has_request_context() else None
    return best or own()


def own() -> str:
    """The site's own language: for mails, and where a browser prefers none of these."""
    code: str = current_app.extensions["microblog.i18n.own"]()
    return code if code in LANGUAGES else SOURCE


def use(code: str | None) -> None:
    """From now on, speak this language in this request; None, or one that there is not: find out again."""
    g.language = code if code in LANGUAGES else None


@contextmanager
def speaking(code: str | None) -> Iterator[None]:
    """For a mail to somebody else: speak their language for a while.

    :param code: a language; None, or one that there is not, means the site's own.
    """
    before = g.get("language")
    g.language = code if code in LANGUAGES else own()
    try:
        yield
    finally:
        g.language = before


def _(message: str, **values: object) -> str:
    """The message in the visitor's language, with its ``%(name)s`` filled in."""
    text = catalog(language()).gettext(message)
    return text % values if values else text


def _n(singular: str, plural: str, num: int, **values: object) -> str:
    """Likewise, in the form that goes with a number; ``%(num)s`` is that number."""
    return catalog(language()).ngettext(singular, plural, num) % {"num": num, **values}


class _l:
    """A message that is looked up only when it is shown: forms are made before any request."""

    def __init__(self, message: str, **values: object) -> None:
        self.message = message
        self.values = values

    def __str__(self) -> str:
        return _(self.message, **self.values)

    def __mod__(self, values: object) -> str:
        return str(self) % values

    def __repr__(self) -> str:
        return f"_l({self.message!r})"


@cache
def catalog(code: str) -> gettext.NullTranslations:
    """A language's messages; without a compiled catalog, the source's."""
    return gettext.translation(DOMAIN, TRANSLATIONS, [code], fallback=True)
