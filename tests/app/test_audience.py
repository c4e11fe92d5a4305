"""What is kept from whom: by blocks and mutes, and from who is no member."""

import re
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
from app_client import Browser
from test_api import Script

from microblog.database import db, utc_now
from microblog.models import Follow, Page, Post, User, applications, barriers, unfinished
from microblog.models.account import suspend
from microblog.models.post import add_post
from microblog.web import site_looks

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def people(app, make_user):
    found = {}
    for name in ("root1", "susan", "david", "maria"):
        make_user(name)
        found[name] = Browser(app)
        found[name].login(name)
    with app.app_context():
        User.find("root1").is_admin = True
        db.session.commit()
    return found


@pytest.fixture
def public(people):
    """A site that everybody may read."""
    answer = people["root1"].submit("/admin/registration", {"mode": "open", "public": "y"})
    assert answer.status_code == 302
    return people


def number_of(app, body):
    with app.app_context():
        return db.session.execute(sa.select(Post.id).where(Post.body == body)).scalar_one()


def keep(app, what, who, whom):
    with app.app_context():
        getattr(barriers, what)(User.find(who), User.find(whom))
        db.session.commit()


def bodies(page):
    return re.findall(r'<p class="post-body"[^>]*>(.*?)</p>', page.partition('<div class="feed">')[2])


@pytest.mark.parametrize("what", ["block", "mute"])
def test_whoever_is_kept_away_is_seen_nowhere(app, people, what):
    susan, david, maria = people["susan"], people["david"], people["maria"]
    for name in ("david", "maria"):
        susan.submit(f"/user/{name}/follow", page=f"/user/{name}")
    david.write("David on #bread")
    maria.write("Maria on #bread")
    number, other = number_of(app, "David on #bread"), number_of(app, "Maria on #bread")
    david.submit(f"/post/{other}/reply", {"body": "David answers"}, page=f"/post/{other}")
    maria.submit(f"/post/{number}/repost", page="/explore")
    pages = ["/", "/explore", "/tag/bread", "/search?q=bread", f"/post/{other}"]
    for path in pages:
        assert "David" in susan.get(path).text, path
    keep(app, what, "susan", "david")
    for path in pages:
        assert "David" not in susan.get(path).text, path
        assert "Maria on" in susan.get(path).text, path
    # Whom they have muted can be read where one goes to read them.
    assert ("David on" in susan.get("/user/david").text) == (what == "mute")
    assert susan.get(f"/post/{number}").status_code == (200 if what == "mute" else 404)
    # The other way, a mute is not to be noticed.
    susan.write("Susan on #bread")
    mine = number_of(app, "Susan on #bread")
    for path in ("/explore", "/tag/bread", "/search?q=bread"):
        assert ("Susan on" in david.get(path).text) == (what == "mute"), path
    assert david.get(f"/post/{mine}").status_code == (200 if what == "mute" else 404)
    for act in ("like", "repost", "bookmark", "reply", "report"):
        answer = david.submit(f"/post/{mine}/{act}", {"body": "x"}, page="/explore")
        assert answer.status_code == (404 if what == "block" else answer.status_code), act
    assert "Susan on" in maria.get("/explore").text


def test_who_is_kept_away_themselves_can_undo_what_they_did(app, people):
    keep(app, "block", "susan", "david")
    keep(app, "mute", "susan", "maria")
    for name in ("david", "maria"):
        keep(app, "block", name, "susan")
    page = "/settings/people"
    for what, name in (("unblock", "david"), ("unmute", "maria")):
        assert f"/user/{name}/{what}" in people["susan"].get(page).text
        answer = people["susan"].submit(f"/user/{name}/{what}", {"next": page}, page=page)
        assert answer.headers["Location"] == page
        assert f"/user/{name}/{what}" not in people["susan"].get(page).text
        # And no more than that.
        for more in ("unblock", "unmute", "block", "mute", "follow"):
            assert people["susan"].submit(f"/user/{name}/{more}", page=page).status_code == 404, more


def test_so_they_can_by_a_program(app, people):
    keep(app, "block", "susan", "david")
    keep(app, "mute", "susan", "maria")
    for name in ("david", "maria"):
        keep(app, "block", name, "susan")
    with app.app_context():
        script = Script(app, applications.issue(User.find("susan").id, None, "read write"))
        numbers = {name: User.find(name).id for name in ("david", "maria")}
        db.session.commit()
    for undo, name in (("unblock", "david"), ("unmute", "maria")):
        path = f"/api/v1/accounts/{numbers[name]}"
        told = {"id[]": numbers[name]}
        assert [
            one["blocking"] or one["muting"]
            for one in script.get("/api/v1/accounts/relationships", query_string=told).json
        ] == [True]
        for more in {"unblock", "unmute", "block", "mute", "follow", "unfollow"} - {undo}:
            assert script.post(f"{path}/{more}").status_code == 404, (name, more)
        assert script.post(f"{path}/{undo}").status_code == 200
        assert script.post(f"{path}/{undo}").status_code == 404
        assert script.get("/api/v1/accounts/relationships", query_string=told).json == []


