"""Units of work on a real server: conflicts, connections that are killed, answers that are lost."""

import re
import sys
import threading
import time
from datetime import datetime, timedelta
from types import SimpleNamespace

import database_servers
import flask_migrate
import pytest
import sqlalchemy as sa
from app_client import PASSWORD, SECRET_KEY, Browser, token
from database_proxy import Proxy
from elasticsearch_double import Double
from pymysql.err import OperationalError as ServerError
from sqlalchemy.exc import OperationalError

from microblog import create_app, database, units
from microblog.config import Config
from microblog.database import db, utc_now
from microblog.models import (
    Post,
    User,
    account,
    indexing,
    invitations,
    notifications,
    post,
    second_factor,
    throttle,
    tokens,
    unfinished,
)
from microblog.models.follow import Follow
from microblog.models.post import add_post, add_post_once
from microblog.models.sessions import Session
from microblog.models.throttle import Limit
from microblog.mysql import LazyConnection
from microblog.web import housekeeping, letters, limits

NEEDS = database_servers.NEEDS
# It has a server of its own.
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A MariaDB, and the application behind a proxy to it."""
    with database_servers.mariadb() as server:
        url = server.create("units")
        # A socket's path is short.
        proxy = Proxy(server.socket.with_name("proxy"), server.socket)
        settings = {
            "secret_key": SECRET_KEY,
            "database_url": url.replace(str(server.socket), str(proxy.path)),
        }
        app = create_app(Config(**settings))
        with app.app_context():
            flask_migrate.upgrade()
        yield SimpleNamespace(server=server, proxy=proxy, app=app)
        proxy.close()


@pytest.fixture
def site(engine, monkeypatch):
    """With Susan, who is logged in, and David."""
    app = engine.app
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(units, "_outage", units._Outage())
    with app.app_context():
        for name in ("susan", "david"):
            db.session.add(User(name, f"{name}@example.org", PASSWORD))
            db.session.flush()
        db.session.commit()
    browser = Browser(app)
    browser.login()
    browser.get("/").close()
    engine.proxy.lost = engine.proxy.refused = 0
    yield SimpleNamespace(**vars(engine), susan=browser)
    engine.proxy.lose, engine.proxy.refuse = b"", 0
    with app.app_context():
        for table in reversed(db.metadata.sorted_tables):
            db.session.execute(table.delete())
        db.session.commit()


@pytest.fixture
def other(engine):
    """Another one who uses the database: a connection that is in a transaction."""
    connection = engine.server.connect("units")
    connection.begin()
    yield connection
    connection.close()


@pytest.fixture
def undo(monkeypatch):
    """Have the next commit after such a statement undone, as for another node's sake.

    :return: the function that asks for it; which adds the statement to ``met`` when it was.
    """
    query, commit = LazyConnection.query, LazyConnection.commit

    def ask(statement):
        ask.wanted = statement

    ask.wanted, ask.met = "", []

    def note(self, sql, *rest):
        if ask.wanted and ask.wanted in str(sql):
            self.doomed, ask.wanted = ask.wanted, ""
        return query(self, sql, *rest)

    def lose(self):
        if doomed := self.__dict__.pop("doomed", ""):
            self.rollback()
            ask.met.append(doomed)
            raise ServerError(1213, "Deadlock found when trying to get lock")
        commit(self)

    monkeypatch.setattr(LazyConnection, "query", note)
    monkeypatch.setattr(LazyConnection, "commit", lose)
    return ask


def posts(site):
    with site.app.app_context():
        return sorted(row.body for row in db.session.query(Post))


def in_background(work):
    """:return: a thread, and where its result will be."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    return thread, found


def waiting(site):
    """The number of the connection that waits for a lock, once there is one."""
    query = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    ends = time.monotonic() + 60
    with site.server.connect() as connection, connection.cursor() as cursor:
        while time.monotonic() < ends:
            # What it tells is a tenth of a second old, and older while it is asked all the time.
            time.sleep(0.2)
            cursor.execute(query)
            if row := cursor.fetchone():
                return row[0]
    raise AssertionError("nobody waits")


