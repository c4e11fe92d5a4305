"""Posts: write them, read them."""

from microblog.web.posts.views import blueprint

__all__ = ["blueprint"]
