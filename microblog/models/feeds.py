"""Feeds of posts, newest first, at a cost that does not depend on how many posts there are.

Written as SQL, for what it says about the order in which the tables are read: a planner that
begins at the other end would read, and sort, all there is.
"""

import heapq
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import db
from microblog.models.paging import Cut

ID_MAX = 2**63 - 1

# A home feed looks through this many of the latest posts. Who follows one author in a hundred
# finds a page among them; who finds less than a page has few authors worth asking one by one.
WINDOW = 2_000
# Up to this many authors are asked one by one at once: that is cheaper than to look through posts.
FEW_AUTHORS = 12
# Authors asked in one statement; SQLite takes up to 500 parts.
CHUNK = 200
# A page, and the one more that tells whether there is another.
_PAGE = 21


class PostRow(NamedTuple):
    """A post to show: light, and nothing that the database would be asked for again.

    :ivar created_at: in UTC, without a zone.
    :ivar language: its ISO 639-1 code, if it is known.
    """

    id: int
    body: str
    created_at: datetime
    language: str | None
    author_id: int
    username: str


_TYPES = {
    "id": sa.BigInteger(),
    "created_at": sa.DateTime(),
}

# How to be made to begin with the posts, in the order of an index of theirs.
_FROM = {
    "mysql": {
        "id": "posts AS p FORCE INDEX (PRIMARY) STRAIGHT_JOIN users AS u",
        "author": "posts AS p FORCE INDEX (ix_posts_author_id_id) STRAIGHT_JOIN users AS u",
    },
    "sqlite": {
        "id": "posts AS p NOT INDEXED CROSS JOIN users AS u",
        "author": "posts AS p INDEXED BY ix_posts_author_id_id CROSS JOIN users AS u",
    },
}
# Of everybody's posts, those that are to be found alone are looked at: thousands of a suspended account's
# would else be passed by, one by one, for each reader.
_FROM["mysql"]["public"] = (
    "public_posts AS w FORCE INDEX (PRIMARY) STRAIGHT_JOIN posts AS p ON p.id = w.post_id"
    " STRAIGHT_JOIN users AS u"
)
_FROM["sqlite"]["public"] = (
    "public_posts AS w CROSS JOIN posts AS p ON p.id = w.post_id CROSS JOIN users AS u"
)
_PUBLIC = "u.suspended_at IS NULL"
_FOLLOWED = (
    "(p.author_id = :reader OR EXISTS"
    " (SELECT 1 FROM follows AS f WHERE f.follower_id = :reader AND f.followed_id = p.author_id))"
)
# Whom a reader follows, by their posts next to a cut: a look into an index for each, in one statement.
_AUTHORS = {
    newer: sa.text(
        f"SELECT author FROM (SELECT f.followed_id AS author, (SELECT {nearest}(p.id) FROM posts AS p"  # noqa: S608
        f" WHERE p.author_id = f.followed_id AND p.id {side} :bound) AS post FROM follows AS f"
        " WHERE f.follower_id = :reader) AS t JOIN users AS u ON u.id = t.author"
        f" WHERE post IS NOT NULL AND u.suspended_at IS NULL ORDER BY post {order} LIMIT :limit"
    )
    for newer, nearest, side, order in ((True, "MIN", ">", "ASC"), (False, "MAX", "<", "DESC"))
}


def everybody(at: Cut) -> list[PostRow]:
    """What everybody writes, less the suspended."""
    return _read("public", _PUBLIC, at)


def by(author_id: int, at: Cut) -> list[PostRow]:
    """What one author writes."""
    return _read("author", "p.author_id = :author", at, author=author_id)


def home(reader_id: int, following: int, at: Cut) -> list[PostRow]:
    """What one reads at home: one's own posts and those of whom one follows.

    :param following: how many that are.
    """
    if following > FEW_AUTHORS:
        rows = _recent(reader_id, at)
        if len(rows) == at.limit:
            return rows
    return _merged(reader_id, at)


