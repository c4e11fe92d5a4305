"""The moderators' pages: what was reported, and what was done."""

from microblog.web.moderation.views import blueprint

__all__ = ["blueprint"]
