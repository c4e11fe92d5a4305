"""The application under test, on SQLite or on the database in MICROBLOG_TEST_DATABASE_URL."""

import os

import flask_migrate
import pytest
from app_client import PASSWORD, SECRET_KEY, Browser

from microblog import create_app
from microblog.config import Config
from microblog.database import db
from microblog.models import User, passwords


@pytest.fixture(scope="session", autouse=True)
def quick_passwords():
    """One round of hashing instead of hundreds of thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "METHOD", "pbkdf2:sha256:1")
        yield


@pytest.fixture(scope="session")
def database_url(tmp_path_factory):
    return os.environ.get("MICROBLOG_TEST_DATABASE_URL") or (
        f"sqlite:///{tmp_path_factory.mktemp('database') / 'test.db'}"
    )


@pytest.fixture(scope="session")
def make_app(database_url):
    """Make an application on the test's database, with these settings."""

    def make(**settings):
        app = create_app(Config(**{"secret_key": SECRET_KEY, "database_url": database_url, **settings}))
        app.testing = True
        return app

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
def empty_tables(migrated):
    yield
    with migrated.app_context():
        for table in reversed(db.metadata.sorted_tables):
            db.session.execute(table.delete())
        db.session.commit()


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
