"""Accounts: register, log in, log out, set a forgotten password anew."""

from microblog.web.auth import reset, second
from microblog.web.auth.views import blueprint

__all__ = ["blueprint", "reset", "second"]
