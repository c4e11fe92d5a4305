"""Search for people, posts and tags."""

from typing import Any
from urllib.parse import quote

from flask import abort
from flask.typing import ResponseReturnValue

from microblog.models import markup
from microblog.models.search import question, search_page
from microblog.web.api import access, sent
from microblog.web.mastodon.accounts import found
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.entities import statuses
from microblog.web.mastodon.site import address


@blueprint.get("/api/v2/search")
def search() -> ResponseReturnValue:
    reader = access.reader("read:search")
    text = question(sent.text("q"))
    kind, first = sent.text("type"), not sent.number("offset")
    answer: dict[str, list[Any]] = {"accounts": [], "statuses": [], "hashtags": []}
    if not text or not first:
        # The rest of a list is had by max_id.
        return answer
    if kind in ("", "accounts"):
        answer["accounts"] = found(text)
    if kind in ("", "statuses"):
        limit = min(max(1, sent.number("limit") or 20), 20)
        answer["statuses"] = statuses(search_page(text, sent.number("max_id")).posts[:limit], reader)
    if kind in ("", "hashtags") and (key := markup.tag_key(text.removeprefix("#"))):
        answer["hashtags"] = [tag(key)]
    return answer


def tag(key: str) -> dict[str, Any]:
    url = f"{address()}/tag/{quote(key)}"
    return {"id": key, "name": key, "url": url, "history": [], "following": False, "featuring": False}


@blueprint.get("/api/v1/tags/<name>")
def get_tag(name: str) -> ResponseReturnValue:
    access.reader("read:follows")
    key = markup.tag_key(name.encode("utf-8", "replace").decode())
    if not key:
        abort(404)
    return tag(key)
