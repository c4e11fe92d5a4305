import pytest
import sqlalchemy as sa

from microblog.database import db, utc_now
from microblog.models import Follow, Page, Post, User, feeds
from microblog.models.account import delete_account, export_account, touch
from microblog.models.follow import (
    PeoplePage,
    follow,
    followers_page,
    following_page,
    is_following,
    unfollow,
)
from microblog.models.post import add_post, delete_post, explore_page, find_post, home_page, profile_page
from microblog.models.search import search_page


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
    assert is_following(susan.id, david.id)
    assert not is_following(david.id, susan.id)
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
    assert following_page(david, before=maria.id) == PeoplePage([], None, None)


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
    assert [post.body for post in profile_page(susan).posts] == ["two"]
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
        name: value if isinstance(value, dict) else list(value) for name, value in export_account(susan)
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
def crowd(people):
    """Forty more people, everybody's posts mixed, and Susan, who follows every second of the crowd."""
    susan, *_ = people
    crowd = [User(f"user{number}", f"user{number}@example.org", "password") for number in range(40)]
    db.session.add_all(crowd)
    db.session.commit()
    for number in range(240):
        add_post(crowd[number * 7 % 40], f"post {number}")
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


# Through the window alone, past its end, and author by author: all must find the same.
@pytest.mark.parametrize("window, few", [(10_000, 0), (5, 0), (30, 0), (10_000, 1_000)])
@pytest.mark.parametrize("chunk", [3, 200])
def test_home_both_ways(crowd, monkeypatch, window, few, chunk):
    monkeypatch.setattr(feeds, "WINDOW", window)
    monkeypatch.setattr(feeds, "FEW_AUTHORS", few)
    monkeypatch.setattr(feeds, "CHUNK", chunk)
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
