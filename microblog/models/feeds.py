"""Feeds of posts, newest first, at a cost that does not depend on how many posts there are.

A statement gives the numbers of a page's posts, in one row; says in which order the tables are read (see
:mod:`microblog.models.hints`); and is made once. The posts themselves are the same for everybody, and seldom
changed: each process keeps some, and the numbers come with the times at which they were edited.

A repost has a number like any post, so that a feed is in order by one number. Whether what it passes on is to
be seen comes with its number, too: where it is not, the page is filled with what is below.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import current_app

from microblog.database import db, reading
from microblog.models import ahead, audience
from microblog.models.ahead import Question
from microblog.models.follow import Follow
from microblog.models.hints import ByLatest, ByNumber, InOrder
from microblog.models.latest import LatestPost
from microblog.models.marks import Marks, parse
from microblog.models.marks import joined as with_marks
from microblog.models.paging import ID_MAX, Cut, cut, filled
from microblog.models.post import Post, PublicPost
from microblog.models.reader import Reader
from microblog.models.texts import NO, Joined, constant
from microblog.models.user import User

# A home feed looks through this many of the latest posts. Who follows one author in fifty finds a page among
# them; who finds less than a page is shown what those wrote last whom they follow.
WINDOW = 1_000
# Up to this many authors are asked one by one at once: that is cheaper than to look through posts.
FEW_AUTHORS = 12
# Authors whose posts one statement asks for: SQLite joins no more than 500.
AT_ONCE = 400
# More authors than these are not looked at one by one if those who wrote last, so many of all, are enough.
MANY_AUTHORS = 200
LATEST_AUTHORS = 1_500
# How long it is known where a window ends, in seconds: meanwhile it is longer by what is written.
_FRESH = 10.0
# Readers of whom each process remembers that the latest posts are not what they read.
_QUIET_MOST = 10_000
# Posts that each process keeps, of some 700 bytes each.
KEPT = 2048
# Characters of a time up to its seconds: SQLite writes their fractions, too.
_SECONDS = len("2026-01-01 00:00:00")
_KEY = "microblog.posts"
_ENDS = "microblog.window_ends"
_QUIET = "microblog.quiet_readers"


class PostRow(NamedTuple):
    """A post to show: light, and nothing that the database would be asked for again.

    :ivar created_at: in UTC, without a zone.
    :ivar language: its ISO 639-1 code, if it is known.
    :ivar reply_to_id: the post that it answers, which may be gone.
    :ivar thread_id: the first post of the conversation, if it answers one; it may be gone, too.
    :ivar edited_at: when its text was changed last, if it was.
    :ivar repost_of_id: the post that it passes on.
    :ivar original: that post; what is to be shown.
    """

    id: int
    body: str
    created_at: datetime
    language: str | None
    author_id: int
    username: str
    reply_to_id: int | None = None
    thread_id: int | None = None
    edited_at: datetime | None = None
    repost_of_id: int | None = None
    original: "PostRow | None" = None  # type: ignore[misc]

    @property
    def shown(self) -> "PostRow":
        """The post whose text is shown: itself, or what it passes on."""
        return self.original or self


@dataclass(frozen=True)
class Page:
    """Part of a feed, newest first.

    :ivar posts: its posts.
    :ivar newer: the id after which the next newer page begins, if there is one.
    :ivar older: the id before which the next older page begins, if there is one.
    :ivar marks: what there is to say of these posts to the reader of this request, by the numbers of what is
        shown; None: it is yet to be asked for.
    """

    posts: list[PostRow]
    newer: int | None = None
    older: int | None = None
    marks: dict[int, Marks] | None = field(default=None, compare=False)

    SIZE = 20


# The newest part of a feed, which is what is read most.
TOP = Cut(None, False, Page.SIZE + 1)


def home_first(reader_id: int) -> Question | None:
    """What the newest home page asks first, before it is known that this is who reads."""
    window, authors = Window(Post.id, WINDOW), Window(LatestPost.post_id, LATEST_AUTHORS)
    following = _quiet().get(reader_id)
    if following is None and window.is_known():
        return question(_recent(False), TOP, reader_id, reader=reader_id, end=window.end(TOP))
    if following is not None and following > MANY_AUTHORS and authors.is_known():
        return question(_latest(_nested()), TOP, reader_id, reader=reader_id, end=authors.end(TOP))
    return None


def explore_first(reader_id: int) -> Question:
    """Likewise."""
    return question(_everybody(False), TOP, reader_id)


def profile_first(reader_id: int, key: str) -> Question:
    """Likewise, of a profile's feed: see :mod:`microblog.models.profiles`."""
    return question(named(False), TOP, reader_id, key=key)


