"""What is done to large accounts in pieces: nobody sees half of it, and somebody ends it."""

import random
from datetime import timedelta

import pytest
import sqlalchemy as sa
from app_client import PASSWORD

from microblog.database import db, utc_now
from microblog.models import (
    Change,
    Follow,
    LatestPost,
    Post,
    PublicPost,
    Unfinished,
    User,
    indexing,
    unfinished,
)
from microblog.models.account import delete_account, suspend, unsuspend
from microblog.models.directory import accounts_page
from microblog.models.feeds import explore_page, home_page, posts, profile_page
from microblog.models.follow import follow, followers_page, unfollow
from microblog.models.post import add_post
from microblog.models.search import search_page
from microblog.web import housekeeping

POSTS, FOLLOWERS = 10, 8


class PowerCut(Exception):
    pass


@pytest.fixture
def susan(context, monkeypatch):
    """She has written and is followed, and follows david; three at a time are a piece."""
    monkeypatch.setattr(unfinished, "CHUNK", 3)
    names = ["susan", "david", *(f"fan{number}" for number in range(FOLLOWERS))]
    people = [User(name, f"{name}@example.org", PASSWORD) for name in names]
    db.session.add_all(people)
    db.session.commit()
    for number in range(POSTS):
        add_post(people[0], f"word {number}")
        add_post(people[1], f"other {number}")
    for person in people[2:]:
        follow(person, people[0])
        follow(person, people[1])
    follow(people[0], people[1])
    # At one moment, however slow the machine: people are counted in the order of these, and david among the
    # first of them.
    db.session.execute(sa.update(Follow).values(created_at=utc_now()))
    db.session.commit()
    return people[0]


def count(model, *conditions):
    return db.session.execute(sa.select(sa.func.count()).select_from(model).where(*conditions)).scalar()


def seen(user_id):
    """How much of what an account wrote each page shows; and in how many lists and counts it is."""
    db.session.rollback()
    fan = User.find("fan0")
    pages = (home_page(fan).posts, explore_page().posts, search_page("word").posts, posts(ids_of(user_id)))
    shown = {len([post for post in page if post.author_id == user_id]) for page in pages}
    assert len(shown) == 1, shown
    listed = [person.username for person in followers_page(User.find("david")).people]
    return shown.pop(), len(listed) - FOLLOWERS, User.find("david").followers_count - FOLLOWERS


def ids_of(user_id):
    return list(db.session.execute(sa.select(Post.id).where(Post.author_id == user_id)).scalars())


def test_a_suspended_account_is_gone_at_once(susan):
    suspend(susan)
    db.session.commit()
    assert 0 < count(PublicPost, PublicPost.post_id.in_(ids_of(susan.id))) < POSTS
    assert seen(susan.id) == (0, 0, 0)
    unfinished.work_off()
    assert count(PublicPost, PublicPost.post_id.in_(ids_of(susan.id))) == 0
    assert (count(Unfinished), count(LatestPost)) == (0, 1)
    assert seen(susan.id) == (0, 0, 0)


def test_who_is_let_back_in_is_seen_when_all_is_there(susan):
    suspend(susan)
    db.session.commit()
    unfinished.work_off()
    unsuspend(susan)
    db.session.commit()
    assert count(Unfinished) == 1
    assert seen(susan.id) == (0, 0, 0)
    assert susan.suspended_at is not None
    unfinished.work_off()
    assert susan.suspended_at is None
    assert seen(susan.id) == (POSTS, 1, 1)
    assert (count(Unfinished), count(LatestPost)) == (0, 2)


def test_a_deleted_account_is_gone_at_once(app, susan):
    user_id, before = susan.id, count(User)
    delete_account(susan)
    db.session.commit()
    assert 0 < count(Post, Post.author_id == user_id) < POSTS
    assert seen(user_id) == (0, 0, 0)
    # Nobody meets what is left of it, and the name and the address are free.
    assert [person.username for person in accounts_page("gone").people] == []
    assert len(accounts_page().people) == before - 1
    assert User.find("susan") is User.find("susan@example.org") is None
    assert "gone_" not in app.test_cli_runner().invoke(args=["user", "list"]).output
    new = User("susan", "susan@example.org", PASSWORD)
    db.session.add(new)
    db.session.commit()
    add_post(new, "somebody else's word")
    db.session.commit()
    unfinished.work_off()
    assert (count(User), count(Post, Post.author_id == user_id), count(Unfinished)) == (before, 0, 0)
    assert count(Follow, sa.or_(Follow.follower_id == user_id, Follow.followed_id == user_id)) == 0
    assert count(PublicPost) == POSTS + 1
    assert profile_page(new.id).posts[0].body == "somebody else's word"


