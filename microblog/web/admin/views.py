"""The administrators' page, and what its buttons do. Each action leaves a line in the log."""

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microblog import units
from microblog.database import db
from microblog.i18n import _
from microblog.models import User, account
from microblog.models.directory import accounts_page
from microblog.models.post import delete_post as remove
from microblog.models.post import find_post
from microblog.models.site import registration_open, set_registration
from microblog.web.extensions import login
from microblog.web.security import safe_path

ID_MAX = 2**31 - 1

blueprint = Blueprint("admin", __name__, url_prefix="/admin")


@blueprint.before_request
def administrators_only() -> ResponseReturnValue | None:
    if not current_user.is_authenticated:
        answer: ResponseReturnValue = login.unauthorized()
        return answer
    if not current_user.is_admin:
        abort(403)
    return None


@blueprint.get("")
def overview() -> ResponseReturnValue:
    text = request.args.get("q", "").strip()[:254]
    places = {name: request.args.get(name, type=int) for name in ("before", "after")}
    inside = {name: place if place and 0 < place <= ID_MAX else None for name, place in places.items()}
    return render_template(
        "admin/overview.html",
        page=accounts_page(text, **inside),
        text=text,
        path=url_for("admin.overview", q=text or None),
        open=registration_open(),
    )


@blueprint.post("/user/<username>/suspend")
@units.safe_twice
def suspend(username: str) -> ResponseReturnValue:
    user = _find(username)
    if user.is_admin:
        flash(_("An administrator cannot be suspended."))
        return _back()
    account.suspend(user)
    return _done("suspended", user.username, _("%(name)s is suspended.", name=user.username))


@blueprint.post("/user/<username>/unsuspend")
@units.safe_twice
def unsuspend(username: str) -> ResponseReturnValue:
    user = _find(username)
    account.unsuspend(user)
    return _done("let back in", user.username, _("%(name)s may come back.", name=user.username))


@blueprint.post("/post/<int:post_id>/delete")
def delete_post(post_id: int) -> ResponseReturnValue:
    post = find_post(post_id)
    if post is None:
        abort(404)
    subject = f"post {post.id} of account {post.author_id}"
    remove(post)
    return _done("deleted", subject, _("The post is deleted."))


@blueprint.post("/registration/close")
@units.safe_twice
def close_registration() -> ResponseReturnValue:
    set_registration(False)
    return _done("closed", "registration", _("Registration is closed."))


@blueprint.post("/registration/open")
@units.safe_twice
def open_registration() -> ResponseReturnValue:
    set_registration(True)
    return _done("opened", "registration", _("Registration is open."))


def _find(username: str) -> User:
    user = User.find(username) if "@" not in username else None
    if user is None:
        abort(404)
    return user


def _done(action: str, subject: str, message: str) -> ResponseReturnValue:
    db.session.commit()
    current_app.logger.info("administrator %s %s %s", current_user.username, action, subject)
    flash(message)
    return _back()


def _back() -> ResponseReturnValue:
    return redirect(safe_path(request.form.get("next")) or url_for("admin.overview"))
