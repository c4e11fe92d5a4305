"""A backup's rows: out of one database and into another one."""

import flask_migrate
import pytest

from microblog.config import Config
from microblog.database import db
from microblog.host.database import rows
from microblog.host.health import status
from microblog.host.machine import privileges
from microblog.models import Change, IndexState, User, indexing
from microblog.models.follow import follow
from microblog.models.post import add_post, explore_page
from microblog.models.search import search_page


@pytest.fixture
def other_app(make_app, server, tmp_path):
    url = server.create("other") if server else f"sqlite:///{tmp_path / 'other.db'}"
    app = make_app(database_url=url)
    with app.app_context():
        flask_migrate.upgrade()
        db.engine.dispose()
    return app


def test_all_that_is_stored_arrives_and_is_found(app, database_url, other_app):
    with app.app_context():
        susan, david = (User(name, f"{name}@example.org", "password") for name in ("susan", "david"))
        db.session.add_all([susan, david])
        db.session.commit()
        add_post(susan, "日本語を勉強する 😀")
        follow(david, susan)
        susan.start_session("a browser", True)
        db.session.add(Change(post_id=5))
        db.session.commit()
        expected = explore_page()
    with rows.connection(database_url, snapshot=True) as opened:
        tables = rows.tables(opened)
        chunks = [chunk for table in tables for chunk, _ in rows.dump(opened, table)]
    names = {table.name for table in tables}
    assert names >= {"users", "posts", "public_posts", "follows", "sessions", "search_changes"}
    assert not [name for name in names if name.startswith("sqlite_") or "_fts" in name]
    with rows.connection(other_app.config["SQLALCHEMY_DATABASE_URI"]) as opened:
        loader = rows.Loader(opened)
        for chunk in chunks:
            assert loader.add(chunk)[1] >= 0
        loader.forget("search_index", "search_changes", "no_such_table")
        loader.commit()
        loader.skip_numbers({"posts": 100, "users": 10, "no_such_table": 1})
    with other_app.app_context():
        assert explore_page() == expected
        assert [post.body for post in search_page("勉強").posts] == ["日本語を勉強する 😀"]
        assert User.find("susan").followers_count == 1
        last = expected.posts[0].id
        assert add_post(User.find("susan"), "new").id == last + 101
        db.session.rollback()
        assert indexing.pending() == 0
        assert db.session.query(IndexState).count() == 0
        db.engine.dispose()


def test_the_status_says_what_the_search_server_lacks(app, database_url, monkeypatch):
    monkeypatch.setattr(privileges, "call", lambda work: (True, f"a warning\n{work()}"))
    config = Config(secret_key="k" * 32, database_url=database_url)
    assert status._search(config).text == "in the database"
    config = Config(secret_key="k" * 32, database_url=database_url, elasticsearch_url="http://127.0.0.1:9")
    with app.app_context():
        db.session.add(Change(post_id=5))
        db.session.commit()
    fact = status._search(config)
    assert (fact.ok, fact.values) == (False, {"pending": 1, "current": False})
    assert "1 posts have yet to be told" in fact.text