def test_a_deleted_account_knows_nothing_of_its_owner(susan):
    user_id = susan.id
    susan.about, susan.is_admin = "my address and telephone", True
    db.session.commit()
    susan.start_session("Firefox", True)
    delete_account(susan)
    db.session.commit()
    row = db.session.execute(sa.select(User.__table__).where(User.id == user_id)).one()
    told = [row.username, row.name_key, row.email, row.about, row.password_hash, row.is_admin]
    assert told[:2] == [told[0]] * 2 and told[0].startswith("gone_")
    assert told[2:] == [f"{told[0]}@example.invalid", "", "!", False]
    assert db.session.execute(sa.text("SELECT count(*) FROM sessions")).scalar() == 0


@pytest.mark.parametrize("task", [suspend, unsuspend, delete_account])
@pytest.mark.parametrize("piece", range(1, 6))
def test_what_a_dying_process_leaves_another_one_ends(app, susan, monkeypatch, task, piece):
    """Whichever piece it dies in, and it dies in the middle of it."""
    user_id = susan.id
    if task is unsuspend:
        suspend(susan)
        db.session.commit()
        unfinished.work_off()
    whole = unfinished.indexing.changed
    done = []

    def cut(*numbers):
        done.append(numbers)
        if len(done) == piece:
            raise PowerCut
        whole(*numbers)

    monkeypatch.setattr(unfinished.indexing, "changed", cut)
    try:
        task(susan)
        db.session.commit()
        unfinished.work_off()
    except PowerCut:
        db.session.rollback()
        db.session.expire_all()
        # Nobody sees half of it: all is as before, or as after.
        before = (0, 0, 0) if task is unsuspend else (POSTS, 1, 1)
        assert seen(user_id) in ({before} if len(done) == 1 else {before, (0, 0, 0)})
    monkeypatch.setattr(unfinished.indexing, "changed", whole)
    begun = len(done) > 1
    housekeeping.clean(app)
    db.session.rollback()
    after = {suspend: (0, 0, 0), unsuspend: (POSTS, 1, 1), delete_account: (0, 0, 0)}[task]
    before = (0, 0, 0) if task is unsuspend else (POSTS, 1, 1)
    assert seen(user_id) == (after if begun or piece > 4 else before)
    assert count(Unfinished) == 0
    assert count(PublicPost) == POSTS + seen(user_id)[0]
    # No number of a post was left out: the search engine is told of each.
    if begun:
        assert count(Post, Post.author_id == user_id) == (0 if task is delete_account else POSTS)


def test_minds_are_changed(susan):
    for change, shown in (
        *((suspend, 0), (unsuspend, 0), (suspend, 0), (unsuspend, 0), (unsuspend, 0)),
        (None, POSTS),
        *((suspend, 0), (suspend, 0)),
        (None, 0),
        *((unsuspend, 0), (suspend, 0)),
        (None, 0),
    ):
        if change:
            change(susan)
        else:
            unfinished.work_off()
        db.session.commit()
        assert seen(susan.id)[0] == shown
    assert count(Unfinished) == 0
    user_id = susan.id
    for change in (unsuspend, delete_account):
        change(susan)
        db.session.commit()
    gone = db.session.get(User, user_id)
    # Of what is as good as gone nothing comes back.
    for change in (suspend, unsuspend, delete_account):
        change(gone if change is not delete_account else db.session.get(User, user_id))
        db.session.commit()
        assert seen(user_id) == (0, 0, 0)
    unfinished.work_off()
    assert db.session.get(User, user_id) is None
    assert count(Unfinished) == 0


def test_counts_hold_meanwhile(susan):
    """Who unfollows an account that is about to be gone, or let back in."""
    suspend(susan)
    db.session.commit()
    unfollow(User.find("fan0"), susan)
    db.session.commit()
    unfinished.work_off()
    unsuspend(susan)
    db.session.commit()
    unfollow(User.find("fan1"), susan)
    db.session.commit()
    unfinished.work_off()
    assert susan.followers_count == count(Follow, Follow.followed_id == susan.id) == FOLLOWERS - 2
    for name, following in (("fan0", 1), ("fan1", 1), ("fan2", 2)):
        assert User.find(name).following_count == following
    delete_account(susan)
    db.session.commit()
    unfollow(User.find("fan2"), User.find("david"))
    db.session.commit()
    unfinished.work_off()
    assert [User.find(name).following_count for name in ("fan2", "fan3")] == [0, 1]


def right_counts():
    """What all who are there should count, by the lists of who is active; and what they do count."""
    db.session.rollback()
    people = {user.id: user for user in db.session.execute(sa.select(User)).scalars()}
    pairs = db.session.execute(sa.select(Follow.follower_id, Follow.followed_id)).all()
    right = {number: [0, 0] for number in people}
    for follower, followed in pairs:
        right[followed][0] += people[follower].is_active
        right[follower][1] += people[followed].is_active
    return right, {number: [user.followers_count, user.following_count] for number, user in people.items()}


