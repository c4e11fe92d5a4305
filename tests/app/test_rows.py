"""A backup's rows: out of one database and into another one."""

import re

import flask_migrate
import pytest
import sqlalchemy as sa

from microblog.config import Config
from microblog.database import db
from microblog.errors import HostError
from microblog.host.backups import upgrade
from microblog.host.backups.restore import COUNTED, COUNTED_POSTS
from microblog.host.database import rows
from microblog.host.health import status
from microblog.host.machine import privileges
from microblog.models import Change, IndexState, PostCounts, User, indexing, reactions
from microblog.models.account import suspend
from microblog.models.feeds import explore_page
from microblog.models.follow import follow
from microblog.models.post import add_post
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


def test_a_row_that_the_database_refuses_is_left_out_and_named(app, database_url, other_app):
    with app.app_context():
        names = ("susan", "david", "alice", "mallory")
        users = [User(name, f"{name}@example.org", "password") for name in names]
        db.session.add_all(users)
        db.session.commit()
        for number in range(3):
            add_post(users[0], f"post {number}")
        add_post(users[1], "david's")
        for other in users[1:]:
            follow(other, users[0])
            follow(users[0], other)
        # Who is suspended counts with nobody.
        suspend(users[3])
        db.session.commit()
        first = explore_page().posts[-1].id
    with rows.connection(database_url, snapshot=True) as opened:
        chunks = [chunk for table in rows.tables(opened) for chunk, _ in rows.dump(opened, table)]
    # As an older version, or another kind of database, has let it be: a post without anything in it, and
    # a name that no account may have, to which a post and somebody who is followed belong.
    broken = [
        chunk.replace(b'"post 1"', b'""').replace(b'"david", "david"', b'"david", "x"') for chunk in chunks
    ]
    assert broken != chunks
    with rows.connection(other_app.config["SQLALCHEMY_DATABASE_URI"]) as opened:
        loader = rows.Loader(opened)
        counts = dict(loader.add(chunk) for chunk in broken)
        for counted in COUNTED:
            loader.recount(*counted)
        loader.commit()
    assert (counts["users"], counts["posts"], counts["follows"]) == (3, 2, 4)
    expected = {
        "users": 1,
        "posts": 2,
        "public_posts": 2,
        "follows": 2,
        "latest_posts": 1,
        "notifications": 2,
    }
    assert loader.missing == expected
    assert len(loader.left_out) == 2
    assert loader.left_out[0].startswith("users id ")
    assert "ck_users_" in loader.left_out[0]
    assert loader.left_out[1].startswith(f"posts id {first + 1}: ")
    with other_app.app_context():
        assert [post.body for post in explore_page().posts] == ["post 2", "post 0"]
        susan = User.find("susan")
        assert (susan.posts_count, susan.followers_count, susan.following_count) == (2, 1, 1)
        for name in ("alice", "mallory"):
            other = User.find(name)
            assert (other.posts_count, other.followers_count, other.following_count) == (0, 1, 1)
        db.engine.dispose()


def test_what_posts_say_of_themselves_is_counted_anew(app, database_url, other_app):
    """Of somebody who was left out there is no like, answer or repost; nor need what was counted be there."""
    with app.app_context():
        susan, david, alice = (
            User(name, f"{name}@example.org", "pw") for name in ("susan", "david", "alice")
        )
        db.session.add_all([susan, david, alice])
        db.session.commit()
        first, second, third = (add_post(susan, f"post {number}") for number in range(3))
        for other in (david, alice):
            add_post(other, "an answer", reply_to=first)
            for act in (reactions.like, reactions.repost):
                act(other, first)
        reactions.like(alice, second)
        # Only of who is left out.
        reactions.like(david, third)
        db.session.commit()
        numbers = [post.id for post in (first, second, third)]
    with rows.connection(database_url, snapshot=True) as opened:
        tables = rows.tables(opened)
        chunks = {table.name: [chunk for chunk, _ in rows.dump(opened, table)] for table in tables}
    chunks["users"] = [chunk.replace(b'"david", "david"', b'"david", "x"') for chunk in chunks["users"]]
    counts = chunks["post_counts"]
    chunks["post_counts"] = [re.sub(rb"\[%d, 0, 1, 0\]\n" % numbers[1], b"", chunk) for chunk in counts]
    assert chunks["post_counts"] != counts
    with rows.connection(other_app.config["SQLALCHEMY_DATABASE_URI"]) as opened:
        loader = rows.Loader(opened)
        for table in tables:
            for chunk in chunks[table.name]:
                loader.add(chunk)
        for counted in COUNTED_POSTS:
            loader.recount_posts(*counted)
        loader.commit()
    assert loader.missing["liked_posts"] == 2
    with other_app.app_context():
        found = {row.post_id: (row.replies, row.likes, row.reposts) for row in db.session.query(PostCounts)}
        assert found == dict(zip(numbers, [(1, 1, 1), (0, 1, 0), (0, 0, 0)], strict=True))
        db.engine.dispose()


def test_a_database_that_takes_no_rows_at_all_is_no_matter_of_one_row(app, database_url, other_app):
    with app.app_context():
        db.session.add_all(User(f"user{number}", f"{number}@example.org", "pw") for number in range(102))
        db.session.commit()
    with rows.connection(database_url, snapshot=True) as opened:
        table = next(table for table in rows.tables(opened) if table.name == "users")
        chunks = [
            re.sub(rb'"user(\d+)", "user', rb'"user\1", "x', chunk) for chunk, _ in rows.dump(opened, table)
        ]
    with rows.connection(other_app.config["SQLALCHEMY_DATABASE_URI"]) as opened:
        loader = rows.Loader(opened)
        with pytest.raises(HostError, match="more than 100 rows cannot be stored, the first: users id "):
            loader.add(chunks[0])


def test_a_change_of_tables_under_a_backup_is_waited_for(app, database_url, server):
    """Another machine that shares the database may be migrating it: MySQL's snapshots do not outlive that."""
    engine = sa.create_engine(database_url)
    with rows.connection(database_url, snapshot=True) as opened:
        posts = next(table for table in rows.tables(opened) if table.name == "posts")
        try:
            with engine.begin() as other:
                if server:
                    other.exec_driver_sql("SET SESSION lock_wait_timeout = 60")
                # A change that makes the table anew: MariaDB's snapshots outlive a column that is only noted.
                how = ", ALGORITHM=COPY" if server else ""
                other.exec_driver_sql(f"ALTER TABLE posts ADD COLUMN later INTEGER{how}")
            if server:
                # What microblog.host.backups.upgrade looks for.
                with pytest.raises(sa.exc.OperationalError, match=upgrade.CHANGED):
                    list(rows.dump(opened, posts))
            else:
                assert [count for _, count in rows.dump(opened, posts)] == [0]
        finally:
            opened.rollback()
            with engine.begin() as other:
                other.exec_driver_sql("ALTER TABLE posts DROP COLUMN later")
            engine.dispose()


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
