"""Who wrote last: it is right whatever happens, and a reader of many quiet people has it to thank."""

import random

import pytest
import sqlalchemy as sa

from microblog.database import db, reading
from microblog.models import (
    Follow,
    LatestPost,
    Post,
    PublicPost,
    User,
    ahead,
    audience,
    feeds,
    latest,
    search,
)
from microblog.models.account import delete_account, suspend, unsuspend
from microblog.models.feeds import explore_page, home_page
from microblog.models.follow import follow
from microblog.models.post import add_post, delete_post, find_post
from microblog.web import housekeeping


def noted():
    return dict(db.session.execute(sa.select(LatestPost.author_id, LatestPost.post_id)).all())


def there_are():
    """What ought to be noted."""
    query = sa.select(Post.author_id, sa.func.max(Post.id)).join(User, User.id == Post.author_id)
    return dict(db.session.execute(query.where(User.suspended_at.is_(None)).group_by(Post.author_id)).all())


@pytest.fixture
def people(context, monkeypatch):
    for name in ("quiet_readers", "window_ends"):
        monkeypatch.setitem(context.extensions, f"microblog.{name}", {})
    # However slow the machine is.
    monkeypatch.setattr(feeds, "_FRESH", 1e9)
    names = [f"user{number}" for number in range(6)]
    db.session.add_all([User(name, f"{name}@example.org", "password") for name in names])
    db.session.commit()
    return [User.find(name) for name in names]


@pytest.mark.parametrize("seed", range(3))
def test_it_is_right_whatever_is_done(people, seed):
    dice = random.Random(seed)  # noqa: S311
    names = [user.username for user in people]
    for _ in range(80):
        user = User.find(dice.choice(names))
        numbers = db.session.execute(sa.select(Post.id).where(Post.author_id == user.id)).scalars().all()
        kinds = ("write", "write", "write", "delete", "delete the last", "suspend", "unsuspend")
        kind = dice.choice(kinds)
        if kind == "write" and user.is_active:
            add_post(user, "something")
        elif kind.startswith("delete") and numbers:
            delete_post(find_post(max(numbers) if kind != "delete" else dice.choice(numbers)))
        elif kind in ("suspend", "unsuspend"):
            {"suspend": suspend, "unsuspend": unsuspend}[kind](user)
        db.session.commit()
        assert noted() == there_are(), kind
    delete_account(User.find(names[0]))
    db.session.commit()
    assert noted() == there_are() != {}


def write_as_before(author, count=1):
    """As the version before this table does: it knows nothing of it."""
    numbers = []
    for _ in range(count):
        values = {"author_id": author.id, "body": "by another version"}
        (number,) = db.session.execute(sa.insert(Post.__table__).values(values)).inserted_primary_key
        db.session.execute(sa.insert(PublicPost.__table__).values(post_id=number, words=" by "))
        numbers.append(number)
    db.session.commit()
    return numbers


def test_what_the_version_before_writes_and_removes_is_noted_by_a_sweep(app, people):
    one, other, third, fourth, banned, _ = people
    for user in people[:5]:
        add_post(user, "something")
    suspend(banned)
    db.session.commit()
    write_as_before(one, 2)
    write_as_before(people[5])
    write_as_before(banned)
    # Two posts of other, of which the last is removed; the only one of third.
    (last,) = write_as_before(other)
    latest.note(db.session.connection(), other.id, last)
    for number in (last, noted()[third.id]):
        db.session.execute(sa.delete(Post.__table__).where(Post.id == number))
    expected = {user.id for user in (one, other, fourth, people[5])}
    db.session.commit()
    assert noted() != there_are()
    housekeeping.clean(app)
    db.session.rollback()
    assert noted() == there_are()
    assert set(noted()) == expected


def test_a_sweep_looks_at_the_latest_alone(people, monkeypatch):
    """It takes as long on a large site as on a small one."""
    monkeypatch.setattr(latest, "SWEPT", 3)
    for user in people[:3]:
        write_as_before(user, 2)
    latest.sweep()
    assert set(noted()) == {people[1].id, people[2].id}


class Statements(list):
    """What the database is asked meanwhile."""

    def __enter__(self):
        sa.event.listen(db.engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_error):
        sa.event.remove(db.engine, "before_cursor_execute", self._note)

    def _note(self, *arguments):
        self.append(arguments[2])


@pytest.fixture
def reader(people, monkeypatch):
    """Follows 30 who wrote once, before all that others write."""
    monkeypatch.setattr(feeds, "WINDOW", 5)
    monkeypatch.setattr(feeds, "MANY_AUTHORS", 25)
    quiet = [User(f"quiet{number}", f"quiet{number}@example.org", "password") for number in range(30)]
    db.session.add_all(quiet)
    db.session.commit()
    for person in quiet:
        add_post(person, "long ago")
        follow(people[0], person)
    for number in range(50):
        add_post(people[1 + number % 5], "of today")
    db.session.commit()
    return people[0]


