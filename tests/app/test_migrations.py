"""Migrations that are cut short, on servers that cannot undo them, and the way back."""

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from microblog import database
from microblog.database import db, utc_now
from microblog.models import IndexState, LatestPost, Post, User, unfinished
from microblog.models.account import delete_account, suspend, unsuspend
from microblog.models.feeds import explore_page, home_page
from microblog.models.follow import follow
from microblog.models.post import add_post
from microblog.models.search import search_page


class PowerCut(Exception):
    pass


@pytest.fixture
def new_app(make_app, server, tmp_path):
    """An application on a database of its own, empty."""

    def new():
        url = server.create("migrated") if server else f"sqlite:///{tmp_path / 'migrated.db'}"
        return make_app(database_url=url)

    return new


def is_complete():
    with db.engine.connect() as connection:
        options = {"compare_type": True, "include_object": database.is_modelled}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), db.metadata) == []
    inspector = sa.inspect(db.engine)
    return {
        table: (
            sorted(index["name"] for index in inspector.get_indexes(table)),
            sorted(check["name"] for check in inspector.get_check_constraints(table)),
        )
        for table in ("users", "posts", "follows")
    }


def upgrade_until(number):
    """Upgrade, and cut the power once so many statements that change the schema are done.

    :return: whether it came so far.
    """
    done = 0

    def count(_connection, _cursor, statement, *_rest):
        nonlocal done
        if statement.lstrip().upper().startswith(("CREATE", "ALTER", "DROP", "UPDATE", "INSERT")):
            done += 1
            if done == number:
                raise PowerCut

    sa.event.listen(db.engine, "after_cursor_execute", count)
    try:
        flask_migrate.upgrade()
    except PowerCut:
        return True
    finally:
        sa.event.remove(db.engine, "after_cursor_execute", count)
    return False


def how_far():
    """What an upgrade that was cut short has left for good."""
    if db.engine.dialect.name == "sqlite":
        parts = "SELECT name, sql FROM sqlite_master"
    else:
        here = "FROM information_schema.{} WHERE table_schema = DATABASE()"
        parts = (
            f"SELECT table_name, column_name {here.format('columns')}"
            f" UNION ALL SELECT table_name, index_name {here.format('statistics')}"
            f" UNION ALL SELECT table_name, constraint_name {here.format('table_constraints')}"
        )
    with db.engine.connect() as connection:
        schema = sorted(map(repr, connection.execute(sa.text(parts))))
        revision = MigrationContext.configure(connection).get_current_revision()
    return schema, revision


def test_an_upgrade_that_was_cut_short_anywhere_is_finished_by_the_next(new_app):
    with new_app().app_context():
        flask_migrate.upgrade()
        whole = is_complete()
        db.engine.dispose()
    app = new_app()
    with app.app_context():
        if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
            flask_migrate.downgrade(revision="base")
        # After each statement once: each upgrade goes on from where the one before was cut short.
        cuts, number, before = 0, 1, how_far()
        while upgrade_until(number):
            cuts += 1
            now = how_far()
            number, before = (number + 1 if now == before else 1), now
        assert is_complete() == whole
        db.engine.dispose()
    assert cuts > 60


@pytest.mark.once
def test_what_was_read_stays_below_what_is_told_next(make_app, tmp_path):
    """On SQLite, numbers of notifications were given again."""
    with make_app(database_url=f"sqlite:///{tmp_path / 'told.db'}").app_context():
        flask_migrate.upgrade(revision="0011")
        db.session.execute(
            sa.text(
                "INSERT INTO users (id, username, name_key, email, password_hash, created_at)"
                " VALUES (1, 'Susan', 'susan', 's@example.org', 'x', '2025-01-01 00:00:00')"
            )
        )
        db.session.execute(sa.text("INSERT INTO preferences (user_id, read_to, mailed_to) VALUES (1, 7, 5)"))
        told = sa.text(
            "INSERT INTO notifications (user_id, kind, actor_id, post_id, created_at)"
            " VALUES (1, 'like', 1, :post, '2025-01-01')"
        )
        db.session.execute(told, {"post": 1})
        db.session.commit()
        flask_migrate.upgrade(revision="0012")
        db.session.execute(told, {"post": 2})
        numbers = db.session.execute(sa.text("SELECT id FROM notifications ORDER BY id")).scalars().all()
        assert numbers == [1, 8]
        db.session.rollback()
        flask_migrate.downgrade(revision="base")


