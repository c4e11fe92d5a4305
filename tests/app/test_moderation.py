"""Keeping the peace: blocks and mutes on the pages, reports, moderators and their log."""

import re

import pytest
import sqlalchemy as sa
from app_client import PASSWORD, Browser

from microblog.database import db
from microblog.models import ModerationAct, Post, Report, User, reactions
from microblog.models.reports import COMMENT_MAX


@pytest.fixture
def people(app, make_user):
    """Browsers of an administrator, two moderators, and two members."""
    found = {}
    for name in ("root1", "mod1", "mod2", "susan", "david"):
        make_user(name)
        found[name] = Browser(app)
        found[name].login(name)
    with app.app_context():
        User.find("root1").is_admin = True
        for name in ("mod1", "mod2"):
            User.find(name).is_moderator = True
        db.session.commit()
    return found


def notice(browser, path="/explore"):
    return re.findall(r'<p class="notice"[^>]*>([^<]*)</p>', browser.get(path).text)


def number_of(app, body):
    with app.app_context():
        return db.session.execute(sa.select(Post.id).where(Post.body == body)).scalar_one()


def acts(app):
    with app.app_context():
        query = sa.select(
            ModerationAct.moderator, ModerationAct.act, ModerationAct.subject, ModerationAct.note
        )
        return [tuple(row) for row in db.session.execute(query.order_by(ModerationAct.id))]


def test_who_is_blocked_finds_nobody_there(app, people):
    susan, david = people["susan"], people["david"]
    david.submit("/user/susan/follow", page="/user/susan")
    answer = susan.submit("/user/DAVID/block", page="/user/david")
    assert answer.headers["Location"] == "/user/david"
    page = susan.get("/user/david").text
    assert "david is blocked" in page and "You block this account" in page
    assert 'action="/user/david/unblock"' in page and 'action="/user/david/follow"' not in page
    assert "0 followers" in susan.get("/user/susan").text
    nobody, blocked = david.get("/user/nobody_there"), david.get("/user/susan")
    assert blocked.status_code == nobody.status_code == 404
    for path in ("followers", "following", "report"):
        assert david.get(f"/user/susan/{path}").status_code == 404
    for what in ("follow", "block", "mute"):
        assert david.submit(f"/user/susan/{what}", page="/explore").status_code == 404
    # Who sees to the peace sees both.
    assert people["mod1"].get("/user/susan").status_code == 200
    susan.submit("/user/david/unblock", {"next": "/settings/people"}, page="/settings/people")
    assert david.get("/user/susan").status_code == 200


def test_who_is_blocked_is_in_no_list_of_people(people):
    susan, david, root1 = people["susan"], people["david"], people["root1"]
    david.submit("/user/root1/follow", page="/user/root1")
    assert "david" in susan.get("/user/root1/followers").text
    susan.submit("/user/david/block", page="/user/david")
    susan.get("/explore")
    assert "david" not in susan.get("/user/root1/followers").text
    assert "david" in root1.get("/user/root1/followers").text
    assert "david" in susan.get("/settings/people").text
    assert "susan" not in david.get("/settings/people").text.partition("<main")[2]


def test_who_is_muted_sees_no_difference(people):
    susan, david = people["susan"], people["david"]
    before = david.get("/user/susan").text
    susan.submit("/user/david/mute", page="/user/david")
    assert "You have muted this account" in susan.get("/user/david").text
    strip = lambda text: re.sub(r'value="[^"]*"', "", text)  # noqa: E731
    assert strip(david.get("/user/susan").text) == strip(before)
    susan.submit("/user/david/unmute", page="/user/david")
    assert "You have muted this account" not in susan.get("/user/david").text


def test_nobody_blocks_themselves(people):
    susan = people["susan"]
    susan.submit("/user/susan/block", page="/explore")
    assert susan.get("/user/susan").status_code == 200
    assert susan.submit("/user/susan/forget", page="/explore").status_code == 404


