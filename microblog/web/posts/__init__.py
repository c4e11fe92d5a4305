"""Posts: write them, read them."""

from microblog.web.posts import atom, views
from microblog.web.posts.blueprint import blueprint

__all__ = ["atom", "blueprint", "views"]