def home_page(user: Reader | User, before: int | None = None, after: int | None = None) -> Page:
    """What somebody reads at home: their own posts, and those of whom they follow."""
    return feed(lambda at: _home(user.id, user.following_count, at), before, after)


def explore_page(before: int | None = None, after: int | None = None) -> Page:
    """What everybody writes, less the suspended."""
    return feed(lambda at: read(_everybody(at.newer), at), before, after)


def profile_page(
    author_id: int, before: int | None = None, after: int | None = None, key: str | None = None
) -> Page:
    """What one author writes and passes on: to whoever has muted them, too, for they have come to read it.

    :param key: the author's ``name_key``, where that was asked for first.
    """
    query = _by if key is None else named
    whose: dict[str, Any] = {"author": author_id} if key is None else {"key": key}
    return feed(lambda at: read(query(at.newer), at, **whose), before, after, by=author_id)


# Likewise, next to a cut of any size: for programs.


def at_home(user: Reader | User) -> Callable[[Cut], list[PostRow]]:
    return lambda at: shown(lambda part: _home(user.id, user.following_count, part), at)


def everybodys(at: Cut) -> list[PostRow]:
    return shown(lambda part: read(_everybody(part.newer), part), at)


def written_by(author_id: int) -> Callable[[Cut], list[PostRow]]:
    return lambda at: shown(lambda part: read(_by(part.newer), part, author=author_id), at, by=author_id)


def posts(ids: list[int], newer: bool = False, muted: bool = True) -> list[PostRow]:
    """The posts with these ids that are to be seen, in the order of their ids.

    :param muted: whether those of who is muted are not.
    """
    return _texts(read(_numbered(newer), Cut(None, newer, len(ids)), ids=ids), 0, muted) if ids else []


def one(number: int) -> PostRow | None:
    """The post with this number, if it is to be seen where it is asked for by itself."""
    found = posts([number], muted=False) if 0 < number <= ID_MAX else []
    return found[0] if found else None


class Found(NamedTuple):
    """A place in a feed.

    :ivar id: the number by which it is in order.
    :ivar edited: the time at which what is shown was edited last, as text; empty: never.
    :ivar original: the number of what it passes on; 0 if that is not to be seen; None: it passes on nothing.
    :ivar marks: what there is to say of what is shown, to the reader of this request.
    :ivar author: whose latest post it is, if it was found by that.
    :ivar other: the number of this author's latest post but for it; 0: there is none.
    """

    id: int
    edited: str
    original: int | None
    marks: Marks
    author: int = 0
    other: int = 0


def feed(find: Callable[[Cut], list[Found]], before: int | None, after: int | None, by: int = 0) -> Page:
    """Part of a feed.

    :param find: gives the places of a :class:`Cut`, in its direction.
    :param by: whose posts are to be seen also by who has muted them.
    """
    marks: dict[int, Marks] = {}
    return Page(*cut(lambda at: shown(find, at, by, marks), before, after, Page.SIZE), marks)


def shown(
    find: Callable[[Cut], list[Found]], at: Cut, by: int = 0, marks: dict[int, Marks] | None = None
) -> list[PostRow]:
    """As many posts as are wanted, as long as there are: some that are found may not be to be seen.

    :param marks: where to put what there is to say of them.
    """

    def texts(found: list[Found]) -> list[PostRow]:
        if marks is not None:
            marks.update((place.original or place.id, place.marks) for place in found)
        return _texts(found, by)

    return filled(find, texts, at)


