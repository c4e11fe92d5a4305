"""Flask's extensions, bound to the application when it is made. The database has its own module."""

from flask_login import LoginManager, current_user
from flask_wtf.csrf import CSRFProtect

from microblog import i18n
from microblog.i18n import _l
from microblog.models import User

csrf = CSRFProtect()
login = LoginManager()
login.login_view = "auth.login"
login.login_message = _l("Please log in to see this page.")
login.localize_callback = str


@login.user_loader
def load_user(text: str) -> User | None:
    user = User.from_id(text)
    if user is not None and user.locale:
        i18n.use(user.locale)
    return user


def chosen_language() -> str | None:
    """The interface's language that the visitor has set."""
    return getattr(current_user, "locale", None)
