"""Register, log in, log out."""

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user, logout_user
from sqlalchemy.exc import IntegrityError

from microblog.database import db
from microblog.models import User
from microblog.web.auth.forms import LoginForm, RegistrationForm
from microblog.web.security import safe_path

blueprint = Blueprint("auth", __name__)


@blueprint.route("/register", methods=["GET", "POST"])
def register() -> ResponseReturnValue:
    if current_user.is_authenticated:
        return redirect(url_for("posts.home"))
    form = RegistrationForm()
    if form.validate_on_submit():
        user = User(form.username.data, form.email.data, form.password.data)
        db.session.add(user)
        try:
            db.session.commit()
        except IntegrityError:
            # Somebody took the name since it was checked: the form sees it now.
            db.session.rollback()
            if form.validate():
                raise
        else:
            start_session(user, remember=False)
            flash("Welcome! Write your first post.")
            return redirect(url_for("posts.home"))
    return render_template("auth/register.html", form=form)


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    if current_user.is_authenticated:
        return redirect(url_for("posts.home"))
    form = LoginForm()
    wrong = False
    if form.validate_on_submit():
        user = User.authenticate(form.username.data, form.password.data)
        if user:
            start_session(user, remember=form.remember_me.data)
            return redirect(safe_path(request.args.get("next")) or url_for("posts.home"))
        wrong = True
    return render_template("auth/login.html", form=form, wrong=wrong)


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    session.clear()
    logout_user()
    flash("You are logged out.")
    return redirect(url_for("posts.home"))


def start_session(user: User, remember: bool) -> None:
    # Nothing that somebody else may have planted before, its CSRF token included, lives on.
    session.clear()
    login_user(user, remember=remember)