def test_counts_of_a_large_account_change_in_pieces(susan):
    """In no transaction for more people than are a piece of either list."""
    user_id = susan.id
    for change in (suspend, unsuspend, delete_account):
        _, before = right_counts()
        change(db.session.get(User, user_id))
        rounds, more = 0, True
        while more:
            db.session.commit()
            right, after = right_counts()
            others = [number for number in after if number != user_id and after[number] != before[number]]
            assert len(others) <= 2 * unfinished.CHUNK
            before, rounds = after, rounds + bool(others)
            more = unfinished._go_on(user_id)
        db.session.commit()
        right, counted = right_counts()
        assert counted == right
        assert rounds > 1


@pytest.mark.parametrize("seed", range(8))
def test_counts_are_right_whatever_is_done_meanwhile(susan, monkeypatch, seed):
    dice = random.Random(seed)  # noqa: S311
    people = list(db.session.execute(sa.select(User)).scalars())
    # They began on different days, not in the order of their numbers.
    for pair in db.session.execute(sa.select(Follow)).scalars():
        pair.created_at = utc_now() - timedelta(seconds=dice.randrange(10))
    db.session.commit()
    ends = dice.choice((delete_account, suspend, unsuspend))
    for turn in range(40):
        act = dice.choice((suspend, unsuspend, follow, follow, unfollow, unfollow, unfinished._go_on))
        if turn == 30:
            act = ends
        if act in (follow, unfollow):
            # Who is suspended follows nobody, and is followed by nobody: only the lists end.
            pair = dice.sample([*people, susan, susan, susan, susan], 2)
            act(*pair)
        elif act is unfinished._go_on:
            act(susan.id)
        else:
            one = db.session.get(User, susan.id)
            act(one)
        db.session.commit()
        if act is delete_account:
            break
    unfinished.work_off()
    right, counted = right_counts()
    assert counted == right
    assert count(Unfinished) == 0


def test_a_database_that_fails_is_no_visitors_trouble(app, susan, monkeypatch, caplog):
    """The page is answered; what is left is done by who keeps house."""
    suspend(susan)
    db.session.commit()
    step = unfinished._go_on

    def fail(user_id):
        raise sa.exc.OperationalError("UPDATE", {}, Exception("away"))

    monkeypatch.setattr(unfinished, "_go_on", fail)
    unfinished.work_off()
    assert "finished later: OperationalError" in caplog.text
    monkeypatch.setattr(unfinished, "_go_on", step)
    assert count(Unfinished) == 1
    housekeeping.clean(app)
    db.session.rollback()
    assert count(Unfinished) == 0


def test_one_that_cannot_be_ended_keeps_no_other_from_it(susan, monkeypatch, caplog):
    david = User.find("david")
    for user in (susan, david):
        suspend(user)
    db.session.commit()
    step = unfinished._go_on

    def fail(user_id):
        if user_id == susan.id:
            raise sa.exc.OperationalError("UPDATE", {}, Exception("away"))
        return step(user_id)

    monkeypatch.setattr(unfinished, "_go_on", fail)
    unfinished.work_off()
    assert "finished later: OperationalError" in caplog.text
    assert db.session.execute(sa.select(Unfinished.user_id)).scalars().all() == [susan.id]


@pytest.mark.parametrize("task", [suspend, delete_account])
def test_the_search_engine_is_told_of_each_post_once(make_app, susan, monkeypatch, task):
    numbers = ids_of(susan.id)
    with make_app(elasticsearch_url="http://127.0.0.1:1").app_context() as context:
        woken = []
        sender = context.app.extensions["microblog.elasticsearch.sender"]
        monkeypatch.setattr(sender, "start", lambda: woken.append(1))
        user = User.find("susan")
        task(user)
        assert woken == []
        db.session.commit()
        assert woken == [1] and sender.wake.is_set()
        unfinished.work_off()
        noted = db.session.execute(sa.select(Change.post_id).order_by(Change.post_id)).scalars().all()
        assert noted == numbers
        assert len(woken) > 2
        db.session.rollback()
        assert indexing.pending() == POSTS


def test_a_click_and_a_command_do_all_of_it(app, client, make_user, monkeypatch):
    monkeypatch.setattr(unfinished, "CHUNK", 2)
    for name in ("admin1", "susan", "david"):
        make_user(name)
    with app.app_context():
        User.find("admin1").is_admin = True
        for name in ("susan", "david") * 5:
            add_post(User.find(name), "a word")
        db.session.commit()

    def left():
        with app.app_context():
            return count(Unfinished), count(PublicPost)

    run = app.test_cli_runner().invoke
    client.login("admin1")
    for act, public in (
        (lambda: client.submit("/admin/user/susan/suspend", page="/admin").close(), 5),
        (lambda: client.submit("/admin/user/susan/unsuspend", page="/admin").close(), 10),
        (lambda: run(args=["user", "suspend", "david"]), 5),
        (lambda: run(args=["user", "unsuspend", "david"]), 10),
        (lambda: run(args=["user", "delete", "david", "--yes"]), 5),
    ):
        act()
        assert left() == (0, public)
    client.logout()
    client.login("susan")
    client.submit("/settings/delete", {"password": PASSWORD}).close()
    assert left() == (0, 0)
