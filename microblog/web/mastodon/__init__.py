"""Mastodon's client API (https://docs.joinmastodon.org/), and OAuth 2, by which its apps are let in."""

from microblog.web.mastodon import (
    accounts,
    conversations,
    discovery,
    instance,
    nothing,
    notifications,
    oauth,
    reports,
    search,
    statuses,
    timelines,
)
from microblog.web.mastodon.blueprint import blueprint

__all__ = [
    "accounts",
    "blueprint",
    "conversations",
    "discovery",
    "instance",
    "nothing",
    "notifications",
    "oauth",
    "reports",
    "search",
    "statuses",
    "timelines",
]
