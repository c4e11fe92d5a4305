"""Connections to MySQL and MariaDB: when they begin a transaction, and when one is dead."""

import pytest
import sqlalchemy as sa

from microblog import mysql
from microblog.database import db, first_row
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


def test_the_words_of_what_is_asked_most_are_sent_once(context, server, statements, monkeypatch):
    """By MariaDB; and where that forgets them, or knows enough of them, whole."""
    db.session.add_all(User(name, f"{name}@example.org", "password") for name in ("susan", "david"))
    db.session.commit()
    db.session.remove()
    # The pool shall have one connection alone.
    db.engine.dispose()
    statements.clear()
    monkeypatch.setattr(mysql, "_PREPARED_MOST", 1)
    users, name = User.__table__, sa.bindparam("name")
    columns = (users.c.username, sa.literal(7).label("seven"), sa.literal_column("'5%'").label("part"))
    query = sa.select(*columns).where(users.c.username == name, users.c.name_key == name)
    another = query.where(users.c.suspended_at.is_(None))

    def ask(*asked):
        statements.clear()
        found = [first_row(one, {"name": name}, often=True) for one, name in asked]
        return [row and tuple(row) for row in found], [
            sql.split()[0] for sql in statements if sql != "SELECT 1"
        ]

    found, sent = ask((query, "susan"), (query, "david"), (query, "nobody"), (another, "susan"))
    assert found == [("susan", 7, "5%"), ("david", 7, "5%"), None, ("susan", 7, "5%")]
    prepares = server.name == "mariadb"
    assert sent[-4:] == (["EXECUTE"] * 3 if prepares else ["SELECT"] * 3) + ["SELECT"]
    assert ("PREPARE" in sent) == prepares
    if prepares:
        prepared = next(sql for sql in statements if sql.startswith("EXECUTE")).split()[1]
        with db.engine.connect() as connection:
            connection.exec_driver_sql(f"DEALLOCATE PREPARE {prepared}")
    for _ in range(2):
        found, sent = ask((query, "susan"))
        assert (found, sent[-1]) == ([("susan", 7, "5%")], "SELECT")
    assert sent == ["SELECT"]
    db.engine.dispose()
