"""When somebody was last here."""

from datetime import datetime

from flask import Flask, Response, g
from sqlalchemy.exc import DBAPIError

from microblog.database import is_busy, is_lost, utc_now
from microblog.models import Reader
from microblog.models.account import SEEN_AGAIN, touch


def note(user: Reader) -> None:
    """A visitor was looked up for this request; for this alone, nobody is."""
    g.last_seen = (user.id, user.last_seen, user.session_digest)


def init_app(app: Flask) -> None:
    @app.after_request
    def keep(response: Response) -> Response:
        user_id, last_seen, session = g.get("last_seen", (None, None, None))
        now = utc_now()
        if user_id is not None and (last_seen is None or last_seen <= now - SEEN_AGAIN):
            # The visitor has the page by then.
            response.call_on_close(lambda: _touch(app, user_id, session, now))
        return response


def _touch(app: Flask, user_id: int, session: str, now: datetime) -> None:
    with app.app_context():
        try:
            touch(user_id, now, session)
        except Exception as error:
            # Whom the database has no time for is noted with the next page.
            if isinstance(error, DBAPIError) and (is_busy(error) or is_lost(error)):
                return
            app.logger.exception("when a visitor was here could not be noted")
