"""Posts are edited for a while after they were written; what they said before is kept."""

from datetime import timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now
from microblog.models import indexing, mentions, notifications, tags
from microblog.models.feeds import PostRow
from microblog.models.post import POST_MAX, BigId, Post
from microblog.models.reader import Reader
from microblog.models.user import User, lock_accounts

# How long a post may be edited after it was written.
EDITABLE = timedelta(minutes=15)


class PostVersion(db.Model):  # type: ignore[name-defined, misc]
    """What an edited post said before."""

    __tablename__ = "post_versions"

    id = field(BigId, primary_key=True)
    post_id = field(BigId, sa.ForeignKey("posts.id", ondelete="CASCADE"), nullable=False)
    body = field(sa.String(POST_MAX), nullable=False)
    language = field(sa.String(8))
    # When it was written, not when it was replaced.
    created_at = field(sa.DateTime, nullable=False)

    __table_args__ = (sa.Index(None, post_id, id), TABLE_OPTIONS)


class Version(NamedTuple):
    """A text of a post, and when it was written (UTC, without a zone)."""

    body: str
    language: str | None
    created_at: Any


def may_edit(reader: Reader | User, post: Post | PostRow) -> bool:
    """Whether somebody may change a post's text, by now: its author, for a while; a repost has none."""
    mine = post.author_id == reader.id and post.repost_of_id is None
    return mine and utc_now() - post.created_at < EDITABLE


def edit_post(author: Reader | User, post: Post, body: str, language: str | None = None) -> bool:
    """Change a post's text; the caller commits. Whom it names now and did not before is told; who is
    named no more is no longer told so.

    :param body: as :func:`clean_body` gives it.
    :param language: its ISO 639-1 code, if it is known.
    :return: False if it is too late, or somebody else's, or gone by now. The same text again is no change.
    """
    post_id = post.id
    if not lock_accounts(author.id).get(author.id):
        return False
    # As it is by now: another edit may have come first.
    query = sa.select(Post).where(Post.id == post_id).with_for_update()
    found = db.session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()
    if found is None or not may_edit(author, found):
        return False
    if found.body == body:
        return True
    written = found.edited_at or found.created_at
    values = {"post_id": post_id, "body": found.body, "language": found.language, "created_at": written}
    db.session.execute(sa.insert(PostVersion.__table__).values(values))
    found.body, found.language = body, language
    # Each text has a time of its own: by it, every process knows which one it has.
    found.edited_at = max(utc_now(), written + timedelta(seconds=1))
    db.session.flush()
    tags.forget([post_id])
    tags.note([(post_id, body)])
    named, gone = mentions.note(post_id, body)
    indexing.changed(post_id)
    if found.reply_to_id is not None:
        # Who is answered was told so when it was written.
        asked = db.session.execute(sa.select(Post.author_id).where(Post.id == found.reply_to_id)).scalar()
        named = [number for number in named if number != asked]
    for number in gone:
        notifications.withdraw("mention", author.id, number, post_id)
    notifications.notify("mention", author.id, named, post_id)
    return True


def versions_of(post_id: int) -> list[Version]:
    """What an edited post said before, oldest first: some twenty at most, for it is edited for a while."""
    table: Any = PostVersion.__table__
    query = sa.select(table.c.body, table.c.language, table.c.created_at).where(table.c.post_id == post_id)
    return [Version(*row) for row in db.session.execute(query.order_by(table.c.id).limit(_MOST))]


# More of them are not shown.
_MOST = 100
