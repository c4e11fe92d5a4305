"""The pages of one's own account."""

from flask import Blueprint, Response, flash, make_response, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required, logout_user
from sqlalchemy.exc import IntegrityError

from microblog import i18n
from microblog.database import db
from microblog.i18n import _, _l
from microblog.models import User, tokens
from microblog.models.account import delete_account
from microblog.web import letters, limits
from microblog.web.account.export import as_json
from microblog.web.account.forms import ConfirmForm, DeleteForm, EmailForm, PasswordForm, ProfileForm
from microblog.web.auth.views import is_remembered, start_session
from microblog.web.hosts import external_url

blueprint = Blueprint("account", __name__)


@blueprint.route("/settings", methods=["GET", "POST"])
@login_required
def settings() -> ResponseReturnValue:
    form = ProfileForm(obj=current_user)
    if form.validate_on_submit():
        current_user.about = form.about.data
        current_user.locale = form.locale.data or None
        db.session.commit()
        # The answer to what was just chosen is in that language.
        i18n.use(current_user.locale or i18n.preferred())
        flash(_("Your settings are saved."))
        return redirect(url_for("account.settings"))
    return render_template("account/settings.html", form=form)


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
            return _set_email(current_user, new)
        user_id, start = current_user.id, external_url("account.confirm", token="-")[:-1]  # noqa: S106
        language = i18n.language()
        letters.later(lambda: _send_confirmation(user_id, new, start, language))
        flash(_("A link is on its way to %(email)s. Open it within ten minutes.", email=new))
        return redirect(url_for("account.settings"))
    return _page(_("Change your e-mail address"), form, [form.email, form.password])


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
        user: User = current_user._get_current_object()
        user.set_password(form.new.data)
        db.session.commit()
        start_session(user, remember=is_remembered())
        letters.tell_change(user, user.email, "password")
        flash(_("Your password is changed. All other devices are logged out."))
        return redirect(url_for("account.settings"))
    return _page(_("Change your password"), form, [form.password, form.new, form.new2])


@blueprint.get("/settings/export")
@login_required
def export() -> ResponseReturnValue:
    """All one's own data, as a file."""
    user: User = current_user._get_current_object()
    response = Response(as_json(user), mimetype="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="microblog-{user.username}.json"'
    return response


@blueprint.route("/settings/delete", methods=["GET", "POST"])
@login_required
def delete() -> ResponseReturnValue:
    form = DeleteForm()
    if form.validate_on_submit():
        user: User = current_user._get_current_object()
        session.clear()
        logout_user()
        delete_account(user)
        db.session.commit()
        flash(_("Your account is deleted. Goodbye."))
        return redirect(url_for("posts.home"))
    text = _("Your posts go with it. This cannot be undone.")
    return _page(_("Delete your account"), form, [form.password], text, danger=True)


def _page(title: str, form: object, fields: list[object], text: str = "", danger: bool = False) -> str:
    return render_template(
        "account/form.html", title=title, form=form, fields=fields, text=text, danger=danger
    )


def _set_email(user: User, new: str) -> ResponseReturnValue:
    old = user.email
    user.email = new
    try:
        db.session.commit()
    except IntegrityError:
        # Somebody registered with it since.
        db.session.rollback()
        flash(_("This e-mail address has an account already."))
    else:
        letters.tell_change(user, old, "email")
        flash(_("Your e-mail address is changed."))
    return redirect(url_for("account.settings"))


def _send_confirmation(user_id: int, new: str, start: str, language: str) -> None:
    user = db.session.get(User, user_id)
    if user is None:
        return
    token = tokens.issue(user, tokens.NEW_EMAIL, new)
    db.session.commit()
    subject = _l("Your new e-mail address")
    letters.deliver(
        new, user.locale or language, subject, "mail/confirm.txt", username=user.username, link=start + token
    )
