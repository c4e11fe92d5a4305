"""The passkeys of one's own account: in the place of a code of the second factor."""

from flask import abort, flash, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_required
from sqlalchemy.exc import IntegrityError

from microblog.database import db
from microblog.i18n import _
from microblog.models import passkeys, second_factor, webauthn
from microblog.web import letters
from microblog.web import passkeys as browser
from microblog.web.account.forms import NewPasskeyForm, RemovePasskeyForm
from microblog.web.account.views import blueprint
from microblog.web.extensions import own_account

# The name of the one that a browser is asked for: the password was right, and so was a code.
_NAME = "passkey_name"


@blueprint.route("/settings/passkeys", methods=["GET", "POST"])
@login_required
def own_passkeys() -> ResponseReturnValue:
    """Those that there are, and a new one, which takes the password and a code first."""
    user = own_account()
    if second_factor.of(user.id) is None:
        return redirect(url_for("account.second"))
    form = NewPasskeyForm()
    if browser.possible() and form.validate_on_submit():
        session[_NAME] = form.name.data
        response = make_response(render_template("account/passkey_new.html", passkey=browser.ask_new(user)))
        response.headers["Cache-Control"] = "no-store"
        return response
    return render_template(
        "account/passkeys.html", form=form, passkeys=passkeys.of(user.id), possible=browser.possible()
    )


@blueprint.post("/settings/passkeys/new")
@login_required
def new_passkey() -> ResponseReturnValue:
    """What the browser has made."""
    user = own_account()
    name = session.pop(_NAME, None)
    if name is None or second_factor.of(user.id) is None:
        return redirect(url_for("account.own_passkeys"))
    try:
        browser.add(user, name, request.form.get(browser.FIELD, ""))
        db.session.commit()
    except (webauthn.Wrong, IntegrityError):
        db.session.rollback()
        flash(_("No passkey was made. Try again."))
    else:
        letters.tell_change(user, user.email, "passkey")
        flash(_("At log-in, the passkey is as good as a code."))
    return redirect(url_for("account.own_passkeys"))


@blueprint.route("/settings/passkeys/<digest>/remove", methods=["GET", "POST"])
@login_required
def remove_passkey(digest: str) -> ResponseReturnValue:
    user = own_account()
    found = next((one for one in passkeys.of(user.id) if one.digest == digest), None)
    if found is None:
        abort(404)
    form = RemovePasskeyForm()
    if form.validate_on_submit():
        passkeys.remove(user.id, digest)
        db.session.commit()
        letters.tell_change(user, user.email, "passkey")
        flash(_("The passkey is removed."))
        return redirect(url_for("account.own_passkeys"))
    title = _("Remove the passkey %(name)s", name=found.name)
    return render_template("account/form.html", title=title, form=form, fields=[form.password])
