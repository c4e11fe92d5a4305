import re
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

import microblog
from microblog import draining, proof
from microblog.database import db
from microblog.web import health, jinja
from microblog.web.posts import views

pytestmark = pytest.mark.any_database

STATIC = Path(microblog.__file__).parent / "static"


def test_pages_keep_to_the_policy(client, make_user):
    """Nothing inline, and nothing from elsewhere."""
    make_user("susan")
    pages = [client.get(path).text for path in ("/", "/login", "/register", "/nowhere")]
    client.login()
    client.write("Hello")
    pages += [client.get(path).text for path in ("/", "/explore")]
    for page in pages:
        assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=|javascript:", page)
        assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", page)


def test_healthz(client):
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.get_json() == {"status": "ok"}
    assert "Set-Cookie" not in response.headers


def test_healthz_proves_who_answers(client):
    key = client.client.application.config["SECRET_KEY"]
    said = client.get("/healthz", headers={proof.HEADER: "who are you?"}).headers[proof.HEADER]
    assert proof.holds(key, "who are you?", said)
    assert not proof.holds(key, "who are you", said)
    assert not proof.holds("another key", "who are you?", said)
    assert proof.HEADER not in client.get("/healthz").headers
    assert client.get("/healthz", headers={proof.HEADER: "x" * 65}).headers[proof.HEADER] == ""


def test_readyz_without_a_database(make_app, tmp_path):
    """The machine is alive, and has nothing to serve from."""
    app = make_app(database_url=f"sqlite:///{tmp_path}/no/such/folder/x.db")
    response = app.test_client().get("/readyz")
    assert (response.status_code, response.get_json()) == (503, {"status": "database unreachable"})
    assert "Set-Cookie" not in response.headers
    assert app.test_client().get("/healthz").status_code == 200


@pytest.mark.every_database
@pytest.mark.parametrize(
    "present, status",
    [
        (["0003"], "schema not up to date"),
        ([], "schema not up to date"),
        # Another machine has migrated for a newer version, which lets this one serve.
        (["9001"], "ok"),
    ],
)
def test_readyz_with_another_schema(app, make_app, present, status):
    with app.app_context():
        table = sa.table("alembic_version", sa.column("version_num"))
        was = list(db.session.execute(sa.select(table)).scalars())

        def put(revisions):
            with db.engine.begin() as connection:
                connection.execute(sa.delete(table))
                for revision in revisions:
                    connection.execute(sa.insert(table).values(version_num=revision))

        put(present)
        client = make_app().test_client()
        try:
            assert client.get("/readyz").get_json() == {"status": status}
        finally:
            put(was)
        assert client.get("/readyz").get_json() == {"status": "ok"}


def test_readyz_waits_for_no_database_for_long(client, monkeypatch):
    """Balancers take a machine that says nothing for a dead one, and give up what it is at."""
    assert client.get("/readyz").status_code == 200
    hangs, looks = threading.Event(), []
    right = health._problem
    monkeypatch.setattr(health, "SOON", 0.05)
    monkeypatch.setattr(health, "_problem", lambda: (looks.append(1), hangs.wait(300), right())[-1])
    try:
        for _ in range(3):
            answer = client.get("/readyz")
            assert (answer.status_code, answer.get_json()) == (503, {"status": "database unreachable"})
        # However many ask.
        assert len(looks) == 1
    finally:
        hangs.set()
    monkeypatch.setattr(health, "SOON", 300)
    assert client.get("/readyz").status_code == 200


def test_readyz_while_draining(client, monkeypatch):
    assert client.get("/readyz").status_code == 200
    monkeypatch.setattr(draining, "_FLAG", bytearray(1))
    draining.begin()
    answer = client.get("/readyz", headers={proof.HEADER: "who are you?"})
    assert (answer.status_code, answer.get_json()) == (503, {"status": "draining"})
    key = client.client.application.config["SECRET_KEY"]
    assert proof.holds(key, "who are you?", answer.headers[proof.HEADER])
    # Who is here is served.
    assert client.get("/login").status_code == 200
    assert client.get("/healthz").status_code == 200


