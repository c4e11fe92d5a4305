"""What is stored, and how it is found. No web code in here."""

from microblog.models.feeds import Page, PostRow
from microblog.models.follow import Follow
from microblog.models.indexing import Change, IndexState
from microblog.models.invitations import Invitation
from microblog.models.latest import LatestPost
from microblog.models.post import Post, PublicPost
from microblog.models.reader import Reader
from microblog.models.second_factor import RecoveryCode, SecondFactor
from microblog.models.sessions import Session
from microblog.models.site import Setting
from microblog.models.throttle import Attempts
from microblog.models.tokens import Token
from microblog.models.unfinished import Unfinished
from microblog.models.user import User

__all__ = [
    "Attempts",
    "Change",
    "Follow",
    "IndexState",
    "Invitation",
    "LatestPost",
    "Page",
    "Post",
    "PostRow",
    "PublicPost",
    "Reader",
    "RecoveryCode",
    "SecondFactor",
    "Session",
    "Setting",
    "Token",
    "Unfinished",
    "User",
]
