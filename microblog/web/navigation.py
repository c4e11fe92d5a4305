"""The bar at the top of each page. But for a name, a token and two numbers it is the same for all who read a
language: each process keeps it."""

from functools import lru_cache

from flask import Flask, current_app, g, request
from flask_login import current_user
from markupsafe import Markup

from microblog.i18n import language
from microblog.models.notifications import MANY
from microblog.web.jinja import csrf_token
from microblog.web.site_looks import is_public

# Stand for what differs from one reader to the next.
_NAME, _TOKEN = "\0name\0", "\0token\0"
# Numbers of what is unread: of notifications, and of conversations.
_NUMBERS = ("news", "letters")


def init_app(app: Flask) -> None:
    app.jinja_env.globals["navigation"] = navigation


def navigation() -> Markup:
    """The bar, for this visitor."""
    if not current_user.is_authenticated:
        return Markup(_kept(language(), request.endpoint, who()))  # noqa: S704 - made by a template
    text = _kept(language(), request.endpoint, who())
    # All are of plain letters.
    for name, number in numbers().items():
        text = text.replace(f"\0{name}\0", number)
    return Markup(text.replace(_NAME, current_user.username).replace(_TOKEN, csrf_token()))  # noqa: S704


def numbers() -> dict[str, str]:
    """How much this reader has not read, as the bar shows it: nothing where there is none."""
    if "unread" not in g:
        g.unread = current_user.unread()
    found = {name: g.unread[name] for name in _NUMBERS}
    return {name: f"{MANY - 1}+" if n >= MANY else str(n or "") for name, n in found.items()}


def seen(name: str) -> None:
    """This very page shows the last of what was not read."""
    numbers()
    g.unread[name] = 0


def unfilled() -> Markup:
    """Likewise, with NUL characters around ``name``, ``token`` and the names of numbers where these go."""
    return Markup(_kept(language(), request.endpoint, who()))  # noqa: S704 - made by a template


def who() -> str:
    """What the bar knows of a reader."""
    me = current_user._get_current_object()
    if not me.is_authenticated:
        return "public" if is_public() else "visitor"
    if me.is_admin:
        return "administrator"
    return "moderator" if me.is_moderator else "member"


@lru_cache(maxsize=512)
def _kept(_language: str, endpoint: str | None, who: str) -> str:
    template = current_app.jinja_env.get_template("navigation.html")
    marks = {name: f"\0{name}\0" for name in _NUMBERS}
    return template.render(here=endpoint, who=who, name=_NAME, token=_TOKEN, **marks)
