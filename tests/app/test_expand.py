"""Migrations expand before they contract: the version before serves on what each makes, and the new too."""

import os
import re
import subprocess
import sys

import database_servers
import flask_migrate
import pytest
import sqlalchemy as sa
import versions
from app_client import PASSWORD, SECRET_KEY, Browser

from microblog import create_app, revisions
from microblog.config import Config
from microblog.database import db

NEEDS = (*database_servers.NEEDS, *versions.NEEDS)
# It has a server of its own.
pytestmark = pytest.mark.once

# From before there was a site with more than one machine: they change what the version before uses.
OLD = {"0001", "0002", "0003", "0004"}
NEW = sorted(set(versions.FILES) - OLD)
# What was released stays as it is: the versions before the last few are run now and then.
EVERY_DAY = [pytest.param(number, marks=() if number in NEW[-3:] else pytest.mark.thorough) for number in NEW]

# A day at a site, by the version before.
DAY = """
import os, re, sys
import microblog
assert microblog.__file__.startswith(os.getcwd())
from microblog import create_app
from microblog.models import passwords
passwords.METHOD = "pbkdf2:sha256:1"
app = create_app()
password = sys.argv[1]

def token(page):
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]

class Browser:
    def __init__(self):
        self.client = app.test_client()
    def get(self, path, status=200):
        answer = self.client.get(path)
        assert answer.status_code == status, (path, answer.status)
        return answer.get_data(as_text=True)
    def send(self, path, page=None, status=302, **form):
        form["csrf_token"] = token(self.get(page or path))
        answer = self.client.post(path, data=form)
        assert answer.status_code == status, (path, answer.status, answer.get_data(as_text=True))
    def register(self, name):
        secret = {"password": password, "password2": password}
        self.send("/register", username=name, email=f"{name}@example.org", **secret)

susan, david = Browser(), Browser()
susan.register("susan")
david.register("david")
susan.send("/", body="written by the version before")
susan.send("/", body="soon gone")
number = re.search(r"/post/(\\d+)/delete", susan.get("/"))[1]
susan.send(f"/post/{number}/delete", page="/")
david.send("/user/susan/follow", page="/explore")
assert "written by the version before" in david.get("/")
david.send("/user/susan/unfollow", page="/explore")
david.send("/user/susan/follow", page="/explore")
for path in ("/", "/explore", "/user/susan", "/user/susan/followers", "/search?q=version"):
    assert "susan" in david.get(path), path
david.send("/settings", about="a few words", locale="es")
david.get("/settings/export")
david.send("/settings/password", password=password, new=password + "!", new2=password + "!")
david.send("/logout", page="/explore")
david.send("/login", username="david", password=password + "!")
gone = Browser()
gone.register("maria")
gone.send("/", body="mine")
gone.send("/settings/delete", password=password)
"""


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def new_url(request, tmp_path_factory):
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("expand")
        yield lambda name: f"sqlite:///{folder}/{name}.db"
    else:
        with database_servers.mariadb() as server:
            yield server.create


def test_each_migration_says_that_it_expands():
    """One that does not is for a version in which nobody uses any more what it takes away."""
    assert revisions.all_expand({"0004"})


@pytest.mark.parametrize("revision", EVERY_DAY)
def test_the_version_before_serves_beside_the_new_one(new_url, revision, tmp_path):
    url = new_url(f"expanded_{revision}")
    app = create_app(Config(secret_key=SECRET_KEY, database_url=url))
    with app.app_context():
        flask_migrate.upgrade(revision=revision)
    before = versions.before(revision, tmp_path)
    environ = {
        **os.environ,
        **{"PYTHONPATH": str(before), "SECRET_KEY": SECRET_KEY, "DATABASE_URL": url},
        "MICROBLOG_ENV_FILE": os.devnull,
    }
    day = subprocess.run(
        [sys.executable, "-c", DAY, PASSWORD], env=environ, cwd=before, capture_output=True, text=True
    )
    assert day.returncode == 0, day.stderr
    # And the new one goes on from there.
    with app.app_context():
        flask_migrate.upgrade()
    maria = Browser(app)
    assert maria.register("maria").status_code == 302
    assert maria.write("by the new one").status_code == 302
    page = maria.get("/explore").text
    assert re.search(r"by the new one.*written by the version before", page, re.DOTALL)
    assert "soon gone" not in page
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("revision", NEW)
def test_a_way_back_that_was_cut_short_is_gone_to_its_end(new_url, revision):
    """All is gone that the migration has made, and the schema does not know it yet."""
    app = create_app(Config(secret_key=SECRET_KEY, database_url=new_url(f"back_{revision}")))
    with app.app_context():
        flask_migrate.upgrade(revision=revision)
        flask_migrate.downgrade(revision="-1")
        with db.engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
        flask_migrate.downgrade(revision="-1")
        with db.engine.connect() as connection:
            query = sa.text("SELECT version_num FROM alembic_version")
            assert connection.execute(query).scalar() < revision
        db.engine.dispose()


def test_what_is_pending_is_known(tmp_path):
    """By its files alone."""

    def write(revision, on, expands):
        text = f'revision = "{revision}"\ndown_revision = {on!r}\n' + ("expands = True\n" if expands else "")
        (tmp_path / f"{revision}_x.py").write_text(text)

    write("0001", None, False)
    write("0002", "0001", True)
    write("0003", "0002", True)
    assert revisions.known(tmp_path) == ({"0001", "0002", "0003"}, {"0003"})
    assert revisions.all_expand({"0001"}, tmp_path)
    assert revisions.all_expand({"0002"}, tmp_path)
    write("0004", "0003", False)
    assert not revisions.all_expand({"0001"}, tmp_path)
    assert revisions.all_expand({"0004"}, tmp_path)
    # An empty database, or one of a version that is not known.
    assert not revisions.all_expand(set(), tmp_path)
    assert not revisions.all_expand({"9001"}, tmp_path)
