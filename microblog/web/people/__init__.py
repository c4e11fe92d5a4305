"""People: profiles, who follows whom, avatars."""

from microblog.web.people.views import blueprint

__all__ = ["blueprint"]
