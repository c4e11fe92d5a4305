"""What somebody is to know of: the page, the number beside its link, what they want of it."""

from microblog.web.notifications.views import blueprint

__all__ = ["blueprint"]
