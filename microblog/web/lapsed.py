"""Buttons that were pressed too late: who pressed one is logged out by now, or the page is from before
the last log-in.

Nothing is done then that was not seen to be meant; but where the visitor was, and what they wrote, is
kept, and one more click does it.
"""

from urllib.parse import urlsplit

from flask import flash, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microblog.i18n import _
from microblog.models import User
from microblog.models.post import POST_MAX, clean_body
from microblog.models.reports import COMMENT_MAX
from microblog.web.security import safe_path

# A text, and its form's token: it may have been saved all the same; where it belongs; and whose it is.
_DRAFT, _TOKEN, _FOR, _BY = "draft", "draft_once", "draft_for", "draft_by"
_TOKEN_MAX, _FOR_MAX = 64, 120
# What is kept goes into a cookie, which has 4 KB.
_DRAFT_MAX = max(POST_MAX * 3, COMMENT_MAX)
# Forms that take a written text, and its field. A post, and an answer, are offered where one is written next.
_POSTS = {"posts.home": "body", "posts.reply": "body"}
# Others belong to their own page alone, which has the form's address.
_OWN = {
    "messages.conversation": "body",
    "posts.edit": "body",
    "people.report": "comment",
    "people.report_post": "comment",
    "account.settings": "about",
}
_FIELDS = {**_POSTS, **_OWN}


# Their forms are for visitors, who have no session that could have lapsed, and hold passwords.
_OPEN = {
    *("auth.login", "auth.register", "auth.forgot", "auth.reset", "auth.join", "account.confirm"),
    *("first_run.welcome", "first_run.account", "first_run.skip"),
}


def is_own_page() -> bool:
    """Whether a form for members was sent from a page of this site, as far as browsers say.

    From elsewhere comes no cookie (SameSite): an answer that set one would log the visitor out.
    """
    if request.endpoint in _OPEN or request.endpoint is None:
        return False
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin") or request.headers.get("Referer")
    return not origin or origin == "null" or _of_this_site(origin) is not None


def ask_again() -> ResponseReturnValue:
    """Back to the page with the button, by way of the log-in where that is due."""
    # First: of one whom the browser but remembers, it is known by that who it was.
    knows = current_user.is_authenticated
    keep_text()
    if knows:
        flash(_("This page was open for too long. Please try again."))
        return redirect(where_from())
    return redirect(url_for("auth.login", next=where_from()))


def where_from() -> str:
    """The page that the button was on."""
    if target := safe_path(request.form.get("next")):
        return target
    if request.endpoint == "oauth.authorize":
        # Of that page, browsers do not say that they come from it; its form leads to itself.
        return safe_path(request.full_path) or url_for("posts.home")
    if request.endpoint in _OWN:
        return safe_path(request.path) or url_for("posts.home")
    page = safe_path(_of_this_site(request.referrer or ""))
    if page is None and request.endpoint == "posts.reply":
        # What was too long was answered at the form's own address.
        return url_for("posts.show", **(request.view_args or {}))
    return page or url_for("posts.home")


def _of_this_site(url: str) -> str | None:
    """A page's path with its question, if it is one of this site's. A header may hold what is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.netloc.lower() != request.host.lower():
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def keep_text() -> None:
    """Keep what was written and not saved, for the page where it belongs."""
    if request.method != "POST" or request.endpoint not in _FIELDS:
        return
    # A member's page has it, a sheet of some lines: no more than its field takes.
    text = clean_body(request.form.get(_FIELDS[request.endpoint], ""))[:_DRAFT_MAX]
    if text:
        session[_DRAFT] = text
        session[_TOKEN] = (request.form.get("once") or g.get("once", ""))[:_TOKEN_MAX]
        session[_FOR] = _here()
        # Of a log-in that is over, this browser still has whose it was; where it was closed, nobody knows.
        session[_BY] = _number(session.get("_user_id"))


def _here() -> str:
    """Where the text of this request's form belongs: what is meant for one page, no other one shows."""
    return request.path[:_FOR_MAX].lower() if request.endpoint in _OWN else ""


def kept_text() -> str | None:
    """That text, once, if it belongs to this page."""
    # Not by pop alone: that would write every page's session.
    text: str | None = session.pop(_DRAFT) if _DRAFT in session and _is_here() else None
    return text


def kept_token() -> str | None:
    """Its form's token, once."""
    token: str | None = session.pop(_TOKEN) if _TOKEN in session and _is_here() else None
    return token


def _is_here() -> bool:
    return bool(session.get(_FOR, "") == _here())


def forget_text(token: str = "") -> None:
    """Forget the text whose form had this token, where forms have one: it is saved."""
    if session.get(_TOKEN) == token[:_TOKEN_MAX] and _is_here():
        del session[_TOKEN]
        session.pop(_DRAFT, None)


def renew_session(user: User) -> None:
    """Forget the session but for that text: nothing that somebody else may have planted lives on, and nobody
    is shown what somebody else wrote in this browser.

    :param user: who logs in.
    """
    kept = {name: session[name] for name in (_DRAFT, _TOKEN, _FOR, _BY) if name in session}
    session.clear()
    if kept.get(_BY, "") in ("", _number(user.get_id())):
        session.update(kept)


def _number(name: object) -> str:
    """An account's number, of what Flask-Login keeps of it."""
    return str(name or "").partition(".")[0]
