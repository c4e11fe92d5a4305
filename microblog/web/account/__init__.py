"""Somebody's own account: settings, export, deletion."""

from microblog.web.account import passkeys, programs, second
from microblog.web.account.views import blueprint

__all__ = ["blueprint", "passkeys", "programs", "second"]
