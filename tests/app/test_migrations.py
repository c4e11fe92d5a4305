"""Migrations that are cut short, on servers that cannot undo them, and the way back."""

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from microblog import database
from microblog.database import db
from microblog.models import User


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


def test_an_upgrade_that_was_cut_short_anywhere_is_finished_by_the_next(new_app):
    with new_app().app_context():
        flask_migrate.upgrade()
        whole = is_complete()
        db.engine.dispose()
    number = 1
    while True:
        app = new_app()
        with app.app_context():
            if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
                flask_migrate.downgrade(revision="base")
            was_cut = upgrade_until(number)
            flask_migrate.upgrade()
            assert is_complete() == whole, f"after statement {number}"
            db.engine.dispose()
        if not was_cut:
            break
        number += 1
    assert number > 15


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
        assert set(sa.inspect(db.engine).get_table_names()) == {"alembic_version"}
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
