"""Flask's extensions, bound to the application when it is made. The database has its own module."""

from flask_login import LoginManager, current_user
from flask_wtf.csrf import CSRFProtect

from microblog import i18n
from microblog.models import User
from microblog.web import presence

csrf = CSRFProtect()
login = LoginManager()
login.login_view = "auth.login"
# The log-in page says so itself: messages would pile up in the session of who never opens it.
login.login_message = None


@login.user_loader
def load_user(text: str) -> User | None:
    user = User.from_id(text)
    if user is not None:
        presence.note(user)
        if user.locale:
            i18n.use(user.locale)
    return user


def chosen_language() -> str | None:
    """The interface's language that the visitor has set."""
    return getattr(current_user, "locale", None)