def lock(other, name):
    with other.cursor() as cursor:
        cursor.execute("UPDATE users SET about = CONCAT(about, '.') WHERE name_key = %s", (name,))


def test_a_deadlock(site, other):
    page = site.susan.get("/explore")
    lock(other, "david")
    thread, found = in_background(lambda: site.susan.post("/user/david/follow", {"csrf_token": token(page)}))
    waiting(site)
    # Who has changed less is undone: that is the visitor's.
    lock(other, "susan")
    other.commit()
    thread.join(60)
    assert found[0].status_code == 302
    with site.app.app_context():
        assert db.session.query(Follow).count() == 1
        assert User.find("david").followers_count == 1
        # It was one attempt.
        key = limits.FOLLOW.key(User.find("susan").id)
        assert db.session.get(throttle.Attempts, key.digest).made == 1


def test_a_connection_that_is_killed(site, other):
    lock(other, "susan")
    thread, found = in_background(lambda: site.susan.write("at the second go"))
    with site.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"KILL {waiting(site)}")
    other.commit()
    thread.join(60)
    assert found[0].status_code == 302
    assert posts(site) == ["at the second go"]


@pytest.mark.parametrize("before", [True, False], ids=["unheard", "unanswered"])
def test_a_connection_that_is_lost_when_nothing_was_changed(site, before):
    """Who unfollows whom they do not follow has locked both accounts, and no more."""
    form = {"csrf_token": token(site.susan.get("/"))}
    site.proxy.before, site.proxy.lose = before, b"ROLLBACK"
    for _ in range(2):
        assert site.susan.post("/user/david/unfollow", form).status_code == 302
    assert site.proxy.lost == 1


@pytest.mark.parametrize("before", [True, False], ids=["unheard", "unanswered"])
@pytest.mark.parametrize("body", ["only once", "😀"])
def test_a_post_whose_commit_nobody_knows_of(site, before, body):
    page = site.susan.get("/")
    form = {"csrf_token": token(page), "once": once(page), "body": body}
    # The first to commit is the count of attempts.
    site.proxy.before = before
    arm(site, b"INSERT INTO sent_forms")
    assert site.susan.post("/", form).status_code == 302
    assert site.proxy.lost == 1
    assert posts(site) == [body]
    with site.app.app_context():
        assert User.find("susan").posts_count == 1
    # Also where the browser sends no token.
    arm(site, b"INSERT INTO sent_forms")
    assert site.susan.write(f"{body} 2").status_code == 302
    assert site.proxy.lost == 2
    assert posts(site) == [body, f"{body} 2"]


def once(page):
    return re.search(r'name="once" value="([^"]+)"', page.text)[1]


def arm(site, statement):
    """Lose the COMMIT that comes next after this statement."""
    proxy = site.proxy
    right = proxy.meets

    def meets(said):
        if statement in said:
            proxy.lose, proxy.meets = b"COMMIT", right
        return False

    proxy.meets = meets


@pytest.mark.parametrize("before", [True, False], ids=["unheard", "unanswered"])
def test_what_is_not_safe_twice_is_not_done_twice(site, before):
    """A new account: who asked is told that it may be there, and it is there once, or not at all."""
    browser = Browser(site.app)
    site.proxy.before = before
    arm(site, b"INSERT INTO users")
    answer = browser.register("maria")
    assert site.proxy.lost == 1
    assert answer.status_code == 503
    assert "It may have been done all the same" in answer.text
    with site.app.app_context():
        assert db.session.query(User).filter_by(username="maria").count() == (0 if before else 1)
        assert db.session.query(Session).count() == (1 if before else 2)


@pytest.mark.parametrize("path, column", [("/user/david/follow", "followers_count"), ("/logout", None)])
def test_what_is_safe_twice(site, path, column):
    page = site.susan.get("/explore")
    site.proxy.before = False
    arm(site, b"INSERT IGNORE INTO follows" if column else b"DELETE FROM sessions")
    assert site.susan.post(path, {"csrf_token": token(page)}).status_code == 302
    assert site.proxy.lost == 1
    with site.app.app_context():
        assert User.find("david").followers_count == (1 if column else 0)
        assert db.session.query(Session).count() == (1 if column else 0)


