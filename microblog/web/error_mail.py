"""Errors that nobody expected, mailed to the administrators."""

import hashlib
import socket
import threading
import time
import traceback
from typing import Any

from flask import current_app, request
from sqlalchemy.exc import SQLAlchemyError

from microblog.models import throttle
from microblog.web import letters
from microblog.web.site_looks import site_name

# At most one mail an hour about the same error, however many workers meet it.
ONCE = throttle.Limit("error mail", 1, 3600)

# When this process last mailed about an error, for when the database cannot say: seconds of
# time.monotonic() by fingerprint.
_sent: dict[str, float] = {}
_lock = threading.Lock()


def report(error: BaseException) -> None:
    """Mail this error to the administrators, unless they know by now.

    The mail has the traceback and which view it was. It has no address of a page, no form and
    no cookie: they may hold somebody's secrets.
    """
    admins = current_app.config["ADMINS"]
    if not admins or letters.mailer() is None:
        return
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    values: dict[str, Any] = {
        "site": site_name(),
        "machine": socket.gethostname(),
        "view": f"{request.method} {request.url_rule or 'of no view'}",
        "trace": trace,
    }
    subject = f"{values['site']}: {type(error).__name__} on {values['machine']}"

    def send() -> None:
        if _first_this_hour(fingerprint(error)):
            for admin in admins:
                letters.deliver(admin, None, subject, "mail/error.txt", **values)

    letters.later(send)


def fingerprint(error: BaseException) -> str:
    """The same for two errors of one kind from one place in the code."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "microblog" in frame.filename] or frames
    places = [f"{frame.filename}:{frame.name}:{frame.lineno}" for frame in ours[-1:]]
    return hashlib.sha256("\n".join([type(error).__qualname__, *places]).encode()).hexdigest()


def _first_this_hour(mark: str) -> bool:
    try:
        return throttle.attempt(ONCE.key(mark)) == 0
    except SQLAlchemyError:
        # That the database is down is what the mail is about.
        now = time.monotonic()
        with _lock:
            if now - _sent.get(mark, -ONCE.seconds) < ONCE.seconds:
                return False
            _sent[mark] = now
        return True
