"""Private messages between two people, and what nobody else learns of them."""

import json
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from app_client import Browser, token

from microblog.database import db, utc_now
from microblog.models import (
    Conversation,
    ConversationSide,
    Message,
    Notification,
    User,
    messages,
    preferences,
)
from microblog.models.account import delete_account, suspend
from microblog.models.barriers import block, mute, unblock
from microblog.models.follow import follow, unfollow
from microblog.web import limits

NAMES = ("susan", "david", "maria")


@pytest.fixture
def browsers(app, make_user):
    """Susan and David follow each other; Maria follows nobody."""
    found = {}
    for name in NAMES:
        make_user(name)
        found[name] = Browser(app)
        found[name].login(name)
    with app.app_context():
        follow(User.find("susan"), User.find("david"))
        follow(User.find("david"), User.find("susan"))
        db.session.execute(sa.delete(Notification.__table__))
        db.session.commit()
    return found


def write(browsers, name, to, body):
    return browsers[name].submit(f"/messages/{to}", {"body": body}, page="/settings")


def numbers(browser):
    return re.findall(r'<span class="top-number">(.*?)</span>', browser.get("/").text)


def bodies(browser, path):
    return re.findall(
        r'<p class="post-body" dir="auto">(?:<span.*?</span> )?(.*?)</p>', browser.get(path).text
    )


def count(app, table):
    with app.app_context():
        return db.session.execute(sa.select(sa.func.count()).select_from(table)).scalar()


def change(app, work, *names):
    with app.app_context():
        work(*map(User.find, names))
        db.session.commit()


def take_all(app, name):
    change(app, lambda user: preferences.change(user.id, messages_from_all=True), name)


def test_two_people_write_to_each_other(app, browsers):
    assert write(browsers, "susan", "david", "hello <b>").headers["Location"] == "/messages/david"
    write(browsers, "susan", "david", "are you there?")
    assert (numbers(browsers["david"]), numbers(browsers["susan"])) == (["", "1"], ["", ""])
    assert bodies(browsers["david"], "/messages") == ["are you there?"]
    assert bodies(browsers["susan"], "/messages") == ["are you there?"]
    assert "wrote you a message" in re.sub("<.*?>", "", browsers["david"].get("/notifications").text)
    page = browsers["david"].get("/messages/SUSAN").text
    assert page.index("are you there?") < page.index("hello &lt;b&gt;")
    # This page has shown them.
    assert re.findall(r'<span class="top-number">(.*?)</span>', page) == ["", ""]
    assert numbers(browsers["david"]) == ["", ""]
    assert "wrote you" not in re.sub("<.*?>", "", browsers["david"].get("/notifications").text)
    write(browsers, "david", "susan", "yes")
    assert numbers(browsers["susan"]) == ["", "1"]
    assert (count(app, Conversation), count(app, ConversationSide)) == (1, 2)
    # Nobody else has anything of it.
    assert bodies(browsers["maria"], "/messages") == bodies(browsers["maria"], "/messages/susan") == []
    assert 'href="/messages/susan"' in browsers["maria"].get("/user/susan").text


def test_what_is_sent_twice_is_one_message(app, browsers):
    page = browsers["susan"].get("/messages/david")
    once = re.search(r'name="once" value="(.*?)"', page.text)[1]
    data = {"csrf_token": token(page), "once": once, "body": "hello"}
    for _ in range(2):
        assert browsers["susan"].post("/messages/david", data).status_code == 302
    assert count(app, Message) == 1
    assert numbers(browsers["david"]) == ["", "1"]
    browsers["susan"].post("/messages/david", {**data, "body": "another"})
    assert count(app, Message) == 2
    # The same form for a post, or for somebody else, is another thing.
    browsers["susan"].post("/", data)
    assert "hello" in browsers["susan"].get("/").text


def test_only_who_follow_each_other_or_who_is_let(app, browsers):
    page = write(browsers, "maria", "susan", "buy this").text
    assert ("You cannot write to susan" in page, "buy this" in page, "<textarea" in page) == (
        True,
        True,
        False,
    )
    change(app, follow, "maria", "susan")
    assert "You cannot write" in write(browsers, "maria", "susan", "buy this").text
    assert count(app, Message) == 0
    take_all(app, "susan")
    assert write(browsers, "maria", "susan", "hello").status_code == 302
    # Who wrote may be answered, for a while.
    assert write(browsers, "susan", "maria", "who are you?").status_code == 302
    change(app, unfollow, "maria", "susan")
    long_ago = utc_now() - messages.ANSWERS - timedelta(minutes=1)
    with app.app_context():
        db.session.execute(sa.update(Message.__table__).values(created_at=long_ago))
        db.session.commit()
    assert "You cannot write" in write(browsers, "susan", "maria", "still there?").text
    assert write(browsers, "maria", "susan", "yes").status_code == 302
    for path in ("/messages/nobody", "/messages/maria/x"):
        assert browsers["maria"].get(path).status_code == 404
    assert browsers["maria"].get("/messages/maria").status_code == 404