def test_who_is_suspended_can_be_left(app, people):
    """On the pages, and by a program."""
    for name in ("david", "maria"):
        people["susan"].submit(f"/user/{name}/follow", page=f"/user/{name}")
    for what, name in (("block", "maria"), ("mute", "root1")):
        keep(app, what, "susan", name)
    with app.app_context():
        script = Script(app, applications.issue(User.find("susan").id, None, "read write"))
        numbers = {name: User.find(name).id for name in ("david", "maria", "root1")}
        for name in numbers:
            suspend(User.find(name))
        db.session.commit()
        unfinished.work_off()
    path = f"/api/v1/accounts/{numbers['david']}"
    for what in ("follow", "block", "mute", "unblock", "unmute", "remove_from_followers"):
        assert script.post(f"{path}/{what}").status_code == 404, what
    for _again in range(2):
        answer = script.post(f"{path}/unfollow")
        told = answer.json
        assert (answer.status_code, told["id"], told["following"]) == (200, str(numbers["david"]), False)
    for what, name, said in (("unblock", "maria", "blocking"), ("unmute", "root1", "muting")):
        answer = script.post(f"/api/v1/accounts/{numbers[name]}/{what}")
        assert (answer.status_code, answer.json[said]) == (200, False)
    for nobody in (numbers["root1"] + 1000, 0, 2**63, 2**31):
        assert script.post(f"/api/v1/accounts/{nobody}/unfollow").status_code == 404
    with app.app_context():
        assert db.session.execute(sa.select(Follow.follower_id)).first() is None
        susan = User.find("susan")
        assert (susan.following_count, susan.has_barriers) == (0, False)


def test_a_moderator_has_letters_of_who_has_blocked_them(app, people):
    people["root1"].submit("/settings/notifications", {"messages_from_all": "y"})
    people["david"].submit("/messages/root1", {"body": "Something bad"})
    keep(app, "block", "david", "root1")
    # The number beside the link, the list, the conversation.
    assert people["root1"].get("/notifications/unread").json[1] == "1"
    assert "Something bad" in people["root1"].get("/messages").text
    assert "Something bad" in people["root1"].get("/messages/david").text
    # One that is sent leads back to the conversation.
    assert people["root1"].submit("/messages/david", {"body": "x"}, page="/messages").status_code == 200


def test_pages_are_full_for_whoever_keeps_somebody_away(app, people):
    with app.app_context():
        david, maria = User.find("david"), User.find("maria")
        for number in range(Page.SIZE + 5):
            add_post(maria, f"good {number}")
        for number in range(3 * Page.SIZE):
            add_post(david, f"noise {number}")
        db.session.commit()
    keep(app, "mute", "susan", "david")
    page = people["susan"].get("/explore").text
    assert len(bodies(page)) == Page.SIZE and "noise" not in page
    older = re.search(r'rel="next" href="([^"]+)"', page)[1]
    assert len(bodies(people["susan"].get(older).text)) == 5


def test_a_moderator_sees_who_has_blocked_them(app, people):
    people["david"].write("Something bad")
    keep(app, "block", "david", "root1")
    assert "Something bad" in people["root1"].get("/explore").text
    keep(app, "mute", "root1", "david")
    assert "Something bad" not in people["root1"].get("/explore").text


def test_a_site_is_for_members(app, people):
    people["david"].write("hello #bread")
    number = number_of(app, "hello #bread")
    visitor = Browser(app)
    for path in ("/explore", "/user/david", "/user/david/card", "/tag/bread", f"/post/{number}"):
        assert visitor.get(path).headers["Location"].startswith("/login?next="), path
    for path in ("/user/david/feed.atom", "/tag/bread/feed.atom"):
        assert visitor.get(path).status_code == people["david"].get(path).status_code == 404


def test_a_public_site_is_read_by_everybody(app, public):
    public["david"].write("hello #bread")
    number = number_of(app, "hello #bread")
    visitor = Browser(app)
    for path in ("/explore", "/user/david", "/tag/bread", f"/post/{number}"):
        answer = visitor.get(path)
        assert "hello" in answer.text, path
        # Nobody's session begins for that, and nothing is there to be pressed.
        assert "Set-Cookie" not in answer.headers
        assert "<form" not in answer.text and "csrf" not in answer.text, path
        assert "/login" in answer.text
    assert "david" in visitor.get("/user/david/card").text
    assert visitor.get("/user/david/followers").status_code == 200
    page = visitor.get(f"/post/{number}").text
    assert 'property="og:description" content="hello #bread"' in page
    # What is members' stays so.
    for path in (
        "/bookmarks",
        "/likes",
        "/settings",
        "/search?q=hello",
        "/user/david/report",
        "/notifications",
    ):
        assert visitor.get(path).headers["Location"].startswith("/login"), path
    assert visitor.post(f"/post/{number}/like").headers["Location"].startswith("/login")
    public["root1"].submit("/admin/registration", {"mode": "open"})
    assert visitor.get("/explore").headers["Location"].startswith("/login")