def test_a_reader_of_quiet_people_is_remembered(reader, monkeypatch):
    """The latest posts are not looked through in vain each time; and are again, once they are worth it."""
    window = feeds._recent(False)
    asked = []
    read = feeds.read
    monkeypatch.setattr(
        feeds, "read", lambda query, *args, **values: (asked.append(query), read(query, *args, **values))[1]
    )
    feeds.Window(Post.id, 5).end(feeds.Cut(None, False, 1))
    pages = [home_page(reader) for _ in range(3)]
    assert len(pages[0].posts) == feeds.Page.SIZE
    assert pages[1:] == pages[:2]
    assert [query is window for query in asked] == [True, False, False, False]
    for _ in range(2):
        for number in range(25):
            add_post(User.find(f"quiet{number}"), "at last")
    db.session.commit()
    monkeypatch.setattr(feeds, "WINDOW", 40)
    feeds.Window(Post.id, 40).end(feeds.Cut(None, False, 1))
    asked.clear()
    latest_ones = [home_page(reader) for _ in range(2)]
    assert [query is window for query in asked] == [False, True]
    assert {post.body for post in latest_ones[0].posts} == {"at last"}
    assert latest_ones[0] == latest_ones[1]


def test_so_many_are_remembered(reader, monkeypatch, context):
    """Each process's memory has an end."""
    monkeypatch.setattr(feeds, "_QUIET_MOST", 2)
    quiet = context.extensions["microblog.quiet_readers"]
    for number in (10**6, 10**6 + 1):
        assert len(home_page(reader).posts) == feeds.Page.SIZE
        assert reader.id in quiet
        quiet[number] = 0
    other = User.find("user1")
    home_page(other)
    assert list(quiet) == [other.id]
    monkeypatch.setattr(feeds, "_QUIET_MOST", 1)
    home_page(reader)
    assert list(quiet) == [reader.id]


def test_many_quiet_people_are_not_asked_one_by_one(reader):
    for _ in range(2):
        home_page(reader)
    with Statements() as asked:
        page = home_page(reader)
    assert len(page.posts) == feeds.Page.SIZE
    # What was written last, by whom; the texts are kept.
    assert len(asked) == 1
    assert not [sql for sql in asked if "follows" in sql and "latest_posts" not in sql]


def test_what_they_wrote_last_is_asked_together_with_who_reads(reader):
    audience.reads(reader)
    pages = [home_page(reader) for _ in range(2)]
    question = feeds.home_first(reader.id)
    with reading() as connection:
        ahead.note(question, connection.execute(question.query, question.values).scalar())
    with Statements() as asked:
        pages.append(home_page(reader))
    assert asked == []
    assert pages[1:] == pages[:2]
    assert len(pages[0].posts) == feeds.Page.SIZE


def test_only_who_wrote_more_is_asked_for_what(reader):
    for _ in range(2):
        home_page(reader)
    # One who has much of the page; one whose second post is below it; and the reader.
    for name, times in (("quiet3", 1), ("quiet7", 8), ("user0", 4)):
        for _ in range(times):
            add_post(User.find(name), "once more")
    db.session.commit()
    home_page(reader)
    with Statements() as asked:
        page = home_page(reader)
    assert [post.id for post in page.posts] == to_be_seen(reader)[: feeds.Page.SIZE]
    # What was written last, by whom; and of quiet7 the others. The texts are kept.
    assert len(asked) == 2
    assert asked[0].count("UNION ALL") == 1
    assert "UNION ALL" not in asked[1]


def test_what_the_version_before_did_is_on_the_page(reader):
    """Though it is not noted: of who is found by what is."""
    for _ in range(2):
        home_page(reader)
    # What it removed takes no place.
    db.session.execute(sa.delete(Post.__table__).where(Post.id == noted()[User.find("quiet28").id]))
    db.session.commit()
    right = to_be_seen(reader)
    page = home_page(reader)
    assert [post.id for post in page.posts] == right[: feeds.Page.SIZE]
    assert page.older == right[feeds.Page.SIZE - 1]
    latest.sweep()
    (number,) = write_as_before(User.find("quiet29"))
    page = home_page(reader)
    assert [post.id for post in page.posts] == [number, *right][: feeds.Page.SIZE]


