"""Who keeps whom away."""

import threading

import pytest
import sqlalchemy as sa

from microblog.database import db
from microblog.models import Barrier, User
from microblog.models.account import delete_account, suspend
from microblog.models.barriers import (
    NOTHING,
    Between,
    all_between,
    between,
    block,
    kept_page,
    mute,
    unblock,
    unmute,
    unseen,
)
from microblog.models.follow import follow


@pytest.fixture
def people(context):
    names = ("susan", "david", "maria")
    db.session.add_all([User(name, f"{name}@example.org", "password") for name in names])
    db.session.commit()
    return tuple(User.find(name) for name in names)


def barred():
    db.session.expire_all()
    query = sa.select(User.username).where(User.has_barriers.is_(True)).order_by(User.username)
    return list(db.session.execute(query).scalars())


def test_a_block_stands_on_both_sides_and_ends_on_both(people):
    susan, david, maria = people
    assert follow(susan, david) and follow(david, susan) and follow(david, maria)
    db.session.commit()
    assert block(susan, david) is True
    assert block(susan, david) is False
    db.session.commit()
    assert between(susan.id, david.id) == Between(blocks=True)
    assert between(david.id, susan.id) == Between(is_blocked=True)
    assert between(david.id, susan.id).apart and not between(david.id, maria.id).apart
    assert barred() == ["david", "susan"]
    assert [(user.followers_count, user.following_count) for user in people] == [(0, 0), (0, 1), (1, 0)]
    # Neither follows the other any more, or can begin to.
    assert not follow(david, susan) and not follow(susan, david)
    assert unblock(david, susan) is False
    assert unblock(susan, david) is True
    db.session.commit()
    assert between(susan.id, david.id) == between(david.id, susan.id) == NOTHING
    assert db.session.execute(sa.select(sa.func.count()).select_from(Barrier)).scalar() == 0
    assert barred() == []
    assert follow(david, susan)


def test_what_two_block_is_free_when_both_have_said_so(people):
    susan, david, _ = people
    assert block(susan, david) and block(david, susan)
    db.session.commit()
    assert unblock(susan, david)
    db.session.commit()
    assert between(susan.id, david.id) == Between(is_blocked=True)
    assert barred() == ["david", "susan"]
    assert unblock(david, susan)
    db.session.commit()
    assert barred() == []


def test_who_is_muted_does_not_know(people):
    susan, david, maria = people
    follow(susan, david)
    assert mute(susan, david) is True
    assert mute(susan, david) is False
    db.session.commit()
    assert between(susan.id, david.id) == Between(mutes=True)
    assert between(david.id, susan.id) == NOTHING
    assert barred() == ["susan"]
    assert susan.following_count == 1
    # A block beside it, and its end, leave it.
    assert block(susan, david) and unblock(susan, david)
    db.session.commit()
    assert all_between(susan.id, [david.id, maria.id]) == {david.id: Between(mutes=True)}
    assert unmute(susan, david) is True
    assert unmute(susan, david) is False
    db.session.commit()
    assert barred() == []


def test_nobody_keeps_themselves_away_or_nobody(people):
    susan, *_ = people
    nobody = User("nobody_is_here", "n@example.org", "password")
    nobody.id = 999_999
    for act in (block, mute, unblock, unmute):
        assert not act(susan, susan)
        assert not act(susan, nobody)
    db.session.commit()
    assert barred() == []


def test_what_is_unseen(people):
    susan, david, maria = people
    block(david, susan)
    mute(susan, maria)
    db.session.commit()

    def names(**how):
        query = sa.select(User.username).where(unseen(susan.id, User.id, **how)).order_by(User.username)
        return list(db.session.execute(query).scalars())

    assert names() == ["david", "maria"]
    assert names(muted=False) == ["david"]


def test_those_kept_away_are_listed_page_by_page(people, monkeypatch):
    susan, david, maria = people
    monkeypatch.setattr("microblog.models.barriers.SIZE", 1)
    block(susan, david)
    mute(susan, maria)
    block(maria, susan)
    db.session.commit()
    first = kept_page(susan.id)
    assert [(kept.username, kept.blocks, kept.mutes) for kept in first.people] == [("maria", False, True)]
    second = kept_page(susan.id, first.older)
    assert [(kept.username, kept.blocks, kept.mutes) for kept in second.people] == [("david", True, False)]
    assert second.older is None
    assert [kept.username for kept in kept_page(susan.id, None, None, "blocks").people] == ["david"]
    # Who is blocked is not told by whom.
    assert kept_page(david.id).people == []
    suspend(david)
    db.session.commit()
    assert kept_page(susan.id, None, None, "blocks").people == []


def test_what_stands_between_goes_with_an_account(people):
    susan, david, _ = people
    block(susan, david)
    db.session.commit()
    delete_account(david)
    db.session.commit()
    assert db.session.execute(sa.select(sa.func.count()).select_from(Barrier)).scalar() == 0


def test_two_who_block_each_other_at_once(people, migrated):
    susan, david, _ = (user.id for user in people)
    db.session.remove()
    errors = []

    def act(me, other):
        with migrated.app_context():
            try:
                for _ in range(5):
                    block(db.session.get(User, me), db.session.get(User, other))
                    db.session.commit()
                    unblock(db.session.get(User, me), db.session.get(User, other))
                    db.session.commit()
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=act, args=pair) for pair in ((susan, david), (david, susan))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert barred() == []
