"""What people are to know of, and who is not."""

import re

import pytest
import sqlalchemy as sa
from app_client import Browser

from microblog.database import db, utc_now
from microblog.models import Barrier, Notification, Preferences, User, notifications, reactions
from microblog.models.account import suspend
from microblog.models.notifications import KINDS, NotificationPage, notify, withdraw
from microblog.models.post import add_post, delete_post, find_post
from microblog.web import last_seen, navigation


@pytest.fixture
def people(context):
    names = ("susan", "david", "maria", "pavel")
    db.session.add_all([User(name, f"{name}@example.org", "password") for name in names])
    db.session.commit()
    return tuple(User.find(name) for name in names)


def stored():
    rows = sa.select(Notification.user_id, Notification.kind, Notification.actor_id, Notification.post_id)
    return [tuple(row) for row in db.session.execute(rows.order_by(Notification.id))]


def test_what_comes_after_something_was_taken_back_is_new(people):
    susan, david, maria, _pavel = people
    post = add_post(susan, "hello")
    reactions.like(david, post)
    db.session.commit()
    notifications.seen(susan.id, notifications.page(susan.id).rows[0].id)
    reactions.unlike(david, post)
    db.session.commit()
    reactions.like(maria, post)
    db.session.commit()
    assert db.session.execute(sa.select(notifications.unread(susan.id))).scalar() == 1


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


@pytest.fixture
def browsers(app, make_user):
    found = {}
    for name in ("susan", "david", "maria"):
        make_user(name)
        found[name] = Browser(app)
        found[name].login(name)
    return found


def tell(app, kind, actor, reader, body=None, author=None):
    """Something that somebody did, as another process would note it.

    :return: the post's number.
    """
    with app.app_context():
        number = add_post(User.find(author or reader), body).id if body else 0
        notify(kind, User.find(actor).id, [User.find(reader).id], number)
        db.session.commit()
        return number


def number_shown(browser, path="/"):
    """The numbers beside the links: of notifications, and of conversations."""
    return re.findall(r'<span class="top-number">(.*?)</span>', browser.get(path).text)


def lines_of(page):
    text = re.sub(r"<svg.*?</svg>|<time.*?</time>", "", page, flags=re.S).partition('<ul class="feed')[2]
    items = re.findall(r'<li class="post(.*?)">(.*?)</li>', text, flags=re.S)
    plain = [(new, re.sub(r"<[^>]+>", " ", item)) for new, item in items]
    return [(bool(new), " ".join(item.replace(" New", "").split())) for new, item in plain]


def test_who_follows_is_a_notification_until_they_no_longer_do(browsers):
    susan, david = browsers["susan"], browsers["david"]
    assert "Nothing yet" in susan.get("/notifications").text
    david.submit("/user/susan/follow", page="/user/susan")
    for path in ("/", "/explore", "/settings", "/user/susan"):
        assert number_shown(susan, path) == ["1", ""]
    assert number_shown(david) == ["", ""]
    page = susan.get("/notifications").text
    assert lines_of(page) == [(True, "david follows you")]
    # This page has shown it.
    assert '<span class="top-number"></span>' in page
    assert lines_of(susan.get("/notifications").text) == [(False, "david follows you")]
    assert number_shown(susan) == ["", ""]
    david.submit("/user/susan/unfollow", page="/user/susan")
    assert lines_of(susan.get("/notifications").text) == []


def test_what_several_did_is_one_line_in_each_language(app, browsers):
    number = tell(app, "like", "maria", "susan", "a <b> post")
    with app.app_context():
        notify("like", User.find("david").id, [User.find("susan").id], number)
        db.session.commit()
    for kind in ("repost", "follow"):
        for name in ("maria", "david"):
            tell(app, kind, name, "susan")
    tell(app, "message", "david", "susan")
    for kind in ("reply", "mention"):
        tell(app, kind, "maria", "susan", "hello there", "maria")
    expected = [
        "maria mentioned you hello there",
        "maria answered you hello there",
        "david wrote you a message",
        "david and 1 other follow you",
        "david and 1 other have passed your post on",
        "david and 1 other like your post a &lt;b&gt; post",
    ]
    page = browsers["susan"].get("/notifications").text
    assert lines_of(page) == [(True, text) for text in expected]
    assert f'href="/post/{number}"' in page
    assert 'href="/messages/david"' in page
    for code, text in (("es", "y 1 persona más"), ("ru", "и ещё 1 человек")):
        page = browsers["susan"].get("/notifications", headers={"Accept-Language": code}).text
        assert [text in line for _, line in lines_of(page)] == [False] * 3 + [True] * 3


