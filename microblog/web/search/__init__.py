"""Search in what people write."""

from microblog.web.search.views import blueprint

__all__ = ["blueprint"]
