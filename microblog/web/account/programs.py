"""Programs that act for oneself: which there are, how to end one, and tokens for scripts."""

from datetime import timedelta

from flask import flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from wtforms import BooleanField, Form, SelectField, SubmitField
from wtforms.validators import ValidationError

from microblog import units
from microblog.database import db
from microblog.i18n import _, _l
from microblog.models import applications
from microblog.web import limits
from microblog.web.account.forms import own_password_field
from microblog.web.account.views import blueprint

# Days that a token of one's own is good for.
_DAYS = {"30": _l("30 days"), "365": _l("A year"), "": _l("Until I end it")}


class Days(SelectField):
    """WTForms', with an answer in the visitor's language."""

    def pre_validate(self, form: Form) -> None:
        if self.data not in _DAYS:
            raise ValidationError(_l("Please choose one of the list."))


class TokenForm(FlaskForm):
    writes = BooleanField(_l("It may also write and change things, not only read"))
    days = Days(_l("Good for"), choices=list(_DAYS.items()), default="30")
    password = own_password_field()
    submit = SubmitField(_l("Make a token"))


@blueprint.route("/settings/programs", methods=["GET", "POST"])
@login_required
def programs() -> ResponseReturnValue:
    form = TokenForm()
    token = None
    if form.validate_on_submit():
        limits.check(limits.TOKENS.key(current_user.id))
        lifetime = timedelta(days=int(form.days.data)) if form.days.data else None
        given = "read write" if form.writes.data else "read"
        token = applications.issue(current_user.id, None, given, lifetime)
        db.session.commit()
    page = render_template(
        "account/programs.html", form=form, token=token, tokens=applications.of(current_user.id), may=may
    )
    response = make_response(page)
    # It is shown once.
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.post("/settings/programs/end")
@units.safe_twice
@login_required
def end_program() -> ResponseReturnValue:
    """End what one program may do, or all."""
    which = request.form.get("token")
    number = request.form.get("token", type=int)
    if which is None or (number is not None and 0 < number < 2**31):
        applications.revoke(current_user.id, number)
        db.session.commit()
        flash(_("It may do nothing more for you."))
    return redirect(url_for("account.programs"))


def may(scopes: str) -> str:
    """What a program with these scopes may do, in a few words."""
    verbs = {scope.partition(":")[0] for scope in scopes.split()}
    if verbs & {"write", "follow"}:
        return _("reads and writes for you")
    return _("reads what you can read")
