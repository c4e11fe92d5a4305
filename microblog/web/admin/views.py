"""The administrators' page, and what its buttons do. Each action leaves a line in the log, and in the
moderators' own. Some are moderators' as well."""

import re
from typing import Any

from flask import (
    Blueprint,
    abort,
    current_app,
    flash,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microblog import units
from microblog.database import db
from microblog.i18n import _
from microblog.models import User, account, invitations, moderation, second_factor
from microblog.models.directory import accounts_page
from microblog.models.post import delete_post as remove
from microblog.models.post import find_post
from microblog.models.site import looks, registration, set_public, set_registration
from microblog.models.user import USERNAME_MAX
from microblog.web import housekeeping, letters, site_looks
from microblog.web.admin.forms import DeleteAccountForm, InvitationForm, RulesForm
from microblog.web.extensions import login
from microblog.web.hosts import external_url
from microblog.web.meant import is_meant
from microblog.web.security import path_without, safe_path

ID_MAX = 2**31 - 1
# Of a secret: what is none is looked up nowhere.
_DIGEST = re.compile("[0-9a-f]{64}")

# What is not administrators' alone.
_MODERATORS = {"admin.suspend", "admin.unsuspend", "admin.delete_post", "admin.delete_account"}

blueprint = Blueprint("admin", __name__, url_prefix="/admin")


@blueprint.before_request
def administrators_only() -> ResponseReturnValue | None:
    if not current_user.is_authenticated:
        answer: ResponseReturnValue = login.unauthorized()
        return answer
    if not (current_user.is_admin or (current_user.is_moderator and request.endpoint in _MODERATORS)):
        abort(403)
    if not current_user.is_admin:
        return None
    if second_factor.required_of_administrators() and second_factor.of(current_user.id) is None:
        flash(_("Administrators need a second factor here."))
        return redirect(url_for("account.second"))
    return None


@blueprint.get("")
def overview() -> ResponseReturnValue:
    text = request.args.get("q", "").strip()[:254]
    places = {name: request.args.get(name, type=int) for name in ("before", "after")}
    inside: dict[str, Any] = {
        name: place if place and 0 < place <= ID_MAX else None for name, place in places.items()
    }
    return render_template(
        "admin/overview.html",
        page=accounts_page(text, **inside),
        text=text,
        path=url_for("admin.overview", q=text or None),
        rules=registration(),
        waiting=accounts_page(waiting=True).people,
        second_required=second_factor.required_of_administrators(),
    )


@blueprint.post("/user/<username>/suspend")
@units.safe_twice
def suspend(username: str) -> ResponseReturnValue:
    user = _find(username)
    if account.is_above(user, current_user):
        flash(_("This account cannot be suspended: it is an administrator's, or a moderator's."))
        return _back()
    account.suspend(user)
    return _done("suspended", user.username, _("%(name)s is suspended.", name=user.username))


@blueprint.post("/user/<username>/unsuspend")
@units.safe_twice
def unsuspend(username: str) -> ResponseReturnValue:
    user = _find(username)
    # Where this is begun again, it may have been done.
    name, waited = user.username, g.setdefault("waited", user.waiting)
    if waited and not current_user.is_admin:
        abort(403)
    let_in = account.unsuspend(user) or units.is_again()
    if waited and not let_in:
        # Another administrator was faster.
        return _back()
    if waited:
        answer = _done("let in", name, _("%(name)s is let in.", name=name))
        letters.tell_welcome(user)
        return answer
    return _done("let back in", name, _("%(name)s may come back.", name=name))


@blueprint.post("/user/<username>/refuse")
def refuse(username: str) -> ResponseReturnValue:
    """An account that waits to be let in is not."""
    user = _find(username)
    if not account.still_waits(user):
        abort(404)
    name = user.username
    account.delete_account(user)
    return _done("refused", name, _("%(name)s is not let in; the account is deleted.", name=name))


@blueprint.post("/post/<int:post_id>/delete")
def delete_post(post_id: int) -> ResponseReturnValue:
    post = find_post(post_id)
    if post is None:
        return _gone(post_id)
    subject = f"post {post.id} of account {post.author_id}"
    author = db.session.get(User, post.author_id)
    about = {"subject": author.username if author else "", "post_id": post.id, "text": post.body}
    if not remove(post):
        # Another moderator was faster.
        db.session.rollback()
        return _gone(post_id)
    return _done("deleted", subject, _("The post is deleted."), about=about, gone=f"/post/{post_id}")


@blueprint.route("/user/<username>/delete", methods=["GET", "POST"])
def delete_account(username: str) -> ResponseReturnValue:
    """An account, and everything of it."""
    user = _find(username)
    name = user.username
    form = DeleteAccountForm()
    # Looked at twice: the password is checked meanwhile.
    if user.is_admin or (form.validate_on_submit() and account.is_above(user, current_user)):
        flash(_("This account cannot be deleted: it is an administrator's, or a moderator's."))
        return _back()
    if form.is_submitted() and not form.errors:
        account.delete_account(user)
        return _done("deleted the account", name, _("%(name)s is deleted, with everything of it.", name=name))
    return render_template(
        "account/form.html",
        title=_("Delete %(name)s", name=name),
        form=form,
        fields=[form.password],
        text=_("All posts and messages of this account go with it. This cannot be undone."),
        danger=True,
        account=user.id,
        name=name,
    )


@blueprint.post("/user/<username>/moderator")
@units.safe_twice
def make_moderator(username: str) -> ResponseReturnValue:
    user = _find(username)
    user.is_moderator = True
    return _done("made a moderator", user.username, _("%(name)s is a moderator.", name=user.username))


@blueprint.post("/user/<username>/moderator/end")
@units.safe_twice
def end_moderator(username: str) -> ResponseReturnValue:
    user = _find(username)
    user.is_moderator = False
    return _done(
        "no longer made a moderator",
        user.username,
        _("%(name)s is no moderator any more.", name=user.username),
    )


@blueprint.post("/second-factor/require")
def require_second_factor() -> ResponseReturnValue:
    # Who asks it of others has it: else nobody could take it back here.
    if second_factor.of(current_user.id) is None:
        flash(_("Turn on your own first."))
        return redirect(url_for("account.second"))
    second_factor.require_of_administrators(True)
    return _done("required", "second factor", _("Administrators need a second factor."))


@blueprint.post("/second-factor/free")
def free_second_factor() -> ResponseReturnValue:
    second_factor.require_of_administrators(False)
    return _done("freed", "second factor", _("A second factor is everybody's choice."))


@blueprint.route("/registration", methods=["GET", "POST"])
@units.safe_twice
def registration_rules() -> ResponseReturnValue:
    """Who may register; and the invitations that are out."""
    rules = registration()
    form = RulesForm(mode=rules.mode, approval=rules.approval, public=looks().public)
    if form.validate_on_submit():
        set_registration(form.mode.data, form.approval.data)
        set_public(form.public.data)
        site_looks.forget()
        return _done("set", f"registration: {form.mode.data}", _("Saved."), "admin.registration_rules")
    return _invitations(rules=form)


@blueprint.post("/invitations")
def invite() -> ResponseReturnValue:
    """A new invitation. Its link is shown this once."""
    form = InvitationForm()
    if not form.validate_on_submit():
        return _invitations(invitation=form)
    if len(invitations.good()) >= invitations.MOST:
        # The page could not show it, and nobody could withdraw it.
        flash(_("There are %(num)d invitations already. Withdraw one first.", num=invitations.MOST))
        return redirect(url_for("admin.registration_rules"))
    secret = invitations.issue(form.note.data or "", form.uses.data, int(form.days.data))
    db.session.commit()
    current_app.logger.info(
        "administrator %s invited %d for %s days", current_user.username, form.uses.data, form.days.data
    )
    response = make_response(_invitations(link=external_url("auth.join", secret=secret)))
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.post("/invitations/<digest>/withdraw")
def withdraw(digest: str) -> ResponseReturnValue:
    number = invitations.withdraw(digest) if _DIGEST.fullmatch(digest) else None
    if number is None:
        abort(404)
    return _done(
        "withdrew", f"invitation {number}", _("The invitation is withdrawn."), "admin.registration_rules"
    )


def _invitations(
    rules: RulesForm | None = None, invitation: InvitationForm | None = None, link: str = ""
) -> str:
    now = registration()
    return render_template(
        "admin/registration.html",
        form=rules or RulesForm(formdata=None, mode=now.mode, approval=now.approval, public=looks().public),
        invitation=invitation or InvitationForm(formdata=None),
        invitations=invitations.good(),
        mode=now.mode,
        link=link,
    )


def _find(username: str) -> User:
    user = User.find(username) if "@" not in username else None
    if user is None or not is_meant(user.id):
        abort(404)
    return user


def _done(
    action: str,
    subject: str,
    message: str,
    page: str = "admin.overview",
    about: Any = None,
    gone: str = "",
) -> ResponseReturnValue:
    """
    :param about: what the moderators' log says of it, if there is more than the subject's name.
    :param gone: the path of a page that there is no more.
    """
    moderation.note(current_user, action, **(about or {"subject": subject[:USERNAME_MAX]}))
    db.session.commit()
    housekeeping.end_what_began()
    who = "administrator" if current_user.is_admin else "moderator"
    current_app.logger.info("%s %s %s %s", who, current_user.username, action, subject)
    flash(message)
    back = request.form.get("next")
    return redirect((path_without(back, gone) if gone else safe_path(back)) or url_for(_page(page)))


def _gone(post_id: int) -> ResponseReturnValue:
    """To where the button was, as if it had been pressed in time; the post's own page is no more."""
    flash(_("The post is gone already."))
    back = path_without(request.form.get("next"), f"/post/{post_id}")
    return redirect(back or url_for(_page("admin.overview")))


def _back() -> ResponseReturnValue:
    return redirect(safe_path(request.form.get("next")) or url_for(_page("admin.overview")))


def _page(page: str) -> str:
    return page if current_user.is_admin else "moderation.queue"
