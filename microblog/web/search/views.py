"""The search page."""

from urllib.parse import quote_plus

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from flask_login import login_required

from microblog.models.search import question, search_first, search_page
from microblog.web.cursor import cursor
from microblog.web.extensions import asks_first
from microblog.web.feed_pages import feed_page

blueprint = Blueprint("search", __name__)


def _asked() -> str:
    return question(request.args.get("q", ""))


@blueprint.get("/search")
@asks_first(lambda number: search_first(number, _asked()))
@login_required
def results() -> ResponseReturnValue:
    text = _asked()
    if not text:
        return render_template("search/results.html")
    page = search_page(text, **cursor())
    path = f"/search?q={quote_plus(text)}"
    return feed_page("search/results.html", page, path, {"text": text}, fallback=page.fallback)
