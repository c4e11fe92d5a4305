"""Error pages."""

from flask import Flask, render_template
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from microblog.database import db

# What visitors read; without an entry, the standard's own name for the code.
MESSAGES = {
    400: ("That did not work", "Your browser sent something this page could not use."),
    403: ("Not allowed", "This page is not for you to see."),
    404: ("Nothing here", "This page does not exist, or not any more."),
    405: ("That did not work", "This page cannot be used in this way."),
    413: ("Too much", "What you sent is too large."),
    500: ("Something broke", "It is our fault, and has been noted. Please try again in a moment."),
}
CSRF_MESSAGE = ("Please try again", "This page was open for too long. Go back, reload it and send it again.")


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(CSRFError, csrf_error)
    app.register_error_handler(500, server_error)


def http_error(error: HTTPException) -> ResponseReturnValue:
    code = error.code
    # Redirects come this way too.
    if code is None or code < 400:
        return error
    # The standard's answer, for its headers: a 405 says what is allowed.
    response = error.get_response()
    response.set_data(page(code, *MESSAGES.get(code, (error.name, ""))))
    return response


def csrf_error(_error: CSRFError) -> ResponseReturnValue:
    return page(400, *CSRF_MESSAGE), 400


def server_error(_error: Exception) -> ResponseReturnValue:
    # Flask has logged it. The session may be stuck in a transaction that failed.
    db.session.rollback()
    return page(500, *MESSAGES[500]), 500


def page(code: int, title: str, text: str) -> str:
    """An error page. Its template asks the database nothing: that may be what is broken."""
    return render_template("error.html", code=code, title=title, text=text)
