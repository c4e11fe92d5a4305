import random
import threading
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from microblog.database import db, is_conflict, utc_now
from microblog.models import Follow, Page, Post, PublicPost, User, feeds
from microblog.models.account import delete_account, export_account, suspend, touch, unsuspend
from microblog.models.feeds import WINDOW, explore_page, home_page, profile_page
from microblog.models.follow import (
    PeoplePage,
    follow,
    followers_page,
    following_page,
    unfollow,
)
from microblog.models.post import add_post, delete_post, find_post
from microblog.models.profiles import find_profile
from microblog.models.search import search_page
from microblog.web import site_looks


@pytest.fixture
def people(context):
    names = ("susan", "david", "maria", "pavel")
    db.session.add_all([User(name, f"{name}@example.org", "password") for name in names])
    db.session.commit()
    return tuple(User.find(name) for name in names)


def counts(user):
    return user.posts_count, user.followers_count, user.following_count


def test_follow_and_unfollow(people):
    susan, david, *_ = people
    assert follow(susan, david) is True
    assert follow(susan, david) is False
    db.session.commit()
    found = [find_profile("DAVID", susan.id), find_profile("susan", david.id)]
    assert [(row.id, row.is_followed) for row in found] == [(david.id, True), (susan.id, False)]
    assert find_profile("nobody", david.id) is None
    assert (counts(susan), counts(david)) == ((0, 0, 1), (0, 1, 0))
    assert unfollow(susan, david) is True
    assert unfollow(susan, david) is False
    db.session.commit()
    assert (counts(susan), counts(david)) == ((0, 0, 0), (0, 0, 0))


def test_nobody_follows_themselves_or_nobody(people):
    susan, *_ = people
    nobody = User("nobody_is_here", "n@example.org", "password")
    nobody.id = 999_999
    assert not follow(susan, susan)
    assert not follow(susan, nobody)
    assert counts(susan) == (0, 0, 0)


def test_lists_of_people(people):
    susan, david, maria, pavel = people
    for follower in (susan, maria, pavel):
        follow(follower, david)
    follow(david, maria)
    db.session.commit()
    assert [person.username for person in followers_page(david).people] == ["pavel", "maria", "susan"]
    assert [person.username for person in following_page(david).people] == ["maria"]
    assert following_page(david, before=1) == PeoplePage([], None, None)


def test_posts_are_counted(people):
    susan, *_ = people
    first, second = (add_post(susan, text) for text in ("one", "two"))
    db.session.commit()
    assert susan.posts_count == 2
    again = find_post(first.id)
    assert delete_post(again)
    assert not delete_post(first)
    db.session.commit()
    assert susan.posts_count == 1
    assert [post.body for post in profile_page(susan.id).posts] == ["two"]
    assert find_post(second.id).body == "two"
    assert [find_post(number) for number in (0, -1, 2**63)] == [None] * 3


def test_an_account_goes_with_all_it_did(people):
    susan, david, maria, pavel = people
    for follower, followed in ((susan, david), (david, susan), (maria, susan), (maria, david)):
        follow(follower, followed)
    add_post(susan, "goodbye")
    db.session.commit()
    delete_account(susan)
    db.session.commit()
    assert User.find("susan") is None
    assert db.session.execute(sa.select(Post)).first() is None
    assert [counts(user) for user in (david, maria, pavel)] == [(0, 1, 0), (0, 0, 1), (0, 0, 0)]
    assert db.session.execute(sa.select(sa.func.count()).select_from(Follow)).scalar() == 1


def test_an_export_has_everything(people):
    susan, david, maria, _ = people
    for number in range(3):
        add_post(susan, f"post {number}", "en")
    follow(susan, david)
    follow(maria, susan)
    db.session.commit()
    export = {
        name: value if value is None or isinstance(value, dict) else list(value)
        for name, value in export_account(susan)
    }
    assert export["account"]["email"] == "susan@example.org"
    assert [post["body"] for post in export["posts"]] == ["post 2", "post 1", "post 0"]
    assert [person["username"] for person in export["following"]] == ["david"]
    assert [person["username"] for person in export["followers"]] == ["maria"]