def test_who_writes_for_members_alone(app, public):
    public["david"].write("for members")
    public["maria"].write("for all")
    number = number_of(app, "for members")
    public["maria"].submit(f"/post/{number}/repost", page="/explore")
    assert 'name="members_only"' in public["david"].get("/settings").text
    public["david"].submit("/settings", {"about": "", "locale": "", "members_only": "y"})
    visitor = Browser(app)
    page = visitor.get("/explore").text
    assert "for all" in page and "for members" not in page
    assert "for members" not in visitor.get("/user/maria").text
    for path in (f"/post/{number}", "/user/david", "/user/david/card", "/user/david/feed.atom"):
        assert visitor.get(path).status_code == 404, path
    # Nor are they in others' lists.
    public["david"].submit("/user/maria/follow", page="/user/maria")
    public["maria"].submit("/user/david/follow", page="/user/david")
    public["susan"].submit("/user/maria/follow", page="/user/maria")
    for path in ("/user/maria/followers", "/user/maria/following"):
        assert "david" not in visitor.get(path).text, path
        assert "david" in public["susan"].get(path).text, path
    assert "susan" in visitor.get("/user/maria/followers").text
    assert "for members" in public["susan"].get("/explore").text
    # Where the question is not asked, the answer stays.
    public["root1"].submit("/admin/registration", {"mode": "open"})
    public["david"].submit("/settings", {"about": "hi", "locale": ""})
    public["root1"].submit("/admin/registration", {"mode": "open", "public": "y"})
    assert visitor.get("/user/david").status_code == 404


def test_when_somebody_was_last_here(app, public):
    with app.app_context():
        User.find("david").last_seen = utc_now()
        db.session.commit()
    assert "Last seen" in public["susan"].get("/user/david").text
    public["david"].submit("/settings", {"about": "", "locale": "", "hides_last_seen": "y"})
    assert 'name="hides_last_seen" type="checkbox" value="y"' in public["david"].get("/settings").text
    for browser in (public["susan"], Browser(app)):
        assert "Last seen" not in browser.get("/user/david").text


def test_feeds_for_programs(app, public):
    public["david"].write("first <b>#bread</b> & butter")
    public["maria"].write("hers")
    other = number_of(app, "hers")
    public["david"].submit(f"/post/{other}/repost", page="/explore")
    visitor = Browser(app)
    assert "/user/david/feed.atom" in visitor.get("/user/david").text
    for path in ("/user/david/feed.atom", "/tag/bread/feed.atom"):
        answer = visitor.get(path)
        assert answer.mimetype == "application/atom+xml"
        feed = ElementTree.fromstring(answer.text)
        entries = feed.findall(f"{ATOM}entry")
        assert [entry.findtext(f"{ATOM}content") for entry in entries] == ["first <b>#bread</b> & butter"]
        (entry,) = entries
        # RFC 4287, 4.1.1 and 4.1.2: what a feed and an entry must have.
        for element in (feed, entry):
            for name in ("id", "title", "updated"):
                assert element.findtext(f"{ATOM}{name}"), (path, name)
        assert entry.findtext(f"{ATOM}author/{ATOM}name") == "david"
        number = number_of(app, "first <b>#bread</b> & butter")
        assert entry.find(f"{ATOM}link").get("href").endswith(f"/post/{number}")
        again = visitor.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304
    empty = ElementTree.fromstring(visitor.get("/tag/nothing/feed.atom").text)
    assert empty.findtext(f"{ATOM}updated") == "1970-01-01T00:00:00Z"
    for path in ("/user/nobody/feed.atom", "/user/%00/feed.atom", "/tag/%20/feed.atom"):
        assert visitor.get(path).status_code == 404


def test_no_post_spoils_a_feed_for_programs(app, public):
    """A single one with a character that XML has not would have kept all others from being read."""
    public["david"].write("an end \uffff of #bread")
    public["susan"].write("more \ufffe\x1b #bread")
    feed = ElementTree.fromstring(Browser(app).get("/tag/bread/feed.atom").data)
    texts = [entry.findtext(f"{ATOM}content") for entry in feed.findall(f"{ATOM}entry")]
    assert texts == ["more \ufffd  #bread", "an end \ufffd of #bread"]


def test_another_process_learns_that_a_site_is_public(app, people, monkeypatch):
    monkeypatch.setattr(site_looks, "EVERY", 0.0)
    with app.app_context():
        from microblog.models.site import set_public

        set_public(True)
        db.session.commit()
        site_looks.forget()
    assert Browser(app).get("/explore").status_code == 200