@pytest.mark.parametrize("answered", [True, False], ids=["undone", "unanswered"])
def test_who_is_let_in_is_told_once(site, undo, monkeypatch, answered):
    """Though the commit was undone at first, or was not answered."""
    told = []
    monkeypatch.setattr(letters, "tell_welcome", lambda user: told.append(user.username))
    with site.app.app_context():
        User.find("susan").is_admin = True
        account.keep_waiting(User.find("david"))
        db.session.commit()
    page = site.susan.get("/admin")
    if answered:
        undo("DELETE FROM unfinished")
    else:
        site.proxy.before = False
        arm(site, b"DELETE FROM unfinished")
    form = {"csrf_token": token(page)}
    assert site.susan.post("/admin/user/david/unsuspend", form).status_code == 302
    assert undo.met if answered else site.proxy.lost
    assert told == ["david"]
    with site.app.app_context():
        assert User.find("david").is_active


def turn_second_factor_on(site):
    """:return: susan's number, and her recovery codes."""
    with site.app.app_context():
        user = User.find("susan")
        codes = second_factor.turn_on(user, second_factor.new_seed(), 0)
        db.session.commit()
        return user.id, codes


def test_a_recovery_code_is_used_by_the_log_in_or_not_at_all(site, undo):
    number, codes = turn_second_factor_on(site)
    browser = Browser(site.app)
    browser.login()
    undo("INSERT INTO sessions")
    answer = browser.submit("/login/code", {"code": codes[0]})
    assert undo.met
    assert answer.status_code == 302
    assert browser.logged_in()
    with site.app.app_context():
        assert second_factor.codes_left(number) == second_factor.RECOVERY_CODES - 1
        for limit in (limits.SECOND, limits.SECOND_DAY):
            assert db.session.get(throttle.Attempts, limit.key(number).digest).made == 0


