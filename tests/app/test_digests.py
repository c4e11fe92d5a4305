"""Mails with what somebody has not read, and how they end."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from app_client import Browser
from mail_sink import Sink

from microblog.config import MailServer
from microblog.database import db, utc_now
from microblog.models import Notification, Preferences, User, digests, preferences
from microblog.models import notifications as stored
from microblog.models.account import suspend
from microblog.models.notifications import notify, seen
from microblog.web import housekeeping
from microblog.web.notifications import digest


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


@pytest.fixture
def site(make_app, app, make_user, sink):
    """A site that sends mail; Susan, who wants some, and people who do something."""
    for name in ("susan", "david", "maria"):
        make_user(name)
    site = make_app(mail=MailServer("127.0.0.1", sink.port), host_names=("example.org",), https=True)
    with site.app_context():
        preferences.change(User.find("susan").id, by_mail=True)
        db.session.commit()
    return site


def tell(site, kind, actor, reader="susan"):
    with site.app_context():
        notify(kind, User.find(actor).id, [User.find(reader).id])
        db.session.commit()


def keep_house(site):
    housekeeping.clean(site)
    assert site.extensions["microblog.mailer"].wait(60)


def a_day_passes(site):
    with site.app_context():
        past = utc_now() - digests.EVERY
        db.session.execute(sa.update(Preferences.__table__).values(mailed_at=past))
        db.session.commit()


def test_once_a_day_what_was_not_read(site, sink):
    for name in ("david", "maria"):
        tell(site, "follow", name)
    tell(site, "message", "david")
    for _ in range(2):
        keep_house(site)
    (mail,) = sink.messages
    text = mail.get_content()
    assert (mail["To"], mail["Subject"]) == ("susan@example.org", "What you have not read")
    assert ("- 2 people follow you" in text, "- 1 person wrote you messages" in text) == (True, True)
    assert "https://example.org/notifications" in text
    # More of it, on the same day and on the next.
    tell(site, "like", "maria")
    keep_house(site)
    assert len(sink.messages) == 1
    a_day_passes(site)
    for _ in range(2):
        keep_house(site)
    text = sink.messages[-1].get_content()
    assert (len(sink.messages), "like" in text, "follow" in text) == (2, True, False)
    # Nothing new, or all of it read.
    a_day_passes(site)
    keep_house(site)
    tell(site, "repost", "maria")
    with site.app_context():
        last = db.session.execute(sa.select(sa.func.max(Notification.id))).scalar()
        seen(User.find("susan").id, last)
        db.session.commit()
    a_day_passes(site)
    keep_house(site)
    assert len(sink.messages) == 2


@pytest.mark.parametrize("language, says", [("es", "No has leído"), ("ru", "не прочитали")])
def test_in_the_readers_language(site, sink, language, says):
    with site.app_context():
        User.find("susan").locale = language
        db.session.commit()
    for kind in stored.KINDS:
        tell(site, kind, "david")
    keep_house(site)
    assert says.lower() in sink.messages[0].get_content().lower()


def test_two_machines_send_one(site, sink, make_app):
    tell(site, "follow", "david")
    with site.app_context():
        susan = User.find("susan").id
        assert digests.due(10) == [susan]
        assert digests.take(susan).counts == {"follow": 1}
    with make_app().app_context():
        assert digests.take(susan) is None
        assert digests.due(10) == []
    # It died before it was sent: then it is in the next one.
    a_day_passes(site)
    keep_house(site)
    assert len(sink.messages) == 1


def test_not_to_who_does_not_want_it_or_cannot(site, sink):
    tell(site, "follow", "susan", "david")
    tell(site, "follow", "david", "susan")
    with site.app_context():
        User.find("susan").email_confirmed = False
        preferences.change(User.find("maria").id, by_mail=True)
        suspend(User.find("maria"))
        db.session.commit()
    keep_house(site)
    assert sink.messages == []


def test_who_is_refused_keeps_no_other_from_it(site, sink):
    for name in ("susan", "david"):
        tell(site, "follow", "maria", name)
    with site.app_context():
        preferences.change(User.find("david").id, by_mail=True)
        db.session.commit()
    sink.refuse = "550 No such person"
    keep_house(site)
    with site.app_context():
        assert digests.due(10) == []
        mailed = sa.select(Preferences.mailed_to).order_by(Preferences.mailed_to)
        assert list(db.session.execute(mailed).scalars()) == [0, 0]
    sink.refuse = None
    a_day_passes(site)
    keep_house(site)
    assert sorted(mail["To"] for mail in sink.messages) == ["david@example.org", "susan@example.org"]


def test_where_there_is_no_server_the_others_are_left_for_later(site, sink):
    for name in ("susan", "david"):
        tell(site, "follow", "maria", name)
        with site.app_context():
            preferences.change(User.find(name).id, by_mail=True)
            db.session.commit()
    sink.stop()
    keep_house(site)
    with site.app_context():
        assert len(digests.due(10)) == 1


def wants_mail(site):
    with site.app_context():
        return preferences.of(User.find("susan").id).by_mail


def test_one_click_ends_them(site, sink):
    tell(site, "follow", "david")
    keep_house(site)
    (mail,) = sink.messages
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    path = re.fullmatch(r"<https://example\.org(/unsubscribe/\S+)>", mail["List-Unsubscribe"])[1]
    assert path in mail.get_content()
    mail_program = Browser(site, "https://example.org")
    # What looks into mails opens links.
    page = mail_program.get(path)
    assert ("Mail me no longer" in page.text, wants_mail(site)) == (True, True)
    assert page.headers["Referrer-Policy"] == "no-referrer"
    answer = mail_program.post(path, {"List-Unsubscribe": "One-Click"})
    assert (answer.status_code, wants_mail(site)) == (200, False)
    assert "Set-Cookie" not in answer.headers
    assert mail_program.post(path).status_code == 200
    for wrong in (path + "x", "/unsubscribe/x", "/unsubscribe/WzEsMV0.x"):
        assert mail_program.post(wrong).status_code == 404


def test_a_link_is_for_no_later_account_with_that_number(site):
    with site.app_context():
        susan = User.find("susan")
        right = digest._token(susan.id, susan.created_at.isoformat())
        wrong = digest._token(susan.id, (susan.created_at - timedelta(days=1)).isoformat())
        assert [digest.subscriber(token) is not None for token in (right, wrong)] == [True, False]


def test_it_is_chosen_where_the_site_sends_mail(site, app):
    for which, offered in ((site, True), (app, False)):
        browser = Browser(which, "https://example.org" if which is site else "http://localhost")
        browser.login()
        assert ('name="by_mail"' in browser.get("/settings/notifications").text) == offered
    browser = Browser(site, "https://example.org")
    browser.login()
    browser.submit("/settings/notifications", {"follow": "y"})
    assert not wants_mail(site)


def test_old_ones_and_more_than_are_kept_go(site, monkeypatch):
    monkeypatch.setattr(stored, "KEPT", 3)
    monkeypatch.setattr(stored, "_CHUNK", 2)
    with site.app_context():
        susan, david, maria = (User.find(name).id for name in ("susan", "david", "maria"))
        rows = [
            {"user_id": susan, "kind": "like", "actor_id": david, "post_id": number, "created_at": utc_now()}
            for number in range(1, 9)
        ]
        long_ago = utc_now() - timedelta(days=91)
        rows += [{**row, "user_id": maria, "created_at": long_ago} for row in rows[:5]]
        rows += [{**rows[0], "user_id": maria, "post_id": 9}]
        # How many each has is their own number.
        rows += [{**rows[0], "user_id": david, "actor_id": susan, "post_id": number} for number in (10, 11)]
        db.session.execute(sa.insert(Notification.__table__), rows)
        db.session.commit()
        stored.sweep()
        left = sa.select(Notification.user_id, Notification.post_id).order_by(Notification.id)
        assert [tuple(row) for row in db.session.execute(left)] == [
            *((susan, number) for number in (6, 7, 8)),
            (maria, 9),
            *((david, number) for number in (10, 11)),
        ]
