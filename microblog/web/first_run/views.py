"""The pages of the first run.

Who has the code makes the administrator's account: with that, the site is claimed, and all that follows is an
administrator's, who may come back to it at any time. What was answered is in the database by then.
"""

from typing import Any

from flask import (
    Blueprint,
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
from flask_login import current_user
from sqlalchemy.exc import IntegrityError

from microblog import claiming, i18n
from microblog.database import db
from microblog.i18n import LANGUAGES, _
from microblog.models import User, claim
from microblog.models.account import release_email
from microblog.models.site import CLOSED, Looks, registration, set_registration
from microblog.models.throttle import forgive
from microblog.web import lately, letters, limits, site_looks
from microblog.web.admin.views import administrators_only
from microblog.web.auth.forms import RegistrationForm
from microblog.web.auth.views import start_session
from microblog.web.first_run import agent, gate, nearby, reach
from microblog.web.first_run.forms import AddressForm, CodeForm, SiteForm, StartForm

_LANGUAGE = "first-run language"
# The pages after the account, in their order.
_STEPS = ("site", "address", "backups")

blueprint = Blueprint("first_run", __name__, url_prefix="/first-run")


@blueprint.before_request
def speak() -> None:
    """The language that was chosen on the first page: there is no account yet that could have one."""
    if (chosen := session.get(_LANGUAGE)) and not current_user.is_authenticated:
        i18n.use(chosen)


@blueprint.route("", methods=["GET", "POST"])
def welcome() -> ResponseReturnValue:
    """This Microblog is new; who has the code may go on."""
    if not gate.is_new():
        return redirect(url_for("posts.home"))
    if (language := request.args.get("language")) in LANGUAGES:
        session[_LANGUAGE] = language
        return redirect(url_for("first_run.welcome"))
    if gate.has_proof():
        return redirect(url_for("first_run.account"))
    minutes = nearby.minutes_left()
    form = StartForm() if minutes else CodeForm()
    problem = ""
    if form.validate_on_submit():
        if minutes or _is_right(form.code.data):
            gate.prove()
            return redirect(url_for("first_run.account"))
        problem = _("This is not the code.")
    return render_template(
        "first_run/welcome.html",
        form=form,
        minutes=minutes,
        problem=problem,
        languages=LANGUAGES,
        nearby=gate.state().nearby,
    )


def _is_right(text: str) -> bool:
    """:raises werkzeug.exceptions.TooManyRequests: too many were wrong, whoever wrote them."""
    key = limits.CLAIM.key()
    limits.check(key)
    if not claiming.holds(gate.state().code, text):
        current_app.logger.info("a wrong code for the new site from %s", request.remote_addr)
        return False
    forgive(key)
    return True


@blueprint.route("/account", methods=["GET", "POST"])
def account() -> ResponseReturnValue:
    """The owner's account. To make it is to claim the site."""
    if not gate.is_new():
        return _too_late()
    if not gate.has_proof():
        return redirect(url_for("first_run.welcome"))
    form = RegistrationForm()
    if form.validate_on_submit():
        user = User(form.username.data, form.email.data, form.password.data)
        user.is_admin = True
        user.locale = session.get(_LANGUAGE)
        user.email_confirmed = letters.mailer() is None
        try:
            claim.take()
            release_email(user.email)
            db.session.add(user)
            db.session.flush()
            # Commits it all: who has claimed the site is logged in.
            start_session(user, remember=False)
        except IntegrityError:
            db.session.rollback()
            if not gate.is_new():
                return _too_late()
            if form.validate():
                raise
        else:
            current_app.logger.info("the site is claimed by %s, from %s", user.username, request.remote_addr)
            lately.note()
            if not user.email_confirmed:
                letters.ask_for_proof(user, user.email)
            return limits.know_device(make_response(redirect(url_for("first_run.site"))), user)
    return render_template("first_run/account.html", form=form, restore=agent.page("restore"))


@blueprint.post("/skip")
def skip() -> ResponseReturnValue:
    """No account: whoever has root's shell makes one. Until then nobody registers."""
    if not gate.is_new():
        return _too_late()
    if not gate.has_proof():
        return redirect(url_for("first_run.welcome"))
    try:
        claim.take()
        set_registration(CLOSED)
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        return _too_late()
    current_app.logger.info("the site is claimed without an account, from %s", request.remote_addr)
    session.clear()
    flash(
        _("The site is yours. To administer it, make an account: sudo microblog user add --admin NAME EMAIL")
    )
    return redirect(url_for("posts.home"))


def _too_late() -> ResponseReturnValue:
    if not current_user.is_authenticated:
        flash(_("Somebody else has claimed this site meanwhile. If that is you, log in."))
        return redirect(url_for("auth.login"))
    return redirect(url_for("posts.home"))


def _after_the_account() -> ResponseReturnValue | None:
    return redirect(url_for("first_run.welcome")) if gate.is_new() else administrators_only()


@blueprint.route("/site", methods=["GET", "POST"])
def site() -> ResponseReturnValue:
    """What it is called, what it speaks, who may register."""
    if answer := _after_the_account():
        return answer
    rules = registration()
    name = site_looks.fixed_name()
    form = SiteForm(
        name=site_looks.site_name(),
        language=site_looks.site_language() or i18n.language(),
        mode=rules.mode,
        approval=rules.approval,
    )
    if name:
        del form.name
    if form.validate_on_submit():
        site_looks.change(Looks("" if name else form.name.data or "", form.language.data))
        set_registration(form.mode.data, form.approval.data)
        db.session.commit()
        site_looks.forget()
        current_app.logger.info("administrator %s set up the site", current_user.username)
        return redirect(url_for("first_run.address"))
    return _page("site", form=form, fixed=name)


@blueprint.route("/address", methods=["GET", "POST"])
def address() -> ResponseReturnValue:
    """The name by which visitors come, and its certificate."""
    if answer := _after_the_account():
        return answer
    form = AddressForm()
    good = ""
    if form.validate_on_submit():
        limits.check(limits.REACH.key(current_user.id))
        name = form.domain.data.lower()
        if problem := reach.problem(name):
            form.domain.errors = [problem]
        else:
            good = name
    return _page("address", form=form, good=good, page=agent.page("https"))


@blueprint.get("/backups")
def backups() -> ResponseReturnValue:
    """Where they are, and how to have them elsewhere."""
    return _after_the_account() or _page("backups", page=agent.page("backups"))


def _page(step: str, **values: Any) -> str:
    number = _STEPS.index(step)
    following = _STEPS[number + 1] if number + 1 < len(_STEPS) else None
    return render_template(
        f"first_run/{step}.html",
        # The account was the first.
        number=number + 2,
        steps=len(_STEPS) + 1,
        following=url_for(f"first_run.{following}") if following else url_for("posts.home"),
        **values,
    )