def test_who_turns_a_second_factor_on_sees_the_codes(site, undo):
    page = site.susan.get("/settings/second-factor")
    with site.susan.client.session_transaction() as session:
        seed = session["second_seed"]
    with site.app.app_context():
        code = second_factor.totp(second_factor.secret_of(seed), int(time.time()) // 30)
    undo("INSERT INTO sessions")
    form = {"csrf_token": token(page), "code": code, "password": PASSWORD}
    answer = site.susan.post("/settings/second-factor", form)
    assert undo.met
    assert len(re.findall(r"<samp>[0-9a-z-]{19}</samp>", answer.text)) == second_factor.RECOVERY_CODES
    assert site.susan.logged_in()


def test_a_site_is_claimed_by_who_is_logged_in_then(engine, undo):
    settings = {"secret_key": SECRET_KEY, "database_url": engine.app.config["SQLALCHEMY_DATABASE_URI"]}
    app = create_app(Config(**settings, claim_code="BCDFGHJK"))
    owner = Browser(app)
    owner.submit("/first-run", {"code": "BCDFGHJK"})
    undo("INSERT INTO sessions")
    form = {"username": "ada", "email": "ada@example.org", "password": PASSWORD, "password2": PASSWORD}
    try:
        answer = owner.submit("/first-run/account", form)
        assert undo.met
        assert answer.headers["Location"] == "/first-run/site"
        assert owner.get("/first-run/site").status_code == 200
    finally:
        with app.app_context():
            for table in ("sessions", "settings", "users"):
                db.session.execute(db.metadata.tables[table].delete())
            db.session.commit()


def test_a_command_meets_a_conflict_too(site, undo):
    run = site.app.test_cli_runner().invoke
    # Else who is no longer an administrator would be the last one.
    run(args=["user", "add", "another", "another@example.org", "--generate", "--admin"])
    for arguments, statement in (
        # Else david would be the last administrator.
        (["promote", "susan"], "UPDATE users"),
        (["suspend", "david"], "UPDATE users"),
        (["unsuspend", "david"], "UPDATE users"),
        (["promote", "david"], "UPDATE users"),
        (["demote", "david"], "UPDATE users"),
        (["password", "david", "--generate"], "UPDATE users"),
        (["second-factor", "david", "--off"], "DELETE FROM sessions"),
        (["delete", "david", "--yes"], "UPDATE users"),
        (["add", "david", "david@example.org", "--generate"], "INSERT INTO users"),
    ):
        undo(statement)
        result = run(args=["user", *arguments])
        assert result.exit_code == 0, result
        assert undo.met.pop() == statement
        if "--generate" in arguments:
            with site.app.app_context():
                password = result.output.split("password: ")[1].strip()
                assert User.authenticate("david", password)


def test_who_is_suspended_keeps_no_newcomer_waiting(site, other):
    """Of somebody who has written nothing there is no row to be found: what was looked for stays free."""
    with site.app.app_context():
        account.suspend(User.find("susan"))
        david = User.find("david").id
        with other.cursor() as cursor:
            # Who would have to wait is told so.
            cursor.execute("SET innodb_lock_wait_timeout = 0")
            cursor.execute("INSERT INTO latest_posts VALUES (%s, 1)", (david,))
            cursor.execute(
                "INSERT INTO unfinished (user_id, task, done_to) VALUES (%s, 'suspend', 0)", (david,)
            )
        other.rollback()
        db.session.rollback()


def test_a_piece_that_meets_a_conflict_is_done_again(site, undo, monkeypatch):
    monkeypatch.setattr(unfinished, "CHUNK", 2)
    with site.app.app_context():
        for number in range(5):
            add_post(User.find("david"), f"word {number}")
        db.session.commit()
        account.suspend(User.find("david"))
        db.session.commit()
        undo("UPDATE unfinished")
        unfinished.work_off()
        assert undo.met
        assert db.session.query(unfinished.Unfinished).count() == 0
        assert db.session.query(post.PublicPost).count() == 0


def test_who_writes_while_a_table_is_filled_is_not_undone(engine):
    """By a migration, beside the version before, which would tell its visitor of an error."""
    app = create_app(Config(secret_key=SECRET_KEY, database_url=engine.server.create("filled")))
    write = "INSERT INTO posts (author_id, body, created_at) VALUES (%s, 'word', '2025-01-01 00:00:00')"
    with app.app_context(), engine.server.connect("filled") as other, other.cursor() as cursor:
        flask_migrate.upgrade(revision="0004")
        for number in range(1, 5):
            cursor.execute(
                "INSERT INTO users (id, username, name_key, email, password_hash, created_at)"
                " VALUES (%s, %s, %s, %s, 'x', '2025-01-01 00:00:00')",
                (number, f"user{number}", f"user{number}", f"user{number}@example.org"),
            )
            cursor.execute(write, (number,))
        other.begin()
        cursor.execute("UPDATE users SET posts_count = 2 WHERE id = 3")
        # Who has changed less is undone: that is the migration.
        for _ in range(100):
            cursor.execute(write, (3,))

        def work():
            with app.app_context():
                flask_migrate.upgrade()
                db.engine.dispose()
            return "done"

        thread, found = in_background(work)
        waiting(engine)
        cursor.execute(write, (3,))
        cursor.execute("UPDATE users SET followers_count = 1 WHERE id = 1")
        other.commit()
        thread.join(60)
        assert found == ["done"]
        cursor.execute("SELECT author_id FROM latest_posts ORDER BY author_id")
        assert [row[0] for row in cursor.fetchall()] == [1, 2, 3, 4]
        db.engine.dispose()


def test_a_machine_whose_clock_is_wrong_hides_no_change_from_the_search_engine(site, monkeypatch):
    """The engine keeps the latest of what it is told: by the database's clock, which all machines share."""
    double = Double()
    settings = {"secret_key": SECRET_KEY, "database_url": site.app.config["SQLALCHEMY_DATABASE_URI"]}
    app = create_app(Config(**settings, elasticsearch_url=double.url))
    monkeypatch.setattr(app.extensions["microblog.elasticsearch.sender"], "start", lambda: None)
    try:
        with app.app_context():
            with monkeypatch.context() as patch:
                ahead, right = utc_now() + timedelta(hours=1), time.time_ns
                patch.setattr(indexing, "utc_now", lambda: ahead)
                patch.setattr(indexing.time, "time_ns", lambda: right() + 3600 * 10**9)
                number = add_post(User.find("susan"), "soon gone").id
                db.session.commit()
                assert indexing.catch_up()
                assert set(double.indices["posts"]) == {str(number)}
                # It dies while it sends.
                assert indexing._lease()
            with db.engine.begin() as connection:
                leased = sa.text(
                    "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), leased_until) FROM search_index"
                )
                assert connection.execute(leased).scalar() <= 90
            indexing._save(leased_until=datetime(2000, 1, 1))
            post.delete_post(post.find_post(number))
            db.session.commit()
            assert indexing.catch_up()
            assert double.indices["posts"] == {}
    finally:
        double.close()


def test_a_machine_whose_clock_is_wrong_removes_nothing_of_the_others(site, monkeypatch):
    """By its own, all are logged out, and no link in a mail is good; and its own would be good for a year."""
    ahead = timedelta(days=400)
    modules = [module for name, module in sys.modules.items() if name.startswith("microblog.")]

    def wrong(patch):
        for module in modules:
            if hasattr(module, "utc_now") and module is not database:
                patch.setattr(module, "utc_now", lambda: utc_now() + ahead)

    def rows():
        with db.engine.connect() as connection:
            return {
                table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
                for table in db.metadata.sorted_tables
            }

    with site.app.app_context():
        susan, david = User.find("susan"), User.find("david")
        link = tokens.issue(susan, tokens.RESET)
        invitations.issue("a friend", 3, 7)
        throttle.attempt(Limit("test", 3, 600).key("susan"))
        add_post_once(susan, "a form's", "hello")
        notifications.notify("follow", david.id, [susan.id])
        db.session.commit()
        before = rows()
        filled = {"sessions", "tokens", "invitations", "attempts", "sent_forms", "notifications"}
        assert {name for name in filled if before[name]} == filled
        with monkeypatch.context() as patch:
            wrong(patch)
            housekeeping.clean(site.app)
            other = tokens.issue(User.find("david"), tokens.RESET)
            db.session.commit()
            assert tokens.find(link, tokens.RESET)
        assert rows() == {**before, "tokens": before["tokens"] + 1}
        _david, token = tokens.find(other, tokens.RESET)
        assert token.expires_at <= utc_now() + tokens.LIFETIME + timedelta(seconds=1)


def test_two_clicks_are_one_post(site):
    page = site.susan.get("/")
    form = {"csrf_token": token(page), "once": once(page), "body": "impatient"}
    cookies = page.request.headers["Cookie"]
    start = threading.Barrier(4)

    def send():
        start.wait(60)
        client = site.app.test_client(use_cookies=False)
        return client.post("/", data=form, headers={"Cookie": cookies}).status_code

    threads = [in_background(send) for _ in range(4)]
    for thread, _ in threads:
        thread.join(60)
    assert [found[0] for _, found in threads] == [302] * 4
    assert posts(site) == ["impatient"]
    # Who goes back to that page, and writes something else there, means it.
    assert site.susan.post("/", {**form, "body": "another one"}).status_code == 302
    assert posts(site) == ["another one", "impatient"]


def test_a_server_that_is_away_for_a_moment(site):
    with site.app.app_context():
        db.engine.dispose()
    site.proxy.refuse = 2
    assert site.susan.get("/explore").status_code == 200
    assert site.proxy.refused == 2


def test_a_server_that_stays_away(site, monkeypatch):
    """Bounded: who comes later does not wait for as long."""
    waits = []
    monkeypatch.setattr(units.time, "sleep", waits.append)
    with site.app.app_context():
        db.engine.dispose()
    site.proxy.refuse = 1000
    answer = site.susan.get("/explore")
    assert answer.status_code == 503
    assert "Not now" in answer.text
    assert len(waits) <= 2 * units.TRIES
    assert sum(waits) < 20
    units._outage._since -= 2 * units.PATIENCE
    waits.clear()
    assert site.susan.get("/explore").status_code == 503
    # Each asks twice, in a moment.
    assert len(waits) <= 2
    assert sum(waits) <= 0.2


def test_after_a_long_outage_nobody_is_turned_away_by_a_connection_from_before(site):
    """The server is back; what this process has of it is not."""
    assert site.susan.get("/explore").status_code == 200
    units._outage._since, units._outage._latest = time.monotonic() - 2 * units.PATIENCE, time.monotonic()
    with site.app.app_context():
        db.engine.dispose()
    site.proxy.refuse = 1
    assert site.susan.get("/explore").status_code == 200
    assert units._outage.lasted(time.monotonic()) == 0


def test_old_forms_are_forgotten(site):
    site.susan.write("long ago")
    with site.app.app_context():
        forms = post.SentForm.__table__
        post.sweep()
        assert db.session.query(post.SentForm).count() == 1
        with db.engine.begin() as connection:
            connection.execute(sa.update(forms).values(created_at=utc_now() - 2 * post._SENT))
        post.sweep()
        assert db.session.query(post.SentForm).count() == 0
    assert posts(site) == ["long ago"]


class Fault(Exception):
    pass


def error(number):
    return OperationalError("COMMIT", {}, Fault(number, "x"))


@pytest.mark.parametrize(
    "number, tries", [(1213, units.MEETINGS), (1205, units.MEETINGS), (2013, units.TRIES), (1146, 1)]
)
def test_a_unit_is_begun_so_often(site, monkeypatch, number, tries):
    monkeypatch.setattr(units.time, "sleep", lambda _seconds: None)
    begun = []

    def work():
        begun.append(1)
        raise error(number)

    with site.app.app_context():
        for _ in range(2):
            # Within another one, it is not begun more often.
            with pytest.raises(OperationalError):
                units.run(lambda: units.run(work))
    assert len(begun) == 2 * tries


def test_its_tries_last_for_as_long_as_its_patience(site, monkeypatch):
    """A table that a cluster is just migrating refuses what is written meanwhile, again and again."""
    pauses = []
    monkeypatch.setattr(units.time, "sleep", pauses.append)
    monkeypatch.setattr(units.random, "uniform", lambda _low, high: high)

    def work():
        raise error(1213)

    with site.app.app_context(), pytest.raises(OperationalError):
        units.run(work)
    assert sum(pauses) / 2 > units.MEETS


def test_one_within_another_has_what_is_left_of_its_patience(site, monkeypatch):
    """A balancer's minute is for all of a request."""
    now = [1000.0]
    monkeypatch.setattr(units.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(units.time, "sleep", lambda _seconds: None)
    begun = []

    def count():
        begun.append(1)
        raise error(1213)

    def work():
        now[0] += units.MEETS + 1
        units.run(count)

    with site.app.app_context(), pytest.raises(OperationalError):
        units.run(work)
    assert len(begun) == 1


def test_one_within_another_leaves_the_others_work_alone(site, monkeypatch):
    """A count of attempts that meets another one, between what a view has written and its commit."""
    monkeypatch.setattr(units.time, "sleep", lambda _seconds: None)
    right, left = throttle._count, [error(1213)]

    def count(key):
        if left:
            raise left.pop()
        return right(key)

    monkeypatch.setattr(throttle, "_count", count)

    def work():
        db.session.execute(sa.update(User.__table__).values(about="written before"))
        assert throttle.attempt(limits.POST.key("somebody")) == 0
        db.session.commit()

    with site.app.app_context():
        units.run(work)
        assert left == []
        assert {user.about for user in db.session.query(User)} == {"written before"}


def test_after_an_outage_all_have_patience_again(monkeypatch):
    outage = units._Outage()
    assert outage.lasted(0) == 0
    assert outage.lasted(9) == 9
    outage.over()
    assert outage.lasted(11) == 0
    # By itself, where nobody has asked for long.
    assert outage.lasted(11 + 2 * units.PATIENCE) == 0
