"""Connections to MySQL and MariaDB: when they begin a transaction, and when one is dead."""

import pytest
import sqlalchemy as sa

from microblog import mysql
from microblog.database import db
from microblog.models import User


@pytest.fixture(autouse=True)
def on_a_server(server):
    if server is None:
        pytest.skip("SQLite")


@pytest.fixture
def statements(context, monkeypatch):
    """What goes to the server, but for the pings after a rest, which a slow machine may take."""
    sent = []
    real = mysql.LazyConnection._execute_command

    def execute(self, command, sql):
        if sql:
            sent.append(sql.decode() if isinstance(sql, bytes) else sql)
        return real(self, command, sql)

    db.session.execute(sa.text("SELECT 1"))
    db.session.rollback()
    monkeypatch.setattr(mysql.LazyConnection, "_execute_command", execute)
    return sent


def test_reading_is_one_exchange(statements):
    assert User.find("nobody") is None
    db.session.rollback()
    db.session.remove()
    assert len(statements) == 1


def test_writing_is_a_transaction(statements):
    db.session.add(User("susan", "susan@example.org", "password"))
    db.session.flush()
    db.session.rollback()
    assert User.find("susan") is None
    db.session.add(User("susan", "susan@example.org", "password"))
    db.session.commit()
    db.session.remove()
    assert User.find("susan")
    assert [sql.split()[0].upper() for sql in statements] == [
        *("BEGIN", "INSERT", "ROLLBACK", "SELECT", "BEGIN", "INSERT", "COMMIT", "SELECT"),
    ]


@pytest.mark.parametrize(
    "query", ["SELECT 1 FROM users FOR UPDATE", "select 1 from users\nlock in share mode"]
)
def test_locking_is_a_transaction(statements, query):
    db.session.execute(sa.text(query))
    db.session.rollback()
    assert [statements[0], statements[-1]] == ["BEGIN", "ROLLBACK"]


def test_an_idle_connection_that_died_is_replaced(context, server, monkeypatch):
    # The pool shall have this one alone.
    db.engine.dispose()
    number = db.session.execute(sa.text("SELECT CONNECTION_ID()")).scalar()
    db.session.remove()
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"KILL {number}")
    monkeypatch.setattr(mysql, "_IDLE", -1)
    assert db.session.execute(sa.text("SELECT CONNECTION_ID()")).scalar() != number
