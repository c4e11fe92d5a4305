"""What concerns an account as a whole: presence, export, the end."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from microblog.database import db, utc_now, utc_text
from microblog.models import (
    applications,
    barriers,
    markers,
    messages,
    notifications,
    passkeys,
    preferences,
    reports,
    second_factor,
    sessions,
    unfinished,
)
from microblog.models.follow import Follow
from microblog.models.marks import Bookmark, Like
from microblog.models.paging import pieces
from microblog.models.post import Post
from microblog.models.tokens import Token
from microblog.models.user import User, lock_accounts
from microblog.models.versions import versions_of

# No domain ends so (RFC 2606): nothing is mailed there.
NOWHERE = "@example.invalid"
# Who was seen less long ago is not noted again.
SEEN_AGAIN = timedelta(minutes=1)


def touch(user_id: int, now: datetime, session: str | None = None) -> None:
    """Note that somebody was here, at most once a minute. In a transaction of its own.

    :param now: the time in UTC, without a zone.
    :param session: the digest of the log-in that they used.
    """
    users = User.__table__
    stale = sa.or_(users.c.last_seen.is_(None), users.c.last_seen <= now - SEEN_AGAIN)
    with db.engine.begin() as connection:
        connection.execute(sa.update(users).where(users.c.id == user_id, stale).values(last_seen=now))
        if session is not None:
            connection.execute(sessions.touch(session, now))


def delete_account(user: User) -> None:
    """Remove an account with its posts and follows, and correct others' counts; the caller commits.

    Nobody sees any of it from then on; the rest of a large one is for :func:`unfinished.work_off`.
    """
    user_id = user.id
    db.session.flush()
    db.session.expunge(user)
    unfinished.delete(user_id)


def release_email(email: str, by: User | None = None) -> None:
    """Take an address from an account that never proved to have it, for one that does, or may; the caller
    commits. From one that has proved it, the database's own check keeps it.

    :param by: who keeps it, if they have it already.
    """
    holder = User.find(email)
    if holder is not None and holder is not by and not holder.email_confirmed:
        holder.email = f"unconfirmed-{holder.id}{NOWHERE}"
        db.session.flush()


def is_admin(user: User) -> bool:
    """Whether an account is an administrator's; it is as it is until the transaction ends."""
    lock_accounts(user.id)
    query = sa.select(User.is_admin).where(User.id == user.id)
    return bool(db.session.execute(query.with_for_update()).scalar())


def is_above(user: User, moderator: User | Any) -> bool:
    """Whether this account is not that moderator's to judge: it is as it is until the transaction ends.

    An administrator is nobody's, and a moderator is an administrator's alone.
    """
    if is_admin(user):
        return True
    query = sa.select(User.is_moderator).where(User.id == user.id)
    return not moderator.is_admin and bool(db.session.execute(query).scalar())


def is_last_admin(user: User) -> bool:
    """Whether nobody else can do what administrators do; nobody ceases to until the transaction ends.

    To be asked before whatever leaves one less: of two who go at the same moment, the second one is the last.
    """
    users = User.__table__
    admins = db.session.execute(sa.select(users.c.id).where(users.c.is_admin.is_(True))).scalars().all()
    lock_accounts(user.id, *admins)
    left = (users.c.is_admin.is_(True), users.c.suspended_at.is_(None), users.c.id.in_((user.id, *admins)))
    # Locked, too: as they are now, and not as they were when the transaction began.
    found = db.session.execute(sa.select(users.c.id).where(*left).with_for_update()).scalars()
    return set(found) == {user.id}


def suspend(user: User) -> None:
    """Keep somebody out, and what they wrote from being found; likewise."""
    db.session.flush()
    unfinished.suspend(user.id)


def keep_waiting(user: User) -> None:
    """A new account, not yet added: an administrator lets it in, by :func:`unsuspend`."""
    user.suspended_at, user.waiting = utc_now(), True


def still_waits(user: User) -> bool:
    """Whether an administrator has yet to let this account in; nobody else does so until the transaction
    ends."""
    lock_accounts(user.id)
    return bool(db.session.execute(sa.select(User.waiting).where(User.id == user.id)).scalar())


def unsuspend(user: User) -> bool:
    """Let them back in, when all they wrote is there to be found; likewise.

    :return: False if they were in, on their way, or gone.
    """
    db.session.flush()
    return unfinished.unsuspend(user.id)


