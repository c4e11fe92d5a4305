"""What is stored, and how it is found. No web code in here."""

from microblog.models.post import Page, Post
from microblog.models.user import User

__all__ = ["Page", "Post", "User"]