def test_a_report_of_a_post_is_looked_at(app, people):
    people["david"].write("Something bad")
    number = number_of(app, "Something bad")
    path = f"/post/{number}/report"
    assert "Something bad" in people["susan"].get(path).text
    for comment in ("It is spam", "It is spam, look"):
        people["susan"].submit(path, {"comment": comment})
    assert people["susan"].get("/moderation").status_code == 403
    queue = people["mod1"].get("/moderation").text
    assert "Something bad" in queue and "It is spam, look" in queue and queue.count("reported by") == 1
    # The post is gone by then, and what it said is still there to be judged.
    people["david"].submit(f"/post/{number}/delete", page="/")
    assert "Something bad" in people["mod2"].get("/moderation").text
    with app.app_context():
        report = db.session.execute(sa.select(Report.id)).scalar_one()
    people["mod1"].submit(f"/moderation/report/{report}/close", page="/moderation")
    people["mod2"].submit(f"/moderation/report/{report}/close", page="/moderation")
    assert "Nothing is reported" in people["mod1"].get("/moderation").text
    assert "mod1" in people["root1"].get("/moderation/closed").text
    assert acts(app) == [("mod1", "closed a report", "david", "")]
    assert "closed a report about david" in people["mod2"].get("/moderation/log").text
    # The same asked again is a report again.
    people["susan"].submit("/user/david/report", {"comment": ""})
    assert "reported by" in people["mod1"].get("/moderation").text


def test_a_report_of_what_was_passed_on_is_about_who_wrote_it(app, people):
    people["david"].write("Something bad")
    with app.app_context():
        post = db.session.execute(sa.select(Post)).scalar_one()
        reactions.repost(User.find("mod1"), post)
        db.session.commit()
        number = reactions.repost_of(User.find("mod1").id, post.id)
    people["susan"].submit(f"/post/{number}/report", {"comment": "look"})
    with app.app_context():
        report = db.session.execute(sa.select(Report)).scalar_one()
        assert (report.subject_id, report.body) == (User.find("david").id, "Something bad")


@pytest.mark.parametrize("path", ["/user/susan/report", "/post/1/report", f"/post/{2**63}/report"])
def test_nothing_to_report(people, path):
    assert people["susan"].get(path).status_code == 404


def test_a_report_has_its_length(app, people):
    answer = people["susan"].submit("/user/david/report", {"comment": "x" * (COMMENT_MAX + 1)})
    assert f"At most {COMMENT_MAX} characters" in answer.text
    with app.app_context():
        assert db.session.execute(sa.select(Report.id)).first() is None


def test_reports_go_with_whom_they_are_about(app, people):
    people["susan"].submit("/user/david/report", {"comment": "x"})
    people["david"].submit("/user/susan/report", {"comment": "y"})
    people["david"].submit("/settings/delete", {"password": PASSWORD})
    page = people["mod1"].get("/moderation").text
    assert page.count("reported by") == 1 and "somebody who is gone" in page


def test_what_a_moderator_may(app, people):
    mod1, david = people["mod1"], people["david"]
    david.write("Something bad")
    number = number_of(app, "Something bad")
    assert "Moderation" in mod1.get("/").text and "Administration" not in mod1.get("/").text
    assert f"/admin/post/{number}/delete" in mod1.get("/explore").text
    answer = mod1.submit(f"/admin/post/{number}/delete", page="/explore")
    assert answer.headers["Location"] == "/moderation"
    mod1.submit("/admin/user/david/suspend", page="/moderation")
    assert not david.logged_in()
    assert "Let back in" not in people["susan"].get("/explore").text
    mod1.submit("/admin/user/david/unsuspend", page="/moderation")
    assert david.logged_in()
    assert acts(app) == [
        ("mod1", "deleted", "david", "Something bad"),
        ("mod1", "suspended", "david", ""),
        ("mod1", "let back in", "david", ""),
    ]
    for path in ("/admin", "/admin/registration", "/machine"):
        assert mod1.get(path).status_code == 403
    for path in ("/admin/user/david/moderator", "/admin/user/mod2/moderator/end", "/admin/invitations"):
        assert mod1.submit(path, page="/").status_code == 403


