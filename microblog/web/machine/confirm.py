"""An administrator's password, and a code where they have a second factor, asked for before something is
done to the machine."""

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf import FlaskForm
from wtforms import SubmitField

from microblog.i18n import _l
from microblog.models import second_factor
from microblog.web import lately
from microblog.web.account.forms import own_code_field, own_password_field


class ConfirmForm(FlaskForm):
    # Under names that no form of the pages has: what those hold is passed on.
    own_password = own_password_field()
    own_code = own_code_field()
    submit = SubmitField(_l("Go on"))


def ask() -> ResponseReturnValue | None:
    """Ask, and keep what was to be done; None when it may be done."""
    if lately.confirmed():
        return None
    if request.accept_mimetypes.best == "application/json":
        return {"confirm": True}, 403
    form = ConfirmForm()
    if second_factor.of(current_user.id) is None:
        del form.own_code
    if "own_password" in request.form and form.validate():
        lately.note()
        return None
    kept = [
        (name, value)
        for name, values in request.form.lists()
        if name not in ("csrf_token", "own_password", "own_code", "submit")
        for value in values
    ]
    return render_template("machine/confirm.html", form=form, kept=kept)
