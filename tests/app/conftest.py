"""The application under test: on SQLite, with --everywhere on MariaDB and MySQL too.

MICROBLOG_TEST_DATABASE_URL names a database of one's own instead.
"""

import gc
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import database_servers
import drawn
import flask_migrate
import pytest
from app_client import PASSWORD, SECRET_KEY, Browser
from werkzeug.routing import Rule

from builder.core.needs import Program
from builder.deb import translations
from microblog import create_app
from microblog.config import Config
from microblog.database import db
from microblog.models import User, passwords
from microblog.web import compiled

NEEDS = (
    Program("openssl", "openssl"),
    Program("mmdebstrap", "mmdebstrap"),
    Program("unshare", "util-linux"),
)


def pytest_configure(config):
    drawn.settle(config.getoption("--thorough"))


@pytest.fixture
def short_path():
    """A folder for a socket: its path may have 107 bytes, and pytest's own are long."""
    with tempfile.TemporaryDirectory(prefix="m") as folder:
        yield Path(folder)


@pytest.fixture(scope="session", autouse=True)
def little_tidying():
    """Whenever some applications have been made, Python looks for what nothing refers to, among all there is:
    that was a third of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def quick_passwords():
    """One round of hashing instead of hundreds of thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "METHOD", "pbkdf2:sha256:1")
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_routes():
    """Hundreds of applications are made, with the same addresses: what Werkzeug generates of one is kept."""
    generate, kept = Rule._compile_builder, {}

    def once(rule, append_unknown=True):
        key = rule.rule, rule.subdomain, repr(rule.defaults), append_unknown
        if key not in kept:
            kept[key] = generate(rule, append_unknown)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", once)
        yield


class Kept(compiled.Compiled):
    """Templates as Jinja has compiled them, for all applications of a run."""

    pieces = {}

    def load_bytecode(self, bucket):
        bucket.code = self.pieces.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket):
        self.pieces[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def compiled_translations():
    """A fresh checkout has none. The runs with other libraries, without Babel, find them made."""
    if find_spec("babel"):
        translations.compile_all(Path(__file__).resolve().parents[2] / "microblog" / "translations")


DATABASES = ("sqlite", "mariadb", "mysql")


def pytest_generate_tests(metafunc):
    if "database" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker
        once = marker("once") and "libraries" not in marker("once").args
        one = once or (marker("any_database") and not marker("every_database"))
        everywhere = metafunc.config.getoption("everywhere") and not one
        wanted = DATABASES if everywhere else DATABASES[:1]
        metafunc.parametrize("database", wanted, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """One database after the other, lest servers start by the hundred."""

    def order(item):
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return DATABASES.index(parameters.get("database", DATABASES[0]))

    items.sort(key=order)


@pytest.fixture(scope="session")
def server(database):
    """The database server of this round; SQLite has none."""
    if database == "sqlite":
        yield None
    else:
        with getattr(database_servers, database)() as server:
            yield server


@pytest.fixture(scope="session")
def database_url(server, tmp_path_factory):
    if named := os.environ.get("MICROBLOG_TEST_DATABASE_URL"):
        return named
    if server:
        return server.create("test")
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'test.db'}"


@pytest.fixture(scope="session")
def make_app(database_url):
    """Make an application on the test's database, with these settings."""

    def make(**settings):
        app = create_app(Config(**{"secret_key": SECRET_KEY, "database_url": database_url, **settings}))
        app.testing = True
        app.jinja_env.bytecode_cache = Kept()
        if sender := app.extensions.get("microblog.elasticsearch.sender"):
            senders.append(sender)
        return app

    senders = make.senders = []
    return make


@pytest.fixture(scope="session")
def migrated(make_app):
    app = make_app()
    with app.app_context():
        flask_migrate.upgrade()
    yield app
    with app.app_context():
        flask_migrate.downgrade(revision="base")


@pytest.fixture
def empty_tables(migrated, make_app):
    yield
    # Else one that a test has left would send, or hold the lease, amid a later test.
    while make_app.senders:
        make_app.senders.pop().end()
    with migrated.app_context():
        for table in reversed(db.metadata.sorted_tables):
            db.session.execute(table.delete())
        db.session.commit()
    migrated.extensions["microblog.looks"].forget()


# Never inside an application context while a client makes requests: requests would share
# it, and with it whoever was logged in first.
@pytest.fixture
def app(migrated, empty_tables):
    return migrated


@pytest.fixture
def context(app):
    """For tests that ask the models, and make no requests."""
    with app.app_context():
        yield app


@pytest.fixture
def client(app):
    return Browser(app)


@pytest.fixture
def make_user(app):
    def make(username="susan", password=PASSWORD):
        with app.app_context():
            db.session.add(User(username, f"{username}@example.org", password))
            db.session.commit()

    return make
