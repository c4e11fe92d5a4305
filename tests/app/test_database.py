import gc
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from app_client import SECRET_KEY
from sqlalchemy.exc import DBAPIError

from microblog import database
from microblog.database import db
from microblog.models import Post, Reader, User
from microblog.models.user import EMAIL_MAX, USERNAME_MAX


def test_the_migrations_make_what_the_models_say(context):
    with db.engine.connect() as connection:
        migration = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": database.is_modelled}
        )
        assert compare_metadata(migration, db.metadata) == []


def test_lengths_agree(context):
    """What the form lets through fits."""
    db.session.add(User("u" * USERNAME_MAX, "e" * (EMAIL_MAX - 4) + "@x.y", "p" * 128))
    db.session.flush()


def test_posts_go_with_their_author(context):
    user = User("susan", "susan@example.org", "password")
    db.session.add(user)
    db.session.flush()
    db.session.add(Post(author_id=user.id, body="x"))
    db.session.commit()
    db.session.execute(sa.delete(User))
    db.session.commit()
    assert db.session.execute(sa.select(Post)).first() is None


def test_no_post_without_an_author(context):
    db.session.add(Post(author_id=12345, body="x"))
    with pytest.raises(DBAPIError):
        db.session.flush()
    db.session.rollback()


@pytest.mark.parametrize("session", [False, True])
def test_a_row_is_read_as_sqlalchemy_reads_it(context, session):
    """With values of each kind; where it cannot be asked so, and where the database finds fault, too."""
    now = datetime(2026, 1, 2, 3, 4, 5)
    db.session.add(User("susan", "susan@example.org", "password"))
    db.session.execute(sa.update(User).values(last_seen=now))
    db.session.commit()
    db.session.remove()
    if session:
        db.session.add(User("david", "david@example.org", "password"))
        db.session.flush()
    users = User.__table__
    read = sa.select(users.c.username, users.c.posts_count + sa.literal(7))
    at, names, name = sa.bindparam("at"), sa.bindparam("names", expanding=True), sa.bindparam("name")
    for query, values in (
        (read.where(users.c.last_seen == at, users.c.username == name), {"at": now, "name": "susan"}),
        (read.where(users.c.username == name, users.c.username != "a%b"), {"name": "david"}),
        (read.where(users.c.username.in_(names)), {"names": ["david", "mary"]}),
        (read.where(users.c.username.in_(names)), {"names": ["susan"]}),
    ):
        found = database.first_row(query, values)
        with database.reading() as connection:
            expected = connection.execute(query, values).first()
        assert (found and tuple(found)) == (expected and tuple(expected))
        assert bool(found) == (session or "susan" in str(values))
    with pytest.raises(DBAPIError):
        database.first_row(sa.select(sa.column("nonsense")), {})
    db.session.rollback()
    assert database.first_row(read.where(users.c.username == name), {"name": "susan"})[1] == 7


@pytest.mark.parametrize("often", [False, True])
def test_who_changes_statements_changes_those_too(context, often):
    """As a restore does, which writes into tables of another name."""
    query = sa.select(sa.literal_column("'one'")).where(sa.bindparam("x") == 1)

    def change(_connection, _cursor, statement, parameters, _context, _many):
        return statement.replace("one", "another"), parameters

    sa.event.listen(db.engine, "before_cursor_execute", change, retval=True)
    try:
        changed = database.first_row(query, {"x": 1}, often)
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", change)
    assert [changed[0], database.first_row(query, {"x": 1}, often)[0]] == ["another", "one"]


def test_an_old_account_number_opens_no_new_account(context):
    first, second = (User(name, f"{name}@example.org", "password") for name in ("susan", "david"))
    for user in (first, second):
        user.id = 7
    db.session.add(first)
    db.session.flush()
    first.start_session("", True)
    db.session.flush()
    text = first.get_id()
    db.session.delete(first)
    db.session.flush()
    db.session.add(second)
    db.session.flush()
    second.start_session("", True)
    db.session.flush()
    reader = Reader.from_id(second.get_id())
    assert (reader.username, reader.get_id()) == (second.username, second.get_id())
    for wrong in (text, "7", "7.", "", ".", "x", "-7.x", f"{text}x"):
        assert Reader.from_id(wrong) is None
    db.session.rollback()


@pytest.fixture
def new_database(make_app, tmp_path):
    path = tmp_path / "new.db"
    return lambda: make_app(database_url=f"sqlite:///{path}")


def test_sqlite_keeps_what_it_acknowledged(new_database):
    with new_database().app_context(), db.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10000}


def test_a_connection_keeps_its_latest_statements_alone(new_database):
    """All that were ever asked would take a megabyte of each thread."""

    def count():
        return sum(type(one).__name__ == "Statement" for one in gc.get_objects())

    with new_database().app_context():
        with db.engine.connect() as connection:
            before = count()
            for number in range(3 * database.STATEMENTS):
                connection.exec_driver_sql(f"SELECT {number}").fetchall()
            kept = count() - before
        db.engine.dispose()
    assert database.STATEMENTS // 2 <= kept <= database.STATEMENTS


def test_many_machines_migrate_once(new_database):
    """All start at once; each ends well, and the tables are made once."""
    url = new_database().config["SQLALCHEMY_DATABASE_URI"]
    command = [sys.executable, "-m", "flask", "db", "upgrade"]
    environ = {**os.environ, "FLASK_APP": "microblog", "SECRET_KEY": SECRET_KEY, "DATABASE_URL": url}
    machines = [subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [machine.communicate(timeout=60)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0, 0], said
    assert sum("Running upgrade" in text for text in said) == 1
    with new_database().app_context():
        assert set(sa.inspect(db.engine).get_table_names()) >= {"alembic_version", "posts", "users"}


@contextmanager
def migrating():
    with db.engine.connect() as connection, database.sole_migration(connection):
        yield connection


def test_a_migration_that_fails_leaves_nothing(new_database):
    app = new_database()
    with app.app_context(), pytest.raises(ZeroDivisionError), migrating() as connection:
        connection.exec_driver_sql("CREATE TABLE half (id INTEGER)")
        1 / 0  # noqa: B018
    with app.app_context():
        assert sa.inspect(db.engine).get_table_names() == []


def test_a_migration_may_not_leave_dangling_references(new_database):
    app = new_database()
    with app.app_context():
        flask_migrate.upgrade()
        dangling = "INSERT INTO posts (author_id, body, created_at) VALUES (99, 'x', '2025-01-01')"
        with pytest.raises(RuntimeError, match="dangling"), migrating() as connection:
            connection.exec_driver_sql(dangling)
        assert db.session.execute(sa.select(Post)).first() is None


def test_migrations_name_their_mysql_options():
    """Without them, a server's own defaults decide whether emoji can be stored."""
    for path in (Path(database.MIGRATIONS) / "versions").glob("*.py"):
        text = path.read_text()
        assert text.count("op.create_table(") == text.count("**TABLE_OPTIONS")
        if "op.create_table(" in text:
            assert '"mysql_charset": "utf8mb4"' in text
