"""How often something may be tried, and by whom. Somebody over a limit waits; nobody is shut out.

Attempts on one account from one address have the tightest limit. The limit on an account from
everywhere together stops a guesser with many addresses; for a browser in which the owner has
logged in before, it does not hold: a guesser must not be able to lock the owner out (OWASP calls
this device cookies).
"""

import secrets

from flask import Response, current_app, request
from itsdangerous import BadSignature, URLSafeSerializer
from werkzeug.exceptions import TooManyRequests

from microblog.models import User
from microblog.models.throttle import Key, Limit, address, attempt

LOGIN_HERE = Limit("log-in, account and address", 10, 15 * 60)
LOGIN_ADDRESS = Limit("log-in, address", 50, 15 * 60)
LOGIN_ACCOUNT = Limit("log-in, account", 100, 60 * 60)
LOGIN_DEVICE = Limit("log-in, known browser", 10, 15 * 60)
REGISTRATION = Limit("registration, address", 60, 60 * 60)
RESET_ADDRESS = Limit("reset, address", 20, 60 * 60)
RESET_ACCOUNT = Limit("reset, account", 5, 60 * 60)
# Somebody at a computer that its owner has left.
PASSWORD = Limit("password of a session", 10, 15 * 60)
NEW_EMAIL = Limit("new address", 10, 60 * 60)

_DEVICE_DAYS = 365


def check(*keys: Key) -> None:
    """Count an attempt.

    :raises TooManyRequests: if it is one too many.
    """
    if wait := attempt(*keys):
        current_app.logger.info("too many attempts at %s from %s", request.url_rule, request.remote_addr)
        raise TooManyRequests(retry_after=wait)


def login_keys(name: str) -> tuple[Key, ...]:
    """What a log-in under this name counts for. The name as it is written: whether a username and
    an address are of one account, or of any, must not show."""
    name, here = name.lower(), address(request.remote_addr)
    if device := _known_device(name):
        return (LOGIN_DEVICE.key(*device),)
    return LOGIN_ADDRESS.key(here), LOGIN_HERE.key(name, here), LOGIN_ACCOUNT.key(name)


def visitor(limit: Limit) -> Key:
    """The limit for the visitor's address."""
    return limit.key(address(request.remote_addr))


def know_device(response: Response, user: User) -> Response:
    """Let the browser keep that this account's owner has logged in with it."""
    response.set_cookie(
        _cookie_name(),
        _signer().dumps([user.id, secrets.token_hex(8)]),
        max_age=_DEVICE_DAYS * 86400,
        secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
        httponly=True,
        samesite="Strict",
    )
    return response


def _known_device(name: str) -> tuple[int, str] | None:
    try:
        user_id, device = _signer().loads(request.cookies.get(_cookie_name(), ""))
    except (BadSignature, ValueError, TypeError):
        return None
    user = User.find(name)
    return (user_id, device) if user is not None and user.id == user_id else None


def _cookie_name() -> str:
    return "__Host-known" if current_app.config["SESSION_COOKIE_SECURE"] else "known"


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt="known device")