def test_there_and_back(new_app):
    with new_app().app_context():
        flask_migrate.upgrade(revision="0001")
        db.session.execute(
            sa.text(
                "INSERT INTO users (id, username, name_key, email, password_hash, created_at)"
                " VALUES (1, 'Susan', 'susan', 's@example.org', 'x', '2025-01-01 00:00:00')"
            )
        )
        db.session.execute(
            sa.text(
                "INSERT INTO posts (author_id, body, created_at) VALUES (1, 'Ahoj 😀', '2025-01-01 00:00:00')"
            )
        )
        db.session.commit()
        for _ in range(2):
            flask_migrate.upgrade()
            assert db.session.execute(sa.text("SELECT posts_count FROM users")).scalar() == 1
            assert db.session.execute(sa.text("SELECT body FROM posts")).scalar() == "Ahoj 😀"
            db.session.rollback()
            whole = is_complete()
            flask_migrate.downgrade(revision="0001")
            assert db.session.execute(sa.text("SELECT body FROM posts")).scalar() == "Ahoj 😀"
            db.session.rollback()
        flask_migrate.upgrade()
        assert is_complete() == whole
        flask_migrate.downgrade(revision="base")
        # sqlite_sequence, which older SQLAlchemys show, is SQLite's own.
        left = set(sa.inspect(db.engine).get_table_names()) - {"sqlite_sequence", "migration_lease"}
        assert left == {"alembic_version"}
        db.engine.dispose()


@pytest.mark.parametrize(
    "column, value",
    [
        ("username", "'x'"),
        ("username", "'no spaces'"),
        ("username", "'ünïcode'"),
        ("name_key", "'Susan'"),
        ("name_key", "'someone_else'"),
        ("email", "'nobody'"),
        ("email", "'A@example.org'"),
        ("email", f"'{'e' * 250}@x.yz'"),
        ("about", f"'{'x' * 281}'"),
    ],
)
def test_the_database_checks_accounts(context, column, value):
    row = {
        "username": "'Susan'",
        "name_key": "'susan'",
        "email": "'s@example.org'",
        "password_hash": "'x'",
        "about": "''",
        "created_at": "'2025-01-01 00:00:00'",
    }
    insert = "INSERT INTO users ({}) VALUES ({})"
    wrong = {**row, column: value}
    if column == "username" and value != "'x'":
        wrong["name_key"] = value.lower()
    with pytest.raises(sa.exc.DBAPIError):
        db.session.execute(sa.text(insert.format(", ".join(wrong), ", ".join(wrong.values()))))
    db.session.rollback()
    db.session.execute(sa.text(insert.format(", ".join(row), ", ".join(row.values()))))
    db.session.rollback()


@pytest.mark.parametrize("name", ["Admin", "root"])
def test_no_account_speaks_for_the_site(context, name):
    row = {"username": name, "name_key": name.lower(), "email": "x@example.org", "password_hash": "x"}
    with pytest.raises(sa.exc.DBAPIError):
        db.session.execute(sa.insert(User.__table__).values(row))
    db.session.rollback()