def test_it_is_chosen_in_the_settings(app, browsers):
    assert "messages_from_all" in browsers["susan"].get("/settings/notifications").text
    browsers["susan"].submit("/settings/notifications", {"messages_from_all": "y", "message": "y"})
    assert write(browsers, "maria", "susan", "hello").status_code == 302


def test_blocked_is_blocked(app, browsers):
    write(browsers, "david", "susan", "before")
    change(app, block, "susan", "david")
    take_all(app, "susan")
    take_all(app, "david")
    # Whoever is blocked sees what they would if there were nobody.
    for path in ("/messages/susan", "/messages/nobody"):
        assert browsers["david"].get(path).status_code == 404
        assert write(browsers, "david", path.rpartition("/")[2], "why?").status_code == 404
    assert "You cannot write" in write(browsers, "susan", "david", "go away").text
    for name in ("susan", "david"):
        assert bodies(browsers[name], "/messages") == []
        assert numbers(browsers[name]) == ["", ""]
    assert count(app, Message) == 1
    change(app, unblock, "susan", "david")
    assert bodies(browsers["susan"], "/messages") == ["before"]


def test_who_is_muted_may_write_and_is_not_heard(app, browsers):
    change(app, mute, "susan", "david")
    assert write(browsers, "david", "susan", "hello").status_code == 302
    assert numbers(browsers["susan"]) == ["", ""]
    assert bodies(browsers["susan"], "/messages/david") == ["hello"]


def test_each_deletes_for_themselves(app, browsers, monkeypatch):
    monkeypatch.setattr(messages, "CHUNK", 2)
    for number in range(5):
        write(browsers, "susan", "david", f"number {number}")
    stale = re.search(r'name="up_to" value="(\d+)"', browsers["susan"].get("/messages/david").text)[1]
    write(browsers, "david", "susan", "one more")
    # What came since the page was opened is not meant.
    for _ in range(2):
        browsers["susan"].submit("/messages/david/delete", {"up_to": stale}, page="/settings")
    assert bodies(browsers["susan"], "/messages/david") == ["one more"]
    assert len(bodies(browsers["david"], "/messages/susan")) == count(app, Message) == 6
    for name, other in (("david", "susan"), ("susan", "david")):
        # More than there is.
        browsers[name].submit(f"/messages/{other}/delete", {"up_to": 2**63 - 1}, page="/settings")
        assert bodies(browsers[name], "/messages") == bodies(browsers[name], f"/messages/{other}") == []
        assert numbers(browsers[name]) == ["", ""]
    assert count(app, Message) == 0
    write(browsers, "david", "susan", "a new beginning")
    assert bodies(browsers["susan"], "/messages") == bodies(browsers["david"], "/messages")
    for up_to in ("", "x", str(2**63), "-1"):
        answer = browsers["susan"].submit("/messages/david/delete", {"up_to": up_to}, page="/settings")
        assert answer.status_code == 404
    answer = browsers["maria"].submit("/messages/david/delete", {"up_to": 1}, page="/settings")
    assert (answer.status_code, count(app, Message)) == (302, 1)


@pytest.mark.parametrize("what", ["read", "deleted", "nothing"])
def test_what_came_since_the_page_was_made_is_all_that_is_unread(app, browsers, what):
    with app.app_context():
        susan, david = User.find("susan").id, User.find("david")
        seen = [messages.send(david, susan, str(n), "hello") for n in range(3)][-1]
        mine = messages.side(susan, david.id)
        messages.send(david, susan, "later", "and this")
        db.session.commit()
        if what == "read":
            messages.read(susan, david.id, mine, seen)
            db.session.commit()
        elif what == "deleted":
            messages.delete_conversation(susan, david.id, seen)
        assert messages.side(susan, david.id).unread == (4 if what == "nothing" else 1)
        # And they hear of it.
        kinds = db.session.execute(sa.select(Notification.kind)).scalars().all()
        assert kinds == ["message"]
        # What is read twice, on two pages, is read once.
        messages.read(susan, david.id, mine, messages.side(susan, david.id).last_id)
        db.session.commit()
        messages.read(susan, david.id, mine, seen)
        db.session.commit()
        assert messages.side(susan, david.id).unread == 0
        assert not db.session.execute(sa.select(Notification.kind)).scalars().all()


