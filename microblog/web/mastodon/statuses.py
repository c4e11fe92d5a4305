"""Posts: write, see, edit, remove them; like, pass on and keep them."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import abort, jsonify
from flask.typing import ResponseReturnValue

from microblog import units
from microblog.database import db
from microblog.detection import detect
from microblog.i18n import _
from microblog.models import PostRow, Reader, audience, feeds, reactions, threads, versions
from microblog.models.people import person
from microblog.models.post import Post, add_post_once, delete_post, own_post
from microblog.web import limits
from microblog.web.api import access, sent
from microblog.web.api.errors import Refused
from microblog.web.api.posts import once, text_of
from microblog.web.mastodon import conversations, lists
from microblog.web.mastodon.accounts import accounts
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.entities import account, html, status, statuses, time

_LANGUAGE = re.compile(r"[a-z]{2,3}\Z")
# What comes before and after a post in its conversation, at most.
_ABOVE, _BELOW = 20, 200


def found(number: int) -> PostRow:
    """The post with this number, if it is to be seen."""
    post = feeds.one(number)
    if post is None:
        abort(404)
    return post


@blueprint.post("/api/v1/statuses")
@units.safe_twice
def create_status() -> ResponseReturnValue:
    reader = access.reader("write:statuses")
    if sent.text("visibility") == "direct":
        return conversations.write(reader, _text(for_one=True))
    body = _text()
    asked = sent.number("in_reply_to_id")
    if sent.text("in_reply_to_id") and asked is None:
        abort(404)
    answers = found(asked) if asked is not None else None
    if answers is not None and audience.apart(answers.shown.author_id):
        abort(404)
    limits.check(limits.POST.key(reader.id))
    number = add_post_once(reader, once(), body, _language(body), answers)
    db.session.commit()
    # None: the account has ended since this request began.
    if number is None:
        abort(404)
    return status(found(number), reader)


def _text(for_one: bool = False) -> str:
    """What is to be written; only what can be as it is meant."""
    if sent.texts("media_ids"):
        raise Refused(422, "Validation failed: This site takes no pictures, sounds or videos")
    if sent.has("poll") or sent.has("poll[options][]") or sent.has("scheduled_at"):
        raise Refused(422, "Validation failed: This site has neither polls nor posts for later")
    if sent.text("visibility") in ("private", "direct", "unlisted") and not for_one:
        raise Refused(422, _("Posts are for everybody here."))
    if sent.has("spoiler_text") and sent.text("spoiler_text").strip():
        raise Refused(422, _("Posts have no warning before them here."))
    return text_of("status", 422)


def _language(body: str) -> str | None:
    told = sent.text("language")
    return told if _LANGUAGE.match(told) else detect(body)


@blueprint.get("/api/v1/statuses/<int:number>")
def get_status(number: int) -> ResponseReturnValue:
    reader = access.reader("read:statuses")
    if conversations.is_message(number):
        return conversations.one(reader, number)
    return status(found(number), reader)


@blueprint.get("/api/v1/statuses")
def get_statuses() -> ResponseReturnValue:
    reader = access.reader("read:statuses")
    numbers = [number for text in sent.texts("id") if (number := sent.as_number(text))]
    return jsonify(statuses(feeds.posts(numbers, muted=False), reader))


def _own(number: int, reader: Reader) -> Post:
    post = own_post(number, reader.id)
    if post is None:
        abort(404)
    return post


@blueprint.put("/api/v1/statuses/<int:number>")
@units.safe_twice
def edit_status(number: int) -> ResponseReturnValue:
    reader = access.reader("write:statuses")
    post = _own(number, reader)
    body = _text()
    limits.check(limits.POST.key(reader.id))
    if not versions.edit_post(reader, post, body, _language(body)):
        db.session.rollback()
        raise Refused(422, _("It is too late to change this post."))
    db.session.commit()
    return status(found(number), reader)


@blueprint.delete("/api/v1/statuses/<int:number>")
def delete_status(number: int) -> ResponseReturnValue:
    reader = access.reader("write:statuses")
    told = status(found(number), reader)
    post = _own(number, reader)
    text = post.body
    delete_post(post)
    db.session.commit()
    return {**told, "text": text}


@blueprint.get("/api/v1/statuses/<int:number>/context")
def context(number: int) -> ResponseReturnValue:
    reader = access.reader("read:statuses")
    if conversations.is_message(number):
        return conversations.context(reader, number)
    post = found(number).shown
    above: list[PostRow] = []
    last = post
    while last.reply_to_id and len(above) < _ABOVE and (rows := feeds.posts([last.reply_to_id])):
        last = rows[0]
        above.insert(0, last)
    thread = threads.thread_page(post.id, size=_BELOW)
    below: dict[int, PostRow] = {}
    for row in thread.answers if thread else ():
        if row.reply_to_id == post.id or row.reply_to_id in below:
            below[row.id] = row
    told = {row["id"]: row for row in statuses([*above, *below.values()], reader)}

    def among(rows: Any) -> list[dict[str, Any]]:
        return [told[str(row.id)] for row in rows if str(row.id) in told]

    return {"ancestors": among(above), "descendants": among(below.values())}


@blueprint.get("/api/v1/statuses/<int:number>/source")
def source(number: int) -> ResponseReturnValue:
    access.reader("read:statuses")
    post = found(number).shown
    return {"id": str(post.id), "text": post.body, "spoiler_text": ""}


@blueprint.get("/api/v1/statuses/<int:number>/history")
def history(number: int) -> ResponseReturnValue:
    """All its texts, the oldest first."""
    access.reader("read:statuses")
    post = found(number).shown
    author = person(post.author_id)
    if author is None:
        abort(404)
    who = account(author)
    texts = [(one.body, one.created_at) for one in versions.versions_of(post.id)]
    return jsonify(
        [
            {
                "content": html(body),
                "spoiler_text": "",
                "sensitive": False,
                "created_at": time(moment),
                "account": who,
                "poll": None,
                "media_attachments": [],
                "emojis": [],
                "quote": None,
            }
            for body, moment in [*texts, (post.body, post.edited_at or post.created_at)]
        ]
    )


@blueprint.get("/api/v1/statuses/<int:number>/favourited_by")
def favourited_by(number: int) -> ResponseReturnValue:
    return _who(number, reactions.likers)


@blueprint.get("/api/v1/statuses/<int:number>/reblogged_by")
def reblogged_by(number: int) -> ResponseReturnValue:
    return _who(number, reactions.reposters)


def _who(number: int, whom: Callable[[int], Any]) -> ResponseReturnValue:
    access.reader("read:accounts")
    post = found(number).shown
    rows: list[reactions.Who] = lists.part(whom(post.id), lambda one: one.id, 40, 80)
    return lists.listed(rows, lambda one: one.id, lambda part: accounts(one.user_id for one in part))


def _react(number: int, scope: str, change: Callable[[Any, Any], bool]) -> ResponseReturnValue:
    """Something that somebody does with a post; done twice, it is done once."""
    reader = access.reader(scope)
    post = found(number)
    limits.check(limits.REACTION.key(reader.id))
    if change(reader, post):
        db.session.commit()
    own = reactions.repost_of(reader.id, post.shown.id) if change is reactions.repost else None
    return status(found(own or post.shown.id), reader)


# What somebody may do with a post: by what name, with which scope.
_REACTIONS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "favourite": ("write:favourites", reactions.like),
    "unfavourite": ("write:favourites", reactions.unlike),
    "reblog": ("write:statuses", reactions.repost),
    "unreblog": ("write:statuses", reactions.unrepost),
    "bookmark": ("write:bookmarks", reactions.bookmark),
    "unbookmark": ("write:bookmarks", reactions.unbookmark),
}
for _name, (_scope, _change) in _REACTIONS.items():
    _view = units.safe_twice(partial(_react, scope=_scope, change=_change))
    blueprint.add_url_rule(f"/api/v1/statuses/<int:number>/{_name}", _name, _view, methods=["POST"])
