"""Posts: write and remove them."""

import hashlib
import re
import unicodedata
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, shared_now, upsert, utc_now
from microblog.models import indexing, latest, words
from microblog.models.paging import ID_MAX
from microblog.models.reader import Reader
from microblog.models.user import User, changed, lock_accounts

# In characters: emoji count as one, or as the few they are made of.
POST_MAX = 140
# What a repost has for a text: the database takes no empty one.
REPOST = "↻"
# Letters and symbols, to Unicode, of which nothing is drawn: Hangul's fillers, Braille's empty pattern.
_BLANK = "\u115f\u1160\u3164\uffa0\u2800"

# How long a page with a form to write may be open and still be known to have sent it.
_SENT = timedelta(days=7)
# Rows that are removed in one statement.
_CHUNK = 500

# SQLite counts rows up by itself only in a column that is exactly INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class Post(db.Model):  # type: ignore[name-defined, misc]
    """What somebody has written. A later post has a higher id: feeds are sorted by it."""

    __tablename__ = "posts"

    id = field(BigId, primary_key=True)
    author_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    body = field(sa.String(POST_MAX), nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)
    # Its ISO 639-1 code; None: not known.
    language = field(sa.String(8))
    # The post that it answers, and the one that the whole conversation is about. Both may be gone: an answer
    # keeps its place.
    reply_to_id = field(sa.BigInteger)
    thread_id = field(sa.BigInteger)
    # The post that it passes on, with no text of its own but REPOST.
    repost_of_id = field(sa.BigInteger)
    edited_at = field(sa.DateTime)

    # One author's posts in order, without sorting. A number is never given again: a page that was
    # opened before a post was deleted has a button that deletes this number.
    __table_args__ = (
        sa.Index(None, author_id, id),
        sa.Index(None, thread_id, id),
        sa.Index(None, reply_to_id, id),
        sa.Index(None, repost_of_id, author_id, unique=True),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )

    def __repr__(self) -> str:
        return f"<Post {self.id}>"


