"""Profiles, and following."""

from functools import lru_cache, partial
from typing import Any

from flask import Blueprint, Response, abort, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from markupsafe import Markup

from microblog import units
from microblog.database import db
from microblog.i18n import _, _l, language
from microblog.models import User, audience, barriers, feeds, preferences, reports
from microblog.models.feeds import PostRow, one
from microblog.models.follow import PeoplePage, followers_page, following_page
from microblog.models.follow import follow as start_following
from microblog.models.follow import unfollow as stop_following
from microblog.models.profiles import Profile, find_profile, profile_first
from microblog.models.user import USERNAME, USERNAME_MAX
from microblog.web import lapsed, limits
from microblog.web.cursor import cursor
from microblog.web.extensions import asks_first, may_read
from microblog.web.feed_pages import feed_page
from microblog.web.jinja import button, csrf_token, when
from microblog.web.meant import is_meant
from microblog.web.people import avatars
from microblog.web.people.forms import ReportForm
from microblog.web.security import safe_path

blueprint = Blueprint("people", __name__)
# Stands for the token of a reader's forms.
_TOKEN = "\0token"  # noqa: S105


@blueprint.get("/user/<username>")
@asks_first(lambda number, username: profile_first(number, username) if is_name(username) else None)
@may_read
def profile(username: str) -> ResponseReturnValue:
    at = cursor()
    user, between = _profile(username, newest=not any(at.values()))
    parts = {"username": user.username, "about": _about(user, between)}
    page = feeds.profile_page(user.id, **at, key=username.lower())
    return feed_page("people/profile.html", page, f"/user/{user.username}", parts)


def _about(user: Profile, between: barriers.Between) -> Markup:
    """Who it is whose posts come next, and what this reader may do."""
    # A name that stands for another object is looked up each time.
    me = current_user._get_current_object()
    who = "visitor" if not me.is_authenticated else "owner" if me.id == user.id else "member"
    text = _kept_about(user, between, who, language(), when(user.last_seen) if user.last_seen else "")
    return Markup(text.replace(_TOKEN, csrf_token()) if me.is_authenticated else text)  # noqa: S704


# Of some 3,000 bytes each. A template escapes, and what people write has no NUL.
@lru_cache(maxsize=512)
def _kept_about(user: Profile, between: barriers.Between, who: str, _language: str, seen: str) -> str:
    """But for the token of the forms, it is the same to all of whom this is so.

    :param who: reads it: a ``visitor``, the profile's ``owner`` or another ``member``.
    :param seen: how long ago they were last seen, in words.
    """
    template = current_app.jinja_env.get_template("people/about.html")
    return template.render(user=user, between=between, who=who, seen=seen, action=partial(button, _TOKEN))


@blueprint.get("/user/<username>/card")
@may_read
def card(username: str) -> ResponseReturnValue:
    """Who it is, in a few lines, for the script that shows it beside a name: a part of a page."""
    user, between = _profile(username)
    back = safe_path(request.args.get("next")) or ""
    return render_template("people/card.html", user=user, between=between, back=back)


def _profile(username: str, newest: bool = False) -> tuple[Any, barriers.Between]:
    user = find_profile(username, current_user.id, newest) if is_name(username) else None
    return user, _allowed(user)


@blueprint.get("/user/<username>/followers")
@may_read
def followers(username: str) -> ResponseReturnValue:
    user = find(username)
    return people_page(_("Followers"), user, followers_page(user, **cursor()))


@blueprint.get("/user/<username>/following")
@may_read
def following(username: str) -> ResponseReturnValue:
    user = find(username)
    return people_page(_("Following"), user, following_page(user, **cursor()))


def people_page(title: str, user: User, page: PeoplePage) -> str:
    path = url_for(str(request.endpoint), username=user.username)
    return render_template("people/list.html", title=title, user=user, page=page, path=path)


@blueprint.post("/user/<username>/follow")
@units.safe_twice
@login_required
def follow(username: str) -> ResponseReturnValue:
    user = find(username)
    limits.check(limits.FOLLOW.key(current_user.id))
    if user.id == current_user.id:
        flash(_("You cannot follow yourself."))
    elif start_following(current_user, user):
        db.session.commit()
        flash(_("You follow %(name)s now.", name=user.username))
    return _back(user)


@blueprint.post("/user/<username>/unfollow")
@units.safe_twice
@login_required
def unfollow(username: str) -> ResponseReturnValue:
    # Who is suspended can be left as well.
    user = _named(username)
    if user is None:
        abort(404)
    limits.check(limits.FOLLOW.key(current_user.id))
    if stop_following(current_user, user):
        db.session.commit()
        flash(_("You no longer follow %(name)s.", name=user.username))
    if not user.is_active and not current_user.moderates:
        return redirect(url_for("posts.home"))
    return _back(user)


def _back(user: User) -> ResponseReturnValue:
    """To the page with the button; if it does not say which, to whom it was about."""
    return redirect(safe_path(request.form.get("next")) or url_for("people.profile", username=user.username))


