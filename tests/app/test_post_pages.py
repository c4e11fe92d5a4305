"""The pages of posts: conversations, tags, what was kept for later, edits; and what their buttons do."""

import re

import pytest
import sqlalchemy as sa
from app_client import Browser, token

from microblog.database import db
from microblog.models import Like, Page, Post, User, reactions, versions
from microblog.models.account import suspend
from microblog.models.barriers import block
from microblog.models.paging import Cut
from microblog.models.post import add_post, delete_post, find_post
from microblog.models.reactions import like


@pytest.fixture
def people(app, make_user):
    """Susan, who has written a post, David and Maria."""
    found = {}
    for name in ("susan", "david", "maria"):
        make_user(name)
        found[name] = Browser(app)
        found[name].login(name)
    with app.app_context():
        add_post(User.find("susan"), "a #question", "en")
        db.session.commit()
    return found


def number_of(app, body):
    with app.app_context():
        return db.session.execute(sa.select(Post.id).where(Post.body == body)).scalar_one()


def do(browser, path, page="/explore", **data):
    return browser.submit(path, data, page=page)


def test_a_conversation(app, people):
    susan, david, maria = people.values()
    first = number_of(app, "a #question")
    page = david.get(f"/post/{first}").text
    assert re.search(r">\n@susan </textarea>", page)
    answer = do(david, f"/post/{first}/reply", f"/post/{first}", body="@susan an answer")
    second = number_of(app, "@susan an answer")
    assert answer.headers["Location"] == f"/post/{second}"
    do(maria, f"/post/{second}/reply", f"/post/{second}", body="to that")
    page = susan.get(f"/post/{first}").text
    bodies = re.findall(r'<p class="post-body"[^>]*>(.*?)</p>', page)
    assert [re.sub("<.*?>", "", body) for body in bodies] == ["a #question", "@susan an answer", "to that"]
    assert page.count("post-main") == 1
    assert page.count('id="acts"') == 1
    # From home, an answer leads to what it answers.
    assert f'href="/post/{second}">An answer</a>' in maria.get("/").text
    do(david, f"/post/{second}/delete")
    page = maria.get(f"/post/{first}").text
    assert f'id="post-{second}">This post is gone.</p>' in page
    page = maria.get(f"/post/{second}").text
    assert ("This post is gone." in page, "a <a" in page, "to that" in page) == (True, True, True)
    assert 'id="reply"' not in page
    assert do(maria, f"/post/{second}/reply", body="too late").status_code == 404
    # What was written is not lost.
    assert "too late" in maria.get("/").text


def test_an_answer_has_the_same_limits_as_a_post(app, people):
    path = f"/post/{number_of(app, 'a #question')}"
    page = do(people["david"], f"{path}/reply", path, body="word " * 40)
    assert ("this one has 199" in page.text, "word word" in page.text) == (True, True)
    once = re.search(r'name="once" value="([^"]+)"', page.text)[1]
    for _ in range(2):
        do(people["david"], f"{path}/reply", path, body="yes", once=once)
    assert people["david"].get(path).text.count("<article") == 2


@pytest.mark.parametrize("act", ["like", "repost", "bookmark"])
def test_buttons(app, people, act):
    """Twice is as once; each shows what the other does; the way back leads to the post."""
    number = number_of(app, "a #question")
    for undo in ("", "un"):
        for _ in range(2):
            answer = do(people["david"], f"/post/{number}/{undo}{act}", next="/explore?before=999")
            assert answer.headers["Location"] == f"/explore?before=999#post-{number}"
        page = people["david"].get("/explore").text
        other = "" if undo else "un"
        assert f'formaction="/post/{number}/{other}{act}" data-act="{act}"' in page
        assert page.count('aria-pressed="true"') == (0 if undo else 1)
        page = people["maria"].get("/explore").text
        assert page.count('aria-pressed="true"') == 0
        assert ('<span class="act-count">1</span>' in page) == (act != "bookmark" and not undo)


def test_a_script_is_told_the_counts(app, people):
    number = number_of(app, "a #question")
    sent = {"csrf_token": token(people["david"].get("/"))}
    ask = {"headers": {"Accept": "application/json"}}
    said = people["david"].post(f"/post/{number}/like", sent, **ask).json
    assert said == {
        **{"replies": 0, "likes": 1, "reposts": 0},
        **{"liked": True, "reposted": False, "bookmarked": False},
    }
    assert people["david"].post(f"/post/{number + 99}/like", sent, **ask).status_code == 404
    assert people["david"].post(f"/post/{number}/like", **ask).status_code in (302, 400)


