"""The tutorial's API (https://blog.miguelgrinberg.com, chapter 23), and what all programs have in common: who
calls, what was sent, and how errors are told."""

from microblog.web.api import posts, tokens, users
from microblog.web.api.access import init_app
from microblog.web.api.blueprint import blueprint

__all__ = ["blueprint", "init_app", "posts", "tokens", "users"]