# What keeps somebody away, or no longer; and what is said of it. They themselves are not told.
_BARRIERS = {
    "block": (barriers.block, _l("%(name)s is blocked: neither of you sees the other.")),
    "unblock": (barriers.unblock, _l("%(name)s is no longer blocked.")),
    "mute": (barriers.mute, _l("You see no posts of %(name)s any more. They do not learn of it.")),
    "unmute": (barriers.unmute, _l("You see posts of %(name)s again.")),
}


@blueprint.post("/user/<username>/<any(block, unblock, mute, unmute):what>")
@units.safe_twice
@login_required
def keep_away(username: str, what: str) -> ResponseReturnValue:
    user: Any = _named(username)
    if user is None or not audience.can_undo(what, user.id):
        user = visible(user)
    limits.check(limits.FOLLOW.key(current_user.id))
    act, message = _BARRIERS[what]
    if act(current_user, user):
        db.session.commit()
        flash(str(message) % {"name": user.username})
    return _back(user)


@blueprint.get("/settings/people")
@login_required
def kept_away() -> ResponseReturnValue:
    """Whom one has blocked or muted."""
    page = barriers.kept_page(current_user.id, **cursor())
    return render_template("people/kept_away.html", page=page, path=url_for("people.kept_away"))


@blueprint.route("/user/<username>/report", methods=["GET", "POST"])
@login_required
def report(username: str) -> ResponseReturnValue:
    """Ask the moderators to look at somebody."""
    return _report(find(username))


@blueprint.route("/post/<int:number>/report", methods=["GET", "POST"])
@login_required
def report_post(number: int) -> ResponseReturnValue:
    """Likewise at a post."""
    post = one(number)
    if post is None:
        abort(404)
    # Of what was passed on, who wrote it.
    return _report(find(post.shown.username), post.shown)


def _report(user: User, post: PostRow | None = None) -> ResponseReturnValue:
    if user.id == current_user.id:
        abort(404)
    form = ReportForm()
    name = user.username
    if form.validate_on_submit():
        limits.check(limits.REPORT.key(current_user.id))
        reports.report(current_user, user, form.comment.data or "", post)
        db.session.commit()
        lapsed.forget_text()
        flash(_("Thank you. The moderators will look at it."))
        return redirect(url_for("people.profile", username=name))
    if not form.is_submitted():
        form.comment.data = lapsed.kept_text()
    return render_template("people/report.html", form=form, name=name, account=user.id, post=post)


@blueprint.get("/avatar/<username>.svg")
def avatar(username: str) -> ResponseReturnValue:
    """The picture that goes with a name, whether anybody has it or not: no database is asked.

    Where the site's owner has turned Gravatar on, and whose picture it is has, too: where that has it.
    """
    if not is_name(username):
        abort(404)
    headers = {"Cache-Control": avatars.CACHE}
    if current_app.config["GRAVATAR"] and current_user.is_authenticated and (user := _pictured(username)):
        # It is theirs to choose, and to change.
        headers = {"Cache-Control": "private, max-age=3600"}
        if preferences.of(user.id).gravatar:
            response = redirect(avatars.gravatar(user.email))
            response.headers.update(headers)
            return response
    return Response(avatars.draw(username), mimetype="image/svg+xml", headers=headers)


def _pictured(username: str) -> Any:
    """Whose picture that is, if they are there for this reader: of others, the drawn one tells nothing."""
    user = User.find(username)
    hidden = (
        user is None or (user.suspended_at and not current_user.moderates) or audience.strangers([user.id])
    )
    return None if hidden else user


@blueprint.get("/avatar/<username>.png")
def avatar_png(username: str) -> ResponseReturnValue:
    """The drawn one, for programs: they have no log-in by which they could be shown another's address."""
    if not is_name(username):
        abort(404)
    return Response(avatars.draw_png(username), mimetype="image/png", headers=avatars.FOR_PROGRAMS)


def find(username: str) -> User:
    """The account with this name, or a page that says there is none.

    One that is suspended is there for administrators alone.
    """
    # Only a name: User.find would find an e-mail address too, and tell whose it is.
    user: User = visible(_named(username))
    return user


def _named(username: str) -> Any:
    user = User.find(username) if is_name(username) else None
    return user if user is not None and is_meant(user.id) else None


def visible(user: Any) -> Any:
    """An account that was looked up, or a page that says there is none."""
    _allowed(user)
    return user


def _allowed(user: Any) -> barriers.Between:
    """What stands between the reader and an account that was looked up; or a page that says there is none."""
    if user is None or (user.suspended_at and not current_user.moderates):
        abort(404)
    if audience.strangers([user.id]):
        abort(404)
    return barriers.between(current_user.id, user.id) if current_user.has_barriers else barriers.NOTHING


def is_name(text: str) -> bool:
    return len(text) <= USERNAME_MAX and USERNAME.fullmatch(text) is not None