def test_what_is_passed_on(app, people):
    susan, david, maria = people.values()
    number = number_of(app, "a #question")
    do(maria, "/user/david/follow")
    do(david, f"/post/{number}/repost")
    page = maria.get("/").text
    assert "david passed on" in page
    assert re.search(r"<article.*david passed on.*susan.*a <a", page, re.DOTALL)
    with app.app_context():
        repost = db.session.execute(sa.select(Post.id).where(Post.repost_of_id == number)).scalar_one()
    assert maria.get(f"/post/{repost}").headers["Location"] == f"/post/{number}"
    assert maria.get("/explore").text.count("<article") == 1
    do(susan, f"/post/{number}/delete")
    assert "<article" not in maria.get("/").text
    assert maria.get(f"/post/{repost}").status_code == 404


def test_a_tag_and_what_was_kept(app, people):
    susan, david, _ = people.values()
    number = number_of(app, "a #question")
    for path in ("/tag/question", "/tag/QUESTION"):
        assert f'id="post-{number}"' in david.get(path).text
    assert "No post has this tag." in david.get("/tag/nothing").text
    for name in ("2026", "a-b", "%00", "x" * 65, "%F0%9F%98%80"):
        assert david.get(f"/tag/{name}").status_code == 404
    with app.app_context():
        for place in range(Page.SIZE):
            add_post(User.find("susan"), f"#question {place}")
        db.session.commit()
    page = david.get("/tag/question").text
    older = re.search(r'href="(/tag/question\?before=\d+)"', page)[1]
    assert f'id="post-{number}"' in david.get(older).text
    for act, path in (("bookmark", "/bookmarks"), ("like", "/likes")):
        assert f'href="{path}"' in david.get("/").text
        assert "shown to you alone" in david.get(path).text
        do(david, f"/post/{number}/{act}")
        assert f'id="post-{number}"' in david.get(path).text
        # Others have theirs, and there is nothing twice.
        assert "<article" not in susan.get(path).text
        with app.app_context():
            reader = User.find("david")
            for post in db.session.execute(sa.select(Post).where(Post.id != number)).scalars().all():
                getattr(reactions, act)(reader, post)
            db.session.commit()
        page = david.get(path).text
        older = re.search(rf'href="({path}\?before=\d+)"', page)[1]
        # The one that was liked first.
        assert f'id="post-{number}"' not in page
        assert f'id="post-{number}"' in david.get(older).text
        do(david, f"/post/{number}/un{act}")
        assert f'id="post-{number}"' not in david.get(older).text


def test_an_edit(app, people, monkeypatch):
    susan, david, _ = people.values()
    number = number_of(app, "a #question")
    assert f'href="/post/{number}/edit"' in susan.get("/").text
    assert f'href="/post/{number}/edit"' not in david.get("/explore").text
    assert david.get(f"/post/{number}/versions").status_code == 404
    assert "a #question</textarea>" in susan.get(f"/post/{number}/edit").text
    assert "this one has 141" in do(susan, f"/post/{number}/edit", body="x" * 141).text
    assert do(susan, f"/post/{number}/edit", body="an #exclamation").headers["Location"] == f"/post/{number}"
    page = david.get("/explore").text
    assert ("exclamation" in page, "question" in page) == (True, False)
    assert f'href="/post/{number}/versions">edited</a>' in page
    assert "#question" in david.get(f"/post/{number}/versions").text
    for ask in (david.get, lambda path: do(david, path, body="his")):
        assert ask(f"/post/{number}/edit").status_code == 404
    later = versions.utc_now() + versions.EDITABLE
    monkeypatch.setattr(versions, "utc_now", lambda: later)
    assert susan.get(f"/post/{number}/edit").status_code == 302
    page = do(susan, f"/post/{number}/edit", body="too late")
    assert ("stays as it is" in page.text, "too late</textarea>" in page.text) == (True, True)
    assert f'href="/post/{number}/edit"' not in susan.get("/").text


