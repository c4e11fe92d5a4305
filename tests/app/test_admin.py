import logging
import re

import pytest
import sqlalchemy as sa
from app_client import PASSWORD, Browser, token

from microblog.database import db, utc_now
from microblog.models import Invitation, Post, Setting, User, invitations
from microblog.models.account import keep_waiting
from microblog.models.directory import SIZE
from microblog.web import letters
from microblog.web.admin import views

POSTS = [
    *("/admin/user/susan/suspend", "/admin/user/susan/unsuspend", "/admin/post/1/delete"),
    *("/admin/user/susan/refuse", "/admin/invitations/1/withdraw"),
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
        "/admin/user/nobody/suspend",
        "/admin/user/susan@example.org/suspend",
        "/admin/user/%00/suspend",
    ],
)
def test_nothing_there(admin, susan, path):
    assert admin.submit(path, page="/admin").status_code == 404


@pytest.mark.parametrize("number", [1, 0, 10**30])
def test_no_such_post(admin, number):
    answer = admin.submit(f"/admin/post/{number}/delete", page="/admin")
    assert answer.headers["Location"] == "/admin"
    assert "The post is gone already." in admin.get("/admin").text


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


def rules(admin, mode, **more):
    return admin.submit("/admin/registration", {"mode": mode, **more})


def test_close_registration(app, admin):
    for _ in range(2):
        assert rules(admin, "closed").headers["Location"] == "/admin/registration"
    visitor = Browser(app)
    response = visitor.get("/register")
    assert response.status_code == 403
    assert "closed" in response.text
    form = {"username": "david", "email": "david@example.org", "password": "correct horse"}
    assert (
        visitor.submit("/register", {**form, "password2": "correct horse"}, page="/login").status_code == 403
    )
    for _ in range(2):
        rules(admin, "open")
    visitor.register("david")
    assert visitor.logged_in()


def test_what_an_older_version_has_written_is_closed(app, admin):
    for value in ("closed", "sesame"):
        with app.app_context():
            db.session.query(Setting).delete()
            db.session.add(Setting(name="registration", value=value))
            db.session.commit()
        assert Browser(app).get("/register").status_code == 403
        assert admin.get("/admin/registration").status_code == 200


def invite(admin, uses=1, days=7, note="Neighbours"):
    """The path of a new invitation's link."""
    page = admin.submit(
        "/admin/invitations", {"note": note, "uses": uses, "days": days}, page="/admin/registration"
    )
    return re.search(r"<code[^>]*>https?://[^/]+(/join/[^<]+)</code>", page.text)[1]


def join(app, path, name):
    """:return: whether somebody could make an account by a link."""
    visitor = Browser(app)
    if visitor.get(path).status_code == 403:
        return False
    data = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "password2": PASSWORD}
    visitor.submit(path, data)
    return visitor.logged_in()


def test_an_invitation_is_good_for_so_many(app, admin):
    rules(admin, "invited")
    assert "by its link" in Browser(app).get("/register").text
    path = invite(admin, uses=2)
    assert Browser(app).get(path).headers["Referrer-Policy"] == "no-referrer"
    assert "2 persons may still use it" in admin.get("/admin/registration").text
    assert path not in admin.get("/admin/registration").text
    assert [join(app, path, name) for name in ("one", "two", "three")] == [True, True, False]
    assert "Neighbours" not in admin.get("/admin/registration").text
    with app.app_context():
        invitations.sweep()
        assert db.session.query(Invitation).count() == 0


def test_an_invitation_ends(app, admin):
    rules(admin, "invited")
    path = invite(admin)
    with app.app_context():
        db.session.query(Invitation).update({"expires_at": utc_now()})
        db.session.commit()
    assert not join(app, path, "one")


def test_an_invitation_is_withdrawn(app, admin):
    rules(admin, "invited")
    path = invite(admin)
    button = re.search('action="(/admin/invitations/[^"]*/withdraw)"', admin.get("/admin/registration").text)[
        1
    ]
    admin.submit(button, page="/admin/registration")
    assert not join(app, path, "one")
    # The page is stale by now: its button is not about the next one.
    path = invite(admin)
    assert admin.submit(button, page="/admin/registration").status_code == 404
    for other in (10**30, "é" * 64, "0" * 64):
        assert admin.submit(f"/admin/invitations/{other}/withdraw", page="/admin").status_code == 404
    assert join(app, path, "one")


def test_while_nobody_may_register_no_invitation_is_good(app, admin):
    path = invite(admin)
    rules(admin, "closed")
    assert not join(app, path, "one")


def test_of_two_who_use_the_last_of_an_invitation_one_gets_in(app, admin):
    """The second has the form open when the first is done."""
    rules(admin, "invited")
    path = invite(admin)
    late = Browser(app)
    form = token(late.get(path))
    assert join(app, path, "one")
    data = {"username": "two", "email": "two@example.org", "password": PASSWORD, "password2": PASSWORD}
    answer = late.post(path, {"csrf_token": form, **data})
    assert answer.status_code == 403
    assert "no longer good" in answer.text
    with app.app_context():
        assert User.find("two") is None


def test_uses_are_counted_in_the_database(app, admin):
    """Two who have both looked before either has written."""
    invite(admin)
    with app.app_context():
        seen = invitations.good()[0]
        assert invitations.use(seen)
        assert not invitations.use(seen)
        db.session.rollback()


