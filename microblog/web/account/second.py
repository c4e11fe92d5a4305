"""The second factor of one's own account: turned on, off, and its recovery codes anew."""

from flask import Response, flash, make_response, redirect, render_template, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_required

from microblog.database import db
from microblog.i18n import _
from microblog.models import applications, second_factor, sessions
from microblog.web import letters, limits
from microblog.web.account.forms import NewCodesForm, SecondFactorForm, TurnOffForm
from microblog.web.account.views import blueprint
from microblog.web.auth.views import is_remembered, start_session
from microblog.web.extensions import own_account
from microblog.web.site_looks import site_name

# The secret that the page shows until its owner has typed a code of it.
_SEED = "second_seed"


@blueprint.route("/settings/second-factor", methods=["GET", "POST"])
@login_required
def second() -> ResponseReturnValue:
    user = own_account()
    factor = second_factor.of(user.id)
    if factor is not None:
        return render_template(
            "account/second.html",
            left=second_factor.codes_left(user.id),
            since=factor.created_at,
        )
    seed = session.get(_SEED)
    form = SecondFactorForm()
    if seed and form.validate_on_submit():
        if step := second_factor.right_step(second_factor.secret_of(seed), form.code.data):
            codes = second_factor.turn_on(user, seed, step)
            # Who has logged in with the password alone does so again.
            sessions.end(user.id)
            applications.revoke(user.id)
            # Commits it all: nobody is left with codes that were never shown. The seed goes with the session.
            start_session(user, remember=is_remembered())
            letters.tell_change(user, user.email, "second")
            return limits.know_device(_codes(codes), user, second_factor.of(user.id))
        form.code.errors = [*form.code.errors, _("This is not the code of this moment.")]
    if not seed:
        seed = session[_SEED] = second_factor.new_seed()
    secret = second_factor.secret_of(seed)
    address = second_factor.address(secret, user.username, site_name())
    page = render_template(
        "account/second_on.html",
        form=form,
        address=address,
        picture=_picture(address),
        secret=second_factor.readable(secret),
    )
    return _private(page)


@blueprint.route("/settings/second-factor/off", methods=["GET", "POST"])
@login_required
def second_off() -> ResponseReturnValue:
    user = own_account()
    if second_factor.of(user.id) is None:
        return redirect(url_for("account.second"))
    form = TurnOffForm()
    if form.validate_on_submit():
        if second_factor.turn_off(user.id):
            db.session.commit()
            letters.tell_change(user, user.email, "second")
        flash(_("At log-in, your password is enough again."))
        return redirect(url_for("account.settings"))
    return _form(_("Turn the second factor off"), form)


@blueprint.route("/settings/second-factor/codes", methods=["GET", "POST"])
@login_required
def recovery_codes() -> ResponseReturnValue:
    user = own_account()
    if second_factor.of(user.id) is None:
        return redirect(url_for("account.second"))
    form = NewCodesForm()
    if form.validate_on_submit():
        codes = second_factor.new_recovery_codes(user.id)
        db.session.commit()
        letters.tell_change(user, user.email, "codes")
        return _codes(codes)
    return _form(_("New recovery codes"), form)


def _form(title: str, form: TurnOffForm | NewCodesForm) -> str:
    return render_template("account/form.html", title=title, form=form, fields=[form.password, form.code])


def _codes(codes: list[str]) -> Response:
    return _private(render_template("account/recovery_codes.html", codes=codes))


def _private(page: str) -> Response:
    response = make_response(page)
    response.headers["Cache-Control"] = "no-store"
    return response


def _picture(address: str) -> str:
    """A QR code; empty where the library for it is not installed: the page then says the secret alone."""
    try:
        import segno
    except ImportError:
        return ""
    return str(segno.make(address, error="m", micro=False).svg_inline(scale=4, border=4))
