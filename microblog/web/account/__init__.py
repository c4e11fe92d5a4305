"""Somebody's own account: settings, export, deletion."""

from microblog.web.account import second
from microblog.web.account.views import blueprint

__all__ = ["blueprint", "second"]