def test_who_wrote_much_finds_those_who_wrote_before(reader, monkeypatch):
    """Their own posts fill a page: yet others' come before the oldest of these."""
    monkeypatch.setattr(feeds, "LATEST_AUTHORS", 7)
    for _ in range(feeds.Page.SIZE + 1):
        add_post(reader, "by oneself")
    for name in ("quiet4", "quiet5"):
        add_post(User.find(name), "after that")
    for number in range(1, 6):
        add_post(User.find(f"user{number}"), "of today")
    add_post(User.find("quiet6"), "after that")
    db.session.commit()
    for _ in range(3):
        page = home_page(reader)
        assert [post.id for post in page.posts] == to_be_seen(reader)[: feeds.Page.SIZE]


@pytest.mark.parametrize("posts", [3, 300])
def test_how_much_somebody_wrote_is_not_read(reader, posts):
    """Of those who are found by what they wrote last, a post or two are looked at. MySQL reads all, unless
    it is asked in the index's order."""
    if db.engine.dialect.name == "sqlite":
        return
    write_as_before(User.find("quiet9"), posts)
    latest.renew(User.find("quiet9").id)
    db.session.commit()
    values = {"reader": reader.id, "me": reader.id, "bound": feeds.ID_MAX, "limit": 21, "end": 0}
    for query in (feeds._latest(False), feeds._older_authors(), feeds._nearest_authors(False)):
        with db.engine.connect() as connection:
            connection.exec_driver_sql("FLUSH STATUS")
            connection.execute(query, values)
            read = connection.exec_driver_sql("SHOW STATUS LIKE 'Handler_read_%%'").all()
        # A few for each of the 30 who are followed, and of the page.
        assert sum(int(value) for _name, value in read) < 400


def to_be_seen(reader):
    """The numbers of all posts that are on somebody's home pages, newest first."""
    mine = sa.or_(
        Post.author_id == reader.id,
        Post.author_id.in_(sa.select(Follow.followed_id).where(Follow.follower_id == reader.id)),
    )
    query = sa.select(Post.id).join(User, User.id == Post.author_id).where(mine, User.suspended_at.is_(None))
    return db.session.execute(query.order_by(Post.id.desc())).scalars().all()


def test_older_pages_of_quiet_people_do_not_ask_one_by_one_either(reader, monkeypatch):
    monkeypatch.setattr(feeds.Page, "SIZE", 8)
    for _ in range(2):
        page = home_page(reader)
    for _ in range(2):
        with Statements() as asked:
            page = home_page(reader, before=page.older)
        assert [post.body for post in page.posts] == ["long ago"] * 8
        # Where the latest authors end, which of them, what, and the texts.
        assert len(asked) <= 4
        assert not [sql for sql in asked if "follows" in sql and "latest_posts" not in sql]


def test_what_the_version_before_removed_takes_no_place_on_an_older_page(reader, monkeypatch):
    """It is noted still: whoever wrote it would keep another from the page, which was then the last one."""
    monkeypatch.setattr(feeds.Page, "SIZE", 4)
    for _ in range(2):
        home_page(reader)
    bound = add_post(reader, "by oneself").id
    for name in ("quiet28", "quiet27"):
        db.session.execute(sa.delete(Post.__table__).where(Post.id == noted()[User.find(name).id]))
    db.session.commit()
    right = [number for number in to_be_seen(reader) if number < bound]
    page = home_page(reader, before=bound)
    assert [post.id for post in page.posts] == right[:4]
    assert page.older == right[3]


def test_posts_of_any_number_of_authors_are_found(people):
    """SQLite joins no more than 500 parts: so many are asked for where most of a page is not to be seen."""
    numbers = [add_post(people[number % 6], "a post").id for number in range(18)]
    db.session.commit()
    # Nobody has the others' numbers.
    everybody = [people[0].id, *range(10**6, 10**6 + 1000), *(user.id for user in people[1:5])]
    theirs = [number for place, number in enumerate(numbers) if place % 6 < 5]
    for newer, right in ((False, theirs[::-1]), (True, theirs)):
        found = feeds._written_by(everybody, feeds.Cut(None, newer, 8))
        assert [place.id for place in found] == right[:8]


@pytest.mark.parametrize("seed", range(6))
def test_each_page_of_home_is_what_was_written_before_the_last_one(reader, monkeypatch, seed):
    """However many are among those who wrote last, and of whichever a page is made."""
    dice = random.Random(seed)  # noqa: S311
    monkeypatch.setattr(feeds, "LATEST_AUTHORS", dice.choice((3, 25, 60)))
    monkeypatch.setattr(feeds, "MANY_AUTHORS", 5)
    monkeypatch.setattr(feeds, "FEW_AUTHORS", 4)
    monkeypatch.setattr(feeds.Page, "SIZE", dice.choice((2, 7)))
    everybody = list(db.session.execute(sa.select(User)).scalars())
    for _ in range(60):
        add_post(dice.choice(everybody), "once more")
    suspend(User.find(f"quiet{dice.randrange(30)}"))
    db.session.commit()
    right = to_be_seen(reader)
    for _ in range(2):
        found, older = [], None
        while older or not found:
            page = home_page(reader, before=older)
            found += [post.id for post in page.posts]
            older = page.older
        assert found == right


