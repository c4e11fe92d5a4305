"""How often something may be tried, and by whom. Somebody over a limit waits; nobody is shut out.

Attempts on one account from one address have the tightest limit. Above the limit on an account from
everywhere together, each address has a few attempts left, no more: that stops a guesser with many
addresses, and nobody can lock somebody else out. For a browser in which the owner has logged in before,
neither holds (OWASP calls this device cookies).
"""

import secrets
from collections.abc import Callable
from typing import Any

from flask import Response, current_app, request
from itsdangerous import BadSignature, URLSafeSerializer
from werkzeug.exceptions import TooManyRequests

from microblog.models import User, second_factor, tokens
from microblog.models.throttle import Key, Limit, address, attempt, forgive

LOGIN_HERE = Limit("log-in, account and address", 10, 15 * 60)
LOGIN_ADDRESS = Limit("log-in, address", 50, 15 * 60)
LOGIN_ACCOUNT = Limit("log-in, account", 100, 60 * 60)
LOGIN_LAST = Limit("log-in, account that is guessed at, and address", 2, 15 * 60)
LOGIN_DEVICE = Limit("log-in, known browser", 10, 15 * 60)
# All addresses together: a code of eight letters is for one machine.
CLAIM = Limit("wrong codes of a new site", 5, 60)
# Each asks name servers, and perhaps somebody's machine.
REACH = Limit("checks of a name, account", 30, 60 * 60)
REGISTRATION = Limit("registration, address", 60, 60 * 60)
RESET_ADDRESS = Limit("reset, address", 20, 60 * 60)
# In the lifetime of a link: who is told that one is on its way finds one that is good.
RESET_ACCOUNT = Limit("reset, account", 3, int(tokens.LIFETIME.total_seconds()))
# Somebody at a computer that its owner has left.
PASSWORD = Limit("password of a session", 10, 15 * 60)
# Of who has the password already; three of a million codes are good at a time. A known browser has its own.
SECOND = Limit("code of a log-in, account", 10, 15 * 60)
SECOND_DAY = Limit("code of a log-in, account and day", 50, 24 * 60 * 60)
PROOF = Limit("links that prove an address", 3, int(tokens.LIFETIME.total_seconds()))
NEW_EMAIL = Limit("new address", 10, 60 * 60)
POST = Limit("posts, account", 100, 60 * 60)
REACTION = Limit("likes, reposts and bookmarks, account", 600, 60 * 60)
MESSAGE = Limit("messages, account", 100, 60 * 60)
FOLLOW = Limit("follows, account", 200, 60 * 60)
REPORT = Limit("reports, account", 30, 60 * 60)
# Programs that register themselves: they give their answer to nobody, so anybody may. And what they fetch.
PROGRAMS = Limit("programs, address", 60, 60 * 60)
PROGRAMS_ALL = Limit("programs, site", 3000, 24 * 60 * 60)
CODES = Limit("tokens for codes, address", 300, 60 * 60)
TOKENS = Limit("tokens, account", 30, 60 * 60)
# Each may cost the site's owner money.
TRANSLATION = Limit("translations, account", 60, 60 * 60)
TRANSLATIONS = Limit("translations, site", 3000, 24 * 60 * 60)

_DEVICE_DAYS = 365


def check(*keys: Key) -> None:
    """Count an attempt.

    :raises TooManyRequests: if it is one too many.
    """
    if wait := attempt(*keys):
        current_app.logger.info("too many attempts at %s from %s", request.url_rule, request.remote_addr)
        raise TooManyRequests(retry_after=wait)


def check_login(name: str) -> tuple[Key, ...]:
    """Count an attempt to log in.

    :return: what is to be forgiven if it was right.
    :raises TooManyRequests: if it is one too many.
    """
    keys = login_keys(name)
    *nearby, account = keys
    if account.limit != LOGIN_ACCOUNT:
        check(*keys)
        return keys
    check(*nearby)
    if attempt(account):
        last = LOGIN_LAST.key(name.lower(), address(request.remote_addr))
        check(last)
        return (*keys, last)
    return keys


def login_keys(name: str) -> tuple[Key, ...]:
    """What a log-in under this name counts for. The name as it is written: whether a username and
    an address are of one account, or of any, must not show."""
    name, here = name.lower(), address(request.remote_addr)
    if device := _known_device(lambda: User.find(name)):
        return (LOGIN_DEVICE.key(*device),)
    return LOGIN_ADDRESS.key(here), LOGIN_HERE.key(name, here), LOGIN_ACCOUNT.key(name)


def is_code(user: User, text: str) -> bool:
    """Whether that is a code of an account's second factor. It is used up by that.

    :raises TooManyRequests: too many were wrong.
    """
    return is_second(user, lambda: second_factor.accept(user.id, text))


def is_second(user: User, accept: Callable[[], bool]) -> bool:
    """Likewise, of whatever is taken for a second factor."""
    # Who has the password alone, and guesses on, does not keep its owner out.
    whose = _known_device(lambda: user, _since(second_factor.of(user.id))) or (user.id,)
    keys = SECOND.key(*whose), SECOND_DAY.key(*whose)
    check(*keys)
    if not accept():
        return False
    forgive(*keys)
    return True


def visitor(limit: Limit) -> Key:
    """The limit for the visitor's address."""
    return limit.key(address(request.remote_addr))


def know_device(response: Response, user: User, factor: Any = None) -> Response:
    """Let the browser keep that this account's owner has logged in with it.

    :param factor: the second factor of which they have given a code.
    """
    response.set_cookie(
        _cookie_name(),
        _signer().dumps([_account(user), secrets.token_hex(8), _since(factor)]),
        max_age=_DEVICE_DAYS * 86400,
        secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
        httponly=True,
        samesite="Strict",
    )
    return response


def _known_device(find: Callable[[], User | None], since: str = "") -> tuple[str, str] | None:
    """This browser, if an account's owner has logged in with it.

    :param find: gives the account.
    :param since: which second factor they must have given a code of.
    :return: the account, and which browser it is.
    """
    try:
        account, device, *given = _signer().loads(request.cookies.get(_cookie_name(), ""))
    except (BadSignature, ValueError, TypeError):
        return None
    if since and given != [since]:
        return None
    user = find()
    return (account, device) if user is not None and _account(user) == account else None


def _since(factor: Any) -> str:
    return factor.created_at.isoformat() if factor else ""


def _account(user: User) -> str:
    """This account, and no later one: a restored backup may not know that the number was used."""
    return f"{user.id} {user.created_at.isoformat()}"


def _cookie_name() -> str:
    return "__Host-known" if current_app.config["SESSION_COOKIE_SECURE"] else "known"


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt="known device")