def test_a_wrong_form_uses_no_invitation_up(app, admin):
    path = invite(admin)
    visitor = Browser(app)
    assert "Please choose a password." in visitor.submit(path, {"username": "one"}).text
    assert visitor.submit(path, {"username": "root1"}).status_code == 200
    assert join(app, path, "one")


@pytest.mark.any_database
@pytest.mark.parametrize("secret", ["x", "%00", "x" * 3000, "%F0%9F%98%80", "%FF"])
def test_nobody_has_invited_them(app, admin, secret):
    assert Browser(app).get(f"/join/{secret}").status_code == 403


@pytest.mark.any_database
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"uses": "0"}, "from 1 to 1000"),
        ({"uses": "1001"}, "from 1 to 1000"),
        ({"uses": "x"}, "Please enter a number."),
        ({"uses": ""}, "Please enter a number."),
        ({"days": "2"}, "Not a valid choice"),
        ({"note": "x" * 61}, "At most 60"),
    ],
)
def test_odd_invitations(app, admin, changes, message):
    data = {"note": "", "uses": "1", "days": "7", **changes}
    page = admin.submit("/admin/invitations", data, page="/admin/registration")
    assert page.status_code == 200
    if "days" not in changes:
        assert message in page.text
    with app.app_context():
        assert db.session.query(Invitation).count() == 0


def test_odd_rules(app, admin):
    assert "Not a valid choice" in rules(admin, "everybody").text
    with app.app_context():
        assert db.session.query(Setting).count() == 0


def test_new_accounts_wait_to_be_let_in(app, admin, caplog):
    caplog.set_level(logging.INFO)
    rules(admin, "open", approval="y")
    for name in ("david", "mallory"):
        visitor = Browser(app)
        assert visitor.register(name).headers["Location"] == "/login"
        assert "has to let you in" in visitor.get("/login").text
        assert "has not let this account in yet" in visitor.login(name).text
        assert "Wrong" in visitor.login(name, password="wrong horse").text
        assert not visitor.logged_in()
    page = admin.get("/admin").text
    assert "Waiting to be let in" in page
    admin.submit("/admin/user/david/unsuspend", page="/admin")
    admin.submit("/admin/user/mallory/refuse", page="/admin")
    assert "administrator root1 let in david" in caplog.text
    assert "administrator root1 refused mallory" in caplog.text
    assert "Waiting to be let in" not in admin.get("/admin").text
    david = Browser(app)
    david.login("david")
    assert david.logged_in()
    # Suspended later, it is that, and does not wait.
    admin.submit("/admin/user/david/suspend", page="/admin")
    assert "suspended" in david.login("david").text
    assert admin.submit("/admin/user/david/refuse", page="/admin").status_code == 404
    with app.app_context():
        assert User.find("mallory") is None
        assert User.find("david") is not None


def test_who_is_let_in_is_told_when_it_is_done(app, admin, monkeypatch):
    """And once: where the database undoes it, it is done again."""
    told = []

    def tell(user):
        # As others see it.
        with db.engine.connect() as connection:
            query = sa.select(User.waiting).where(User.name_key == user.username)
            told.append((user.username, connection.execute(query).scalar_one()))

    monkeypatch.setattr(letters, "tell_welcome", tell)
    rules(admin, "open", approval="y")
    Browser(app).register("david")
    for _ in range(2):
        admin.submit("/admin/user/david/unsuspend", page="/admin")
    assert told == [("david", False)]


def test_no_more_invitations_than_the_page_shows(app, admin, monkeypatch):
    monkeypatch.setattr(invitations, "MOST", 2)
    for _ in range(2):
        invite(admin)
    data = {"note": "", "uses": "1", "days": "7"}
    assert admin.submit("/admin/invitations", data, page="/admin/registration").status_code == 302
    page = admin.get("/admin/registration").text
    assert "There are 2 invitations already." in page
    assert page.count("/withdraw") == 2
    with app.app_context():
        digest = invitations.good()[0].digest
    admin.submit(f"/admin/invitations/{digest}/withdraw", page="/admin/registration")
    assert invite(admin)


def test_of_two_administrators_the_faster_one_has_decided(app, admin, monkeypatch):
    """Whoever is let in while another one's page still shows them waiting is neither refused nor let in
    again."""
    rules(admin, "open", approval="y")
    Browser(app).register("david")
    found = views._find

    def slow(username):
        user = found(username)
        with db.engine.begin() as connection:
            connection.execute(
                sa.update(User.__table__)
                .where(User.__table__.c.id == user.id)
                .values(waiting=False, suspended_at=None)
            )
        return user

    told = []
    monkeypatch.setattr(views.letters, "tell_welcome", told.append)
    monkeypatch.setattr(views, "_find", slow)
    assert admin.submit("/admin/user/david/refuse", page="/admin").status_code == 404
    with app.app_context():
        assert User.find("david").is_active
        keep_waiting(User.find("david"))
        db.session.commit()
    assert admin.submit("/admin/user/david/unsuspend", page="/admin").status_code == 302
    assert told == []


def test_who_was_invited_need_not_wait(app, admin):
    rules(admin, "invited", approval="y")
    assert join(app, invite(admin), "one")


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
