"""Register, log in, log out."""

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
from flask_login import current_user, login_user, logout_user
from sqlalchemy.exc import IntegrityError

from microblog import i18n, units
from microblog.database import db
from microblog.i18n import _
from microblog.models import Reader, User, invitations, second_factor, sessions
from microblog.models.account import keep_waiting, release_email
from microblog.models.site import CLOSED, OPEN, registration
from microblog.models.throttle import forgive
from microblog.web import lapsed, lately, letters, limits
from microblog.web.auth import half
from microblog.web.auth.forms import LoginForm, RegistrationForm
from microblog.web.security import safe_path

blueprint = Blueprint("auth", __name__)


@blueprint.route("/register", methods=["GET", "POST"])
def register() -> ResponseReturnValue:
    if current_user.is_authenticated:
        return redirect(url_for("posts.home"))
    rules = registration()
    if rules.mode != OPEN:
        return render_template("auth/closed.html", mode=rules.mode), 403
    return _register(waits=rules.approval)


@blueprint.route("/join/<secret>", methods=["GET", "POST"])
def join(secret: str) -> ResponseReturnValue:
    """Register with an invitation: an administrator has let one in by giving it."""
    if current_user.is_authenticated:
        return redirect(url_for("posts.home"))
    invitation = invitations.find(secret) if registration().mode != CLOSED else None
    if invitation is None:
        return _not_invited()
    response = make_response(_register(invitation))
    # The address is the secret.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _not_invited() -> ResponseReturnValue:
    text = _("This invitation is no longer good: it has ended, or as many have used it as may.")
    return render_template("auth/closed.html", mode="", text=text), 403


def _register(invitation: Any = None, *, waits: bool = False) -> ResponseReturnValue:
    """:param waits: whether an administrator has yet to let a new account in."""
    form = RegistrationForm()
    # Before anything is looked up: the form tells which names and addresses are taken.
    if form.is_submitted():
        limits.check(limits.visitor(limits.REGISTRATION))
    if form.validate_on_submit():
        try:
            user = make_account(form, invitation, waits)
        except NotInvited:
            return _not_invited()
        if user is not None:
            if waits:
                db.session.commit()
                flash(_("Your account is made. The site's owner has to let you in; then you can log in."))
                return redirect(url_for("auth.login"))
            start_session(user, remember=False)
            if not user.email_confirmed:
                letters.ask_for_proof(user, user.email)
                flash(_("A link is on its way to %(email)s. Open it within ten minutes.", email=user.email))
            flash(_("Welcome! Write your first post."))
            return limits.know_device(make_response(redirect(url_for("posts.home"))), user)
    return render_template("auth/register.html", form=form)


class NotInvited(Exception):
    """The invitation is no longer good."""


def make_account(form: RegistrationForm, invitation: Any, waits: bool) -> User | None:
    """A new account; the caller commits.

    :param form: a valid one.
    :param invitation: that is used for it; None: it needs none.
    :param waits: whether an administrator has yet to let it in.
    :return: None if somebody has taken the name, or the address, since the form was checked: it says so now.
    :raises NotInvited: others were faster.
    """
    user = User(form.username.data, form.email.data, form.password.data)
    user.email_confirmed = letters.mailer() is None
    if waits:
        keep_waiting(user)
    try:
        if invitation is not None and not invitations.use(invitation):
            db.session.rollback()
            raise NotInvited
        release_email(user.email)
        db.session.add(user)
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        if form.validate():
            raise
        return None
    return user


# Two log-ins at once are as good as one.
@blueprint.route("/login", methods=["GET", "POST"])
@units.safe_twice
def login() -> ResponseReturnValue:
    if current_user.is_authenticated:
        return redirect(url_for("posts.home"))
    form = LoginForm()
    problem = None
    if form.validate_on_submit():
        keys = limits.check_login(form.username.data)
        user = User.authenticate(form.username.data, form.password.data)
        if user:
            forgive(*keys)
        if user and user.is_active:
            if second_factor.of(user.id):
                half.begin(user, form.remember_me.data)
                return redirect(url_for("auth.code", next=safe_path(request.args.get("next"))))
            return finish_login(user, form.remember_me.data)
        problem = _("Wrong username or password.")
        if user:
            problem = _("This account is suspended.")
            if user.waiting:
                problem = _("The site's owner has not let this account in yet.")
    return render_template(
        "auth/login.html", form=form, problem=problem, can_reset=letters.mailer() is not None
    )


def finish_login(user: User, remember: bool, factor: Any = None) -> ResponseReturnValue:
    """Log somebody in who has shown all that their account asks for, and go where they wanted to.

    :param factor: the second one, where it does.
    """
    start_session(user, remember)
    if user.is_admin:
        lately.note()
    target = safe_path(request.args.get("next")) or url_for("posts.home")
    return limits.know_device(make_response(redirect(target)), user, factor)


@blueprint.post("/logout")
@units.safe_twice
def logout() -> ResponseReturnValue:
    if current_user.is_authenticated:
        # Cookies that somebody may have copied are worth nothing from now on.
        sessions.end(current_user.id, current_user.session_digest)
        db.session.commit()
    session.clear()
    logout_user()
    flash(_("You are logged out."))
    return redirect(url_for("posts.home"))


def start_session(user: User, remember: bool) -> None:
    """Log somebody in here, and commit that with all that was done before."""
    user.start_session(request.user_agent.string, remember)
    db.session.commit()
    lapsed.renew_session(user)
    # A page that this request answers with asks of them what it asks of every reader.
    login_user(Reader.from_id(user.get_id()) or user, remember=remember)
    i18n.use(None)


def is_remembered() -> bool:
    """Whether this browser has a remember-me cookie."""
    return current_app.config["REMEMBER_COOKIE_NAME"] in request.cookies
