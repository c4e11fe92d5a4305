"""Tokens for a name and a password, as the tutorial has them: for scripts."""

import base64
import binascii
from datetime import timedelta

from flask import request
from flask.typing import ResponseReturnValue

from microblog.database import db
from microblog.i18n import _
from microblog.models import User, applications, second_factor
from microblog.models.passwords import PASSWORD_MAX
from microblog.models.throttle import forgive
from microblog.models.user import EMAIL_MAX
from microblog.web import limits
from microblog.web.api import access
from microblog.web.api.blueprint import blueprint
from microblog.web.api.errors import BASIC, Refused

# As long as the tutorial's.
LIFETIME = timedelta(hours=1)
SCOPES = "read write"


@blueprint.post("/tokens")
def get_token() -> ResponseReturnValue:
    name, password = _name_and_password()
    keys = limits.check_login(name)
    user = User.authenticate(name, password)
    if user is None:
        raise Refused(401, _("Wrong username or password."), headers={"WWW-Authenticate": BASIC})
    forgive(*keys)
    if not user.is_active:
        raise Refused(403, _("This account is suspended."))
    if second_factor.of(user.id):
        raise Refused(
            403, _("This account has a second factor: make a token on the site, in Settings, Programs.")
        )
    limits.check(limits.TOKENS.key(user.id))
    token = applications.issue(user.id, None, SCOPES, LIFETIME)
    db.session.commit()
    return {"token": token}


@blueprint.delete("/tokens")
def revoke_token() -> ResponseReturnValue:
    caller = access.any_caller()
    if caller.reader is not None:
        applications.revoke(caller.reader.id, caller.token)
        db.session.commit()
    return "", 204


def _name_and_password() -> tuple[str, str]:
    """By hand: Werkzeug reads them differently from one version to the next (RFC 7617)."""
    kind, _space, told = request.headers.get("Authorization", "").strip().partition(" ")
    name = password = ""
    if kind.lower() == "basic":
        try:
            name, _colon, password = base64.b64decode(told).decode().partition(":")
        except (binascii.Error, ValueError):
            name = ""
    if not (name and password) or len(name) > EMAIL_MAX or len(password) > PASSWORD_MAX:
        raise Refused(401, _("Wrong username or password."), headers={"WWW-Authenticate": BASIC})
    return name, password
