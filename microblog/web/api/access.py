"""Who calls: by a token, and by nothing else. A browser's log-in counts for nothing here, so that no other
site's page can use it; and who shows a token needs none of a form's."""

from typing import Any, cast

from flask import Flask, Response, g, request
from sqlalchemy.exc import DBAPIError

from microblog import i18n
from microblog.database import is_busy, is_lost, utc_now, utc_text
from microblog.models import Reader, applications, audience, throttle
from microblog.models.applications import Caller
from microblog.web.api.errors import BEARER, Refused, is_program

# What other sites' pages may ask with, and see of an answer (https://fetch.spec.whatwg.org/#http-cors-protocol).
_ALLOWED = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
    "Access-Control-Max-Age": "86400",
}
_EXPOSED = "Link, Location, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
_TOKEN_MAX = 200


def init_app(app: Flask) -> None:
    @app.before_request
    def begin() -> Any:
        if not is_program():
            return None
        # Nobody is looked up by a cookie for it.
        i18n.use(i18n.preferred())
        if request.method == "OPTIONS":
            return Response(status=204)
        return None

    @app.after_request
    def end(response: Response) -> Response:
        if is_program():
            _add_headers(response)
        caller: Caller | None = g.get("caller")
        if caller is not None:
            now = utc_now()
            if applications.is_stale(caller.used, now):
                # The program has its answer by then.
                response.call_on_close(lambda: _touch(app, caller.token, now))
        return response


def _add_headers(response: Response) -> None:
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = "*"
    headers["Access-Control-Expose-Headers"] = _EXPOSED
    # Any site's program may read it: no cookie gets anything here.
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if request.method == "OPTIONS":
        headers.extend(_ALLOWED)
    if limit := throttle.closest():
        most, left, until = limit
        headers["X-RateLimit-Limit"] = str(most)
        headers["X-RateLimit-Remaining"] = str(left)
        headers["X-RateLimit-Reset"] = utc_text(until)


def _touch(app: Flask, token: int, now: Any) -> None:
    with app.app_context():
        try:
            applications.touch(token, now)
        except Exception as error:
            # What the database has no time for is noted with the next call.
            if isinstance(error, DBAPIError) and (is_busy(error) or is_lost(error)):
                return
            app.logger.exception("when a token was used could not be noted")


def caller(scope: str | None = None) -> Caller | None:
    """Who calls, if a token is shown.

    :param scope: what is wanted; None: any.
    :raises Refused: a token that is not good, or not for this.
    """
    if "caller" not in g:
        secret = _shown()
        if secret is None:
            return None
        found = applications.find(secret)
        if found is None:
            error = {"WWW-Authenticate": f'{BEARER}, error="invalid_token"'}
            raise Refused(401, "The access token is invalid", "invalid_token", error)
        g.caller = found
        if found.reader is not None:
            audience.reads(found.reader)
            g.last_seen = (found.reader.id, found.reader.last_seen, None)
            if found.reader.locale:
                i18n.use(found.reader.locale)
    known = cast(Caller, g.caller)
    if scope is not None and not known.may(scope):
        error = {"WWW-Authenticate": f'{BEARER}, error="insufficient_scope", scope="{scope}"'}
        raise Refused(403, "This action is outside the authorized scopes", "insufficient_scope", error)
    return known


def any_caller(scope: str | None = None) -> Caller:
    """Likewise, where one is needed."""
    found = caller(scope)
    if found is None:
        raise Refused(401, "The access token is invalid", "invalid_token", {"WWW-Authenticate": BEARER})
    return found


def reader(scope: str) -> Reader:
    """For whom somebody calls, who was let do this.

    :raises Refused: nobody, or not for this.
    """
    found = any_caller(scope).reader
    if found is None:
        raise Refused(422, "This method requires an authenticated user")
    return found


def renewed() -> Reader:
    """For whom somebody calls, as they are by now: this request has changed something of theirs."""
    found = applications.find(_shown() or "")
    if found is None or found.reader is None:
        raise Refused(401, "The access token is invalid", "invalid_token", {"WWW-Authenticate": BEARER})
    return found.reader


def _shown() -> str | None:
    """The token of a request, in its header (RFC 6750, 2.1)."""
    kind, _, secret = request.headers.get("Authorization", "").strip().partition(" ")
    if kind.lower() != "bearer":
        return None
    secret = secret.strip()
    # What is no token's form is looked up nowhere.
    return secret if secret.isascii() and 0 < len(secret) <= _TOKEN_MAX else ""
