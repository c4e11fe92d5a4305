"""Whether this log-in has given its password lately: what is done to the machine asks for that.

Whoever finds a browser that somebody has left cannot do it, nor who has copied a cookie.
"""

import time

from flask import session
from flask_login import current_user

SECONDS = 600
_KEY = "confirmed"


def note() -> None:
    """It has, just now."""
    session[_KEY] = f"{current_user.session_digest} {int(time.time())}"


def confirmed() -> bool:
    """Whether it has, in the last ten minutes."""
    digest, _, at = str(session.get(_KEY, "")).partition(" ")
    # Where it was given, the clock may be ahead: of several machines no two agree to the second.
    return digest == current_user.session_digest and at.isdigit() and abs(time.time() - int(at)) < SECONDS
