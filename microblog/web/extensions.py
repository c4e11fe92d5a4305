"""Flask's extensions, bound to the application when it is made. The database has its own module."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import abort, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import AnonymousUserMixin, LoginManager, current_user
from flask_wtf.csrf import CSRFProtect

from microblog import i18n
from microblog.database import db
from microblog.models import Reader, User, audience
from microblog.models.ahead import Question
from microblog.models.user import WHOLE
from microblog.web import lapsed, last_seen, site_looks

csrf = CSRFProtect()
login = LoginManager()
login.login_view = "auth.login"
# The log-in page says so itself: messages would pile up in the session of who never opens it.
login.login_message = None
# Flask-Login would note, for each visitor whose address changes, that the log-in is no longer fresh, which
# nothing here asks. A log-in is known by its secret, and ends on the server.
login.session_protection = None


class Visitor(AnonymousUserMixin):  # type: ignore[misc]
    """Who is not logged in, with what pages ask of a reader."""

    id = following_count = 0
    username = ""
    locale = last_seen = None
    is_admin = is_moderator = moderates = has_barriers = False

    def unread(self) -> dict[str, int]:
        """As of a :class:`Reader`: there is nothing."""
        return {"news": 0, "letters": 0}


login.anonymous_user = Visitor


def may_read(view: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a page for members; and for everybody, where the site is public."""

    @wraps(view)
    def guarded(*arguments: Any, **values: Any) -> Any:
        if not current_user.is_authenticated:
            if not site_looks.is_public():
                return login.unauthorized()
            audience.reads(None)
        return view(*arguments, **values)

    return guarded


def asks_first(question: Callable[..., Question | None]) -> Callable[[Any], Any]:
    """Decorates a page of a feed that asks the database for something before all else, in its newest part:
    that is asked together with who reads (see :mod:`microblog.models.ahead`).

    :param question: says for what, of the number of who reads and what else the view is called with.
    """

    def decorate(view: Any) -> Any:
        view.asks_first = question
        return view

    return decorate


def _first(number: int) -> Question | None:
    """What this request asks first, if this is who reads."""
    view = current_app.view_functions.get(request.endpoint or "")
    question: Callable[..., Question | None] | None = getattr(view, "asks_first", None)
    if question is None or request.method != "GET" or request.args.keys() & {"before", "after"}:
        return None
    return question(number, **(request.view_args or {}))


@login.unauthorized_handler
def ask_to_log_in() -> ResponseReturnValue:
    """The page that was asked for comes after the log-in; what a button does cannot be asked for."""
    if request.method not in ("GET", "HEAD"):
        return lapsed.ask_again()
    return redirect(url_for("auth.login", next=request.full_path.rstrip("?")))


@login.user_loader
def load_user(text: str) -> Reader | None:
    user = Reader.from_id(text, _first)
    if user is not None:
        audience.reads(user)
        # A page that lies open asks by itself: nobody need be there.
        if request.endpoint != "notifications.unread":
            last_seen.note(user)
        if user.locale:
            i18n.use(user.locale)
    return user


def own_account() -> User:
    """The visitor's account, to change it or to read all of it."""
    user = db.session.get(User, current_user.id, options=[WHOLE])
    if user is None:
        # It was deleted since this request began.
        abort(404)
    return user


def chosen_language() -> str | None:
    """The interface's language that the visitor has set."""
    return getattr(current_user, "locale", None)
