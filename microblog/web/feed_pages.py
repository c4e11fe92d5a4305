"""Pages with posts. But for a few parts, such a page is the same for all who read a language: each process
keeps it cut where those parts go, and puts in what is the reader's own.

Nothing of what is kept can be out of date: what may change is a part, or what the page is kept by.
"""

import re

from flask import Flask, current_app, render_template
from flask_login import current_user
from markupsafe import Markup, escape

from microblog.i18n import language
from microblog.models.feeds import Page
from microblog.web.cards import cards
from microblog.web.jinja import csrf_token, notices, pager
from microblog.web.navigation import numbers, unfilled, who
from microblog.web.site_looks import is_public, site_name

_KEY = "microblog.feed_pages"
# Where a part goes. Parts are not looked through for others, so no text can ask for one.
_PART = re.compile("\0([a-z]+)\0")


def init_app(app: Flask) -> None:
    app.extensions[_KEY] = {}


def feed_page(
    template: str, page: Page, path: str, parts: dict[str, str] | None = None, **seldom: object
) -> str:
    """A page with a part of a feed.

    :param template: writes it, with its ``parts``, and ``feed``: the posts; ``name``: the reader's;
        ``token``: of the reader's forms. It cannot ask what those are. It may ask whether it is ``empty``.
    :param path: where the page is, less the cursor.
    :param parts: what else is not the same for each.
    :param seldom: what is nothing on most pages. The template may ask for it; where it is something, the page
        is made afresh.
    """
    # A name that stands for another object is looked up each time.
    me = current_user._get_current_object()
    shown = {
        "name": me.username,
        "token": csrf_token() if me.is_authenticated else "",
        **numbers(),
        **(parts or {}),
    }
    text = f'<div class="feed">\n{cards(page.posts, page.marks)}\n</div>\n' if page.posts else ""
    shown["feed"] = Markup(f"{text}{pager(page, path)}")  # noqa: S704 - made by templates, which escape
    if not page.posts or any(seldom.values()):
        return render_template(template, path=path, empty=not page.posts, **shown, **seldom)
    shown["notices"] = notices()
    pieces = _pieces(template, tuple(shown)).copy()
    pieces[1::2] = [str(escape(shown[part])) for part in pieces[1::2]]
    return "".join(pieces)


def _pieces(template: str, parts: tuple[str, ...]) -> list[str]:
    """A page: texts, and between them the names of its parts."""
    kept: dict[tuple[str, str, str, str, bool], list[str]] = current_app.extensions[_KEY]
    # There are few of these: nothing that a visitor sends is in it.
    key = (template, language(), who(), site_name(), is_public())
    if key not in kept:
        marks = {part: Markup(f"\0{part}\0") for part in parts}  # noqa: S704 - plain letters
        functions = {"notices": lambda: marks["notices"], "navigation": unfilled}
        kept[key] = _PART.split(render_template(template, **{**marks, **functions}))
    return kept[key]
