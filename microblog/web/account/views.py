"""The pages of one's own account."""

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required, logout_user
from sqlalchemy.exc import IntegrityError

from microblog import i18n, units
from microblog.database import db
from microblog.i18n import _
from microblog.models import User, preferences, sessions, tokens
from microblog.models.account import delete_account, is_last_admin, release_email
from microblog.web import browsers, housekeeping, lapsed, letters, limits, site_looks
from microblog.web.account.export import as_json
from microblog.web.account.forms import ConfirmForm, DeleteForm, EmailForm, PasswordForm, ProfileForm
from microblog.web.auth.views import is_remembered, start_session
from microblog.web.extensions import own_account

blueprint = Blueprint("account", __name__)


@blueprint.route("/settings", methods=["GET", "POST"])
@units.safe_twice
@login_required
def settings() -> ResponseReturnValue:
    user = own_account()
    chosen = preferences.of(user.id)
    # Else what is not shown would be taken for not ticked.
    asked = ["hides_last_seen"]
    asked += ["members_only"] if site_looks.is_public() else []
    asked += ["gravatar"] if current_app.config["GRAVATAR"] else []
    form = ProfileForm(obj=user, data={name: getattr(chosen, name) for name in asked})
    if form.validate_on_submit():
        preferences.change(user.id, **{name: form[name].data for name in asked})
        user.about = form.about.data
        user.locale = form.locale.data or None
        db.session.commit()
        lapsed.forget_text()
        # The answer to what was just chosen is in that language.
        i18n.use(user.locale or i18n.preferred())
        flash(_("Your settings are saved."))
        return redirect(url_for("account.settings"))
    if not form.is_submitted() and (written := lapsed.kept_text()) is not None:
        form.about.data = written
    sends = letters.mailer() is not None
    return render_template("account/settings.html", user=user, form=form, sends=sends, asked=asked)


@blueprint.route("/settings/email", methods=["GET", "POST"])
@login_required
def email() -> ResponseReturnValue:
    """Change the address: by a link to the new one, where the site can send mail."""
    form = EmailForm()
    # Before anything is looked up: the form tells which addresses are taken.
    if form.is_submitted():
        limits.check(limits.NEW_EMAIL.key(current_user.id))
    if form.validate_on_submit():
        new = form.email.data.lower()
        if letters.mailer() is None:
            return _set_email(own_account(), new)
        letters.ask_for_proof(own_account(), new)
        flash(_("A link is on its way to %(email)s. Open it within ten minutes.", email=new))
        return redirect(url_for("account.settings"))
    return _page(_("Change your e-mail address"), form, [form.email, form.password])


@blueprint.post("/settings/email/proof")
@login_required
def proof() -> ResponseReturnValue:
    """Ask once more for a proof of the address that was given at registration."""
    user = own_account()
    if letters.mailer() is None or user.email_confirmed:
        abort(404)
    letters.ask_for_proof(user, user.email)
    flash(_("A link is on its way to %(email)s. Open it within ten minutes.", email=user.email))
    return redirect(url_for("account.settings"))


@blueprint.get("/settings/sessions")
@login_required
def log_ins() -> ResponseReturnValue:
    """Where one is logged in."""
    return render_template(
        "account/sessions.html",
        sessions=sessions.of(current_user.id),
        this=current_user.session_digest,
        name=browsers.name,
    )


@blueprint.post("/settings/sessions/end")
@units.safe_twice
@login_required
def end_log_ins() -> ResponseReturnValue:
    """Log out of one browser, or of all."""
    which = request.form.get("session")
    sessions.end(current_user.id, which)
    ended_here = which in (None, current_user.session_digest)
    db.session.commit()
    if ended_here:
        session.clear()
        logout_user()
        flash(_("You are logged out everywhere.") if which is None else _("You are logged out."))
        return redirect(url_for("posts.home"))
    flash(_("That browser is logged out."))
    return redirect(url_for("account.log_ins"))


@blueprint.route("/confirm/<token>", methods=["GET", "POST"])
def confirm(token: str) -> ResponseReturnValue:
    """Prove that a new address is one's own. A button: programs that look into mails open links."""
    found = tokens.find(token, tokens.NEW_EMAIL)
    if found is None or not found[0].is_active:
        flash(_("This link is no longer valid."))
        return redirect(url_for("account.settings"))
    user, row = found
    form = ConfirmForm()
    if form.validate_on_submit():
        new = row.email
        if not tokens.use(row):
            db.session.rollback()
            flash(_("This link is no longer valid."))
            return redirect(url_for("account.settings"))
        return _set_email(user, new)
    text = _(
        "%(email)s becomes the address of the account %(username)s.", email=row.email, username=user.username
    )
    response = make_response(_page(_("Confirm your e-mail address"), form, [], text))
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.route("/settings/password", methods=["GET", "POST"])
@login_required
def password() -> ResponseReturnValue:
    """Change the password. All other sessions end with the old one."""
    form = PasswordForm()
    if form.validate_on_submit():
        user = own_account()
        user.set_password(form.new.data)
        start_session(user, remember=is_remembered())
        letters.tell_change(user, user.email, "password")
        flash(_("Your password is changed. All other devices are logged out."))
        return redirect(url_for("account.settings"))
    return _page(_("Change your password"), form, [form.password, form.new, form.new2])


@blueprint.get("/settings/export")
@login_required
def export() -> ResponseReturnValue:
    """All one's own data, as a file."""
    user = own_account()
    response = Response(as_json(user), mimetype="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="microblog-{user.username}.json"'
    return response


@blueprint.route("/settings/delete", methods=["GET", "POST"])
@login_required
def delete() -> ResponseReturnValue:
    form = DeleteForm()
    if form.validate_on_submit():
        user = own_account()
        # Else nobody could do what only they can, but on the server's command line.
        if is_last_admin(user):
            flash(_("You are the last administrator. Let somebody else be one first."))
            return redirect(url_for("account.settings"))
        delete_account(user)
        db.session.commit()
        session.clear()
        logout_user()
        housekeeping.end_what_began()
        flash(_("Your account is deleted. Goodbye."))
        return redirect(url_for("posts.home"))
    text = _("Your posts go with it. This cannot be undone.")
    return _page(_("Delete your account"), form, [form.password], text, danger=True)


def _page(title: str, form: object, fields: list[object], text: str = "", danger: bool = False) -> str:
    return render_template(
        "account/form.html", title=title, form=form, fields=fields, text=text, danger=danger
    )


def _set_email(user: User, new: str) -> ResponseReturnValue:
    old, proven = user.email, user.email_confirmed
    try:
        release_email(new, user)
        user.email, user.email_confirmed = new, True
        db.session.commit()
    except IntegrityError:
        # Somebody registered with it since.
        db.session.rollback()
        flash(_("This e-mail address has an account already."))
    else:
        # One that was never proven may be somebody else's.
        if proven and old != new:
            letters.tell_change(user, old, "email")
        flash(_("Your e-mail address is changed.") if old != new else _("Your e-mail address is confirmed."))
    return redirect(url_for("account.settings"))
