"""A log-in that is half done: the password was right, the code is yet to come.

Kept in the session's cookie, which is signed: who it is, for how long, and for which password.
"""

import hashlib
import time

from flask import session

from microblog.database import db
from microblog.models import User, second_factor
from microblog.models.user import WHOLE

_NAME = "half"
_SECONDS = 600


def begin(user: User, remember: bool) -> None:
    """The password was right. :param remember: whether this browser is to be remembered."""
    session[_NAME] = [user.id, remember, int(time.time()) + _SECONDS, _fingerprint(user)]


def of() -> tuple[User, bool] | None:
    """Whose log-in this browser has begun, and whether it is to be remembered."""
    try:
        number, remember, until, fingerprint = session[_NAME]
    except KeyError:
        return None
    user = db.session.get(User, number, options=[WHOLE])
    # Suspended since, with another password, or without a second factor: from the beginning.
    if (
        time.time() > until
        or user is None
        or not user.is_active
        or fingerprint != _fingerprint(user)
        or second_factor.of(user.id) is None
    ):
        del session[_NAME]
        return None
    return user, remember


def _fingerprint(user: User) -> str:
    return hashlib.sha256(user.password_hash.encode()).hexdigest()[:16]