def test_what_is_a_suspended_persons_is_nowhere(app, people):
    number = number_of(app, "a #question")
    do(people["david"], f"/post/{number}/bookmark")
    do(people["david"], f"/post/{number}/like")
    do(people["susan"], f"/post/{number}/edit", body="another #question")
    with app.app_context():
        suspend(User.find("susan"))
        db.session.commit()
    for path in (f"/post/{number}", f"/post/{number}/versions", "/tag/question", "/bookmarks", "/likes"):
        assert "question</a>" not in people["david"].get(path).text
    for act in ("like", "repost", "bookmark", "unlike", "reply", "edit", "delete"):
        assert do(people["david"], f"/post/{number}/{act}", body="x").status_code == 404


def test_who_is_blocked_answers_and_likes_nothing(app, people):
    number = number_of(app, "a #question")
    with app.app_context():
        block(User.find("susan"), User.find("david"))
        db.session.commit()
    assert do(people["david"], f"/post/{number}/reply", body="hey").status_code == 404
    do(people["david"], f"/post/{number}/like")
    with app.app_context():
        assert db.session.execute(sa.select(Like)).first() is None


@pytest.mark.parametrize("number", [0, 2**31, 2**63, 2**64, "9" * 400])
def test_numbers_of_no_post(people, number):
    for path in ("", "/edit", "/versions", "?after=9"):
        assert people["david"].get(f"/post/{number}{path}").status_code == 404
    for act in ("like", "unrepost", "reply", "edit", "delete"):
        assert do(people["david"], f"/post/{number}/{act}", body="x").status_code == 404


def test_counts_are_of_now_however_long_a_card_is_kept(app, people):
    number = number_of(app, "a #question")
    for name, likes in (("david", 1), ("maria", 2)):
        with app.app_context():
            like(User.find(name), find_post(number))
            db.session.commit()
        assert f'<span class="act-count">{likes}</span>' in people["susan"].get("/").text
    with app.app_context():
        delete_post(find_post(number))
        db.session.commit()
    assert "<article" not in people["susan"].get("/").text


def test_who_likes_a_post_and_is_suspended_takes_nobodys_place(app, people):
    number = number_of(app, "a #question")
    with app.app_context():
        for name in ("david", "maria"):
            like(User.find(name), find_post(number))
            reactions.repost(User.find(name), find_post(number))
        db.session.commit()
        ids = [User.find(name).id for name in ("maria", "david")]
        for listed in (reactions.likers, reactions.reposters):
            assert [row.user_id for row in listed(number)(Cut(None, False, 2))] == ids
        suspend(User.find("maria"))
        db.session.commit()
        for listed in (reactions.likers, reactions.reposters):
            assert [row.user_id for row in listed(number)(Cut(None, False, 1))] == ids[1:]


def hidden(page, name):
    return re.search(f'name="{name}" value="([^"]*)"', page.text)[1]


@pytest.mark.parametrize("answers", [0, 1])
@pytest.mark.parametrize("moderates", [False, True])
def test_nobody_is_led_to_what_they_have_deleted(app, people, make_user, moderates, answers):
    number = number_of(app, "a #question")
    who = people["david" if moderates else "susan"]
    with app.app_context():
        User.find("david").is_moderator = moderates
        for _ in range(answers):
            add_post(User.find("maria"), "an answer", reply_to=find_post(number))
        db.session.commit()
    page = who.get(f"/post/{number}")
    sent = {"csrf_token": token(page), "next": hidden(page, "next")}
    answer = who.post(f"{'/admin' if moderates else ''}/post/{number}/delete", sent)
    assert answer.headers["Location"] == ("/moderation" if moderates else "/")
    # From elsewhere, back to there: a number that begins likewise is another one.
    number = people["maria"].write("mine") and number_of(app, "mine")
    answer = do(people["maria"], f"/post/{number}/delete", next=f"/post/{number}0?after=1")
    assert answer.headers["Location"] == f"/post/{number}0?after=1"


def test_the_buttons_of_a_page_that_refuses_a_text_lead_back_to_its_post(app, people):
    number = number_of(app, "a #question")
    david = people["david"]
    page = do(david, f"/post/{number}/reply", f"/post/{number}", body="x" * 141)
    sent = {"csrf_token": token(page), "next": hidden(page, "next")}
    assert david.post(f"/post/{number}/like", sent).headers["Location"] == f"/post/{number}#post-{number}"
    # Nor does any other way back lead to where only forms are sent.
    sent["next"] = f"/post/{number}/reply?x"
    assert david.post(f"/post/{number}/unlike", sent).headers["Location"] == f"/post/{number}#post-{number}"
    david.write("of mine")
    page = do(david, "/", "/", body="x" * 141)
    assert hidden(page, "next") == "/"
