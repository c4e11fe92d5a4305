"""What is stored, and how it is found. No web code in here."""

from microblog.models.applications import AccessToken, Client, Grant
from microblog.models.barriers import Barrier
from microblog.models.feeds import Page, PostRow
from microblog.models.follow import Follow
from microblog.models.indexing import Change, IndexState
from microblog.models.invitations import Invitation
from microblog.models.latest import LatestPost
from microblog.models.markers import Marker
from microblog.models.marks import Bookmark, Like, PostCounts
from microblog.models.mentions import Mention
from microblog.models.messages import Conversation, ConversationSide, Message
from microblog.models.moderation import ModerationAct
from microblog.models.notifications import Notification
from microblog.models.passkeys import Passkey
from microblog.models.post import Post, PublicPost
from microblog.models.preferences import Preferences
from microblog.models.reader import Reader
from microblog.models.reports import Report
from microblog.models.second_factor import RecoveryCode, SecondFactor
from microblog.models.sessions import Session
from microblog.models.site import Setting
from microblog.models.tags import PostTag, Tag
from microblog.models.throttle import Attempts
from microblog.models.tokens import Token
from microblog.models.unfinished import Unfinished
from microblog.models.user import User
from microblog.models.versions import PostVersion

__all__ = [
    "AccessToken",
    "Attempts",
    "Barrier",
    "Bookmark",
    "Change",
    "Client",
    "Conversation",
    "ConversationSide",
    "Follow",
    "Grant",
    "IndexState",
    "Invitation",
    "LatestPost",
    "Like",
    "Marker",
    "Mention",
    "Message",
    "ModerationAct",
    "Notification",
    "Page",
    "Passkey",
    "Post",
    "PostCounts",
    "PostRow",
    "PostTag",
    "PostVersion",
    "Preferences",
    "PublicPost",
    "Reader",
    "RecoveryCode",
    "Report",
    "SecondFactor",
    "Session",
    "Setting",
    "Tag",
    "Token",
    "Unfinished",
    "User",
]