def test_a_button_for_what_is_gone_meanwhile(app, people):
    """Its author, or another moderator, was faster than who looks at the queue."""
    mod1, david = people["mod1"], people["david"]
    david.write("Something bad")
    number = number_of(app, "Something bad")
    people["susan"].submit(f"/post/{number}/report", {"comment": "look"})
    button = f'action="/admin/post/{number}/delete"'
    assert button in mod1.get("/moderation").text
    david.submit(f"/post/{number}/delete", page="/")
    for path, data, back in (
        (f"/admin/post/{number}/delete", {"next": "/moderation"}, "/moderation"),
        (f"/admin/post/{number}/delete", {"next": f"/post/{number}?after=1"}, "/moderation"),
        (f"/admin/post/{2**63}/delete", {}, "/moderation"),
    ):
        assert mod1.submit(path, data, page="/moderation").headers["Location"] == back
        assert notice(mod1, "/moderation") == ["The post is gone already."]
    # It is not offered any more, and the report is closed as others are.
    page = mod1.get("/moderation").text
    assert button not in page and page.count("The post is gone already.") == 1
    with app.app_context():
        report = db.session.execute(sa.select(Report.id)).scalar_one()
    mod1.submit(f"/moderation/report/{report}/close", page="/moderation")
    assert "The post is gone" not in people["mod2"].get("/moderation/closed").text
    assert acts(app) == [("mod1", "closed a report", "david", "")]


def test_a_report_that_went_with_whom_it_was_about(app, people):
    people["susan"].submit("/user/david/report", {"comment": "x"})
    with app.app_context():
        report = db.session.execute(sa.select(Report.id)).scalar_one()
    people["david"].submit("/settings/delete", {"password": PASSWORD})
    answer = people["mod1"].submit(f"/moderation/report/{report}/close", page="/moderation")
    assert answer.headers["Location"] == "/moderation"
    assert notice(people["mod1"], "/moderation") == ["The report is gone already."]
    assert acts(app) == []


@pytest.mark.parametrize("name", ["root1", "mod2", "mod1"])
def test_who_is_above_a_moderator(app, people, name):
    mod1 = people["mod1"]
    mod1.submit(f"/admin/user/{name}/suspend", page="/moderation")
    mod1.post(f"/admin/user/{name}/delete", {"csrf_token": "x"})
    page = mod1.get(f"/admin/user/{name}/delete")
    if page.status_code == 200:
        mod1.submit(f"/admin/user/{name}/delete", {"password": PASSWORD})
    with app.app_context():
        user = User.find(name)
        assert user is not None and user.is_active
    assert acts(app) == []


def test_everything_of_an_account_goes(app, people):
    mod1 = people["mod1"]
    people["david"].write("Something bad")
    path = "/admin/user/david/delete"
    assert "not your password" in mod1.submit(path, {"password": "wrong horse"}).text
    assert people["susan"].submit(path, {"password": PASSWORD}, page="/").status_code == 403
    answer = mod1.submit(path, {"password": PASSWORD})
    assert answer.headers["Location"] == "/moderation"
    assert "Something bad" not in people["susan"].get("/explore").text
    with app.app_context():
        assert User.find("david") is None
    assert acts(app) == [("mod1", "deleted the account", "david", "")]
    assert "deleted the account david" in mod1.get("/moderation/log").text


def test_an_administrator_makes_moderators(app, people):
    root1, david = people["root1"], people["david"]
    root1.submit("/admin/user/david/moderator", page="/admin")
    assert david.get("/moderation").status_code == 200
    assert "Moderator" in root1.get("/admin?q=david").text
    root1.submit("/admin/user/david/moderator/end", page="/admin")
    assert david.get("/moderation").status_code == 403
    # An administrator is above them.
    root1.submit("/admin/user/mod1/suspend", page="/admin")
    assert not people["mod1"].logged_in()


def test_from_the_command_line(app, people):
    def run(*arguments):
        return app.test_cli_runner().invoke(args=["user", *arguments]).output

    assert run("promote", "--moderator", "david") == "david is a moderator\n"
    assert people["david"].get("/moderation").status_code == 200
    assert "david@example.org moderator" in run("list")
    run("demote", "david")
    assert people["david"].get("/moderation").status_code == 403
