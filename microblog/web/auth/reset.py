"""A new password for somebody who forgot theirs, by a link in a mail."""

from flask import flash, make_response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from microblog import i18n
from microblog.database import db
from microblog.i18n import _, _l
from microblog.models import User, tokens
from microblog.models.throttle import attempt
from microblog.web import letters, limits
from microblog.web.auth.forms import ForgotForm, ResetForm
from microblog.web.auth.views import blueprint
from microblog.web.hosts import external_url


@blueprint.route("/reset", methods=["GET", "POST"])
def forgot() -> ResponseReturnValue:
    """Ask for a link. The answer and its time are the same, whether there is such an account or not."""
    form = ForgotForm()
    sends = letters.mailer() is not None
    if sends and form.validate_on_submit():
        email = form.email.data.lower()
        limits.check(limits.visitor(limits.RESET_ADDRESS))
        # Else enough links are on their way: whoever asked for them, the account's owner has them.
        if not attempt(limits.RESET_ACCOUNT.key(email)):
            start, language = external_url("auth.forgot"), i18n.language()
            letters.later(lambda: send_link(email, start, language))
        flash(_("If there is an account with that address, a link is on its way to it."))
        return redirect(url_for("auth.login"))
    return render_template("auth/forgot.html", form=form, sends=sends)


def send_link(email: str, start: str, language: str) -> None:
    """Mail a link to the account with this address, if there is one that may log in.

    :param start: the link, but for its token.
    :param language: for who has chosen none.
    """
    user = User.find(email)
    if user is None or not user.is_active:
        return
    token = tokens.issue(user, tokens.RESET)
    db.session.commit()
    letters.deliver(
        user.email,
        user.locale or language,
        _l("A new password"),
        "mail/reset.txt",
        username=user.username,
        link=f"{start}/{token}",
    )


@blueprint.route("/reset/<token>", methods=["GET", "POST"])
def reset(token: str) -> ResponseReturnValue:
    """Set a new password, with the token of a link. It works once."""
    found = tokens.find(token, tokens.RESET)
    if found is None or not found[0].is_active:
        return no_longer_valid()
    user, row = found
    form = ResetForm()
    form.owner = user
    if form.validate_on_submit():
        if not tokens.use(row):
            db.session.rollback()
            return no_longer_valid()
        user.set_password(form.password.data)
        # Who has the link has the address.
        user.email_confirmed = True
        db.session.commit()
        letters.tell_change(user, user.email, "password")
        flash(_("Your new password is set. Log in with it."))
        return limits.know_device(make_response(redirect(url_for("auth.login"))), user)
    response = make_response(render_template("auth/reset.html", form=form, username=user.username))
    # The address is the secret.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def no_longer_valid() -> ResponseReturnValue:
    flash(_("This link is no longer valid. Ask for a new one."))
    return redirect(url_for("auth.forgot"))