def test_presence_is_noted_once_a_minute(people):
    susan, david, *_ = people
    now = utc_now().replace(second=10)
    for moment, noted in ((now, now), (now.replace(second=50), now), (now.replace(year=2099),) * 2):
        touch(susan.id, moment)
        db.session.rollback()
        assert susan.last_seen == noted
    assert david.last_seen is None


@pytest.fixture
def crowd(people, request):
    """Susan, who follows every second one of 40 people, who have written; a cluster's numbers have gaps."""
    susan, *_ = people
    crowd = [User(f"user{number}", f"user{number}@example.org", "password") for number in range(40)]
    db.session.add_all(crowd)
    db.session.commit()
    gap = getattr(request, "param", 1)
    first = add_post(susan, "first").id
    delete_post(find_post(first))
    for number in range(240):
        author = crowd[number * 7 % 40]
        db.session.add(Post(id=first + (number + 1) * gap, author_id=author.id, body=f"post {number}"))
        db.session.flush()
    add_post(susan, "mine")
    for person in crowd[::2]:
        follow(susan, person)
    db.session.commit()
    return susan


def expected_home(user):
    posts, users, follows = Post.__table__, User.__table__, Follow.__table__
    mine = sa.select(follows.c.followed_id).where(follows.c.follower_id == user.id)
    return list(
        db.session.execute(
            sa.select(posts.c.id)
            .join(users, users.c.id == posts.c.author_id)
            .where(sa.or_(posts.c.author_id == user.id, posts.c.author_id.in_(mine)))
            .where(users.c.suspended_at.is_(None))
            .order_by(posts.c.id.desc())
        ).scalars()
    )


