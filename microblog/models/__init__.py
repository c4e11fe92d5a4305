"""What is stored, and how it is found. No web code in here."""

from microblog.models.follow import Follow
from microblog.models.post import Page, Post, PostRow
from microblog.models.user import User

__all__ = ["Follow", "Page", "Post", "PostRow", "User"]
