"""The second half of a log-in, where an account asks for one."""

from flask import make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microblog.i18n import _
from microblog.models import second_factor
from microblog.web import limits, passkeys
from microblog.web.auth import half
from microblog.web.auth.forms import CodeForm
from microblog.web.auth.views import blueprint, finish_login
from microblog.web.security import safe_path


@blueprint.route("/login/code", methods=["GET", "POST"])
def code() -> ResponseReturnValue:
    if current_user.is_authenticated:
        return redirect(url_for("posts.home"))
    begun = half.of()
    if begun is None:
        return redirect(url_for("auth.login", next=safe_path(request.args.get("next"))))
    user, remember = begun
    form = CodeForm()
    problem = None
    if passkeys.FIELD in request.form:
        if limits.is_second(user, lambda: passkeys.shown(user, request.form[passkeys.FIELD])):
            return finish_login(user, remember, second_factor.of(user.id))
        problem = _("This passkey was not taken. Try again, or give a code.")
    elif form.validate_on_submit():
        if limits.is_code(user, form.code.data):
            return finish_login(user, remember, second_factor.of(user.id))
        problem = _("This code is wrong, or was used already.")
    response = make_response(
        render_template("auth/code.html", form=form, problem=problem, passkey=passkeys.ask_one(user))
    )
    response.headers["Cache-Control"] = "no-store"
    return response
