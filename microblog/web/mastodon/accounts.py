"""People: oneself and others, who follows whom, who is kept away."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Response, abort
from flask.typing import ResponseReturnValue

from microblog import units
from microblog.database import db
from microblog.i18n import LANGUAGES, _
from microblog.models import Reader, User, audience, barriers, follow
from microblog.models.follow import Person, followed_by, followers_of
from microblog.models.paging import ID_MAX
from microblog.models.people import PersonRow, named_like, people, person, person_named
from microblog.models.user import ABOUT_MAX, USERNAME_MAX, WHOLE, clean_about
from microblog.web import limits
from microblog.web.api import access, seen, sent
from microblog.web.api.errors import Refused
from microblog.web.mastodon import lists
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.entities import account, own_account, relationships
from microblog.web.mastodon.site import domain

_MOST = 80


@blueprint.get("/api/v1/accounts/verify_credentials")
def verify_credentials() -> ResponseReturnValue:
    caller = access.any_caller()
    # Who may only see who it is, may this.
    reader = access.reader("profile" if caller.may("profile") else "read:accounts")
    return _own(reader)


@blueprint.route("/api/v1/accounts/update_credentials", methods=["PATCH"])
def update_credentials() -> ResponseReturnValue:
    reader = access.reader("write:accounts")
    user = db.session.get(User, reader.id, options=[WHOLE])
    if user is None:
        abort(404)
    if sent.has("note"):
        about = clean_about(sent.text("note"))
        if len(about) > ABOUT_MAX:
            raise Refused(422, _("At most %(max)d characters, please.", max=ABOUT_MAX))
        user.about = about
    language = sent.text("source[language]") or sent.inner("source", "language")
    if language in LANGUAGES:
        user.locale = language
    db.session.commit()
    return _own(reader)


def _own(reader: Reader) -> dict[str, Any]:
    row = person(reader.id)
    if row is None:
        abort(404)
    return own_account(row, reader)


@blueprint.get("/api/v1/accounts/<int:number>")
def get_account(number: int) -> ResponseReturnValue:
    return account(_somebody(number))


def _somebody(number: int) -> PersonRow:
    access.reader("read:accounts")
    return seen.somebody(number)


@blueprint.get("/api/v1/accounts")
def get_accounts() -> ResponseReturnValue:
    access.reader("read:accounts")
    return lists.answer([account(row) for row in seen.some(_numbers())], None, None)


def _numbers() -> list[int]:
    """Those of the people who are asked for."""
    return [number for text in sent.texts("id") if (number := sent.as_number(text))]


@blueprint.get("/api/v1/accounts/lookup")
def lookup() -> ResponseReturnValue:
    access.reader("read:accounts")
    name = local_name(sent.text("acct"))
    return account(seen.visible(person_named(name) if name else None))


@blueprint.get("/api/v1/accounts/search")
def search_people() -> ResponseReturnValue:
    access.reader("read:accounts")
    return lists.answer(found(sent.text("q")), None, None)


def found(text: str) -> list[dict[str, Any]]:
    """Those whose name begins so."""
    start = local_name(text)
    if not start:
        return []
    return [account(row) for row in named_like(start, min(sent.number("limit") or 40, _MOST))]


def local_name(text: str) -> str:
    """A name as ``name``, ``@name`` or ``name@site``; empty if it can be nobody's here."""
    name, _at, site = text.strip().removeprefix("@").partition("@")
    if (site and site.lower() != domain()) or len(name) > USERNAME_MAX:
        return ""
    return name if name.isascii() and name.replace("_", "a").isalnum() else ""


@blueprint.get("/api/v1/accounts/relationships")
def get_relationships() -> ResponseReturnValue:
    reader = access.reader("read:follows")
    # With those whom they keep away themselves: so that they can end that.
    known = seen.some(_numbers(), kept=True)
    return lists.answer(relationships(reader, (row.id for row in known)), None, None)


@blueprint.get("/api/v1/accounts/<int:number>/followers")
def followers(number: int) -> ResponseReturnValue:
    return _listed(number, followers_of)


@blueprint.get("/api/v1/accounts/<int:number>/following")
def following(number: int) -> ResponseReturnValue:
    return _listed(number, followed_by)


def _listed(number: int, whom: Callable[..., Any]) -> Response:
    row = _somebody(number)
    rows: list[Person] = lists.part(whom(row.id), lambda one: one.id, 40, _MOST)
    return lists.listed(rows, lambda one: one.id, lambda part: accounts(one.user_id for one in part))


def accounts(numbers: Any) -> list[dict[str, Any]]:
    """People, in this order."""
    wanted = list(numbers)
    there = people(wanted)
    return [account(there[number]) for number in wanted if number in there]


def _change(number: int, what: str, scope: str, change: Callable[[Any, Any], bool]) -> dict[str, Any]:
    """Something between who calls and somebody else; done twice, it is done once."""
    reader = access.reader(scope)
    user = _whom(number, what)
    if number == reader.id:
        raise Refused(403, _("This is not yours to see or to change."))
    if what == "follow" and audience.apart(number):
        abort(404)
    limits.check(limits.FOLLOW.key(reader.id))
    me = db.session.get(User, reader.id)
    if me is None:
        abort(404)
    if change(me, user):
        db.session.commit()
    reader_now = access.renewed()
    return relationships(reader_now, [number])[0]


def _whom(number: int, what: str) -> User:
    """With whom something is to begin or to end, if they are there for who calls.

    Who is suspended can be left as well.
    """
    user: User | None = db.session.get(User, number) if 0 < number <= ID_MAX else None
    if user is None:
        abort(404)
    there = user.is_active or what == "unfollow"
    if not audience.can_undo(what, number) and (not there or audience.strangers([number])):
        abort(404)
    return user


# What somebody may begin or end between themselves and somebody else: by what name, with which scope.
_CHANGES: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "follow": ("write:follows", follow.follow),
    "unfollow": ("write:follows", follow.unfollow),
    "remove_from_followers": ("write:follows", lambda reader, other: follow.unfollow(other, reader)),
    "block": ("write:blocks", barriers.block),
    "unblock": ("write:blocks", barriers.unblock),
    "mute": ("write:mutes", barriers.mute),
    "unmute": ("write:mutes", barriers.unmute),
}
for _name, (_scope, _act) in _CHANGES.items():
    _view = units.safe_twice(partial(_change, what=_name, scope=_scope, change=_act))
    blueprint.add_url_rule(f"/api/v1/accounts/<int:number>/{_name}", _name, _view, methods=["POST"])


@blueprint.get("/api/v1/blocks")
def blocks() -> ResponseReturnValue:
    return _kept(access.reader("read:blocks"), "blocks")


@blueprint.get("/api/v1/mutes")
def mutes() -> ResponseReturnValue:
    return _kept(access.reader("read:mutes"), "mutes")


def _kept(reader: Reader, what: str) -> Response:
    page = barriers.kept_page(reader.id, sent.number("max_id"), sent.number("min_id"), what)
    told = accounts(one.id for one in page.people)
    if what == "mutes":
        told = [{**one, "mute_expires_at": None} for one in told]
    ends = (page.people[0].id, page.people[-1].id) if page.people else (None, None)
    return lists.answer(told, *ends)