def test_an_old_site_is_counted_and_found_anew(new_app):
    """What had drifted is right, the suspended count with nobody, and old posts are found by their words."""
    with new_app().app_context():
        if db.engine.dialect.name == "sqlite":
            flask_migrate.downgrade(revision="base")
        flask_migrate.upgrade(revision="0003")
        for number, (name, suspended) in enumerate(
            (("susan", None), ("david", None), ("banned", "2025-01-01 00:00:00")), 1
        ):
            row = {
                **{"id": number, "username": name, "name_key": name, "email": f"{name}@example.org"},
                **{"password_hash": "x", "created_at": "2025-01-01 00:00:00", "suspended_at": suspended},
                **{"posts_count": 9, "followers_count": -3, "following_count": 7},
            }
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            db.session.execute(sa.text(f"INSERT INTO users ({names}) VALUES ({values})"), row)  # noqa: S608
        columns = "(follower_id, followed_id, created_at)"
        insert = f"INSERT INTO follows {columns} VALUES (:a, :b, '2025-01-01 00:00:00')"  # noqa: S608
        for pair in ((1, 2), (1, 3), (3, 1), (3, 2), (1, 1)):
            db.session.execute(sa.text(insert), dict(zip("ab", pair, strict=True)))
        insert = "INSERT INTO posts (author_id, body, created_at) VALUES (:a, :b, '2025-01-01 00:00:00')"
        for author, body in ((1, "Ein Gruß aus Łódź"), (3, "Ein böser Gruß"), (2, "日本語を勉強する")):
            db.session.execute(sa.text(insert), {"a": author, "b": body})
        db.session.commit()
        flask_migrate.upgrade()
        counts = {
            user.username: (user.posts_count, user.followers_count, user.following_count)
            for user in db.session.execute(sa.select(User)).scalars()
        }
        assert counts == {"susan": (1, 0, 1), "david": (1, 1, 0), "banned": (1, 1, 2)}
        assert [post.username for post in explore_page().posts] == ["david", "susan"]
        assert [post.username for post in search_page("grus").posts] == []
        assert [post.username for post in search_page("GRUSS lodz").posts] == ["susan"]
        assert [post.username for post in search_page("勉強").posts] == ["david"]
        db.session.rollback()
        # And back, with the search that there was.
        flask_migrate.downgrade(revision="0003")
        search = (
            "SELECT count(*) FROM posts_fts WHERE posts_fts MATCH 'ein'"
            if db.engine.dialect.name == "sqlite"
            else "SELECT count(*) FROM posts WHERE MATCH (body) AGAINST ('ein' IN BOOLEAN MODE)"
        )
        assert db.session.execute(sa.text(search)).scalar() == 2
        db.session.rollback()
        flask_migrate.upgrade()
        db.engine.dispose()


def test_who_wrote_last_is_filled_in_steps(new_app):
    """More accounts than a step has; the suspended are left out; what a cut left is gone on with."""
    with new_app().app_context():
        flask_migrate.upgrade(revision="0004")
        # As they were then.
        users, posts = sa.Table("users", sa.MetaData(), autoload_with=db.engine), Post.__table__
        people = [
            {
                **{"id": number, "username": f"user{number}", "name_key": f"user{number}"},
                **{"email": f"user{number}@example.org", "password_hash": "x", "created_at": utc_now()},
                "suspended_at": None if number % 7 else utc_now(),
            }
            for number in range(1, 1202)
        ]
        db.session.execute(sa.insert(users), people)
        # Not all have written, and the later posts are the earlier accounts'.
        authors = [number for turn in (1, 2, 3) for number in range(1200, 0, -turn)]
        db.session.execute(
            sa.insert(posts), [{"author_id": number, "body": f"by {number}"} for number in authors]
        )
        db.session.commit()
        flask_migrate.upgrade()
        query = sa.select(posts.c.author_id, sa.func.max(posts.c.id)).group_by(posts.c.author_id)
        expected = {author: post for author, post in db.session.execute(query) if author % 7}
        filled = sa.select(LatestPost.author_id, LatestPost.post_id)
        assert dict(db.session.execute(filled).all()) == expected
        db.session.rollback()
        # Servers that cannot undo DDL: the power went after the first step, and again after the tables.
        for cut in ("author_id > 500", "author_id > 0"):
            db.session.execute(sa.text(f"DELETE FROM latest_posts WHERE {cut}"))  # noqa: S608
            db.session.execute(sa.text("UPDATE alembic_version SET version_num = '0004'"))
            db.session.commit()
            flask_migrate.upgrade()
            assert dict(db.session.execute(filled).all()) == expected
            db.session.rollback()
        db.engine.dispose()


