"""What is stored, and how it is found. No web code in here."""

from microblog.models.follow import Follow
from microblog.models.post import Page, Post, PostRow
from microblog.models.site import Setting
from microblog.models.throttle import Attempts
from microblog.models.tokens import Token
from microblog.models.user import User

__all__ = ["Attempts", "Follow", "Page", "Post", "PostRow", "Setting", "Token", "User"]
