"""Search in posts' texts: all words of the question, newest post first."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from microblog.database import db
from microblog.elasticsearch import Unavailable
from microblog.models import feeds, indexing, words
from microblog.models.feeds import ID_MAX, PostRow
from microblog.models.paging import Cut, cut
from microblog.models.post import Page, PublicPost

# MySQL's and MariaDB's search looks through this many of the latest posts before it asks the index.
WINDOW = 5_000
# Posts that are asked for at once, where many of those found are not to be shown.
_MOST = 1_000

_REINDEX = {
    "sqlite": ["INSERT INTO public_posts_fts (public_posts_fts) VALUES ('rebuild')"],
    "mysql": [
        "DROP INDEX ft_public_posts_words ON public_posts",
        # Else MariaDB's new index lacks what was written since the server wrote the old one down.
        "ALTER TABLE public_posts FORCE",
        # An index keeps what was set when it was made: "the" and "www" are words too.
        "SET SESSION innodb_ft_enable_stopword = OFF",
        "CREATE FULLTEXT INDEX ft_public_posts_words ON public_posts (words)",
    ],
}


@dataclass(frozen=True)
class SearchPage(Page):
    """Part of what was found, newest first.

    :ivar fallback: whether the database answered for a search engine that did not.
    """

    fallback: bool = False


def search_page(text: str, before: int | None = None, after: int | None = None) -> SearchPage:
    """The posts that hold all words of ``text``, in any order and case."""
    wanted = words.asked(text)
    if not wanted:
        return SearchPage([])
    if engine := indexing.engine():
        try:
            if indexing.is_current():
                return _page(lambda wanted, at: engine.find(wanted, *at), wanted, before, after)
        except Unavailable:
            return _page(_database(), wanted, before, after, fallback=True)
    return _page(_database(), wanted, before, after)


_Find = Callable[[list[str], Cut], list[int]]


def _page(find: _Find, wanted: list[str], before: Any, after: Any, fallback: bool = False) -> SearchPage:
    found = cut(lambda at: _full(find, wanted, at), before, after, Page.SIZE)
    return SearchPage(*found, fallback=fallback)


def _full(find: _Find, wanted: list[str], at: Cut) -> list[PostRow]:
    """As many posts as are wanted, as long as there are: an index may know some that are not to be seen."""
    found: list[PostRow] = []
    part = at
    while True:
        ids = find(wanted, part)
        found += feeds.posts(ids, at.newer)
        if len(found) >= at.limit or len(ids) < part.limit:
            return found[: at.limit]
        part = Cut(ids[-1], at.newer, min(part.limit * 2, _MOST))


def _database() -> _Find:
    return _find_sqlite if db.engine.dialect.name == "sqlite" else _find_mysql


def reindex() -> int:
    """Make all indexes afresh, from the posts; searches meanwhile find less.

    :return: how many posts there are to be found.
    :raises Unavailable: Elasticsearch is to be used and does not answer.
    """
    statements = _REINDEX["sqlite" if db.engine.dialect.name == "sqlite" else "mysql"]
    for statement in statements:
        db.session.execute(sa.text(statement))
    db.session.commit()
    if indexing.engine():
        indexing.begin_anew()
        while not indexing.catch_up():
            time.sleep(1)
    count: int = db.session.execute(sa.select(sa.func.count()).select_from(PublicPost)).scalar_one()
    return count


def _find_sqlite(wanted: list[str], at: Cut) -> list[int]:
    # In quotes, a word is a word (https://www.sqlite.org/fts5.html#fts5_strings).
    match = " ".join(f'"{word}"' for word in wanted)
    return _ids(
        "SELECT rowid FROM public_posts_fts WHERE public_posts_fts MATCH :match", "rowid", at, match=match
    )


def _find_mysql(wanted: list[str], at: Cut) -> list[int]:
    # The index gives all posts that hold a word before they can be put in order: for a word in
    # every hundredth of a million posts, that takes long. But of such a word there is a page full
    # in the latest posts, which are looked through first.
    near = _find_near(wanted, at)
    if len(near) == at.limit:
        return near
    match = " ".join(f"+{word}" for word in wanted)
    return _ids(
        "SELECT post_id FROM public_posts WHERE MATCH (words) AGAINST (:match IN BOOLEAN MODE)",
        "post_id",
        at,
        match=match,
    )


def _find_near(wanted: list[str], at: Cut) -> list[int]:
    if at.newer:
        conditions = ["post_id <= :end"]
    elif at.bound is None:
        conditions = ["post_id > (SELECT MAX(post_id) FROM public_posts) - :end"]
    else:
        conditions = ["post_id >= :end"]
    conditions += [f"INSTR(words, :word{number})" for number in range(len(wanted))]
    return _ids(
        f"SELECT post_id FROM public_posts FORCE INDEX (PRIMARY) WHERE {' AND '.join(conditions)}",  # noqa: S608
        "post_id",
        at,
        end=feeds.window_end(at, WINDOW),
        **{f"word{number}": f" {word} " for number, word in enumerate(wanted)},
    )


@lru_cache(maxsize=64)
def _text(sql: str) -> Any:
    return sa.text(sql)


def _ids(select: str, column: str, at: Cut, **parameters: Any) -> list[int]:
    side, order = (">", "ASC") if at.newer else ("<", "DESC")
    bound = at.bound if at.bound is not None else (0 if at.newer else ID_MAX)
    query = _text(f"{select} AND {column} {side} :bound ORDER BY {column} {order} LIMIT :limit")
    return list(db.session.execute(query, {**parameters, "bound": bound, "limit": at.limit}).scalars())
