"""Search in posts' texts: all words of the question, newest post first."""

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from microblog.database import db
from microblog.models import feeds
from microblog.models.feeds import ID_MAX
from microblog.models.paging import Cut, cut
from microblog.models.post import Page

# More would not fit into a post, or hardly.
WORDS_MAX = 16
# MySQL's and MariaDB's full-text index holds words from this length on (innodb_ft_min_token_size).
SHORTEST = 3

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
    if not wanted:
        return SearchPage([])
    find = _find_sqlite if db.engine.dialect.name == "sqlite" else _find_mysql
    return SearchPage(*cut(lambda at: feeds.posts(find(wanted, at), at.newer), before, after, Page.SIZE))


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
    indexed = [word for word in wanted if len(word) >= SHORTEST]
    conditions, parameters = [], {}
    if indexed:
        conditions.append("MATCH (p.body) AGAINST (:match IN BOOLEAN MODE)")
        parameters["match"] = " ".join(f'+"{word}"' for word in indexed)
    for number, word in enumerate(word for word in wanted if len(word) < SHORTEST):
        conditions.append(f"p.body REGEXP :short{number}")
        parameters[f"short{number}"] = rf"\b{word}\b"
    return _ids(
        "SELECT p.id FROM posts AS p JOIN users AS u ON u.id = p.author_id"  # noqa: S608
        f" WHERE {' AND '.join(conditions)} AND u.suspended_at IS NULL",
        "p.id",
        at,
        **parameters,
    )


def _ids(select: str, column: str, at: Cut, **parameters: Any) -> list[int]:
    side, order = (">", "ASC") if at.newer else ("<", "DESC")
    bound = at.bound if at.bound is not None else (0 if at.newer else ID_MAX)
    query = sa.text(f"{select} AND {column} {side} :bound ORDER BY {column} {order} LIMIT :limit")
    return list(db.session.execute(query, {**parameters, "bound": bound, "limit": at.limit}).scalars())
