"""People: who there is, who follows whom, new accounts."""

from datetime import timezone
from typing import Any

from flask import abort, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from microblog.database import db
from microblog.i18n import _
from microblog.models import Reader, User, invitations
from microblog.models.follow import Person, followed_by, followers_of
from microblog.models.paging import ID_MAX
from microblog.models.people import PersonRow, everybody, people, person
from microblog.models.site import CLOSED, INVITED, OPEN, registration
from microblog.models.user import ABOUT_MAX, WHOLE, clean_about
from microblog.web import letters, limits
from microblog.web.api import access, pages, seen, sent
from microblog.web.api.blueprint import blueprint
from microblog.web.api.errors import Refused
from microblog.web.auth.forms import RegistrationForm
from microblog.web.auth.views import NotInvited, make_account

_FIELDS = ("username", "email", "password")


def as_dict(row: PersonRow, email: str | None = None) -> dict[str, Any]:
    """Somebody, in the tutorial's fields. :param email: for themselves alone."""
    told: dict[str, Any] = {
        "id": row.id,
        "username": row.username,
        "last_seen": row.last_seen.replace(tzinfo=timezone.utc).isoformat() if row.last_seen else None,
        "about_me": row.about,
        "post_count": row.posts_count,
        "follower_count": row.followers_count,
        "following_count": row.following_count,
        "_links": {
            "self": f"/api/users/{row.id}",
            "followers": f"/api/users/{row.id}/followers",
            "following": f"/api/users/{row.id}/following",
            "posts": f"/api/users/{row.id}/posts",
            "avatar": url_for("people.avatar", username=row.username),
        },
    }
    if email is not None:
        told["email"] = email
    return told


@blueprint.get("/users/<int:number>")
def get_user(number: int) -> ResponseReturnValue:
    reader = access.reader("read:accounts")
    return as_dict(seen.somebody(number), _own_email(reader, number))


@blueprint.get("/users")
def get_users() -> ResponseReturnValue:
    access.reader("read:accounts")
    return pages.answer(
        everybody, lambda row: row.id, lambda rows: [as_dict(row) for row in rows], oldest_first=True
    )


@blueprint.get("/users/<int:number>/followers")
def get_followers(number: int) -> ResponseReturnValue:
    access.reader("read:accounts")
    row = seen.somebody(number)
    return pages.answer(followers_of(row.id), lambda one: one.id, _listed, row.followers_count)


@blueprint.get("/users/<int:number>/following")
def get_following(number: int) -> ResponseReturnValue:
    access.reader("read:accounts")
    row = seen.somebody(number)
    return pages.answer(followed_by(row.id), lambda one: one.id, _listed, row.following_count)


@blueprint.post("/users")
def create_user() -> ResponseReturnValue:
    """By the rules of the page where people register."""
    rules = registration()
    secret = sent.text("invitation", 200)
    invitation = invitations.find(secret) if secret and rules.mode != CLOSED else None
    if rules.mode == CLOSED:
        raise Refused(403, _("Nobody can register here by themselves."))
    if invitation is None and (secret or rules.mode == INVITED):
        raise Refused(403, _("Here, one registers with an invitation: send its secret as “invitation”."))
    if not all(sent.text(name) for name in _FIELDS):
        raise Refused(400, "must include username, email and password fields")
    limits.check(limits.visitor(limits.REGISTRATION))
    values = {name: sent.text(name, 300) for name in _FIELDS}
    values["password2"] = values["password"]
    form = RegistrationForm(formdata=MultiDict(values), meta={"csrf": False})
    waits = rules.approval and invitation is None and rules.mode == OPEN
    try:
        user = make_account(form, invitation, waits) if form.validate() else None
    except NotInvited:
        raise Refused(403, _("This invitation is no longer good.")) from None
    if user is None:
        raise Refused(400, next(str(texts[0]) for texts in form.errors.values() if texts))
    user.about = clean_about(sent.text("about_me"))[:ABOUT_MAX]
    number, email, name = user.id, user.email, user.username
    db.session.commit()
    if not waits and letters.mailer() is not None:
        letters.ask_for_proof(user, email)
    location = {"Location": f"/api/users/{number}"}
    row = person(number)
    if row is None:
        return {"id": number, "username": name, "email": email, "waiting": True}, 201, location
    return as_dict(row, email), 201, location


@blueprint.put("/users/<int:number>")
def update_user(number: int) -> ResponseReturnValue:
    reader = access.reader("write:accounts")
    if reader.id != number:
        abort(403)
    user = db.session.get(User, number, options=[WHOLE])
    if user is None:
        abort(404)
    # Names stay; and whoever has got hold of a token gets no further by an address of their own.
    if sent.has("username") and sent.text("username") != user.username:
        raise Refused(400, _("A username stays as it is."))
    if sent.has("email") and sent.text("email").lower() != user.email:
        raise Refused(400, _("The e-mail address is changed on the site, with the password."))
    if sent.has("about_me"):
        user.about = clean_about(sent.text("about_me"))
        if len(user.about) > ABOUT_MAX:
            db.session.rollback()
            raise Refused(400, _("At most %(max)d characters, please.", max=ABOUT_MAX))
    email = user.email
    db.session.commit()
    return as_dict(seen.somebody(number), email)


def _own_email(reader: Reader, number: int) -> str | None:
    if reader.id != number or not 0 < number <= ID_MAX:
        return None
    user = db.session.get(User, number, options=[WHOLE])
    return user.email if user else None


def _listed(rows: list[Person]) -> list[dict[str, Any]]:
    there = people(row.user_id for row in rows)
    return [as_dict(there[row.user_id]) for row in rows if row.user_id in there]
