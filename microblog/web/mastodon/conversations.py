"""Private messages between two people, as Mastodon's programs know them: posts for one person alone."""

from collections.abc import Callable
from typing import Any

from flask import abort, jsonify
from flask.typing import ResponseReturnValue

from microblog import units
from microblog.database import db
from microblog.i18n import _
from microblog.models import PostRow, Reader, audience, markup, messages
from microblog.models.marks import NO_MARKS
from microblog.models.mentions import Mentioned
from microblog.models.messages import MessageRow
from microblog.models.people import PersonRow, people, person, person_named
from microblog.web import limits
from microblog.web.api import access, seen, sent
from microblog.web.api.errors import Refused
from microblog.web.api.posts import once
from microblog.web.mastodon import lists
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.entities import account, post_status
from microblog.web.mastodon.site import address

# Messages and posts have numbers of their own, which programs take for one kind: messages' come after.
FIRST = 2**62


def told(number: int, body: str, moment: Any, sender: PersonRow, other: PersonRow) -> dict[str, Any]:
    """A message, as a post for one person. :param other: who is not its sender."""
    row = PostRow(FIRST + number, body, moment, None, sender.id, sender.username)
    named = [Mentioned(other.id, other.username)]
    status = post_status(row, sender, NO_MARKS, named, {})
    return {**status, "visibility": "direct", "url": f"{address()}/messages/{sender.username}"}


# Mastodon.py asks with a slash at the end.
@blueprint.get("/api/v1/conversations/")
@blueprint.get("/api/v1/conversations")
def conversations() -> ResponseReturnValue:
    reader = access.reader("read:statuses")
    page = messages.conversations_page(reader.id, sent.number("max_id"), sent.number("min_id"))
    there = people([reader.id, *(row.user_id for row in page.rows)])
    me = there.get(reader.id)
    answer = []
    for row in page.rows:
        other = there.get(row.user_id)
        if other is None or me is None:
            continue
        sender, to = (me, other) if row.is_mine else (other, me)
        last = told(row.id, row.body, row.created_at, sender, to)
        one = {"id": str(other.id), "unread": row.unread > 0, "accounts": [account(other)]}
        answer.append({**one, "last_status": last})
    ends = (page.rows[0].id, page.rows[-1].id) if page.rows else (None, None)
    return lists.answer(answer, *ends)


@blueprint.post("/api/v1/conversations/<int:number>/read")
@units.safe_twice
def read_conversation(number: int) -> ResponseReturnValue:
    reader = access.reader("write:conversations")
    other = seen.somebody(number)
    mine = messages.side(reader.id, other.id)
    if not mine.conversation_id:
        abort(404)
    messages.read(reader.id, other.id, mine, mine.last_id)
    db.session.commit()
    message = messages.find_message(reader.id, mine.last_id)
    me = person(reader.id)
    last = _telling(me, other)(message) if message is not None and me is not None else None
    return jsonify(id=str(other.id), unread=False, accounts=[account(other)], last_status=last)


@blueprint.delete("/api/v1/conversations/<int:number>")
@units.safe_twice
def delete_conversation(number: int) -> ResponseReturnValue:
    """For oneself: the other one still has it."""
    reader = access.reader("write:conversations")
    other = seen.somebody(number)
    mine = messages.side(reader.id, other.id)
    if not mine.last_id:
        abort(404)
    messages.delete_conversation(reader.id, other.id, mine.last_id)
    return {}


def is_message(number: int) -> bool:
    """Whether a post with this number would be a message."""
    return number > FIRST


def one(reader: Reader, number: int) -> dict[str, Any]:
    """A message of one of the reader's conversations, by the number that it has as a post."""
    _, telling = _conversation(reader, number - FIRST)
    message = messages.find_message(reader.id, number - FIRST)
    if message is None:
        abort(404)
    return telling(message)


def context(reader: Reader, number: int) -> dict[str, Any]:
    """What was written in its conversation shortly before a message, and after it."""
    this = number - FIRST
    mine, telling = _conversation(reader, this)
    # As they were written; the last page is a whole one, and may have what came before.
    above = reversed(messages.messages_page(mine, before=this).rows)
    below = reversed(messages.messages_page(mine, after=this).rows)
    return {
        "ancestors": [telling(row) for row in above],
        "descendants": [telling(row) for row in below if row.id > this],
    }


def _conversation(
    reader: Reader, number: int
) -> tuple[messages.Side, Callable[[MessageRow], dict[str, Any]]]:
    """The conversation that this message is in, and how its messages are told."""
    whose, me = messages.other_side(reader.id, number), person(reader.id)
    if whose is None or me is None:
        abort(404)
    other = seen.somebody(whose)
    return messages.side(reader.id, other.id), _telling(me, other)


def _telling(me: PersonRow, other: PersonRow) -> Callable[[MessageRow], dict[str, Any]]:
    """How the messages between these two are told."""

    def telling(row: MessageRow) -> dict[str, Any]:
        sender, to = (me, other) if row.sender_id == me.id else (other, me)
        return told(row.id, row.body, row.created_at, sender, to)

    return telling


def write(reader: Reader, body: str) -> dict[str, Any]:
    """A post for one person: who it names, or whose message it answers."""
    names = [name for name in markup.names(body) if name != reader.username.lower()]
    other = person_named(names[0]) if len(names) == 1 else None
    # Of who blocks them, nothing is told, as of somebody who is not there.
    if other is None or audience.strangers([other.id], kept=True):
        raise Refused(422, _("A message is for one person: name them."))
    limits.check(limits.MESSAGE.key(reader.id))
    number = messages.send(reader, other.id, once(), body)
    db.session.commit()
    message = messages.find_message(reader.id, number) if number else None
    me = person(reader.id)
    if message is None or me is None:
        raise Refused(422, _("You cannot write to them."))
    return _telling(me, other)(message)
