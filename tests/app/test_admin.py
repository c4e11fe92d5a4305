import logging
import re

import pytest
from app_client import Browser

from microblog.database import db
from microblog.models import Post, User
from microblog.models.directory import SIZE

POSTS = [
    *("/admin/user/susan/suspend", "/admin/user/susan/unsuspend", "/admin/post/1/delete"),
    *("/admin/registration/close", "/admin/registration/open"),
]


@pytest.fixture
def make_admin(app, make_user):
    def make(username):
        make_user(username)
        with app.app_context():
            User.find(username).is_admin = True
            db.session.commit()

    return make


@pytest.fixture
def admin(client, make_admin):
    make_admin("root1")
    client.login("root1")
    return client


@pytest.fixture
def susan(app, make_user):
    make_user("susan")
    susan = Browser(app)
    susan.login()
    return susan


def test_administrators_only(app, admin, susan):
    susan.write("Hello")
    assert susan.get("/admin").status_code == 403
    assert Browser(app).get("/admin").headers["Location"].startswith("/login?next=")
    for path in POSTS:
        assert susan.submit(path, page="/").status_code == 403
        assert Browser(app).submit(path, page="/login").headers["Location"].startswith("/login")
        # With the right person's cookie, but not from the site's own page.
        assert admin.post(path).headers["Location"] == "/"
        assert admin.get(path).status_code == 405
    assert "Hello" in susan.get("/explore").text
    assert "Administration" not in susan.get("/").text
    assert "Administration" in admin.get("/").text


def test_suspend(app, admin, susan, caplog):
    caplog.set_level(logging.INFO)
    susan.write("Hello")
    assert admin.submit("/admin/user/SUSAN/suspend", page="/admin").headers["Location"] == "/admin"
    assert "administrator root1 suspended susan" in caplog.text
    assert not susan.logged_in()
    assert "suspended" in susan.login().text
    assert "Wrong" in susan.login(password="wrong horse").text
    assert not susan.logged_in()
    assert "Hello" not in admin.get("/explore").text
    assert "Let back in" in admin.get("/admin").text
    admin.submit("/admin/user/susan/unsuspend", page="/admin")
    assert susan.logged_in()


def test_no_administrator_is_suspended(admin, make_admin, app):
    make_admin("root2")
    for name in ("root1", "root2"):
        admin.submit(f"/admin/user/{name}/suspend", page="/admin")
    assert admin.logged_in()
    with app.app_context():
        assert User.find("root2").is_active


@pytest.mark.parametrize(
    "path",
    [
        *("/admin/user/nobody/suspend", "/admin/user/susan@example.org/suspend", "/admin/user/%00/suspend"),
        *("/admin/post/1/delete", "/admin/post/0/delete", f"/admin/post/{10**30}/delete"),
    ],
)
def test_nothing_there(admin, susan, path):
    assert admin.submit(path, page="/admin").status_code == 404


def test_delete_a_post(app, admin, susan, caplog):
    caplog.set_level(logging.INFO)
    susan.write("Hello")
    with app.app_context():
        number = db.session.query(Post.id).scalar()
    page = admin.get("/explore").text
    assert f'action="/admin/post/{number}/delete"' in page
    response = admin.post(
        f"/admin/post/{number}/delete",
        {"csrf_token": page.split('name="csrf_token" value="')[1].split('"')[0], "next": "/explore"},
    )
    assert response.headers["Location"] == "/explore"
    assert "Hello" not in susan.get("/explore").text
    assert f"administrator root1 deleted post {number}" in caplog.text
    with app.app_context():
        assert User.find("susan").posts_count == 0


def test_close_registration(app, admin):
    for _ in range(2):
        admin.submit("/admin/registration/close", page="/admin")
    visitor = Browser(app)
    response = visitor.get("/register")
    assert response.status_code == 403
    assert "closed" in response.text
    form = {"username": "david", "email": "david@example.org", "password": "correct horse"}
    assert (
        visitor.submit("/register", {**form, "password2": "correct horse"}, page="/login").status_code == 403
    )
    for _ in range(2):
        admin.submit("/admin/registration/open", page="/admin")
    visitor.register("david")
    assert visitor.logged_in()


@pytest.fixture
def crowd(app):
    with app.app_context():
        for number in range(2 * SIZE + 1):
            db.session.add(User(f"user{number:02}", f"mail{number:02}@example.org", "x"))
        db.session.commit()


def test_pages(admin, crowd):
    page = admin.get("/admin").text
    assert page.index("user40") < page.index("user21")
    assert "user20" not in page
    older = page.split('rel="next" href="')[1].split('"')[0]
    page = admin.get(older).text
    assert "user20" in page
    assert "user21" not in page
    newer = page.split('rel="prev" href="')[1].split('"')[0]
    assert "user40" in admin.get(newer).text
    # From the last page back to the middle one.
    oldest = admin.get(page.split('rel="next" href="')[1].split('"')[0]).text
    assert "user00" in oldest
    back = admin.get(oldest.split('rel="prev" href="')[1].split('"')[0]).text
    assert re.findall(r'href="/user/(\w+)"', back) == re.findall(r'href="/user/(\w+)"', page)


@pytest.mark.parametrize(
    "text, found",
    [
        ("user07", ["user07"]),
        ("USER07", ["user07"]),
        ("mail07@", ["user07"]),
        ("Mail07@Example.org", ["user07"]),
        ("ser07", []),
        ("user0_", []),
        ("%", []),
        ("x" * 5000, []),
        ("\0", []),
        ("😀", []),
    ],
)
def test_search(admin, crowd, text, found):
    page = admin.get("/admin", query_string={"q": text})
    assert page.status_code == 200
    assert [
        f"user{number:02}" for number in range(41) if f'href="/user/user{number:02}"' in page.text
    ] == found


def test_search_has_pages_too(admin, crowd):
    page = admin.get("/admin?q=user").text
    assert "q=user" in page.split('rel="next" href="')[1].split('"')[0]


@pytest.mark.parametrize(
    "query", ["before=x", "before=-1", f"after={10**30}", "before=0", "after=0", "q[]=1"]
)
def test_odd_queries(admin, query):
    assert admin.get(f"/admin?{query}").status_code == 200
