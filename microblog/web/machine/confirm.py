"""An administrator's password, asked for before something is done to the machine.

Whoever finds a browser that somebody has left cannot do it, nor who has copied a cookie.
"""

import time

from flask import render_template, request, session
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_wtf import FlaskForm
from wtforms import SubmitField

from microblog.i18n import _l
from microblog.web.account.forms import own_password_field

SECONDS = 600
_KEY = "confirmed"


class ConfirmForm(FlaskForm):
    # Under a name that no form of the pages has: what those hold is passed on. A second factor would be a
    # field of its own here, with its check.
    own_password = own_password_field()
    submit = SubmitField(_l("Go on"))


def note() -> None:
    """This log-in has given its password just now."""
    session[_KEY] = f"{current_user.session_digest} {int(time.time())}"


def confirmed() -> bool:
    """Whether it has, in the last ten minutes."""
    digest, _, at = str(session.get(_KEY, "")).partition(" ")
    return digest == current_user.session_digest and at.isdigit() and 0 <= time.time() - int(at) < SECONDS


def ask() -> ResponseReturnValue | None:
    """Ask, and keep what was to be done; None when it may be done."""
    if confirmed():
        return None
    if request.accept_mimetypes.best == "application/json":
        return {"confirm": True}, 403
    form = ConfirmForm()
    if "own_password" in request.form and form.validate():
        note()
        return None
    if "own_password" not in request.form:
        form.own_password.errors = ()
    kept = [
        (name, value)
        for name, values in request.form.lists()
        if name not in ("csrf_token", "own_password", "submit")
        for value in values
    ]
    return render_template("machine/confirm.html", form=form, kept=kept)
