"""What administrators do in the browser."""

from microblog.web.admin.views import blueprint

__all__ = ["blueprint"]
