"""The search page."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from flask_login import login_required

from microblog.models.post import POST_MAX, clean_body
from microblog.models.search import search_page
from microblog.web.cursor import cursor

blueprint = Blueprint("search", __name__)


@blueprint.get("/search")
@login_required
def results() -> ResponseReturnValue:
    # Nothing longer than a post can be found in one.
    text = clean_body(request.args.get("q", "")[: POST_MAX + 1])[:POST_MAX]
    page = search_page(text, **cursor()) if text else None
    return render_template("search/results.html", text=text, page=page)
