"""Connections to MySQL and MariaDB: when they begin a transaction, and when one is dead."""

import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from microblog import database, mysql
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


@pytest.mark.parametrize("how", ["ended", "cut off"])
def test_what_is_asked_most_loses_its_connection_as_all_else(context, server, monkeypatch, how):
    """It is told so, and nobody has that connection again: neither ended, nor to a server that is cut off."""
    monkeypatch.setattr(mysql, "_IDLE", 1e9)
    db.session.remove()
    db.engine.dispose()
    query = sa.select(sa.func.connection_id(), sa.bindparam("x", type_=sa.Integer))
    number, one = first_row(query, {"x": 1}, often=True)
    assert one == 1

    def cut_off(*_arguments, **_options):
        raise pymysql.err.OperationalError(1047, "WSREP has not yet prepared node for application use")

    with monkeypatch.context() as patch:
        if how == "ended":
            with server.connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"KILL {number}")
        else:
            patch.setattr(mysql.LazyConnection, "query", cut_off)
        with pytest.raises(DBAPIError) as told:
            first_row(query, {"x": 2}, often=True)
    assert database.is_lost(told.value)
    another, two = first_row(query, {"x": 2}, often=True)
    assert (another != number, two) == (True, 2)
