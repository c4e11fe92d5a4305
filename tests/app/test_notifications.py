"""What people are to know of, and who is not."""

import pytest
import sqlalchemy as sa

from microblog.database import db, utc_now
from microblog.models import Barrier, Notification, Preferences, User
from microblog.models.account import suspend
from microblog.models.notifications import KINDS, notify, withdraw


@pytest.fixture
def people(context):
    names = ("susan", "david", "maria", "pavel")
    db.session.add_all([User(name, f"{name}@example.org", "password") for name in names])
    db.session.commit()
    return tuple(User.find(name) for name in names)


def stored():
    rows = sa.select(Notification.user_id, Notification.kind, Notification.actor_id, Notification.post_id)
    return [tuple(row) for row in db.session.execute(rows.order_by(Notification.id))]


def test_each_hears_once_of_what_others_did_and_not_of_what_they_did_themselves(people):
    susan, david, maria, _ = (user.id for user in people)
    notify("mention", susan, [maria, david, susan], 7)
    notify("mention", susan, [david], 7)
    notify("follow", susan, [david])
    notify("follow", susan, [])
    notify("follow", susan, [2**31 - 1])
    db.session.commit()
    assert sorted(stored()) == sorted(
        [(david, "mention", susan, 7), (maria, "mention", susan, 7), (david, "follow", susan, 0)]
    )
    withdraw("mention", susan, david, 7)
    withdraw("mention", susan, david, 7)
    withdraw("follow", susan, maria)
    db.session.commit()
    assert sorted(stored()) == sorted([(maria, "mention", susan, 7), (david, "follow", susan, 0)])
    # What was taken back and is so again is a new thing to know of.
    notify("mention", susan, [david], 7)
    db.session.commit()
    assert stored()[-1] == (david, "mention", susan, 7)


def test_who_has_silenced_a_kind_hears_of_the_others(people):
    susan, david, *_ = (user.id for user in people)
    db.session.add(Preferences(user_id=david, silent="like,follow"))
    db.session.commit()
    for kind in KINDS:
        notify(kind, susan, [david], 1)
    db.session.commit()
    assert sorted(kind for _, kind, _, _ in stored()) == ["mention", "message", "reply", "repost"]


@pytest.mark.parametrize("barrier", ["blocks", "is_blocked", "mutes"])
def test_nobody_hears_of_whom_they_do_not_see(people, barrier):
    susan, david, maria, _ = (user.id for user in people)
    db.session.add(Barrier(reader_id=david, author_id=susan, **{barrier: True}))
    # One that was taken back.
    db.session.add(Barrier(reader_id=maria, author_id=susan))
    db.session.commit()
    notify("like", susan, [david, maria], 1)
    # Whoever mutes is heard of all the same.
    notify("like", david, [maria], 1)
    db.session.commit()
    assert sorted(stored()) == sorted([(maria, "like", susan, 1), (maria, "like", david, 1)])


def test_who_is_suspended_neither_hears_nor_is_heard_of(people):
    susan, david, maria, _ = people
    suspend(david)
    db.session.commit()
    notify("reply", susan.id, [david.id, maria.id], 1)
    notify("reply", david.id, [susan.id], 1)
    db.session.commit()
    assert stored() == [(maria.id, "reply", susan.id, 1)]
    assert db.session.execute(sa.select(Notification.created_at)).scalar() <= utc_now()


def test_an_account_goes_with_what_it_knew_and_was_known_for(people):
    susan, david, maria, _ = (user.id for user in people)
    notify("reply", susan, [david], 1)
    notify("reply", maria, [susan], 1)
    notify("reply", maria, [david], 1)
    db.session.execute(sa.delete(User.__table__).where(User.id == susan))
    db.session.commit()
    assert stored() == [(david, "reply", maria, 1)]
