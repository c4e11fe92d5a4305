"""Private messages between two people."""

from microblog.web.messages.views import blueprint

__all__ = ["blueprint"]
