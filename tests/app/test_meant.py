"""A page that was open when an account was deleted, and its buttons, are not about the next one that has its
name."""

import re

import pytest
import sqlalchemy as sa
from app_client import PASSWORD, Browser

from microblog.database import db
from microblog.models import Barrier, Follow, Message, Report, User, barriers, messages, preferences, reports
from microblog.models.account import delete_account, keep_waiting, suspend
from microblog.models.follow import follow

pytestmark = pytest.mark.any_database


@pytest.fixture
def susan(app, make_user):
    """An administrator, who has followed, blocked and reported david, as a case needs it."""
    make_user("susan")
    make_user("david")
    with app.app_context():
        User.find("susan").is_admin = True
        db.session.commit()
    browser = Browser(app)
    browser.login()
    return browser


def reported(me, david):
    reports.report(me, david, "abuse")


def written(me, david):
    preferences.change(me.id, messages_from_all=True)
    messages.send(david, me.id, "one", "hello")


# What was so, the page, the path of its form, and what is sent besides.
STALE = [
    (reported, "/moderation", "/admin/user/david/suspend", {}),
    (lambda _me, david: suspend(david), "/admin", "/admin/user/david/unsuspend", {}),
    (lambda _me, david: keep_waiting(david), "/admin", "/admin/user/david/refuse", {}),
    (None, "/admin", "/admin/user/david/moderator", {}),
    (None, "/admin/user/david/delete", "/admin/user/david/delete", {"password": PASSWORD}),
    (None, "/user/david", "/user/david/follow", {}),
    (follow, "/user/david", "/user/david/unfollow", {}),
    (None, "/user/david/card", "/user/david/follow", {}),
    (None, "/user/david", "/user/david/block", {}),
    (None, "/user/david", "/user/david/mute", {}),
    (barriers.block, "/settings/people", "/user/david/unblock", {}),
    (None, "/user/david/report", "/user/david/report", {"comment": "them"}),
    (None, "/messages/david", "/messages/david", {"body": "for you alone"}),
    (written, "/messages/david", "/messages/david/delete", {}),
]


def fields(page, path):
    """What a form sends by itself. One without a path of its own sends it to its page's."""
    forms = re.findall(r"<form([^>]*)>(.*?)</form>", page, re.DOTALL)
    own = [text for head, text in forms if f'action="{path}"' in head]
    own = own or [text for head, text in forms if "method" in head and "action" not in head]
    inputs = re.findall(r"<input[^>]*>", own[0])
    named = [(re.search('name="([^"]*)"', one), re.search('value="([^"]*)"', one)) for one in inputs]
    return {name[1]: value[1] for name, value in named if name and value}


def met(before):
    """Who is called david now, with what was between him and susan."""
    david = User.find("david")
    preferences.change(david.id, messages_from_all=True)
    if before:
        before(User.find("susan"), david)
    db.session.commit()
    return david


@pytest.mark.parametrize(("before", "page", "path", "more"), STALE)
def test_a_stale_page_is_about_whom_it_shows(app, susan, make_user, before, page, path, more):
    with app.app_context():
        met(before)
    sent = {**fields(susan.get(page).text, path), **more}
    with app.app_context():
        assert sent["account"] == str(User.find("david").id)
        delete_account(User.find("david"))
        db.session.commit()
    make_user("david")
    with app.app_context():
        number = met(before).id
        then = state()
    assert susan.post(path, sent).status_code == 404
    with app.app_context():
        assert state() == then
    # And what is about them is.
    assert susan.post(path, {**sent, **fields(susan.get(page).text, path), **more}).status_code == 302
    with app.app_context():
        assert User.find("david") is None or (state() != then and User.find("david").id == number)


def state():
    """All that these buttons change."""
    david = User.find("david")
    counts = [
        db.session.execute(sa.select(sa.func.count()).select_from(table)).scalar()
        for table in (Follow, Barrier, Report, Message)
    ]
    unread = messages.side(User.find("susan").id, david.id).last_id
    return david.id, david.is_active, david.waiting, david.is_moderator, counts, unread
