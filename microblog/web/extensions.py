"""Flask's extensions, bound to the application when it is made. The database has its own module."""

from flask import Flask
from flask_login import LoginManager, current_user, user_logged_in
from flask_wtf.csrf import CSRFProtect

from microblog import i18n
from microblog.i18n import _l
from microblog.models import User

csrf = CSRFProtect()
login = LoginManager()
login.login_view = "auth.login"
login.login_message = _l("Please log in to see this page.")
login.localize_callback = str
login.user_loader(User.from_id)


def chosen_language() -> str | None:
    """The interface's language that the visitor has set."""
    return getattr(current_user, "locale", None)


@user_logged_in.connect
def speak_their_language(_app: Flask, user: User) -> None:
    i18n.use(user.locale or i18n.preferred())
