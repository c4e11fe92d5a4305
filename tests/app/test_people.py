"""Profiles, following, posts' own buttons, and the search page."""

import re

import pytest
from app_client import Browser

from microblog.database import db, utc_now
from microblog.models import Post, User
from microblog.models.post import add_post


@pytest.fixture
def susan(make_user, client):
    make_user("susan")
    make_user("david")
    client.login()
    return client


@pytest.fixture
def write(app):
    def write(name, body, language=None):
        with app.app_context():
            post = add_post(User.find(name), body, language)
            db.session.commit()
            return post.id

    return write


def change(app, name, **fields):
    with app.app_context():
        user = User.find(name)
        for field, value in fields.items():
            setattr(user, field, value)
        db.session.commit()


def test_a_profile(app, susan, write):
    change(app, "david", about="I am <b>@susan</b>'s friend: https://example.org")
    write("david", "hello")
    page = susan.get("/user/DAVID").text
    assert "&lt;b&gt;" in page
    assert 'href="https://example.org" rel="nofollow noopener ugc"' in page
    assert "1 post<" in page
    assert "0 followers" in page
    assert "hello" in page
    assert 'action="/user/david/follow"' in page
    assert 'href="/settings"' in susan.get("/user/susan").text


@pytest.mark.parametrize(
    "path",
    [
        *("/user/nobody", "/user/nobody/followers", "/user/nobody/following", "/user/", "/user/a%00b"),
        # An address is nobody's name: this must not tell whose it is.
        "/user/david@example.org",
        f"/user/{'x' * 5000}",
    ],
)
def test_nobody(susan, path):
    assert susan.get(path).status_code == 404


def test_who_follows_whom(susan):
    assert susan.submit("/user/david/follow", page="/user/david").headers["Location"] == "/user/david"
    page = susan.get("/user/david").text
    assert "You follow david now." in page
    assert "1 follower<" in page
    assert 'action="/user/david/unfollow"' in page
    assert (
        "susan"
        in re.search(r'<ul class="feed people">.*?</ul>', susan.get("/user/david/followers").text, re.S)[0]
    )
    assert 'href="/user/david"' in susan.get("/user/susan/following").text
    # Again, or the other way round without need: nothing happens.
    susan.submit("/user/david/follow", page="/user/david")
    page = susan.get("/user/david").text
    assert "1 follower<" in page
    assert "You follow david now." not in page
    for said in (True, False):
        susan.submit("/user/david/unfollow", page="/")
        page = susan.get("/user/david").text
        assert ("You no longer follow david." in page) == said
        assert "0 followers" in page
    susan.submit("/user/susan/follow", page="/")
    page = susan.get("/user/susan").text
    assert "You cannot follow yourself." in page
    assert "0 followers" in page


def test_the_suspended_are_gone_except_for_administrators(app, susan, write):
    write("david", "nasty")
    change(app, "david", suspended_at=utc_now())
    assert susan.get("/user/david").status_code == 404
    assert "nasty" not in susan.get("/explore").text
    change(app, "susan", is_admin=True)
    assert "suspended" in susan.get("/user/david").text


@pytest.mark.parametrize(
    "path", ["/user/david/follow", "/user/david/unfollow", "/post/1/delete", "/post/1/translate"]
)
def test_what_changes_something_asks_for_a_token_and_a_log_in(susan, app, path):
    assert susan.get(path).status_code == 405
    assert susan.post(path).headers["Location"] == "/"
    stranger = Browser(app)
    assert stranger.submit(path, page="/login").headers["Location"].startswith("/login")


def test_delete_ones_own(app, susan, write):
    mine, others = write("susan", "mine"), write("david", "not mine")
    page = susan.get("/explore").text
    assert f'action="/post/{mine}/delete"' in page
    assert f'"/post/{others}/delete"' not in page
    response = susan.submit(f"/post/{mine}/delete", {"next": "/explore?before=9"}, page="/")
    assert response.headers["Location"] == "/explore?before=9"
    for number in (mine, others, 0, 2**63 - 1, 2**63, 10**30):
        assert susan.submit(f"/post/{number}/delete", page="/").status_code == 404
    with app.app_context():
        assert [post.id for post in db.session.query(Post)] == [others]
        assert User.find("susan").posts_count == 0


def test_after_deleting_one_stays_on_the_site(susan, write):
    for target in ("https://evil.example", "//evil.example", "/\\evil.example"):
        number = write("susan", "mine")
        assert susan.submit(f"/post/{number}/delete", {"next": target}, page="/").headers["Location"] == "/"


def test_administrators_delete_others(app, susan, write):
    change(app, "susan", is_admin=True)
    number = write("david", "nasty")
    path = f"/admin/post/{number}/delete"
    assert f'action="{path}"' in susan.get("/explore").text
    assert susan.submit(path, {"next": "/explore"}, page="/").headers["Location"] == "/explore"
    assert "nasty" not in susan.get("/explore").text


def test_written_out_paths_are_the_routes_own(app):
    """Templates and texts do not ask url_for for every link."""
    with app.test_request_context():
        url = app.jinja_env.globals["url_for"]
        assert url("people.profile", username="x") == "/user/x"
        assert url("people.follow", username="x") == "/user/x/follow"
        assert url("people.unfollow", username="x") == "/user/x/unfollow"
        assert url("people.followers", username="x") == "/user/x/followers"
        assert url("people.following", username="x") == "/user/x/following"
        assert url("people.avatar", username="x") == "/avatar/x.svg"
        assert url("posts.home") == "/"
        assert url("posts.explore") == "/explore"
        assert url("posts.delete", number=1) == "/post/1/delete"
        assert url("posts.translate", number=1) == "/post/1/translate"
        assert url("search.results") == "/search"
        assert url("account.settings") == "/settings"
        assert url("admin.overview") == "/admin"
        assert url("admin.delete_post", post_id=1) == "/admin/post/1/delete"
        assert url("auth.login") == "/login"
        assert url("auth.register") == "/register"
        assert url("auth.logout") == "/logout"


def test_the_search_page(susan, write):
    write("david", "The quick brown fox")
    write("david", "Something else")
    page = susan.get("/search?q=fox").text
    assert "quick brown" in page
    assert "Something else" not in page
    assert 'value="fox"' in page
    # Whole, also as some keyboards write it: of twice as many characters.
    write("david", f"{'é' * 100} {'ñ' * 30}")
    asked = "e\u0301" * 100 + " " + "n\u0303" * 30
    found = susan.get("/search", query_string={"q": asked}).text
    assert found.count("<article") == 1
    assert "No post has these words" in susan.get("/search?q=%22%3Cb%3E").text
    assert "Find posts" in susan.get("/search?q=+%00").text
    assert susan.get(f"/search?q={'x' * 60_000}").status_code == 200


def test_pages_of_what_was_found_keep_the_question(susan, write):
    for number in range(25):
        write("david", f"fox and hound & co {number}")
    older = re.search(r'rel="next" href="([^"]+)"', susan.get("/search?q=fox+%26+hound").text)[1]
    assert "q=fox+%26+hound" in older
    assert susan.get(older.replace("&amp;", "&")).text.count("<article") == 5


@pytest.mark.parametrize("path", ["/explore", "/search", "/user/susan", "/user/susan/followers"])
def test_for_members_only(client, make_user, path):
    make_user("susan")
    response = client.get(path)
    assert response.headers["Location"].startswith("/login")
    # Nothing piles up in the session of who never goes there.
    assert "Set-Cookie" not in response.headers
    assert "Please log in" in client.get(response.headers["Location"]).text
