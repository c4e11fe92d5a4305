"""Accounts: register, log in, log out."""

from microblog.web.auth.views import blueprint

__all__ = ["blueprint"]
