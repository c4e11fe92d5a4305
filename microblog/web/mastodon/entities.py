"""What programs are told of people and posts: Mastodon's entities, with all fields that its documentation has
for every server (https://docs.joinmastodon.org/entities/). Numbers of rows are strings."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from flask import abort, url_for

from microblog.models import PostRow, Reader, audience, barriers, markup, mentions
from microblog.models.barriers import Between
from microblog.models.follow import among
from microblog.models.marks import NO_MARKS, Marks, marks
from microblog.models.people import PersonRow, authors_of, people
from microblog.models.user import ABOUT_MAX
from microblog.web.mastodon.site import address
from microblog.web.text import linked

_DATE = "%Y-%m-%d"
# By this address programs know that somebody has no header image, and show none
# (https://docs.joinmastodon.org/entities/Account/#header).
NO_HEADER = "/headers/original/missing.png"


def time(moment: datetime | None) -> str | None:
    """A moment in UTC, as it is stored, to ISO 8601."""
    return f"{moment.isoformat(timespec='milliseconds')}Z" if moment else None


def html(text: str) -> str:
    """What somebody wrote, with whole addresses: a program does not know of which page they are parts."""
    if not text:
        return ""
    body = str(linked(text)).replace(' href="/', f' href="{address()}/').replace("\n", "<br>")
    return f"<p>{body}</p>"


def picture(username: str) -> str:
    """As PNG: programs on telephones show no SVG."""
    return f"{address()}{url_for('people.avatar_png', username=username)}"


def account(row: PersonRow) -> dict[str, Any]:
    image, url = picture(row.username), f"{address()}/user/{row.username}"
    header = f"{address()}{NO_HEADER}"
    return {
        "id": str(row.id),
        "username": row.username,
        "acct": row.username,
        "url": url,
        "uri": url,
        "display_name": row.username,
        "note": html(row.about),
        "avatar": image,
        "avatar_static": image,
        "avatar_description": "",
        "header": header,
        "header_static": header,
        "header_description": "",
        "locked": False,
        "fields": [],
        "emojis": [],
        "bot": False,
        "group": False,
        "discoverable": True,
        "indexable": False,
        "noindex": True,
        "hide_collections": False,
        "created_at": time(row.created_at),
        "last_status_at": row.last_post_at.strftime(_DATE) if row.last_post_at else None,
        "statuses_count": row.posts_count,
        "followers_count": row.followers_count,
        "following_count": row.following_count,
        "show_media": False,
        "show_media_replies": False,
        "show_featured": False,
        "roles": [],
    }


def own_account(row: PersonRow, reader: Reader) -> dict[str, Any]:
    """Somebody to themselves."""
    source = {
        "note": row.about[:ABOUT_MAX],
        "fields": [],
        "privacy": "public",
        "sensitive": False,
        "language": reader.locale or "",
        "follow_requests_count": 0,
        "hide_collections": False,
        "discoverable": True,
        "indexable": False,
        "attribution_domains": [],
        "quote_policy": "nobody",
    }
    role = {"id": "-99", "name": "", "color": "", "permissions": "0", "highlighted": False}
    return {**account(row), "source": source, "role": role}


def relationship(number: int, follows: bool, is_followed: bool, between: Between) -> dict[str, Any]:
    return {
        "id": str(number),
        "following": follows,
        "showing_reblogs": follows,
        "notifying": False,
        "languages": None,
        "followed_by": is_followed,
        "blocking": between.blocks,
        # Nobody is told.
        "blocked_by": False,
        "muting": between.mutes,
        "muting_notifications": between.mutes,
        "muting_expires_at": None,
        "requested": False,
        "requested_by": False,
        "domain_blocking": False,
        "endorsed": False,
        "note": "",
    }


def relationships(reader: Reader, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """How somebody stands to some people, in three statements."""
    wanted = list(dict.fromkeys(numbers))
    follows, followers = among(reader.id, wanted)
    between = barriers.all_between(reader.id, wanted) if reader.has_barriers else {}
    return [
        relationship(number, number in follows, number in followers, between.get(number, barriers.NOTHING))
        for number in wanted
    ]


def statuses(rows: list[PostRow], reader: Reader) -> list[dict[str, Any]]:
    """Posts as somebody sees them, in six statements whatever their number.

    :param rows: as feeds give them: less what this reader is not to see.
    """
    if not rows:
        return []
    posts = [row.shown for row in rows]
    numbers = sorted({post.id for post in posts})
    authors = people({row.author_id for row in rows} | {post.author_id for post in posts})
    said = marks(reader.id, numbers)
    named = _known(mentions.mentioned(numbers))
    answered = authors_of([post.reply_to_id for post in posts if post.reply_to_id])
    hidden = audience.unseen(set(answered.values()), muted=False)
    answered = {number: author for number, author in answered.items() if author not in hidden}
    told = []
    for row in rows:
        post = row.shown
        if row.author_id not in authors or post.author_id not in authors:
            # Suspended, or gone, since the feed was read.
            continue
        mine = said.get(post.id, NO_MARKS)
        status = post_status(post, authors[post.author_id], mine, named.get(post.id, []), answered)
        if row.original is not None:
            passed_on = {**status, **_passed_on(row, authors[row.author_id])}
            status = {**passed_on, "reblog": status}
        told.append(status)
    return told


def _known(named: dict[int, list[mentions.Mentioned]]) -> dict[int, list[mentions.Mentioned]]:
    """Less those that are not there for this reader: of them, a post says the name alone."""
    strangers = audience.strangers({one.id for some in named.values() for one in some})
    return {number: [one for one in some if one.id not in strangers] for number, some in named.items()}


def post_status(
    post: PostRow,
    author: PersonRow,
    marks: Marks,
    named: list[mentions.Mentioned],
    answered: dict[int, int],
) -> dict[str, Any]:
    """:param answered: whose posts are answered, by their numbers."""
    site = address()
    url = f"{site}/post/{post.id}"
    asked = answered.get(post.reply_to_id or 0)
    return {
        "id": str(post.id),
        "uri": url,
        "url": url,
        "created_at": time(post.created_at),
        "edited_at": time(post.edited_at),
        "account": account(author),
        "content": html(post.body),
        "visibility": "public",
        "sensitive": False,
        "spoiler_text": "",
        "media_attachments": [],
        "mentions": [
            {
                "id": str(one.id),
                "username": one.username,
                "acct": one.username,
                "url": f"{site}/user/{one.username}",
            }
            for one in named
        ],
        "tags": [{"name": tag, "url": f"{site}/tag/{quote(tag)}"} for tag in markup.tags(post.body)],
        "emojis": [],
        "reblogs_count": marks.reposts,
        "favourites_count": marks.likes,
        "replies_count": marks.replies,
        "quotes_count": 0,
        "in_reply_to_id": str(post.reply_to_id) if asked is not None else None,
        "in_reply_to_account_id": str(asked) if asked is not None else None,
        "reblog": None,
        "poll": None,
        "card": None,
        "language": post.language,
        "quote": None,
        "quote_approval": {"automatic": [], "manual": [], "current_user": "denied"},
        "favourited": marks.liked,
        "reblogged": marks.reposted,
        "muted": False,
        "bookmarked": marks.bookmarked,
        "pinned": False,
        "filtered": [],
        "tagged_collections": [],
    }


def _passed_on(row: PostRow, author: PersonRow) -> dict[str, Any]:
    """What a repost has of its own."""
    url = f"{address()}/post/{row.shown.id}"
    return {
        "id": str(row.id),
        "uri": f"{url}#{row.id}",
        "url": url,
        "created_at": time(row.created_at),
        "edited_at": None,
        "account": account(author),
        "in_reply_to_id": None,
        "in_reply_to_account_id": None,
    }


def status(row: PostRow, reader: Reader) -> dict[str, Any]:
    """One post."""
    told = statuses([row], reader)
    if not told:
        abort(404)
    return told[0]
