"""Error pages."""

import math
from typing import cast

from flask import Flask, current_app, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException, InternalServerError, TooManyRequests
from werkzeug.wrappers import Response

from microblog import i18n, units
from microblog.database import db, is_busy, is_lost
from microblog.i18n import _l, _n
from microblog.web import error_mail, lapsed
from microblog.web.api import errors
from microblog.web.api.errors import Refused
from microblog.web.hosts import UnknownHost

# What visitors read; without an entry, that of 400 or 500: the standard's own words are English.
MESSAGES = {
    400: (_l("That did not work"), _l("Your browser sent something this page could not use.")),
    403: (_l("Not allowed"), _l("This page is not for you to see.")),
    404: (_l("Nothing here"), _l("This page does not exist, or not any more.")),
    405: (_l("That did not work"), _l("This page cannot be used in this way.")),
    413: (_l("Too much"), _l("What you sent is too large.")),
    429: (_l("Too many attempts"), _l("Please wait a while and try again.")),
    500: (
        _l("Something broke"),
        _l("It is our fault, and has been noted. Please try again in a moment."),
    ),
    503: (_l("Not now"), _l("The site is busy or being looked after. Please try again in a moment.")),
}
# What programs read instead, where the above is about pages.
WORDS = {
    400: _l("The request could not be understood."),
    403: _l("This is not yours to see or to change."),
    404: _l("Record not found"),
    405: _l("This address has no such method."),
}
PERHAPS_MESSAGE = (
    _l("Not now"),
    _l("It may have been done all the same. Please look before you try again."),
)
CSRF_MESSAGE = (
    _l("Please try again"),
    _l("This page was open for too long. Go back, reload it and send it again."),
)
HOST_MESSAGE = (
    _l("Wrong address"),
    _l("This is the address of another name, not of this site. If both are yours, add it to HOST_NAMES."),
)


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Refused, refused)
    app.register_error_handler(CSRFError, csrf_error)
    app.register_error_handler(UnknownHost, unknown_host)
    app.register_error_handler(TooManyRequests, too_many_requests)
    app.register_error_handler(500, server_error)


def http_error(error: HTTPException) -> ResponseReturnValue:
    code = error.code
    # Redirects come this way too.
    if code is None or code < 400:
        return error
    # The standard's answer, for its headers: a 405 says what is allowed.
    response = cast(Response, error.get_response())
    title, text = MESSAGES.get(code, MESSAGES[400 if code < 500 else 500])
    if errors.is_program():
        return errors.answer(code, WORDS.get(code, text), headers=response.headers)
    response.set_data(page(code, title, text))
    return response


def refused(error: Refused) -> ResponseReturnValue:
    """What only programs are told."""
    return errors.answer(error.code or 400, error.text, error.name_, error.headers)


def csrf_error(_error: CSRFError) -> ResponseReturnValue:
    """A page that was open for longer than its session: what was written there is not lost."""
    if not lapsed.is_own_page():
        return page(400, *CSRF_MESSAGE), 400
    return lapsed.ask_again()


def unknown_host(_error: UnknownHost) -> ResponseReturnValue:
    if errors.is_program():
        return errors.answer(400, HOST_MESSAGE[1])
    return page(400, *HOST_MESSAGE), 400


def too_many_requests(error: TooManyRequests) -> ResponseReturnValue:
    title: object
    text: object
    title, text = MESSAGES[429]
    response = cast(Response, error.get_response())
    if isinstance(error.retry_after, int):
        minutes = math.ceil(error.retry_after / 60)
        i18n.language(lookup=False)
        text = _n(
            "Please wait %(num)s minute and try again.", "Please wait %(num)s minutes and try again.", minutes
        )
    if errors.is_program():
        return errors.answer(429, text, headers=response.headers)
    # Who waits as they are told has it still.
    lapsed.keep_text()
    response.set_data(page(429, title, text))
    return response


def server_error(error: InternalServerError) -> ResponseReturnValue:
    original = error.original_exception
    passing = original if isinstance(original, DBAPIError) else None
    # What is safe twice may be tried again without a look.
    perhaps = passing is not None and not _is_safe_twice() and units.is_done(passing)
    # Flask has logged it. The session may be stuck in a transaction that failed.
    db.session.rollback()
    if passing and (is_busy(passing) or is_lost(passing)):
        lapsed.keep_text()
        if is_lost(passing):
            error_mail.report(passing)
        return _error(503, *(PERHAPS_MESSAGE if perhaps else MESSAGES[503]), {"Retry-After": "10"})
    if original is not None:
        error_mail.report(original)
    return _error(500, *MESSAGES[500])


def _error(
    code: int, title: object, text: object, headers: dict[str, str] | None = None
) -> ResponseReturnValue:
    if errors.is_program():
        i18n.language(lookup=False)
        return errors.answer(code, text, headers=headers or {})
    return page(code, title, text), code, headers or {}


def _is_safe_twice() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return request.method in ("GET", "HEAD") or units.is_safe_twice(view)


def page(code: int, title: object, text: object) -> str:
    """An error page. It asks the database nothing, the visitor's language included: that may be
    what is broken."""
    i18n.language(lookup=False)
    return render_template("error.html", code=code, title=title, text=text)
