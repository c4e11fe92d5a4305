"""Posts, which the tutorial's API leaves to its readers."""

import secrets
from datetime import timezone
from typing import Any

from flask import abort, g, request
from flask.typing import ResponseReturnValue

from microblog import units
from microblog.database import db
from microblog.detection import detect
from microblog.i18n import _
from microblog.models import PostRow, feeds
from microblog.models.post import add_post_once, clean_body, delete_post, own_post
from microblog.web import limits
from microblog.web.api import access, pages, seen, sent
from microblog.web.api.blueprint import blueprint
from microblog.web.api.errors import Refused
from microblog.web.posts.forms import too_long

_ONCE_MAX = 200


def as_dict(post: PostRow) -> dict[str, Any]:
    """A post; of one that was passed on, what it says, and who did."""
    told, post = {"reposted_by": post.username} if post.original else {}, post.shown
    return {
        "id": post.id,
        "body": post.body,
        "timestamp": post.created_at.replace(tzinfo=timezone.utc).isoformat(),
        "language": post.language,
        "author": post.username,
        **told,
        "_links": {"self": f"/api/posts/{post.id}", "author": f"/api/users/{post.author_id}"},
    }


@blueprint.get("/posts")
def get_posts() -> ResponseReturnValue:
    """What everybody writes."""
    access.reader("read:statuses")
    return pages.answer(feeds.everybodys, lambda post: post.id, _told)


@blueprint.get("/users/<int:number>/posts")
def get_posts_of(number: int) -> ResponseReturnValue:
    access.reader("read:statuses")
    row = seen.somebody(number)
    return pages.answer(feeds.written_by(row.id), lambda post: post.id, _told, row.posts_count)


@blueprint.get("/posts/<int:number>")
def get_post(number: int) -> ResponseReturnValue:
    access.reader("read:statuses")
    return as_dict(_found(number))


@blueprint.post("/posts")
@units.safe_twice
def create_post() -> ResponseReturnValue:
    """With an Idempotency-Key, the same is written once however often it is sent."""
    reader = access.reader("write:statuses")
    body = text_of("body", 400)
    limits.check(limits.POST.key(reader.id))
    number = add_post_once(reader, once(), body, detect(body))
    db.session.commit()
    # None: the account has ended since this request began.
    if number is None:
        abort(404)
    return as_dict(_found(number)), 201, {"Location": f"/api/posts/{number}"}


@blueprint.delete("/posts/<int:number>")
@units.safe_twice
def remove_post(number: int) -> ResponseReturnValue:
    reader = access.reader("write:statuses")
    post = own_post(number, reader.id)
    if post is None:
        abort(404)
    delete_post(post)
    db.session.commit()
    return "", 204


def text_of(name: str, code: int) -> str:
    """What somebody wrote, if it may be a post.

    :raises Refused: with this code.
    """
    body = clean_body(sent.text(name))
    if not body:
        raise Refused(code, _("Write something first."))
    if problem := too_long(body):
        raise Refused(code, problem)
    return body


def once() -> str:
    """What says that two requests are one; where the program does not say, each is its own."""
    key = request.headers.get("Idempotency-Key", "")[:_ONCE_MAX]
    token: str = f"api {key}" if key else g.setdefault("once", secrets.token_urlsafe(12))
    return token


def _found(number: int) -> PostRow:
    post = feeds.one(number)
    if post is None:
        abort(404)
    return post


def _told(rows: list[PostRow]) -> list[dict[str, Any]]:
    return [as_dict(row) for row in rows]