@pytest.mark.parametrize("task", [delete_account, suspend, unsuspend])
def test_nothing_stays_unfinished_on_the_way_back(new_app, monkeypatch, task):
    """The version before knows of no pieces: whose account was half gone is gone, and who was half let in, or
    half kept out, can be let in."""
    monkeypatch.setattr(unfinished, "CHUNK", 3)
    with new_app().app_context():
        if db.engine.dialect.name == "sqlite":
            flask_migrate.downgrade(revision="base")
        flask_migrate.upgrade()
        names, fans = ("susan", "david"), [f"fan{number}" for number in range(7)]
        db.session.add_all([User(name, f"{name}@example.org", "password") for name in (*names, *fans)])
        for name in names * 5:
            add_post(User.find(name), "word")
        follow(User.find("susan"), User.find("david"))
        for name in ("david", *fans):
            follow(User.find(name), User.find("susan"))
        User.find("susan").start_session("Firefox", True)
        db.session.commit()
        if task is unsuspend:
            suspend(User.find("susan"))
            db.session.commit()
            unfinished.work_off()
        task(User.find("susan"))
        db.session.commit()
        assert db.session.query(unfinished.Unfinished).count() == 1
        # One that has begun to count, or still counts, with some.
        while task is unsuspend and db.session.query(unfinished.Unfinished.uncounted_to).scalar() is None:
            assert unfinished._go_on(User.find("susan").id)
        db.session.commit()
        assert (
            0
            < db.session.query(User).filter(User.name_key.like("fan%"), User.following_count == 1).count()
            < 7
        )
        left = db.session.query(Post).filter(Post.body == "word").count() - 5
        db.session.add(IndexState(id=1, which="x", filled_to=9, is_whole=True, leased_until=utc_now()))
        db.session.commit()
        flask_migrate.downgrade(revision="0004")

        def count(table):
            return db.session.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar()  # noqa: S608

        gone = task is delete_account
        expected = {
            **{"users": 8 if gone else 9, "posts": 5 if gone else 10, "public_posts": 5},
            **{"follows": 0 if gone else 9, "sessions": 0 if gone else 1, "search_changes": left},
        }
        assert {table: count(table) for table in expected} == expected
        # Nobody counts with who is not there.
        assert count("users WHERE name_key <> 'susan' AND followers_count + following_count > 0") == 0
        db.session.rollback()
        flask_migrate.upgrade()
        if not gone:
            unsuspend(User.find("susan"))
            db.session.commit()
            unfinished.work_off()
            assert len(explore_page().posts) == 10
        db.engine.dispose()


def test_the_version_before_serves_on_the_schema_after(new_app):
    """It knows nothing of the new tables: what it writes and removes meets nothing there."""
    with new_app().app_context():
        flask_migrate.upgrade()
        db.session.execute(
            sa.insert(User.__table__),
            [
                {"id": 1, "username": "Susan", "name_key": "susan", "email": "s@x.org", "password_hash": "x"},
                {"id": 2, "username": "David", "name_key": "david", "email": "d@x.org", "password_hash": "x"},
            ],
        )
        for author in (1, 2):
            add_post(User.find(("susan", "david")[author - 1]), "Hello")
        db.session.commit()
        for statement in (
            "INSERT INTO posts (author_id, body, created_at) VALUES (1, 'again', '2025-01-01 00:00:00')",
            "UPDATE users SET suspended_at = '2025-01-01 00:00:00' WHERE id = 2",
            "DELETE FROM posts WHERE author_id = 1",
            "DELETE FROM users WHERE id = 1",
        ):
            db.session.execute(sa.text(statement))
            db.session.commit()
        assert [row.author_id for row in db.session.execute(sa.select(LatestPost.author_id))] == [2]
        assert home_page(User.find("david")).posts[0].body == "Hello"
        db.session.rollback()
        db.engine.dispose()
