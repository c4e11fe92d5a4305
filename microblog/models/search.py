"""Search in posts' texts: all words of the question, newest post first."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from microblog.database import db
from microblog.elasticsearch import Elasticsearch, Unavailable
from microblog.models import feeds, indexing, words
from microblog.models.ahead import Question
from microblog.models.feeds import PUBLIC, Found, Page, PostRow
from microblog.models.hints import ByNumber, InOrder
from microblog.models.marks import Marks
from microblog.models.paging import Cut, cut, filled
from microblog.models.post import POST_MAX, PublicPost, clean_body

# MySQL's and MariaDB's search looks through this many of the latest posts before it asks the index.
WINDOW = 5_000

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


def question(text: str) -> str:
    """What somebody asks, as a page keeps it: nothing longer than a post can be in one."""
    # Letters may be sent in their parts, of which Unicode has four at most for one that posts are counted by.
    return clean_body(text[: POST_MAX * 4])[:POST_MAX]


def search_page(text: str, before: int | None = None, after: int | None = None) -> SearchPage:
    """The posts that hold all words of ``text``, in any order and case."""
    wanted = words.asked(text)
    if not wanted:
        return SearchPage([])

    def page(find: Callable[[Cut], list[PostRow]], fallback: bool = False) -> SearchPage:
        return SearchPage(*cut(find, before, after, Page.SIZE), marks or None, fallback=fallback)

    marks: dict[int, Marks] = {}

    def database(at: Cut) -> list[PostRow]:
        return feeds.shown(lambda part: find(wanted, part), at, marks=marks)

    find = _find_sqlite if db.engine.dialect.name == "sqlite" else _find_mysql
    engine = indexing.engine()
    if engine is None:
        return page(database)
    try:
        if indexing.is_current():
            return page(lambda at: _find_elsewhere(engine, wanted, at))
    except Unavailable:
        return page(database, fallback=True)
    return page(database)


def search_first(reader_id: int, text: str) -> Question | None:
    """What the first page for a question asks the database first, as :func:`feeds.home_first` says."""
    wanted = words.asked(text)
    sqlite = db.engine.dialect.name == "sqlite"
    known = sqlite or feeds.Window(PublicPost.post_id, WINDOW).is_known()
    if not wanted or not known or indexing.engine() is not None:
        return None
    query, values = (_in_sqlite if sqlite else _in_window)(wanted, feeds.TOP)
    return feeds.question(query, feeds.TOP, reader_id, **values)


def _find_elsewhere(engine: Elasticsearch, wanted: list[str], at: Cut) -> list[PostRow]:
    """As many posts as are wanted, as long as there are: the engine may know some that are not to be seen."""
    return filled(
        lambda part: engine.find(wanted, *part), lambda ids: feeds.posts(ids, at.newer), at, number=int
    )


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


_FTS = sa.table("public_posts_fts", sa.column("public_posts_fts"), sa.column("rowid", sa.BigInteger))


def _in_sqlite(wanted: list[str], at: Cut) -> tuple[Any, dict[str, Any]]:
    """A statement, and its values."""
    # In quotes, a word is a word (https://www.sqlite.org/fts5.html#fts5_strings).
    return _matching_sqlite(at.newer), {"match": " ".join(f'"{word}"' for word in wanted)}


def _find_sqlite(wanted: list[str], at: Cut) -> list[Found]:
    query, values = _in_sqlite(wanted, at)
    return feeds.read(query, at, **values)


@lru_cache
def _matching_sqlite(newer: bool) -> Any:
    query = sa.select(feeds.POSTS.c.id).select_from(
        feeds.with_authors(InOrder(_FTS, feeds.POSTS, feeds.POSTS.c.id == _FTS.c.rowid))
    )
    match = _FTS.c.public_posts_fts.match(sa.bindparam("match", type_=sa.String))
    return feeds.page(query.where(match, feeds.SEEN), _FTS.c.rowid, newer)


def _in_window(wanted: list[str], at: Cut) -> tuple[Any, dict[str, Any]]:
    """Likewise, of the latest posts."""
    places = {f"word{place}": f" {word} " for place, word in enumerate(wanted)}
    end = feeds.Window(PublicPost.post_id, WINDOW).end(at)
    return _near(len(wanted), at.newer), {"end": end, **places}


def _find_mysql(wanted: list[str], at: Cut) -> list[Found]:
    # The index gives all posts that hold a word before they can be put in order: for a word in
    # every hundredth of a million posts, that takes long. But of such a word there is a page full
    # in the latest posts, which are looked through first.
    query, values = _in_window(wanted, at)
    near = feeds.read(query, at, **values)
    if len(near) == at.limit:
        return near
    return feeds.read(_matching_mysql(at.newer), at, match=" ".join(f"+{word}" for word in wanted))


@lru_cache(maxsize=64)
def _near(count: int, newer: bool) -> Any:
    """The posts in a window that hold so many words."""
    first = ByNumber(PUBLIC, feeds.POSTS, feeds.POSTS.c.id == PUBLIC.c.post_id)
    query = sa.select(feeds.POSTS.c.id).select_from(feeds.with_authors(first)).where(feeds.SEEN)
    for place in range(count):
        # All of it is of plain letters: as bytes, they are compared in half the time.
        word = sa.cast(sa.bindparam(f"word{place}", type_=sa.String), sa.LargeBinary)
        query = query.where(sa.func.instr(PUBLIC.c.words, word) > 0)
    inside = feeds.within(PUBLIC.c.post_id, newer)
    return feeds.page(query.where(inside), PUBLIC.c.post_id, newer)


@lru_cache
def _matching_mysql(newer: bool) -> Any:
    query = sa.select(feeds.POSTS.c.id).select_from(
        feeds.with_authors(InOrder(PUBLIC, feeds.POSTS, feeds.POSTS.c.id == PUBLIC.c.post_id))
    )
    # SQLAlchemy gives this function no types.
    match: Any = mysql.match
    holds = match(PUBLIC.c.words, against=sa.bindparam("match", type_=sa.String)).in_boolean_mode()
    return feeds.page(query.where(holds, feeds.SEEN), PUBLIC.c.post_id, newer)
