"""Conversations: a post, what it answers, and what came after it. Flat, so that a phone shows them, in the
order in which they were written."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from microblog.database import reading
from microblog.models import feeds
from microblog.models.feeds import Page, PostRow
from microblog.models.paging import Cut
from microblog.models.post import Post

_POSTS: Any = Post.__table__


@dataclass(frozen=True)
class Thread:
    """A part of a conversation.

    :ivar id: the number of the post that is asked for.
    :ivar post: that post; None: it is gone, or not to be seen, and has left its place.
    :ivar above: what stands before it: the conversation's first post, and what it answers. Of what is gone,
        there is the number alone.
    :ivar answers: posts of the conversation after it, oldest first.
    :ivar gone: of what these answer, the numbers of those that are gone, or not to be seen.
    :ivar later: the number after which the next part begins, if there is one.
    """

    id: int
    post: PostRow | None
    above: list[tuple[int, PostRow | None]]
    answers: list[PostRow]
    gone: frozenset[int]
    later: int | None


def thread_page(post_id: int, after: int | None = None, size: int | None = None) -> Thread | None:
    """A post and its conversation, at a cost that does not depend on how many take part.

    :param post_id: not of a repost: that has no conversation of its own.
    :param after: the number after which answers are wanted.
    :return: None if there is no such post, and nobody has answered it.
    """
    found = feeds.posts([post_id], muted=False)
    post = found[0] if found else None
    if post is None:
        thread_id = _left(post_id)
        if thread_id is None:
            return None
    else:
        thread_id = post.thread_id or post_id
    numbers = {thread_id, post.reply_to_id if post and post.reply_to_id else thread_id} - {post_id}
    rows = {row.id: row for row in feeds.posts(sorted(numbers))}
    above = [(number, rows.get(number)) for number in sorted(numbers)]
    size = size or Page.SIZE
    bound = max(post_id, after or 0)
    answers = feeds.shown(
        lambda at: feeds.read(_after(), at, thread=thread_id), Cut(bound, newer=True, limit=size + 1)
    )
    if post is None and not answers and not after:
        # Who has answered it is not to be seen, either.
        return None
    later = answers[size - 1].id if len(answers) > size else None
    answers = answers[:size]
    known = {post_id, *(row.id for row in answers), *numbers}
    asked = sorted({row.reply_to_id for row in answers if row.reply_to_id} - known)
    there = {row.id for row in feeds.posts(asked)}
    lost = [number for number, row in above if row is None] + ([] if post else [post_id])
    gone = {row.reply_to_id for row in answers if row.reply_to_id} & {*set(asked).difference(there), *lost}
    return Thread(post_id, post, above, answers, frozenset(gone), later)


def _left(post_id: int) -> int | None:
    """The conversation in which a post has left its place that is gone, or not to be seen."""
    with reading() as connection:
        for column in (_POSTS.c.reply_to_id, _POSTS.c.thread_id):
            found = connection.execute(
                sa.select(_POSTS.c.thread_id).where(column == post_id).limit(1)
            ).scalar()
            if found is not None:
                return int(found)
    return None


@cache
def _after() -> Any:
    query = sa.select(feeds.POSTS.c.id).select_from(feeds.with_authors(feeds.POSTS))
    query = query.where(feeds.SEEN, feeds.POSTS.c.thread_id == sa.bindparam("thread", type_=sa.BigInteger))
    hint = "FORCE INDEX (ix_posts_thread_id_id)"
    return feeds.page(query.with_hint(feeds.POSTS, hint, "mysql"), feeds.POSTS.c.id, True)
