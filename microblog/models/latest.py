"""Each author's latest post, so that a reader of thousands of quiet people finds those who wrote last.

A row is its author's own: nobody who reads, follows or writes elsewhere waits for it. It says where to look,
and nothing of what is to be seen: a feed reads the posts themselves.
"""

from typing import Any

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, upsert
from microblog.models.user import lock_accounts

# A sweep looks through this many of the latest posts.
SWEPT = 10_000


class LatestPost(db.Model):  # type: ignore[name-defined, misc]
    """The number of an author's latest post. Who has none, or is suspended, has no row."""

    __tablename__ = "latest_posts"

    author_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    post_id = field(sa.BigInteger, nullable=False)

    # Authors by who wrote last, without sorting.
    __table_args__ = (sa.Index(None, post_id), TABLE_OPTIONS)


_LATEST: Any = LatestPost.__table__


def note(connection: Any, author_id: int, post_id: int) -> None:
    """An author, whose account is locked, has written this post; the caller commits."""
    upsert(connection, _LATEST, {"author_id": author_id}, {"post_id": post_id})


def renew(author_id: int) -> None:
    """Look which post is an author's latest, whose account is locked and active; the caller commits."""
    from microblog.models.post import Post

    last = sa.select(sa.func.max(Post.id)).where(Post.author_id == author_id)
    if number := db.session.execute(last).scalar():
        note(db.session.connection(), author_id, number)
    else:
        forget(author_id)


def forget(author_id: int) -> None:
    """Let nobody find an author here, whose account is locked; the caller commits."""
    mine = _LATEST.c.author_id == author_id
    # A row that is not there is not looked for by a DELETE: that would keep others from making theirs.
    if db.session.execute(sa.select(_LATEST.c.post_id).where(mine)).first():
        db.session.execute(sa.delete(_LATEST).where(mine))


def noted(numbers: list[int]) -> list[int]:
    """The authors whose latest posts these are noted to be."""
    mine = sa.select(_LATEST.c.author_id).where(_LATEST.c.post_id.in_(numbers))
    return sorted(db.session.execute(mine).scalars())


def sweep() -> None:
    """Note what was written and removed past this module: by the version before, while the machines of a
    site are brought up to date one by one."""
    from microblog.models.post import Post

    posts: Any = Post.__table__
    recent = sa.select(posts.c.id, posts.c.author_id).order_by(posts.c.id.desc()).limit(SWEPT).subquery("w")
    last = sa.func.max(recent.c.id)
    unnoted = (
        sa.select(recent.c.author_id)
        .select_from(recent.outerjoin(_LATEST, _LATEST.c.author_id == recent.c.author_id))
        .group_by(recent.c.author_id, _LATEST.c.post_id)
        .having(last > sa.func.coalesce(_LATEST.c.post_id, 0))
    )
    noted = sa.select(_LATEST).order_by(_LATEST.c.post_id.desc()).limit(SWEPT).subquery("n")
    gone = (
        sa.select(noted.c.author_id)
        .select_from(noted.outerjoin(posts, posts.c.id == noted.c.post_id))
        .where(posts.c.id.is_(None))
    )
    with db.engine.connect() as connection:
        authors = {row[0] for query in (unnoted, gone) for row in connection.execute(query)}
    for author_id in sorted(authors):
        # One a transaction: nobody waits for one row while holding another.
        if lock_accounts(author_id).get(author_id):
            renew(author_id)
        db.session.commit()