def test_what_stands_before_a_message_does_not_turn_its_direction(app, browsers):
    """The first letter of it decides; of what has a direction of its own, none counts."""
    write(browsers, "susan", "david", "שלום, world")
    line = re.search(r'<p class="post-body"[^>]*>.*?</p>', browsers["susan"].get("/messages").text)[0]
    assert (
        line
        == '<p class="post-body" dir="auto"><span class="post-time" dir="auto">You:</span> שלום, world</p>'
    )


def test_a_message_is_found_by_the_two_alone(app, browsers):
    write(browsers, "susan", "david", "hello")
    with app.app_context():
        number = db.session.execute(sa.select(Message.id)).scalar()
        found = [messages.find_message(User.find(name).id, number) is not None for name in NAMES]
        assert found == [True, True, False]
        susan = User.find("susan").id
        assert [messages.find_message(susan, n) for n in (0, -1, number + 1, 2**63)] == [None] * 4


def test_who_is_suspended_is_gone_with_what_they_wrote_and_comes_back_with_it(app, browsers):
    write(browsers, "susan", "david", "hello")
    change(app, suspend, "susan")
    assert bodies(browsers["david"], "/messages") == []
    assert numbers(browsers["david"]) == ["", ""]
    assert browsers["david"].get("/messages/susan").status_code == 404
    assert write(browsers, "david", "susan", "hello?").status_code == 404


@pytest.mark.parametrize("name", ["susan", "david"])
def test_a_conversation_goes_with_either_account(app, browsers, name, monkeypatch):
    monkeypatch.setattr(messages, "CHUNK", 2)
    for number in range(5):
        write(browsers, "susan", "david", f"number {number}")
    take_all(app, "maria")
    write(browsers, name, "maria", "hello")
    change(app, delete_account, name)
    browsers["maria"].get("/").close()
    from microblog.models import unfinished

    with app.app_context():
        unfinished.work_off()
        assert User.find(name) is None
    tables = (Message, Conversation, ConversationSide, Notification)
    assert [count(app, table) for table in tables] == [0, 0, 0, 0]
    assert numbers(browsers["maria"]) == ["", ""]


def test_pages_of_messages(app, browsers, monkeypatch):
    monkeypatch.setattr(messages.MessagePage, "SIZE", 2)
    for number in range(5):
        write(browsers, "susan", "david", f"number {number}")
    page = browsers["david"].get(f"/messages/susan?before={2**63 - 1}").text
    assert numbers(browsers["david"]) == ["", "1"]
    page = browsers["david"].get("/messages/susan").text
    assert ("number 4" in page, "number 2" in page) == (True, False)
    page = browsers["david"].get(re.search(r'rel="next" href="(.*?)"', page)[1]).text
    assert ("number 4" in page, "number 2" in page, "up_to" in page) == (False, True, False)
    for query in ("before=1", f"before={2**63}", "after=x"):
        assert browsers["david"].get(f"/messages/susan?{query}").status_code == 200
        assert browsers["david"].get(f"/messages?{query}").status_code == 200


def test_an_export_has_ones_messages_and_notifications(app, browsers):
    write(browsers, "susan", "david", "hello")
    browsers["david"].submit("/user/maria/follow", page="/user/maria")
    export = json.loads(browsers["david"].get("/settings/export").text)
    (message,) = export["messages"]
    assert (message["with"], message["is_mine"], message["body"]) == ("susan", False, "hello")
    assert [(row["kind"], row["by"], row["post"]) for row in export["notifications"]] == [
        ("message", "susan", None)
    ]
    assert export["preferences"]["messages_from_all"] is False
    export = json.loads(browsers["maria"].get("/settings/export").text)
    assert export["messages"] == []


def test_too_many_messages(browsers, monkeypatch):
    monkeypatch.setattr(limits, "MESSAGE", limits.Limit("messages of a test", 1, 60))
    assert write(browsers, "susan", "david", "one").status_code == 302
    assert write(browsers, "susan", "david", "two").status_code == 429


@pytest.mark.parametrize("body, says", [("", "Write something"), ("x" * 141, "at most 140")])
def test_what_is_no_message(app, browsers, body, says):
    page = write(browsers, "susan", "david", body).text
    assert says in page
    assert count(app, Message) == 0


def test_a_message_that_was_sent_too_late_is_kept_for_whom_it_is_for(app, browsers):
    susan = browsers["susan"]
    page = susan.get("/messages/david")
    data = {"csrf_token": token(page), "body": "for david alone", "once": "abc"}
    susan.logout()
    answer = susan.post("/messages/david", data)
    assert "/login" in answer.headers["Location"]
    susan.login()
    for path in ("/", "/messages/maria"):
        assert "for david alone" not in susan.get(path).text
    page = susan.get("/messages/david").text
    assert ("for david alone</textarea>" in page, 'value="abc"' in page) == (True, True)
    assert "for david alone" not in susan.get("/messages/david").text
