import json

import pytest

from microblog.database import db
from microblog.errors import HostError
from microblog.models import Post, User, site

GOOD = "correct horse"


@pytest.fixture
def run(app):
    """Run ``microblog user ...``; give what it printed, or raise what went wrong."""

    def run(*arguments, stdin=""):
        result = app.test_cli_runner().invoke(args=["user", *arguments], input=stdin)
        if isinstance(result.exception, HostError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_add_an_administrator(run, client):
    run("add", "--admin", "--password-stdin", "Susan", "Susan@example.org", stdin=f"{GOOD}\n")
    client.login("susan", GOOD)
    assert client.get("/admin").status_code == 200


def test_the_sites_name_is_no_password(app, run):
    """The one that was set in the browser neither."""
    with app.app_context():
        site.set_looks(site.Looks("Our Garden"))
        db.session.commit()
    with pytest.raises(HostError, match="easy to guess"):
        run("add", "--password-stdin", "susan", "susan@example.org", stdin="ourgarden1\n")


def test_add_asks_twice(run, client):
    run("add", "susan", "susan@example.org", stdin=f"{GOOD}\n{GOOD}\n")
    client.login("susan", GOOD)
    assert client.get("/admin").status_code == 403


def test_add_generates(run, client):
    output = run("add", "--generate", "susan", "susan@example.org")
    client.login("susan", output.split("password: ")[1].strip())
    assert client.logged_in()


@pytest.mark.parametrize(
    "arguments, stdin, message",
    [
        (("su", "a@example.org"), "", "no username"),
        (("sus an", "a@example.org"), "", "no username"),
        (("s" * 33, "a@example.org"), "", "no username"),
        (("admin", "a@example.org"), "", "reserved"),
        (("susan", "nowhere"), "", "no e-mail"),
        (("DAVID", "a@example.org"), "", "has an account"),
        (("susan", "David@example.org"), "", "has an account"),
        (("--password-stdin", "susan", "a@example.org"), "short\n", "8 to 128"),
        (("--password-stdin", "susan", "a@example.org"), "x" * 1000, "8 to 128"),
        (("--password-stdin", "susan", "a@example.org"), "susan1234\n", "easy to guess"),
        (("--password-stdin", "--generate", "susan", "a@example.org"), "", "exclude"),
    ],
)
def test_add_refuses_in_one_line(run, make_user, arguments, stdin, message):
    make_user("david")
    with pytest.raises(HostError, match=message) as caught:
        run("add", *arguments, stdin=stdin)
    assert "\n" not in str(caught.value)


def test_promote_and_demote(run, client, make_user):
    for name in ("susan", "david"):
        make_user(name)
    run("promote", "david")
    client.login()
    for command, code in (("promote", 200), ("demote", 403)):
        run(command, "susan@example.org")
        assert client.get("/admin").status_code == code


def test_suspend(run, client, make_user):
    make_user("susan")
    client.login()
    run("suspend", "susan")
    assert not client.logged_in()
    run("unsuspend", "susan")
    assert client.logged_in()


def test_password(run, client, make_user):
    make_user("susan")
    client.login()
    run("password", "--password-stdin", "susan", stdin="another horse")
    assert not client.logged_in()
    client.login(password="another horse")
    assert client.logged_in()


def test_delete(run, app, client, make_user):
    make_user("susan")
    client.login()
    client.write("Hello")
    with pytest.raises(AssertionError, match="Aborted"):
        run("delete", "susan", stdin="n\n")
    assert client.logged_in()
    run("delete", "--yes", "susan")
    assert not client.logged_in()
    with app.app_context():
        assert db.session.query(Post).count() == db.session.query(User).count() == 0


@pytest.mark.parametrize("command", ["promote", "demote", "suspend", "unsuspend", "password", "delete"])
def test_nobody(run, command):
    with pytest.raises(HostError, match="nobody has"):
        run(command, "susan")


def test_list(run, make_user):
    make_user("susan")
    make_user("david")
    run("promote", "david")
    first, second = run("list").splitlines()
    assert first.split() == ["susan", "susan@example.org"]
    assert second.split() == ["david", "david@example.org", "admin"]
    people = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert [person["is_admin"] for person in people] == [False, True]
    assert people[0]["created_at"].endswith("Z")
    assert not any("password" in key for key in people[0])


def test_without_a_database(make_app, tmp_path):
    app = make_app(database_url=f"sqlite:///{tmp_path}/no/such/folder/x.db")
    result = app.test_cli_runner().invoke(args=["user", "list"])
    assert isinstance(result.exception, HostError)
    assert "microblog setup" in result.exception.hint