# Through the window alone, past its end, author by author, and by who wrote last: all must find the same.
@pytest.mark.parametrize(
    "window, few, many, latest",
    [
        (10_000, 0, 200, 1_500),
        (5, 0, 200, 1_500),
        (30, 0, 200, 1_500),
        (10_000, 1_000, 200, 1_500),
        (5, 0, 10, 1_500),
        (5, 0, 10, 5),
        (30, 0, 10, 41),
    ],
)
@pytest.mark.parametrize("crowd", [1, 1_000_003], indirect=True)
def test_home_every_way(crowd, monkeypatch, window, few, many, latest):
    monkeypatch.setattr(feeds, "WINDOW", window)
    monkeypatch.setattr(feeds, "FEW_AUTHORS", few)
    monkeypatch.setattr(feeds, "MANY_AUTHORS", many)
    monkeypatch.setattr(feeds, "LATEST_AUTHORS", latest)
    # Nothing is remembered of the page before.
    monkeypatch.setattr(feeds, "_QUIET_MOST", 0)
    monkeypatch.setattr(feeds, "_FRESH", -1.0)
    expected = expected_home(crowd)
    pages = [home_page(crowd)]
    while pages[-1].older is not None:
        pages.append(home_page(crowd, before=pages[-1].older))
    assert [post.id for page in pages for post in page.posts] == expected
    page = pages[-1]
    for back in reversed(pages[:-1]):
        page = home_page(crowd, after=page.newer)
        assert page.posts == back.posts
    assert len(pages) == -(-len(expected) // Page.SIZE)


@pytest.mark.parametrize("few", [0, 1_000])
def test_the_suspended_are_not_shown(crowd, monkeypatch, few):
    monkeypatch.setattr(feeds, "FEW_AUTHORS", few)
    User.find("user0").suspended_at = utc_now()
    db.session.commit()
    for posts in (
        home_page(crowd).posts,
        explore_page().posts,
        search_page("post").posts,
    ):
        assert len(posts) == Page.SIZE
        assert "user0" not in {post.username for post in posts}
    assert [post.id for post in home_page(crowd).posts] == expected_home(crowd)[: Page.SIZE]


def test_a_suspended_author_costs_nobody_anything(people):
    """However much a suspended account wrote last, everybody's posts are read as fast."""
    susan, david, *_ = people
    add_post(susan, "good post")
    for number in range(50):
        add_post(david, f"bad post {number}")
    db.session.commit()
    suspend(david)
    db.session.commit()
    assert db.session.execute(sa.select(sa.func.count()).select_from(PublicPost)).scalar() == 1
    assert [post.body for post in explore_page().posts] == ["good post"]
    assert [post.body for post in search_page("post").posts] == ["good post"]
    unsuspend(david)
    db.session.commit()
    assert len(explore_page().posts) == len(search_page("post").posts) == Page.SIZE


def names(page):
    return [person.username for person in page.people]


def test_the_suspended_are_in_no_list_and_no_count(people):
    susan, david, maria, pavel = people
    for follower, followed in (
        (susan, david),
        (david, susan),
        (maria, david),
        (david, maria),
        (maria, pavel),
    ):
        follow(follower, followed)
    db.session.commit()
    for _ in range(2):
        suspend(david)
        db.session.commit()
    assert (names(following_page(susan)), names(followers_page(susan))) == ([], [])
    assert [counts(user) for user in (susan, maria)] == [(0, 0, 0), (0, 0, 1)]
    assert not follow(susan, david)
    # Who is suspended can be left all the same.
    assert unfollow(maria, david)
    db.session.commit()
    assert counts(maria) == (0, 0, 1)
    for _ in range(2):
        unsuspend(david)
        db.session.commit()
    assert (names(following_page(susan)), names(followers_page(susan))) == (["david"], ["david"])
    assert [counts(user) for user in (susan, david, maria)] == [(0, 1, 1), (0, 1, 2), (0, 1, 1)]


def test_a_suspended_account_that_is_deleted_is_not_counted_twice(people):
    susan, david, *_ = people
    follow(susan, david)
    follow(david, susan)
    suspend(david)
    db.session.commit()
    delete_account(david)
    db.session.commit()
    assert counts(susan) == (0, 0, 0)


def test_who_followed_last_comes_first(people):
    susan, david, maria, pavel = people
    moment = utc_now()
    followers = [User(f"user{number}", f"user{number}@example.org", "password") for number in range(110)]
    db.session.add_all(followers)
    db.session.commit()
    for number, follower in enumerate([*followers, maria, pavel, david]):
        follow(follower, susan)
        row = sa.update(Follow).where(Follow.follower_id == follower.id)
        # Some in the same second.
        db.session.execute(row.values(created_at=moment + timedelta(seconds=number // 2)))
    db.session.commit()
    first = followers_page(susan)
    assert names(first)[:3] == ["david", "pavel", "maria"]
    second = followers_page(susan, before=first.older)
    third = followers_page(susan, before=second.older)
    assert (len(first.people), len(second.people), len(third.people), third.older) == (50, 50, 13, None)
    assert len({*names(first), *names(second), *names(third)}) == 113
    assert followers_page(susan, after=third.newer) == second
    assert followers_page(susan, after=second.newer) == first


def test_the_database_takes_no_nonsense(people):
    susan, *_ = people
    wrong = (
        sa.insert(Follow).values(follower_id=susan.id, followed_id=susan.id, created_at=utc_now()),
        sa.update(User).values(posts_count=-1),
        sa.update(User).values(followers_count=-1),
        sa.update(User).values(following_count=-1),
    )
    for statement in wrong:
        with pytest.raises(sa.exc.DBAPIError):
            db.session.execute(statement.execution_options(synchronize_session=False))
        db.session.rollback()


@pytest.mark.parametrize("bound", [2**63 - 1, 2**63 - 2, 2**63 - WINDOW, 2**31, 1, 0])
def test_the_ends_of_the_numbers(crowd, bound):
    """A window past the last number a database can count to."""
    for fetch in (
        lambda **at: home_page(crowd, **at),
        lambda **at: explore_page(**at),
        lambda **at: profile_page(crowd.id, **at),
        lambda **at: search_page("post", **at),
        lambda **at: followers_page(crowd, **at),
    ):
        fetch(after=bound)
        fetch(before=bound)


@pytest.mark.parametrize("model", [Post, User])
def test_a_number_is_never_used_again(people, model):
    """A page that was open when a post was deleted, and its button, are about that one alone."""
    susan, *_ = people
    used = set()
    for number in range(3):
        new = add_post(susan, "soon gone") if model is Post else User(f"x{number}y", f"x{number}@x.org", "p")
        db.session.add(new)
        db.session.commit()
        assert new.id not in used
        used.add(new.id)
        delete_post(new) if model is Post else delete_account(new)
        db.session.commit()


@pytest.mark.parametrize("older", [False, True])
def test_a_home_of_many_quiet_people_takes_few_queries(crowd, monkeypatch, older):
    """However many they are: their posts are past the window, and more than a page's authors are asked."""
    monkeypatch.setattr(feeds, "WINDOW", 5)
    more = [User(f"quiet{number}", f"quiet{number}@example.org", "password") for number in range(110)]
    db.session.add_all(more)
    db.session.flush()
    for person in more:
        follow(crowd, person)
    db.session.commit()
    before = home_page(crowd).older if older else None
    expected = home_page(crowd, before=before)
    assert len(expected.posts) == Page.SIZE
    statements = []

    def note(*arguments):
        statements.append(arguments[2])

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        assert home_page(crowd, before=before) == expected
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)
    assert len(statements) <= 4


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("latest", [5, 100])
@pytest.mark.parametrize("followed", [0, 10, 20, 50])
def test_a_home_page_takes_six_queries_at_most(app, make_user, client, monkeypatch, followed, latest, known):
    """The visitor's own included, whomever they follow, and though no post was shown before."""
    monkeypatch.setattr(feeds, "WINDOW", 5)
    monkeypatch.setattr(feeds, "MANY_AUTHORS", 30)
    monkeypatch.setattr(feeds, "LATEST_AUTHORS", latest)
    # However slow this machine is: the site's name is asked for before, and then for long.
    monkeypatch.setattr(site_looks, "EVERY", 1e6)
    make_user("reader")
    client.login("reader")
    with app.app_context():
        people = [User(f"quiet{number}", f"quiet{number}@example.org", "p") for number in range(60)]
        db.session.add_all(people)
        db.session.flush()
        for person in people:
            add_post(person, "long ago")
        for person in people[:followed]:
            follow(User.find("reader"), person)
        db.session.commit()
        engine = db.engine
    for name in ("microblog.posts", "microblog.quiet_readers"):
        app.extensions.pop(name, None)
    # Of the posts' window; of who wrote last, nothing.
    ends = {("posts", 5): (0, time.monotonic() + 60)} if known else {}
    monkeypatch.setitem(app.extensions, "microblog.window_ends", ends)
    statements = []

    def note(*arguments):
        statements.append(arguments[2])

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        page = client.get("/").text
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert page.count("<article ") == min(followed, Page.SIZE)
    # When they were last here is noted after the page, at most once a minute.
    assert len([text for text in statements if text.startswith("SELECT")]) <= 6


def test_posts_are_kept_up_to_a_number(crowd, app, monkeypatch):
    monkeypatch.setattr(feeds, "KEPT", 10)
    pages = [explore_page()]
    while pages[-1].older is not None:
        pages.append(explore_page(before=pages[-1].older))
    assert len(app.extensions["microblog.posts"]) <= 10 + Page.SIZE
    monkeypatch.setattr(feeds, "KEPT", 1_000)
    assert explore_page() == explore_page() == pages[0]


def test_counts_hold_when_follows_meet_deletions(app, people):
    """Many at once: what the counts say is what is there."""
    names = [f"user{number}" for number in range(8)]
    db.session.add_all([User(name, f"{name}@example.org", "password") for name in names])
    db.session.commit()
    start, failures = threading.Barrier(4), []

    def run(seed):
        dice = random.Random(seed)  # noqa: S311
        start.wait(60)
        for turn in range(40):
            with app.app_context():
                one, other = (User.find(name) for name in dice.sample(names, 2))
                try:
                    if one and other:
                        if seed == 0 and turn % 8 == 7:
                            delete_account(one)
                        else:
                            dice.choice((follow, unfollow, follow))(one, other)
                    db.session.commit()
                except sa.exc.OperationalError as error:
                    # A deadlock, which a view meets by another try.
                    db.session.rollback()
                    if not is_conflict(error):
                        failures.append(error)
                except Exception as error:
                    failures.append(error)
                    db.session.rollback()

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert failures == []
    db.session.rollback()
    for user in db.session.execute(sa.select(User)).scalars():
        for column, mine in (
            ("followers_count", Follow.followed_id),
            ("following_count", Follow.follower_id),
        ):
            query = sa.select(sa.func.count()).select_from(Follow).where(mine == user.id)
            assert getattr(user, column) == db.session.execute(query).scalar(), (user, column)