def _recent(reader_id: int, at: Cut) -> list[PostRow]:
    """From the posts next to the cut: is the author followed? Most of the time a page is soon full."""
    if at.newer:
        end = "p.id <= :end"
    elif at.bound is None:
        end = "p.id > (SELECT MAX(id) FROM posts) - :end"
    else:
        end = "p.id >= :end"
    return _read(
        "id", f"{_PUBLIC} AND {_FOLLOWED} AND {end}", at, reader=reader_id, end=window_end(at, WINDOW)
    )


def window_end(at: Cut, size: int) -> int:
    """Where a window of so many posts ends that begins at a cut; without one, its size. Never past what
    a database can count to."""
    if at.bound is None:
        return size
    return min(at.bound + size, ID_MAX) if at.newer else at.bound - size


def _merged(reader_id: int, at: Cut) -> list[PostRow]:
    """From the authors: each one's posts next to the cut, by an index, and of these the first ones."""
    # Only those whose posts next to the cut are the nearest can have a post on the page.
    bound = at.bound if at.bound is not None else (0 if at.newer else ID_MAX)
    parameters = {"reader": reader_id, "bound": bound, "limit": at.limit}
    authors = [reader_id, *db.session.execute(_AUTHORS[at.newer], parameters).scalars()]
    first = heapq.nsmallest if at.newer else heapq.nlargest
    return posts([post for post, _ in first(at.limit, _nearest(authors, at))], at.newer)


def _nearest(authors: list[int], at: Cut) -> list[tuple[int, int]]:
    """Each author's posts next to the cut: pairs of post and author."""
    bound = at.bound if at.bound is not None else ID_MAX
    side, order = (">", "ASC") if at.newer else ("<", "DESC")
    found: list[tuple[int, int]] = []
    for start in range(0, len(authors), CHUNK):
        # Numbers of ours, written out: that many parameters would cost more than the seeks.
        parts = (
            f"SELECT * FROM (SELECT id, author_id FROM posts WHERE author_id = {int(author)}"  # noqa: S608
            f" AND id {side} {int(bound)} ORDER BY id {order} LIMIT {int(at.limit)}) AS t"
            for author in authors[start : start + CHUNK]
        )
        found += map(tuple, _execute(" UNION ALL ".join(parts)))
    return found


def posts(ids: list[int], ascending: bool = False) -> list[PostRow]:
    """The posts with these ids that are to be seen, in the order of their ids."""
    if not ids:
        return []
    # As many parameters as a page has posts: a statement that is known already.
    count = max(len(ids), _PAGE)
    names = [f"n{place}" for place in range(count)]
    condition = f"{_PUBLIC} AND p.id IN ({', '.join(f':{name}' for name in names)})"
    numbers = dict(zip(names, [*ids, *ids[-1:] * (count - len(ids))], strict=True))
    return _read("id", condition, Cut(None, ascending, len(ids)), **numbers)


def _read(index: str, condition: str, at: Cut, **parameters: Any) -> list[PostRow]:
    bound = at.bound if at.bound is not None else (0 if at.newer else ID_MAX)
    query = _statement(db.engine.dialect.name, index, condition, at.newer)
    rows = db.session.execute(query, {**parameters, "bound": bound, "limit": at.limit})
    return [PostRow._make(row) for row in rows]


@lru_cache(maxsize=64)
def _statement(dialect: str, index: str, condition: str, newer: bool) -> Any:
    side, order = (">", "ASC") if newer else ("<", "DESC")
    columns = "p.id, p.body, p.created_at, p.language, p.author_id, u.username"
    number = "w.post_id" if index == "public" else "p.id"
    return sa.text(
        f"SELECT {columns} FROM {_FROM[dialect][index]} ON u.id = p.author_id"  # noqa: S608 - constants
        f" WHERE {condition} AND {number} {side} :bound ORDER BY {number} {order} LIMIT :limit"
    ).columns(**_TYPES)


def _execute(sql: str) -> Any:
    """Run what is only numbers and constants, past SQLAlchemy's cache of statements."""
    return db.session.connection().exec_driver_sql(sql)