def _texts(found: list[Found], by: int, muted: bool = True) -> list[PostRow]:
    """What was just seen to be there, in this order; less what this reader is not to see, and the reposts of
    that."""
    kept: dict[int, PostRow] = current_app.extensions.setdefault(_KEY, {})
    wanted: dict[int, str] = {}
    for place in found:
        if place.original is None:
            wanted[place.id] = place.edited
        elif place.original:
            wanted[place.id] = ""
            wanted[place.original] = place.edited
    # Each is asked for once: another thread may be making room.
    rows = {number: post for number in wanted if (post := kept.get(number))}
    missing = [
        number for number, edited in wanted.items() if number not in rows or _edited(rows[number]) != edited
    ]
    if missing:
        with reading() as connection:
            for row in connection.execute(_rows(), {"ids": missing}).all():
                rows[row.id] = kept[row.id] = PostRow._make(row)
        if len(kept) > KEPT:
            for number in list(kept)[: -KEPT // 2]:
                kept.pop(number, None)
    posts = []
    for place in found:
        # Another visitor may have deleted a post since.
        post = rows.get(place.id) if place.original != 0 else None
        if post is not None and place.original:
            original = rows.get(place.original)
            post = post._replace(original=original) if original else None
        if post is not None:
            posts.append(post)
    if hidden := audience.unseen({author for post in posts for author in _authors(post)}, muted, by):
        posts = [post for post in posts if hidden.isdisjoint(_authors(post))]
    return posts


def _authors(post: PostRow) -> tuple[int, ...]:
    return (post.author_id, post.original.author_id) if post.original else (post.author_id,)


def _edited(post: PostRow) -> str:
    return "" if post.edited_at is None else str(post.edited_at)[:_SECONDS]


# The tables by the names that a feed's statement has for them.
PUBLIC = PublicPost.__table__.alias("w")
POSTS = Post.__table__.alias("p")
AUTHORS = User.__table__.alias("u")
_FOLLOWS = Follow.__table__.alias("f")
_LATEST = LatestPost.__table__.alias("l")
# What is found, and what that passes on.
_PLACES = Post.__table__.alias("s")
_ORIGINALS = Post.__table__.alias("o")
_THEIRS = User.__table__.alias("a")
# SQLAlchemy makes an alias's columns when they are first asked for. A thread that asks meanwhile finds none.
for _table in (PUBLIC, POSTS, AUTHORS, _FOLLOWS, _LATEST, _PLACES, _ORIGINALS, _THEIRS):
    _table.c.keys()
_WRITTEN = POSTS.c.author_id == AUTHORS.c.id
_ACTIVE = AUTHORS.c.suspended_at.is_(None)
# The same of a post's author. It asks for the post, too, of which none has such a number: of a large site
# whose statistics it has, SQLite would else read all accounts for each page, to know who is active.
SEEN = sa.case((POSTS.c.id < 0, POSTS.c.created_at), else_=AUTHORS.c.suspended_at).is_(None)
# And of who has a row in latest_posts.
_NOTED = sa.case((_LATEST.c.post_id < 0, NO), else_=AUTHORS.c.suspended_at).is_(None)


def with_authors(first: Any) -> InOrder:
    """Posts, or what is joined to them, and then their authors."""
    return InOrder(first, AUTHORS, _WRITTEN)


def question(query: Any, at: Cut, me: int, **values: Any) -> Question:
    """What is asked by a statement that :func:`page` made.

    :param me: who reads.
    """
    bound = at.bound if at.bound is not None else (0 if at.newer else ID_MAX)
    return Question(query, {**values, "bound": bound, "limit": at.limit, "me": me})


def read(query: Any, at: Cut, **values: Any) -> list[Found]:
    """What a statement finds that :func:`page` made."""
    text = ahead.answer(question(query, at, audience.reader_id(), **values))
    found = [_place(*place.split("|")) for place in text.split(",")] if text else []
    return sorted(found, reverse=not at.newer)


def _place(number: str, edited: str, original: str, marks: str, *author: str) -> Found:
    passed_on = int(original) if original else None
    return Found(int(number), edited[:_SECONDS], passed_on, parse(marks), *map(int, author))


def page(query: Any, number: Any, newer: bool, of_posts: bool = True) -> Any:
    """What is next to :bound, as much as :limit, of what ``query`` selects from, in one text: numbers, and
    what else there is to a :class:`Found`.

    :param of_posts: whether it selects from :data:`POSTS`: else these are looked up by their numbers.
    """
    if of_posts:
        found = _part(query, number, newer, POSTS.c.edited_at, POSTS.c.repost_of_id).subquery("page")
        return _as_text(found, found, found)
    found = _part(query, number, newer).subquery("page")
    return _as_text(found, InOrder(found, _PLACES, _PLACES.c.id == found.c.id), _PLACES)


def _as_text(found: Any, first: Any, place: Any, *more: Any) -> Any:
    """What a page has for each post that was found.

    :param first: what there is to select from.
    :param place: the columns of what was found.
    :param more: columns for the end of each.
    """
    # The few that are found, each with what it passes on.
    theirs = sa.and_(_THEIRS.c.id == _ORIGINALS.c.author_id, _THEIRS.c.suspended_at.is_(None))
    joined = sa.outerjoin(first, _ORIGINALS, _ORIGINALS.c.id == place.c.repost_of_id)
    joined = sa.outerjoin(joined, _THEIRS, theirs)
    edited = sa.func.coalesce(_ORIGINALS.c.edited_at, place.c.edited_at, NO)
    passed_on = sa.case((_THEIRS.c.id.is_not(None), _ORIGINALS.c.id), else_=constant("0"))
    original = sa.case((place.c.repost_of_id.is_not(None), passed_on), else_=NO)
    joined, marks = with_marks(joined, sa.func.coalesce(_ORIGINALS.c.id, found.c.id))
    text = Joined("'|'", found.c.id, edited, original, marks, *more)
    return sa.select(sa.func.group_concat(text, type_=sa.String)).select_from(joined)


def _part(query: Any, number: Any, newer: bool, *more: Any) -> Any:
    query = query.with_only_columns(number.label("id"), *more)
    bound, limit = sa.bindparam("bound", type_=sa.BigInteger), sa.bindparam("limit", type_=sa.Integer)
    if newer:
        return query.where(number > bound).order_by(number).limit(limit)
    return query.where(number < bound).order_by(number.desc()).limit(limit)


class Window(NamedTuple):
    """So many rows next to a cut.

    :ivar number: a table's column, apart from those of the statement that is to look through the window.
    :ivar size: how many.
    """

    number: Any
    size: int

    def end(self, at: Cut) -> int:
        """The first number that is not in it, at a cut.

        By the rows themselves: numbers may have gaps, and go in steps of any size. It is asked for by itself,
        for what a database does not know when it plans a statement bounds nothing. At the top, where most
        read, it is asked for now and then.
        """
        if at.bound is not None:
            return self._look_up(at)
        known = self._known()
        end, until = known.get(self._key, (0, 0.0))
        if until < time.monotonic():
            end = self._look_up(at)
            known[self._key] = end, time.monotonic() + _FRESH
        return end

    def is_known(self) -> bool:
        """Whether to know the end at the top costs nothing."""
        return self._known().get(self._key, (0, 0.0))[1] >= time.monotonic()

    @property
    def _key(self) -> tuple[str, int]:
        return self.number.table.name, self.size

    def _known(self) -> dict[tuple[str, int], tuple[int, float]]:
        known: dict[tuple[str, int], tuple[int, float]] = current_app.extensions.setdefault(_ENDS, {})
        return known

    def _look_up(self, at: Cut) -> int:
        values = {"bound": at.bound, "skipped": self.size}
        with reading() as connection:
            found = connection.execute(_end(self.number, kind(at)), values).scalar()
        return int(found) if found is not None else (ID_MAX if at.newer else 0)


@cache
def _end(number: Any, at: Cut) -> Any:
    query = sa.select(number).order_by(number if at.newer else number.desc())
    if at.bound is not None:
        bound = sa.bindparam("bound", type_=sa.BigInteger)
        query = query.where(number > bound if at.newer else number < bound)
    return query.limit(1).offset(sa.bindparam("skipped", type_=sa.Integer))


def within(number: Any, newer: bool) -> Any:
    """The condition that a post is before the :end of a window."""
    end = sa.bindparam("end", type_=sa.BigInteger)
    return number < end if newer else number > end


def kind(at: Cut) -> Cut:
    """A cut as far as its statement goes: the bound is 0, or there is none."""
    return Cut(None if at.bound is None else 0, at.newer, 0)


@cache
def _rows() -> Any:
    columns = [POSTS.c[name] for name in ("id", "body", "created_at", "language", "author_id")]
    more = [POSTS.c[name] for name in ("reply_to_id", "thread_id", "edited_at", "repost_of_id")]
    columns += [AUTHORS.c.username, *more, sa.null().label("original")]
    query = sa.select(*columns).select_from(ByNumber(POSTS, AUTHORS, _WRITTEN))
    return query.where(POSTS.c.id.in_(sa.bindparam("ids", expanding=True)))


@cache
def _everybody(newer: bool) -> Any:
    # Of everybody's posts, those that are to be found alone are looked at: thousands of a suspended
    # account's would else be passed by, one by one, for each reader.
    first = with_authors(ByNumber(PUBLIC, POSTS, POSTS.c.id == PUBLIC.c.post_id))
    return page(sa.select(POSTS.c.id).select_from(first).where(SEEN), PUBLIC.c.post_id, newer)


@cache
def _by(newer: bool) -> Any:
    return page(_of(sa.bindparam("author", type_=sa.Integer)), POSTS.c.id, newer)


@cache
def named(newer: bool) -> Any:
    """What who has the name :key wrote and passed on, for :func:`read`."""
    users: Any = User.__table__
    author = sa.select(users.c.id).where(users.c.name_key == sa.bindparam("key", type_=sa.String))
    return page(_of(author.scalar_subquery()), POSTS.c.id, newer)


def _of(author: Any) -> Any:
    """What one author wrote, to be read by the index that has it in order."""
    hint = "FORCE INDEX (ix_posts_author_id_id)"
    return sa.select(POSTS.c.id).where(POSTS.c.author_id == author).with_hint(POSTS, hint, "mysql")


@cache
def _numbered(newer: bool) -> Any:
    query = sa.select(POSTS.c.id).select_from(ByNumber(POSTS, AUTHORS, _WRITTEN))
    return page(query.where(SEEN, POSTS.c.id.in_(sa.bindparam("ids", expanding=True))), POSTS.c.id, newer)


def _home(reader_id: int, following: int, at: Cut) -> list[Found]:
    """In six statements at most, together with who reads and with the posts' texts.

    :param following: how many the reader follows.
    """
    window, authors = Window(Post.id, WINDOW), Window(LatestPost.post_id, LATEST_AUTHORS)
    quiet = _quiet()
    many = not at.newer and following > MANY_AUTHORS
    looks = following > FEW_AUTHORS >= quiet.get(reader_id, 0)
    # To look up where both end would be a statement too many.
    walks = many and (not looks or (at.bound is None and window.is_known() and authors.is_known()))
    if looks:
        rows = read(_recent(at.newer), at, reader=reader_id, end=window.end(at))
        if len(rows) == at.limit:
            quiet.pop(reader_id, None)
            return rows
    rows = _of_latest_authors(reader_id, at) if walks and at.bound is None else []
    rows = rows or _merged(reader_id, walks and at.bound is not None, at)
    if at.bound is None:
        if looks or following <= FEW_AUTHORS:
            if len(quiet) >= _QUIET_MOST and reader_id not in quiet:
                quiet.clear()
            quiet[reader_id] = following
        elif window.is_known() and len(rows) == at.limit and rows[-1].id > window.end(at):
            quiet.pop(reader_id, None)
    return rows


def _quiet() -> dict[int, int]:
    """For whom the latest posts are not looked through, and how many they followed: it was in vain, or these
    were but few."""
    quiet: dict[int, int] = current_app.extensions.setdefault(_QUIET, {})
    return quiet


@cache
def _recent(newer: bool) -> Any:
    """From the posts next to the cut: is the author followed? Most of the time a page is soon full."""
    reader = sa.bindparam("reader", type_=sa.Integer)
    follows = sa.exists().where(_FOLLOWS.c.follower_id == reader, _FOLLOWS.c.followed_id == POSTS.c.author_id)
    query = sa.select(POSTS.c.id).select_from(ByNumber(POSTS, AUTHORS, _WRITTEN))
    query = query.where(SEEN, sa.or_(POSTS.c.author_id == reader, follows), within(POSTS.c.id, newer))
    return page(query, POSTS.c.id, newer)


def _merged(reader_id: int, walks: bool, at: Cut) -> list[Found]:
    """From the authors: each one's posts next to the cut, by an index, and of these the first ones.

    :param walks: begin with those who wrote last of all: below a cut.
    """
    values = {"bound": at.bound if at.bound is not None else (0 if at.newer else ID_MAX), "limit": at.limit}
    mine = {"reader": reader_id, **values}
    # Only those whose posts next to the cut are the nearest can have a post on the page.
    nearest = _nearest_of_latest(mine) if walks else []
    if len(nearest) < at.limit:
        with reading() as connection:
            nearest = connection.execute(_nearest_authors(at.newer), mine).scalars().all()
    return _written_by([reader_id, *nearest], at)


def _written_by(people: list[int], at: Cut) -> list[Found]:
    """What is next to a cut of what so many wrote."""
    rows = []
    for first in range(0, len(people), AT_ONCE):
        some = people[first : first + AT_ONCE]
        authors = {f"author{place}": author for place, author in enumerate(some)}
        rows += read(_next_of_each(len(some), at.newer, _nested()), at, **authors)
    return sorted(rows, reverse=not at.newer)[: at.limit]


def _of_latest_authors(reader_id: int, at: Cut) -> list[Found]:
    """From those who wrote last of all: what each of them wrote last, and what the reader did. If that is not
    enough for a page, nothing."""
    end = Window(LatestPost.post_id, LATEST_AUTHORS).end(at)
    rows = read(_latest(_nested()), at, reader=reader_id, end=end)
    # Whoever is not among them wrote last before that.
    if len(rows) < at.limit or rows[-1].id <= end:
        return []
    # So many posts there are from this number on. Most have but one of these; of others all are looked for.
    first = sorted((*(row.id for row in rows), *(row.other for row in rows)), reverse=True)[at.limit - 1]
    if more := [row.author for row in rows if row.other >= first]:
        found = {row.id: row for row in (*rows, *_written_by(more, at))}
        rows = sorted(found.values(), reverse=True)[: at.limit]
    return rows


def _nested() -> bool:
    """Whether this is SQLite, which sorts and cuts only all parts of a union together."""
    return bool(db.engine.dialect.name == "sqlite")


def _nearest_of_latest(mine: dict[str, int]) -> list[int]:
    """Whose posts are next below a cut, if they are among those who wrote last of all; else nobody.

    Who has written nothing since is found by that, and only the others are looked up.
    """
    end = Window(LatestPost.post_id, LATEST_AUTHORS).end(Cut(None, False, 0))
    with reading() as connection:
        found = connection.execute(_older_authors(), {**mine, "end": end}).all()
    # Of whom wrote last before that, nobody can have a post on the page.
    return [row.author for row in found] if len(found) == mine["limit"] and found[-1].post > end else []


def _last_of(author: Any, condition: Any) -> Any:
    """The number of an author's latest post of those for which something is so.

    :param author: a column: another one for each row.
    """
    # By the whole index, and not by MAX: of such an author MySQL, or MariaDB, would else read all posts.
    query = _of(author).where(condition).order_by(POSTS.c.author_id.desc(), POSTS.c.id.desc())
    return query.limit(1).correlate(author.table).scalar_subquery()


def _who_wrote_last(*columns: Any) -> Any:
    """Of all who wrote last, so many, those whom a reader follows: their rows of ``latest_posts``."""
    followed = sa.and_(
        _FOLLOWS.c.follower_id == sa.bindparam("reader", type_=sa.Integer),
        _FOLLOWS.c.followed_id == _LATEST.c.author_id,
    )
    first = InOrder(ByLatest(_LATEST, _FOLLOWS, followed), AUTHORS, AUTHORS.c.id == _LATEST.c.author_id)
    query = sa.select(*columns).select_from(first).where(within(_LATEST.c.post_id, False), _NOTED)
    return query.with_hint(_FOLLOWS, "FORCE INDEX (PRIMARY)", "mysql")


@cache
def _latest(nested: bool) -> Any:
    """The latest post of each of them, and the reader's own.

    :param nested: each part is a table of its own.
    """
    theirs = _who_wrote_last(_LATEST.c.post_id.label("id"), _LATEST.c.author_id.label("author"))
    theirs = theirs.order_by(_LATEST.c.post_id.desc()).limit(sa.bindparam("limit", type_=sa.Integer))
    own = _of(sa.bindparam("reader", type_=sa.Integer))
    parts = [theirs, _part(own, POSTS.c.id, False, constant("0").label("author"))]
    if nested:
        tables = [part.subquery() for part in parts]
        parts = [sa.select(table.c.id, table.c.author) for table in tables]
    every = sa.union_all(*parts).subquery("every")
    found = _part(sa.select(every.c.id), every.c.id, False, every.c.author).subquery("page")
    # Which may be newer: the version before writes posts that are not noted.
    other = sa.func.coalesce(_last_of(found.c.author, POSTS.c.id != found.c.id), constant("0"))
    first = InOrder(found, _PLACES, _PLACES.c.id == found.c.id)
    return _as_text(found, first, _PLACES, found.c.author, other)


@cache
def _older_authors() -> Any:
    # Of whom is followed: else MariaDB sorts before it joins, and so looks up all.
    bound = sa.bindparam("bound", type_=sa.BigInteger)
    before = _last_of(_FOLLOWS.c.followed_id, POSTS.c.id < bound)
    post = sa.case((_LATEST.c.post_id < bound, _LATEST.c.post_id), else_=before).label("post")
    found = _who_wrote_last(_LATEST.c.author_id.label("author"), post).subquery("t")
    last = sa.select(found.c.author, found.c.post).where(found.c.post.is_not(None))
    last = last.order_by(found.c.post.desc()).limit(sa.bindparam("limit", type_=sa.Integer))
    nearest = last.subquery("page")
    # What the version before removed is noted still: whoever wrote it is next to the cut by that alone.
    there = InOrder(nearest, _PLACES, _PLACES.c.id == nearest.c.post)
    query = sa.select(nearest.c.author, nearest.c.post).select_from(there)
    return query.order_by(nearest.c.post.desc())


@cache
def _nearest_authors(newer: bool) -> Any:
    """Whom a reader follows, by their posts next to a cut: a look into an index for each."""
    bound = sa.bindparam("bound", type_=sa.BigInteger)
    if newer:
        first = _of(_FOLLOWS.c.followed_id).where(POSTS.c.id > bound).order_by(POSTS.c.id).limit(1)
        post = first.correlate(_FOLLOWS).scalar_subquery()
    else:
        post = _last_of(_FOLLOWS.c.followed_id, POSTS.c.id < bound)
    followed = (
        sa.select(_FOLLOWS.c.followed_id.label("author"), post.label("post"))
        .where(_FOLLOWS.c.follower_id == sa.bindparam("reader", type_=sa.Integer))
        .subquery("t")
    )
    query = sa.select(followed.c.author).join_from(followed, AUTHORS, AUTHORS.c.id == followed.c.author)
    order = followed.c.post if newer else followed.c.post.desc()
    limit = sa.bindparam("limit", type_=sa.Integer)
    return query.where(followed.c.post.is_not(None), _ACTIVE).order_by(order).limit(limit)


@cache
def _next_of_each(count: int, newer: bool, nested: bool) -> Any:
    """Of the posts next to a cut of each of so many authors, the first ones.

    :param nested: each part is a table of its own.
    """
    parts = []
    for place in range(count):
        part = _part(_of(sa.bindparam(f"author{place}", type_=sa.Integer)), POSTS.c.id, newer)
        parts.append(sa.select(part.subquery().c.id) if nested else part)
    every = sa.union_all(*parts).subquery("every")
    return page(sa.select(every.c.id), every.c.id, newer, of_posts=False)