def test_a_post_that_is_gone_and_who_is_suspended_are_named_nowhere(app, browsers):
    number = tell(app, "like", "maria", "susan", "a post")
    tell(app, "follow", "david", "susan")
    assert number_shown(browsers["susan"]) == ["2", ""]
    with app.app_context():
        suspend(User.find("david"))
        delete_post(find_post(number))
        db.session.commit()
    assert number_shown(browsers["susan"]) == ["", ""]
    assert lines_of(browsers["susan"].get("/notifications").text) == []


def test_pages_of_notifications(app, browsers, monkeypatch):
    monkeypatch.setattr(NotificationPage, "SIZE", 2)
    monkeypatch.setattr(notifications, "MANY", 4)
    monkeypatch.setattr(navigation, "MANY", 4)
    from microblog.models import reader

    reader._unread.cache_clear()
    for number in range(5):
        tell(app, "mention", "david", "susan", f"number {number}", "david")
    susan = browsers["susan"]
    assert number_shown(susan) == ["3+", ""]
    newest = susan.get("/notifications").text
    older = re.search(r'rel="next" href="(.*?)"', newest)[1]
    assert ("number 4" in newest, "number 2" in newest) == (True, False)
    page = susan.get(older).text
    assert "number 2" in page
    assert 'class="top-number"></span>' in page
    assert "There is nothing older" in susan.get("/notifications?before=1").text
    reader._unread.cache_clear()


def test_an_older_page_does_not_make_new_ones_seen(app, browsers):
    tell(app, "follow", "david", "susan")
    page = browsers["susan"].get(f"/notifications?before={2**63 - 1}").text
    assert lines_of(page) == [(True, "david follows you")]
    assert number_shown(browsers["susan"]) == ["1", ""]


def test_the_number_is_asked_for_with_what_is_shown(app, browsers, monkeypatch):
    susan = browsers["susan"]
    noted = []
    monkeypatch.setattr(last_seen, "note", noted.append)
    answer = susan.get("/notifications/unread", headers={"If-None-Match": '"-"'})
    assert (answer.status_code, answer.text) == (304, "")
    tell(app, "follow", "david", "susan")
    answer = susan.get("/notifications/unread", headers={"If-None-Match": '"-"'})
    assert (answer.json, answer.headers["ETag"]) == (["1", ""], '"1-"')
    assert susan.get("/notifications/unread", headers={"If-None-Match": '"1-"'}).status_code == 304
    # A page that lies open is not somebody who is there.
    assert noted == []
    assert Browser(app).get("/notifications/unread").status_code == 302


def test_each_kind_can_be_switched_off(app, browsers):
    susan = browsers["susan"]
    page = susan.get("/settings/notifications").text
    assert page.count(" checked") == len(KINDS)
    kinds = dict.fromkeys(set(KINDS) - {"follow", "like"}, "y")
    susan.submit("/settings/notifications", kinds)
    assert susan.get("/settings/notifications").text.count(" checked") == len(KINDS) - 2
    for kind in ("follow", "like", "message", "repost"):
        tell(app, kind, "david", "susan")
    assert [kind for _, kind, _, _ in stored_by(app)] == ["message", "repost"]


def stored_by(app):
    with app.app_context():
        return stored()


def test_the_number_costs_no_statement_where_there_is_nothing_new_and_else_one(app, browsers):
    statements = []

    def note(_connection, _cursor, text, *_rest):
        statements.append(text)

    def asked(path):
        statements.clear()
        browsers["susan"].get(path)
        return len([text for text in statements if text.startswith("SELECT") and "FROM settings" not in text])

    with app.app_context():
        sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        asked("/explore")
        before = [asked(path) for path in ("/explore", "/notifications/unread")]
        assert before[1] == 1
        tell(app, "follow", "david", "susan")
        assert [asked(path) for path in ("/explore", "/notifications/unread")] == [
            number + 1 for number in before
        ]
    finally:
        with app.app_context():
            sa.event.remove(db.engine, "before_cursor_execute", note)
