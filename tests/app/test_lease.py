"""Who may migrate a server's database: one machine at a time, also where another one died or was frozen."""

import os
import signal
import subprocess
import sys
import threading

import database_servers
import pytest
import sqlalchemy as sa
from app_client import SECRET_KEY

from microblog import create_app, database, lease
from microblog.config import Config
from microblog.database import db

NEEDS = database_servers.NEEDS
# It has a server of its own.
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def server():
    with database_servers.mariadb() as server:
        yield server


@pytest.fixture
def app(server, monkeypatch):
    url = server.create("leased")
    app = create_app(Config(secret_key=SECRET_KEY, database_url=url))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def tables():
    return set(sa.inspect(db.engine).get_table_names()) - {lease.TABLE}


def make(connection, name):
    connection.exec_driver_sql(f"CREATE TABLE {name} (x INT)")


def test_many_machines_migrate_once(app):
    url = app.config["SQLALCHEMY_DATABASE_URI"]
    command = [sys.executable, "-m", "flask", "db", "upgrade"]
    environ = {**os.environ, "FLASK_APP": "microblog", "SECRET_KEY": SECRET_KEY, "DATABASE_URL": url}
    machines = [subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [machine.communicate(timeout=300)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0, 0], said
    assert sum("Running upgrade  -> 0001" in text for text in said) == 1
    assert tables() >= {"alembic_version", "posts", "users"}


def test_each_holder_has_a_higher_number(app):
    numbers = []
    for _ in range(3):
        with db.engine.connect() as connection, lease.held(connection, 60) as number:
            numbers.append(number)
    assert numbers == [1, 2, 3]


def test_who_waits_for_too_long_says_so(app):
    with (
        db.engine.connect() as first,
        lease.held(first, 60),
        db.engine.connect() as second,
        pytest.raises(TimeoutError, match="another migration"),
        lease.held(second, 0),
    ):
        pass


HOLDER = """
import sys, time
from microblog import create_app, lease
from microblog.database import db
lease.SECONDS, lease.AGAIN = 2, 0.1
with create_app().app_context(), db.engine.connect() as connection, lease.held(connection, 60):
    connection.exec_driver_sql("CREATE TABLE half (x INT)")
    print("holds", flush=True)
    sys.stdin.readline()
    connection.exec_driver_sql("CREATE TABLE too_late (x INT)")
"""


@pytest.fixture
def holder(app):
    """A machine that migrates, until it is told to go on."""
    url = app.config["SQLALCHEMY_DATABASE_URI"]
    environ = {**os.environ, "SECRET_KEY": SECRET_KEY, "DATABASE_URL": url}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], env=environ, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.communicate()


def test_as_long_as_it_lives_it_holds(holder):
    """For longer than one lease lasts."""
    with db.engine.connect() as connection, pytest.raises(TimeoutError), lease.held(connection, 5):
        pass
    said = holder.communicate("\n", timeout=300)[1]
    assert holder.returncode == 0, said
    assert tables() == {"half", "too_late"}


def test_who_has_died_is_not_waited_for(holder):
    holder.kill()
    with db.engine.connect() as connection, database.sole_migration(connection):
        make(connection, "whole")
    assert tables() == {"half", "whole"}


def test_who_was_frozen_does_nothing_more(holder):
    """It comes back, and believes that it is still its turn."""
    holder.send_signal(signal.SIGSTOP)
    with db.engine.connect() as connection, database.sole_migration(connection):
        make(connection, "whole")
        holder.send_signal(signal.SIGCONT)
        said = holder.communicate("\n", timeout=300)[1]
    assert holder.returncode == 1
    assert "another machine has taken this migration over" in said
    assert tables() == {"half", "whole"}


def test_a_statement_that_takes_long_keeps_it(app, monkeypatch):
    monkeypatch.setattr(lease, "SECONDS", 2)
    monkeypatch.setattr(lease, "AGAIN", 0.1)
    order = []

    def other():
        with app.app_context(), db.engine.connect() as connection, lease.held(connection, 60):
            order.append("other")

    with db.engine.connect() as connection, lease.held(connection, 60):
        thread = threading.Thread(target=other)
        thread.start()
        connection.exec_driver_sql("SELECT SLEEP(5)")
        order.append("first")
    thread.join(60)
    assert order == ["first", "other"]


def test_a_connection_that_is_killed_meanwhile(app, server, monkeypatch):
    """The lease's own: it is said on another one."""
    monkeypatch.setattr(lease, "AGAIN", -1)
    with db.engine.connect() as connection, lease.held(connection, 60):
        mine = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
        with server.connect() as other, other.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = 'leased'")
            for (number,) in cursor.fetchall():
                if number != mine:
                    cursor.execute(f"KILL {number}")
        make(connection, "whole")
    assert tables() == {"whole"}


def test_who_migrates_may_compute_for_as_long_as_its_turn_lasts(app):
    """A fleet's databases end what says nothing for some seconds (packer/files/database)."""
    with db.engine.connect() as connection, database.sole_migration(connection):
        names = ("idle_transaction_timeout", "idle_write_transaction_timeout")
        found = connection.exec_driver_sql(f"SELECT {', '.join(f'@@{name}' for name in names)}").one()
        assert tuple(found) == (lease.SECONDS, lease.SECONDS)


def test_others_go_on_between_two_long_statements(app, monkeypatch):
    """In a cluster a table's index keeps all waiting who write: not all indexes of a migration at once."""
    pauses = []
    monkeypatch.setattr(lease.time, "sleep", pauses.append)
    with db.engine.connect() as connection, lease.held(connection, 1):
        pauses.clear()
        make(connection, "quick")
        make(connection, "quick_too")
        assert lease.OTHERS not in pauses
        monkeypatch.setattr(lease, "LONG", -1)
        make(connection, "after_a_long_one")
        assert pauses.count(lease.OTHERS) == 1