class PublicPost(db.Model):  # type: ignore[name-defined, misc]
    """A post that is to be found, by its words: all but those of suspended accounts.

    A feed of everybody's posts, and a search, begin here: what must not be shown costs them nothing.
    """

    __tablename__ = "public_posts"

    post_id = field(
        BigId, sa.ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    # As microblog.models.words writes them. The migrations make their full-text index.
    words = field(sa.Text, nullable=False)

    __table_args__ = TABLE_OPTIONS


class SentForm(db.Model):  # type: ignore[name-defined, misc]
    """A form that has become a post: sent again, by an impatient click or for want of an answer, it is
    known."""

    __tablename__ = "sent_forms"

    digest = field(sa.String(64), primary_key=True)
    # Of a post that may be gone.
    post_id = field(sa.BigInteger, nullable=False)
    created_at = field(sa.DateTime, nullable=False, default=utc_now)

    __table_args__ = (sa.Index(None, created_at), TABLE_OPTIONS)


@sa.event.listens_for(Post, "after_insert")
def _publish(_mapper: Any, connection: Any, post: Post) -> None:
    row = {"post_id": post.id, "words": words.stored(post.body)}
    connection.execute(sa.insert(PublicPost.__table__).values(row))
    latest.note(connection, post.author_id, post.id)


@sa.event.listens_for(Post, "after_update")
def _republish(_mapper: Any, connection: Any, post: Post) -> None:
    table = PublicPost.__table__
    connection.execute(
        sa.update(table).where(table.c.post_id == post.id).values(words=words.stored(post.body))
    )


def clean_body(text: str) -> str:
    """A post's text as it is stored: newlines as one character, no control characters, no gaps, and each
    letter as the one character it is. Empty, if there is nothing to see in it."""
    text = re.sub(r"\r\n?", "\n", text)
    text = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", text)
    text = unicodedata.normalize("NFC", re.sub(r"\n\s*\n", "\n\n", text)).strip()
    return text if any(map(_is_visible, text)) else ""


def _is_visible(letter: str) -> bool:
    # Not: control and format characters, surrogates, separators, accents without a letter.
    return unicodedata.category(letter)[0] not in "CZM" and letter not in _BLANK


def add_post(author: Reader | User, body: str, language: str | None = None, reply_to: Any = None) -> Post:
    """Write a post; the caller commits.

    :param body: as :func:`clean_body` gives it.
    :param language: its ISO 639-1 code, if it is known.
    :param reply_to: the post, or the row of a feed, that it answers. If that is gone meanwhile, it answers
        what is gone: what was written is not lost.
    """
    # These know what a post is.
    from microblog.models import mentions, notifications, reactions, tags

    # The count first: the author's row is then locked as it has to be, not at first for the
    # foreign key alone, when two posts at once would wait for each other.
    count_post(author.id, 1)
    post = Post(author_id=author.id, body=body, language=language, **_place(reply_to))
    db.session.add(post)
    db.session.flush()
    tags.note([(post.id, body)])
    named, _gone = mentions.note(post.id, body)
    if post.reply_to_id is not None:
        reactions.count(post.reply_to_id, "replies", 1)
    indexing.changed(post.id)
    if post.reply_to_id is not None:
        answered = sa.select(Post.author_id).where(Post.id == post.reply_to_id)
        asked = db.session.execute(answered).scalar()
        if asked is not None:
            notifications.notify("reply", author.id, [asked], post.id)
            # One thing that somebody is to know of is one.
            named = [number for number in named if number != asked]
    notifications.notify("mention", author.id, named, post.id)
    return post


def _place(reply_to: Any) -> dict[str, int]:
    """Where in which conversation an answer stands."""
    if reply_to is None:
        return {}
    # Who answers a repost answers what it passes on.
    found = reply_to
    if reply_to.repost_of_id is not None:
        found = find_post(reply_to.repost_of_id)
        if found is None:
            return {"reply_to_id": reply_to.repost_of_id, "thread_id": reply_to.repost_of_id}
    return {"reply_to_id": found.id, "thread_id": found.thread_id or found.id}


def add_post_once(
    author: Reader | User, token: str, body: str, language: str | None = None, reply_to: Any = None
) -> int | None:
    """Write a post, unless the same was written from the same form before; the caller commits.

    :param token: the form's. The same with another text is another post: who goes back to a page that was
        sent, and writes there, means it.
    :param reply_to: as of :func:`add_post`.
    :return: the post's number; None if the author is gone or suspended by now.
    """
    about = f"{token} {reply_to.id}" if reply_to is not None else token
    digest = hashlib.sha256(f"{author.id}\n{about}\n{body}".encode("utf-8", "replace")).hexdigest()
    # What is sent twice at once comes one after the other, and in a cluster the later commit fails.
    if not lock_accounts(author.id).get(author.id):
        return None
    sent = SentForm.__table__
    # Who has deleted it, and goes back and sends it, wants it there.
    there = sa.select(sent.c.post_id).join(Post, Post.id == sent.c.post_id).where(sent.c.digest == digest)
    number = db.session.execute(there).scalar()
    if number is None:
        number = add_post(author, body, language, reply_to).id
        values = {"post_id": number, "created_at": utc_now()}
        upsert(db.session.connection(), sent, {"digest": digest}, values)
    return int(number)


def sweep() -> None:
    """Forget the forms that were sent long ago."""
    sent = SentForm.__table__
    old = sent.c.created_at <= shared_now() - _SENT
    while True:
        with db.engine.connect() as connection:
            digests = sorted(connection.execute(sa.select(sent.c.digest).where(old).limit(_CHUNK)).scalars())
        if not digests:
            return
        with db.engine.begin() as connection:
            connection.execute(sa.delete(sent).where(sent.c.digest.in_(digests), old))


def delete_post(post: Post) -> bool:
    """Remove a post, or a repost; the caller commits. Answers to it stay.

    Before anything else is done, for one that many like is removed in pieces, each in a transaction.

    :return: False if somebody had removed it already.
    """
    from microblog.models import notifications, reactions

    post_id, author_id, answers, passes_on = post.id, post.author_id, post.reply_to_id, post.repost_of_id
    reactions.clear_first(post_id)
    while reactions.clear([post_id]):
        pass
    if post in db.session:
        db.session.expunge(post)
    active = lock_accounts(author_id).get(author_id)
    if not db.session.execute(sa.delete(Post.__table__).where(Post.id == post_id)).rowcount:
        return False
    notifications.forget_posts([post_id], _CHUNK)
    count_post(author_id, -1)
    if active:
        latest.renew(author_id)
    if answers is not None:
        reactions.count(answers, "replies", -1)
    if passes_on is not None:
        reactions.take_back_repost(author_id, passes_on)
    indexing.changed(post_id)
    return True


def count_post(author_id: int, change: int) -> None:
    """Somebody has written or passed on so many posts more; the caller commits."""
    users = User.__table__
    db.session.execute(
        sa.update(users)
        .where(users.c.id == author_id)
        .values(posts_count=changed(users.c.posts_count, change))
    )
    author = db.session.identity_map.get(db.session.identity_key(User, author_id))
    if author is not None:
        db.session.expire(author, ["posts_count"])


def own_post(post_id: int, author_id: int) -> Post | None:
    """The post with this id, if this author wrote it."""
    post = find_post(post_id)
    return post if post is not None and post.author_id == author_id else None


def find_post(post_id: int) -> Post | None:
    """The post with this id."""
    return db.session.get(Post, post_id) if 0 < post_id <= ID_MAX else None