def test_an_error_page_without_a_database(make_app, tmp_path, client, make_user):
    """For somebody logged in, too: even who that is cannot be looked up."""
    make_user("susan")
    cookies = client.login().headers.getlist("Set-Cookie")
    session = next(cookie for cookie in cookies if cookie.startswith("session=")).partition(";")[0]
    app = make_app(database_url=f"sqlite:///{tmp_path}/no/such/folder/x.db")
    app.testing = False
    visitor = app.test_client(use_cookies=False)
    for path in ("/", "/explore"):
        response = visitor.get(path, headers={"Cookie": session})
        assert response.status_code == 500
        assert "Something broke" in response.text
    assert visitor.get("/nowhere", headers={"Cookie": session}).status_code == 404


def test_errors_are_logged(app, monkeypatch, caplog, client, make_user):
    make_user("susan")
    client.login()

    def fail(*_args, **_options):
        raise OperationalError("SELECT", {}, Exception("the disk is full"))

    with monkeypatch.context() as patch:
        # What is asked most goes past SQLAlchemy's connections.
        patch.setattr(views, "explore_page", fail)
        patch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
        response = client.get("/explore")
    assert response.status_code == 500
    assert "the disk is full" not in response.text
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize(
    "method, path, code, says",
    [
        ("get", "/nowhere", 404, "This page does not exist, or not any more."),
        ("get", "/logout", 405, "This page cannot be used in this way."),
        ("get", "/admin", 403, "This page is not for you to see."),
        ("post", "/login", 400, "This page was open for too long."),
    ],
)
def test_error_pages(client, make_user, method, path, code, says):
    make_user()
    if code == 403:
        client.login()
    response = getattr(client, method)(path)
    assert response.status_code == code
    assert says in response.text
    assert "Go home" in response.text


def test_too_much(client):
    response = client.post("/login", {"username": "x" * 100_000})
    assert response.status_code == 413
    assert "Too much" in response.text


def test_pages_are_not_kept_but_static_files_are(client):
    assert client.get("/").headers["Cache-Control"] == "no-store"
    assert "max-age=2592000" in client.get("/static/microblog.css").headers["Cache-Control"]


def test_static_urls_carry_their_version(client, tmp_path):
    version = jinja.file_version(STATIC / "microblog.css")
    assert f"/static/microblog.css?v={version}" in client.get("/").text
    other = tmp_path / "other.css"
    other.write_text("a {}")
    assert jinja.file_version(other) not in (None, version)
    assert jinja.file_version(tmp_path / "none.css") is None


def test_the_stylesheet_asks_for_nothing():
    assert "url(" not in (STATIC / "microblog.css").read_text()
    assert "@import" not in (STATIC / "microblog.css").read_text()


def test_when(monkeypatch):
    now = datetime(2025, 11, 22, 12, 0)
    monkeypatch.setattr(jinja, "utc_now", lambda: now)
    ago = {
        timedelta(seconds=59): "now",
        timedelta(minutes=1): "1 min",
        timedelta(minutes=59): "59 min",
        timedelta(hours=1): "1 h",
        timedelta(hours=23, minutes=59): "23 h",
        timedelta(days=1): "21 Nov",
        timedelta(days=365): "22 Nov 2024",
        timedelta(seconds=-5): "now",
    }
    assert {delta: jinja.when(now - delta) for delta in ago} == ago


def focused(page):
    fields = re.findall(r"<(?:input|textarea)[^>]*>", page)
    return [re.search(r' id="(\w+)"', field)[1] for field in fields if "autofocus" in field]


def test_one_field_has_the_focus(client):
    """The first that is wrong, or else the first."""
    assert focused(client.get("/register").text) == ["username"]
    page = client.register(email="wrong", password2="other").text
    assert focused(page) == ["email"]
    assert 'aria-describedby="email-error"' in page
    assert 'id="email-error"' in page
