"""What somebody writes, or what has a tag, for programs that look in now and then (RFC 4287): on a site that
is public, for these have no account."""

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from xml.etree import ElementTree

from flask import Response, abort, request, url_for
from flask.typing import ResponseReturnValue

from microblog.database import utc_text
from microblog.models import audience
from microblog.models.feeds import PostRow, profile_page
from microblog.models.markup import tag_key
from microblog.models.profiles import find_profile
from microblog.models.tags import tag_page
from microblog.web.hosts import base_url, external_url
from microblog.web.posts.blueprint import blueprint
from microblog.web.site_looks import is_public, site_name

_ATOM = "http://www.w3.org/2005/Atom"
# A title is a line.
_TITLE = 60
_NEVER = datetime(1970, 1, 1)
# What no XML may hold, written in whichever way: https://www.w3.org/TR/xml/#charsets
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@blueprint.get("/user/<username>/feed.atom")
def feed_of_user(username: str) -> ResponseReturnValue:
    _for_everybody()
    user = find_profile(username, audience.VISITOR) if len(username) <= 64 else None
    if user is None or user.suspended_at or audience.strangers([user.id]):
        abort(404)
    name, page = user.username, url_for("people.profile", username=user.username)
    # What they pass on is others'.
    posts = [post for post in profile_page(user.id).posts if post.original is None]
    return _feed(f"{name} · {site_name()}", page, posts)


@blueprint.get("/tag/<name>/feed.atom")
def feed_of_tag(name: str) -> ResponseReturnValue:
    _for_everybody()
    key = tag_key(name)
    if not key:
        abort(404)
    return _feed(f"#{key} · {site_name()}", url_for("posts.tag", name=key), tag_page(key).posts)


def _for_everybody() -> None:
    if not is_public():
        abort(404)
    # Who asks makes no difference: it may be kept for all.
    audience.reads(None)


def _feed(title: str, page: str, posts: Iterable[PostRow]) -> ResponseReturnValue:
    ElementTree.register_namespace("", _ATOM)
    feed = ElementTree.Element(f"{{{_ATOM}}}feed")

    def add(parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str) -> None:
        ElementTree.SubElement(parent, f"{{{_ATOM}}}{name}", attributes).text = text and _NO_XML.sub(
            "\ufffd", text
        )

    posts = list(posts)
    add(feed, "id", base_url() + page)
    add(feed, "title", title)
    add(feed, "updated", utc_text(max((post.edited_at or post.created_at for post in posts), default=_NEVER)))
    add(feed, "link", rel="self", href=base_url() + request.path)
    add(feed, "link", rel="alternate", type="text/html", href=base_url() + page)
    for post in posts:
        entry = ElementTree.SubElement(feed, f"{{{_ATOM}}}entry")
        address = external_url("posts.show", number=post.id)
        line = " ".join(post.body.split())
        add(entry, "id", address)
        add(entry, "title", line if len(line) <= _TITLE else f"{line[: _TITLE - 1]}…")
        add(entry, "published", utc_text(post.created_at))
        add(entry, "updated", utc_text(post.edited_at or post.created_at))
        add(entry, "link", rel="alternate", type="text/html", href=address)
        author = ElementTree.SubElement(entry, f"{{{_ATOM}}}author")
        add(author, "name", post.username)
        add(entry, "content", post.body, type="text")
    text = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    response = Response(text, mimetype="application/atom+xml")
    response.headers["Cache-Control"] = "public, max-age=300"
    response.set_etag(hashlib.sha256(text).hexdigest()[:32])
    return response.make_conditional(request)