def test_a_window_is_of_rows_not_of_numbers(people):
    """Numbers may have gaps of any size."""
    numbers = [10**12 + number * 1_000_003 for number in range(10)]
    for number in numbers:
        db.session.add(Post(id=number, author_id=people[0].id, body="a post"))
        db.session.flush()
    db.session.commit()
    for column in (Post.id, PublicPost.post_id):
        window = feeds.Window(column, 4)
        assert window.end(feeds.Cut(None, False, 1)) == numbers[5]
        assert window.end(feeds.Cut(numbers[7], False, 1)) == numbers[2]
        assert window.end(feeds.Cut(numbers[1], True, 1)) == numbers[6]
        # Fewer than the window holds: no end.
        assert window.end(feeds.Cut(numbers[2], False, 1)) == 0
        assert window.end(feeds.Cut(numbers[8], True, 1)) == feeds.ID_MAX


def test_where_a_window_ends_is_asked_now_and_then(people, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(feeds, "_FRESH", 10.0)
    monkeypatch.setattr(feeds.time, "monotonic", lambda: now[0])
    for _ in range(5):
        add_post(people[0], "a post")
    db.session.commit()
    window = feeds.Window(Post.id, 3)
    people[0].username  # noqa: B018 - what the session has to ask is asked
    db.session.rollback()
    top = feeds.Cut(None, False, 1)
    known = []
    for later, statements in ((0, 1), (9, 0), (0.9, 0), (0.2, 1), (5, 0)):
        now[0] += later
        with Statements() as asked:
            known.append(window.is_known())
            window.end(top)
        assert len(asked) == statements, later
    assert known == [False, True, True, False, True]


@pytest.mark.parametrize("gap", [1, 1_000_003])
def test_a_frequent_word_is_found_in_the_window(people, monkeypatch, gap):
    """MySQL's index is not asked for a page that the latest posts fill, whatever their numbers."""
    monkeypatch.setattr(search, "WINDOW", 100)
    first = add_post(people[0], "first").id
    for number in range(1, 151):
        db.session.add(Post(id=first + number * gap, author_id=people[0].id, body="frequent"))
        db.session.flush()
    db.session.commit()
    page = search.search_page("frequent")
    with Statements() as asked:
        assert search.search_page("frequent") == page
        older = search.search_page("frequent", before=page.older)
    assert len(page.posts) == len(older.posts) == feeds.Page.SIZE
    assert not [sql for sql in asked if "AGAINST" in sql]


def test_two_first_posts_at_once(app, people):
    """Nobody waits for a row that is another's, and none is refused."""
    one, other = people[:2]
    with db.engine.connect() as connection:
        transaction = connection.begin()
        connection.execute(sa.select(User.id).limit(1)).all()
        if db.engine.dialect.name != "sqlite":
            # SQLite has one who writes at a time.
            latest.note(connection, one.id, 1)
        add_post(other, "meanwhile")
        db.session.commit()
        transaction.rollback()
    assert set(noted()) == {other.id}
    assert explore_page().posts[0].body == "meanwhile"


def test_no_page_reads_all_accounts(reader):
    """Nor where SQLite has statistics of a large site: it made a filter of all of them, for each page."""
    if db.engine.dialect.name != "sqlite":
        return
    sizes = {"posts": 1_000_000, "public_posts": 1_000_000, "users": 100_000, "latest_posts": 50_000}
    asked = []

    def note(*arguments):
        asked.append(arguments[2:4])

    with db.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.exec_driver_sql("DELETE FROM sqlite_stat1")
        for table, size in sizes.items():
            connection.exec_driver_sql(
                "INSERT INTO sqlite_stat1 (tbl, stat) VALUES (?, ?)", (table, str(size))
            )
    db.session.rollback()
    # A connection reads them when it begins.
    db.engine.dispose()
    try:
        sa.event.listen(db.engine, "before_cursor_execute", note)
        for _ in range(2):
            page = home_page(reader)
        home_page(reader, before=page.older)
        explore_page()
        search.search_page("today")
        sa.event.remove(db.engine, "before_cursor_execute", note)
        with db.engine.connect() as connection:
            plans = [
                [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
                for text, values in asked
            ]
        assert len(plans) > 6
        filters = [(text, plan) for (text, _), plan in zip(asked, plans, strict=True) if "BLOOM" in str(plan)]
        assert filters == []
    finally:
        db.session.rollback()
        with db.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM sqlite_stat1")
        db.engine.dispose()
