"""Search in posts' texts: all words of the question, newest post first."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from microblog.database import db
from microblog.elasticsearch import Unavailable
from microblog.models import feeds, indexing
from microblog.models.feeds import ID_MAX
from microblog.models.paging import Cut, cut
from microblog.models.post import POST_MAX, Page, Post

# More would not fit into a post, or hardly.
WORDS_MAX = 16
# MySQL's and MariaDB's full-text index holds words from this length on (innodb_ft_min_token_size).
SHORTEST = 3
# MySQL's and MariaDB's search looks through this many of the latest posts before it asks the index.
WINDOW = 5_000

_REINDEX = {
    "sqlite": ["INSERT INTO posts_fts (posts_fts) VALUES ('rebuild')"],
    "mysql": [
        "DROP INDEX ft_posts_body ON posts",
        # An index keeps what was set when it was made: "the" and "www" are words too.
        "SET SESSION innodb_ft_enable_stopword = OFF",
        "CREATE FULLTEXT INDEX ft_posts_body ON posts (body)",
    ],
}
_CHUNK = 500

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class SearchPage(Page):
    """Part of what was found, newest first.

    :ivar fallback: whether the database answered for a search engine that did not.
    """

    fallback: bool = False


def words(text: str) -> list[str]:
    """The words of a question, each once: whatever else it holds is neither looked for nor obeyed."""
    return list(dict.fromkeys(word.casefold() for word in _WORD.findall(text)))[:WORDS_MAX]


def search_page(text: str, before: int | None = None, after: int | None = None) -> SearchPage:
    """The posts that hold all words of ``text``, in any order and case."""
    wanted = words(text)
    # What is longer than a post is in none.
    if not wanted or any(len(word) > POST_MAX for word in wanted):
        return SearchPage([])
    if engine := indexing.engine():
        try:
            return _page(lambda wanted, at: engine.find(wanted, *at), wanted, before, after)
        except Unavailable:
            return _page(_database(), wanted, before, after, fallback=True)
    return _page(_database(), wanted, before, after)


_Find = Callable[[list[str], Cut], list[int]]


def _page(find: _Find, wanted: list[str], before: Any, after: Any, fallback: bool = False) -> SearchPage:
    found = cut(lambda at: feeds.posts(find(wanted, at), at.newer), before, after, Page.SIZE)
    return SearchPage(*found, fallback=fallback)


def _database() -> _Find:
    return _find_sqlite if db.engine.dialect.name == "sqlite" else _find_mysql


def reindex() -> int:
    """Make all indexes afresh, from the posts; searches meanwhile find less.

    :return: how many posts there are.
    :raises Unavailable: Elasticsearch is to be used and does not answer.
    """
    statements = _REINDEX["sqlite" if db.engine.dialect.name == "sqlite" else "mysql"]
    for statement in statements:
        db.session.execute(sa.text(statement))
    db.session.commit()
    count, bound = 0, 0
    engine = indexing.engine()
    if engine:
        engine.recreate()
    query = sa.select(Post.id, Post.author_id, Post.body).order_by(Post.id).limit(_CHUNK)
    while rows := db.session.execute(query.where(Post.id > bound)).all():
        if engine:
            engine.add_all(map(tuple, rows))
        count, bound = count + len(rows), rows[-1].id
    return count


def _find_sqlite(wanted: list[str], at: Cut) -> list[int]:
    # In quotes, a word is a word (https://www.sqlite.org/fts5.html#fts5_strings).
    match = " ".join(f'"{word}"' for word in wanted)
    return _ids(
        "SELECT t.rowid FROM posts_fts AS t"
        " JOIN posts AS p ON p.id = t.rowid JOIN users AS u ON u.id = p.author_id"
        " WHERE posts_fts MATCH :match AND u.suspended_at IS NULL",
        "t.rowid",
        at,
        match=match,
    )


def _find_mysql(wanted: list[str], at: Cut) -> list[int]:
    # The index gives all posts that hold a word before they can be put in order: for a word in
    # every hundredth of a million posts, that takes long. But of such a word there is a page full
    # in the latest posts, which are looked through first.
    near = _find_near(wanted, at)
    indexed = [word for word in wanted if len(word) >= SHORTEST]
    if len(near) == at.limit or not indexed:
        return near
    match = " ".join(f'+"{word}"' for word in indexed)
    short = [word for word in wanted if len(word) < SHORTEST]
    return _mysql_ids("p", ["MATCH (p.body) AGAINST (:match IN BOOLEAN MODE)"], short, at, match=match)


def _find_near(wanted: list[str], at: Cut) -> list[int]:
    if at.newer:
        end = "p.id <= :bound + :window"
    elif at.bound is None:
        end = "p.id > (SELECT MAX(id) FROM posts) - :window"
    else:
        end = "p.id >= :bound - :window"
    return _mysql_ids("p FORCE INDEX (PRIMARY)", [end], wanted, at, window=WINDOW)


def _mysql_ids(posts: str, conditions: list[str], words: list[str], at: Cut, **parameters: Any) -> list[int]:
    for number, word in enumerate(words):
        conditions.append(f"p.body REGEXP :word{number}")
        parameters[f"word{number}"] = _pattern(word)
    return _ids(
        f"SELECT p.id FROM posts AS {posts} STRAIGHT_JOIN users AS u ON u.id = p.author_id"  # noqa: S608
        f" WHERE {' AND '.join(conditions)} AND u.suspended_at IS NULL",
        "p.id",
        at,
        **parameters,
    )


def _base(letter: str) -> str:
    """The letter without its accents, in lower case."""
    return unicodedata.normalize("NFD", letter)[0].lower()


@cache
def _variants() -> dict[str, str]:
    """The letters of Latin with accents, by the one they are made of."""
    found: dict[str, str] = {}
    for number in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
        base = _base(chr(number))
        if base.isascii() and base.isalpha():
            found[base] = found.get(base, "") + chr(number)
    return found


def _pattern(word: str) -> str:
    """A word as a regular expression that minds accents as little as the index does."""
    letters = (f"[{base}{_variants()[base]}]" if (base := _base(one)) in _variants() else one for one in word)
    return rf"\b{''.join(letters)}\b"


def _ids(select: str, column: str, at: Cut, **parameters: Any) -> list[int]:
    side, order = (">", "ASC") if at.newer else ("<", "DESC")
    bound = at.bound if at.bound is not None else (0 if at.newer else ID_MAX)
    query = sa.text(f"{select} AND {column} {side} :bound ORDER BY {column} {order} LIMIT :limit")
    return list(db.session.execute(query, {**parameters, "bound": bound, "limit": at.limit}).scalars())
