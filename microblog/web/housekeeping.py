"""What has expired is removed by time: by no visitor's request, but after one, now and then."""

import threading
import time

from flask import Flask, Response, after_this_request, current_app
from sqlalchemy.exc import SQLAlchemyError

from microblog import units
from microblog.models import (
    applications,
    invitations,
    latest,
    notifications,
    post,
    reactions,
    sessions,
    throttle,
    tokens,
    unfinished,
)
from microblog.web.notifications import digest

# Seconds from one time to the next, in each process.
EVERY = 600.0


def init_app(app: Flask) -> None:
    lock = threading.Lock()
    last = [time.monotonic()]

    @app.after_request
    def keep_house(response: Response) -> Response:
        now = time.monotonic()
        with lock:
            due = now - last[0] >= EVERY
            if due:
                last[0] = now
        if due:
            # The visitor has the page by then.
            response.call_on_close(lambda: clean(app))
        return response


def end_what_began() -> None:
    """Let what a view has begun, and committed, be ended when the visitor has the page: it may take longer
    than anybody waits for one."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]

    def work_off() -> None:
        with app.app_context():
            unfinished.work_off()

    @after_this_request
    def then(response: Response) -> Response:
        response.call_on_close(work_off)
        return response


def clean(app: Flask) -> None:
    """Remove attempts, log-ins, links and tokens of forms that are over, and old notifications; end what
    others have begun; and mail who wants to be."""
    with app.app_context():
        kept = (throttle, sessions, tokens, applications, invitations, post, reactions, latest)
        for part in (*kept, notifications, unfinished, digest):
            try:
                units.run(part.sweep, twice=True)
            except SQLAlchemyError as error:
                app.logger.warning("what has expired is removed later: %s", type(error).__name__)