def export_account(user: User) -> Iterator[tuple[str, Any]]:
    """All that is stored about somebody, as pairs of a name and a value for JSON, or an iterator of such.

    Read in pieces: an account may hold any number of posts.
    """
    yield (
        "account",
        {
            "username": user.username,
            "email": user.email,
            "about": user.about,
            "email_confirmed": user.email_confirmed,
            "locale": user.locale,
            "created_at": _time(user.created_at),
            "last_seen": _time(user.last_seen),
            "is_administrator": user.is_admin,
            "is_moderator": user.is_moderator,
            "posts": user.posts_count,
            "followers": user.followers_count,
            "following": user.following_count,
        },
    )
    yield (
        "log_ins",
        [
            {
                "browser": session.agent,
                "since": _time(session.created_at),
                "last_used": _time(session.last_used),
                "until": _time(session.expires_at),
            }
            for session in sessions.of(user.id)
        ],
    )
    yield (
        "programs",
        [
            {
                "name": token.name,
                "may": token.scopes.split(),
                "since": _time(token.created_at),
                "last_used": _time(token.last_used_at),
                "until": _time(token.expires_at),
            }
            for token in applications.of(user.id)
        ],
    )
    factor = second_factor.of(user.id)
    yield (
        "second_factor",
        factor
        and {
            "since": _time(factor.created_at),
            "codes": second_factor.codes_left(user.id),
            "passkeys": [
                {"name": one.name, "host": one.host, "since": _time(one.created_at)}
                for one in passkeys.of(user.id)
            ],
        },
    )
    # Not their secrets, which nobody has but who got the mail.
    yield (
        "links_mailed",
        [
            {"purpose": token.purpose, "email": token.email, "until": _time(token.expires_at)}
            for token in db.session.execute(sa.select(Token).where(Token.user_id == user.id)).scalars()
        ],
    )
    yield "posts", _posts(user.id)
    yield "likes", _kept(Like, user.id)
    yield "bookmarks", _kept(Bookmark, user.id)
    yield "following", _names(Follow.followed_id, Follow.follower_id, user.id)
    yield "followers", _names(Follow.follower_id, Follow.followed_id, user.id)
    yield "blocked_and_muted", barriers.of(user.id)
    yield "messages", messages.of(user.id)
    yield "notifications", notifications.of(user.id)
    yield "reports", reports.of(user.id)
    yield "preferences", preferences.as_values(user.id)
    # How far they have read with programs.
    yield "markers", {place.timeline: place.last_read_id for place in markers.of(user.id)}


def _time(moment: datetime | None) -> str | None:
    return utc_text(moment) if moment else None


def _posts(user_id: int) -> Iterator[dict[str, Any]]:
    columns = (Post.body, Post.created_at, Post.language, Post.reply_to_id, Post.edited_at, Post.repost_of_id)
    for row in _rows(sa.select(Post.id, *columns).where(Post.author_id == user_id), Post.id):
        if row.repost_of_id is not None:
            yield {"id": row.id, "repost_of": row.repost_of_id, "created_at": _time(row.created_at)}
            continue
        post = {
            "id": row.id,
            "body": row.body,
            "created_at": _time(row.created_at),
            "language": row.language,
        }
        if row.reply_to_id is not None:
            post["reply_to"] = row.reply_to_id
        if row.edited_at is not None:
            post["edited_at"] = _time(row.edited_at)
            post["earlier_texts"] = [
                {"body": text.body, "created_at": _time(text.created_at)} for text in versions_of(row.id)
            ]
        yield post


def _kept(table: Any, user_id: int) -> Iterator[dict[str, Any]]:
    query = sa.select(table.id, table.post_id, table.created_at).where(table.user_id == user_id)
    for row in _rows(query, table.id):
        yield {"post": row.post_id, "since": _time(row.created_at)}


def _names(listed: Any, by: Any, user_id: int) -> Iterator[dict[str, Any]]:
    query = (
        sa.select(User.id, User.username, Follow.created_at)
        .join(Follow, listed == User.id)
        .where(by == user_id)
    )
    for row in _rows(query, listed):
        yield {"username": row.username, "since": _time(row.created_at)}


def _rows(query: Any, column: Any) -> Iterator[Any]:
    """The rows, newest first."""
    for rows in pieces(lambda part: db.session.execute(part).all(), query, column, newer=False):
        yield from rows
