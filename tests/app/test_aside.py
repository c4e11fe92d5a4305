"""A backup beside the site's tables, in its own database: its user may make no second one."""

import io
import json
import re

import database_servers
import flask_migrate
import pytest
import sqlalchemy as sa
from app_client import SECRET_KEY

from microblog import create_app
from microblog.config import Config
from microblog.database import db, utc_now
from microblog.errors import HostError
from microblog.host.backups import archive, backup, restore
from microblog.host.database import aside, kinds, rows, schema, server, staging
from microblog.host.machine import privileges
from microblog.models import Notification, User, notifications, sessions, tokens
from microblog.models.applications import AccessToken, Client, Grant
from microblog.models.follow import follow
from microblog.models.passkeys import Passkey
from microblog.models.post import add_post

NEEDS = database_servers.NEEDS
# It has servers of its own.
pytestmark = pytest.mark.once

HEAD = max(schema.known(schema.migrations())[1])


@pytest.fixture(scope="module", params=["mariadb", pytest.param("mysql", marks=pytest.mark.thorough)])
def own_server(request):
    with getattr(database_servers, request.param)() as server:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE USER 'web'@'localhost' IDENTIFIED BY 'pw'")
            cursor.execute("GRANT ALL ON site.* TO 'web'@'localhost'")
        yield server


@pytest.fixture
def config(own_server):
    own_server.create("site")
    url = f"mysql+pymysql://web:pw@localhost/site?unix_socket={own_server.socket}"
    return Config(secret_key=SECRET_KEY, database_url=url)


@pytest.fixture
def site(config):
    app = create_app(config)
    with app.app_context():
        flask_migrate.upgrade()
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """No second process, and nobody who is told."""
    monkeypatch.setattr(privileges, "ask", lambda _what, work, hear=None: work())
    monkeypatch.setattr(privileges, "tell", lambda _text: None)


def structure():
    """Of all tables, as the server has them."""
    with db.engine.connect() as opened:
        names = sa.inspect(opened).get_table_names()
        texts = {
            name: opened.exec_driver_sql(f"SHOW CREATE TABLE `{name}`").one()[1] for name in sorted(names)
        }
    # What a table counts up to is no part of it, and where a constraint was added, neither.
    return {
        name: sorted(line.rstrip(",") for line in re.sub(r" AUTO_INCREMENT=\d+", "", text).splitlines())
        for name, text in texts.items()
        if name != rows.LEASE
    }


def make_backup(url, revision=HEAD, only=lambda table: True):
    """:return: the file; its manifest."""
    file, counts = io.BytesIO(), {}
    writer = archive.Writer(file)
    with rows.connection(url, snapshot=True) as opened:
        for table in filter(only, rows.tables(opened)):
            for number, (chunk, count) in enumerate(rows.dump(opened, table)):
                writer.add(f"database/{table.name}/{number:06}.jsonl", chunk)
                counts[table.name] = counts.get(table.name, 0) + count
    facts = {"version": "0", "created": "now", "database": "mysql", "revisions": [revision], "rows": counts}
    return file, writer.close(facts)


def fill(posts):
    people = [User(name, f"{name}@example.org", "password") for name in ("susan", "david")]
    db.session.add_all(people)
    db.session.commit()
    for number in range(posts):
        add_post(people[0], f"post {number}: the users' posts")
    follow(people[1], people[0])
    db.session.commit()


def bodies():
    db.session.rollback()
    return [row[0] for row in db.session.execute(sa.text("SELECT body FROM posts ORDER BY id"))]


def test_a_statement_is_told_of_the_others():
    names, new = {"posts", "users"}, rows.ASIDE[0]
    said = "SET body = 'posts', a = \"it's posts\" WHERE posts_count = 1 AND "
    changed = aside.prefixed(f"UPDATE posts {said} posts.id IN (SELECT id FROM `users`)", names, checks=False)  # noqa: S608
    assert changed == f"UPDATE {new}posts {said} {new}posts.id IN (SELECT id FROM `{new}users`)"  # noqa: S608
    made = (
        "CREATE TABLE posts (CONSTRAINT fk_a FOREIGN KEY(x) REFERENCES users (id), CONSTRAINT ck_a CHECK (x))"
    )
    assert aside.prefixed(made, names, checks=False) == (
        f"CREATE TABLE {new}posts (CONSTRAINT {new}fk_a FOREIGN KEY(x) REFERENCES {new}users (id),"
        " CONSTRAINT ck_a CHECK (x))"
    )
    assert f"CONSTRAINT {new}ck_a CHECK" in aside.prefixed(made, names, checks=True)
    assert aside.prefixed("ALTER TABLE posts DROP FOREIGN KEY fk_a", names, checks=False) == (
        f"ALTER TABLE {new}posts DROP FOREIGN KEY {new}fk_a"
    )


def test_a_question_by_a_value_is_told_of_them_too():
    """As SQLAlchemy 1.4 asks whether there is a table."""
    values = aside._prefixed_values(("site", "posts", 5), {"posts"})
    assert values == ("site", f"{rows.ASIDE[0]}posts", 5)
    assert aside._prefixed_values({"name": "posts"}, {"posts"}) == {"name": f"{rows.ASIDE[0]}posts"}


def test_no_column_is_called_like_a_table():
    """Its statements would be about another one."""
    columns = {column.name for table in db.metadata.tables.values() for column in table.columns}
    assert not columns & aside.known_tables()
    assert aside.known_tables() >= {*db.metadata.tables, rows.REVISIONS, rows.LEASE}


def test_all_of_it_is_restored_beside_a_site_that_goes_on(site, config):
    fill(3)
    whole = structure()
    file, manifest = make_backup(config.database_url)
    susan = User.find("susan")
    add_post(susan, "later")
    db.session.commit()
    before = bodies()
    beside = restore._stage(file, manifest, config, lambda _: None)
    assert isinstance(beside, aside.Aside)
    # The site is what it was, goes on, and its backups are of it alone.
    assert bodies() == before
    db.session.rollback()
    add_post(User.find("susan"), "meanwhile")
    db.session.commit()
    with rows.connection(config.database_url) as opened:
        assert not [table.name for table in rows.tables(opened) if table.name.startswith(rows.ASIDE)]
        with_prefix = {rows.plain_name(table) for table in rows.tables(opened, beside.prefix)}
    assert with_prefix == set(manifest["rows"])
    # The point of no return; and once more, as after an interruption.
    db.session.remove()
    assert beside.leftover()
    beside.swap([])
    assert not beside.leftover()
    beside.swap([])
    beside.discard()
    beside.discard()
    assert bodies() == before[:3]
    assert User.find("susan").followers_count == 1
    assert structure() == whole
    # Numbers go on behind those that the backup does not know of, and what refers to whom is kept.
    assert add_post(User.find("susan"), "new").id > 1_000_000
    notifications.notify("like", User.find("david").id, [User.find("susan").id])
    assert db.session.execute(sa.select(sa.func.max(Notification.id))).scalar() > 1_000_000
    db.session.rollback()
    with pytest.raises(sa.exc.IntegrityError):
        db.session.execute(sa.text("INSERT INTO follows VALUES (777, 1, '2020-01-01')"))
    db.session.rollback()


def let_in():
    """All that lets Susan in without her password. :return: how many of each there are."""
    susan = User.find("susan")
    sessions.start(susan.id, "a browser", remembered=True)
    tokens.issue(susan, tokens.RESET)
    owner = Grant(digest="a", redirect_uri="", scopes="read", expires_at=utc_now(), user_id=susan.id)
    owner.client_id = db.session.execute(
        sa.insert(Client).values(client_id="c", secret_digest="", name="App", redirect_uris="", scopes="read")
    ).inserted_primary_key[0]
    db.session.add_all([owner, AccessToken(digest="b", user_id=susan.id, scopes="read")])
    passkey = {"host": "x", "name": "key", "credential": "", "public_key": "", "counter": 0, "asked_ms": 0}
    db.session.add(Passkey(digest="k", user_id=susan.id, **passkey))
    db.session.commit()


def counts_of(*names):
    db.session.rollback()
    return [db.session.execute(sa.text(f"SELECT COUNT(*) FROM {name}")).scalar() for name in names]  # noqa: S608


@pytest.mark.parametrize("newest", [True, False])
def test_log_ins_that_may_have_been_ended_do_not_come_back(site, config, newest):
    """After a restore; an update that is taken back has nobody log in anew."""
    fill(1)
    let_in()
    file, manifest = make_backup(config.database_url)
    assert set(restore.ENDED) <= set(manifest["rows"])
    db.session.remove()
    beside = restore._stage(file, manifest, config, lambda _: None, newest=newest)
    beside.swap([])
    beside.discard()
    assert counts_of(*restore.ENDED) == [0 if newest else 1] * 4
    assert counts_of("users", "posts", "passkeys", "api_clients") == [2, 1, 1, 1]


def test_an_older_backup_comes_up_to_date_beside_the_site(site, config):
    """All migrations run beside tables of the same names, and touch none of them."""
    fill(2)
    whole, before = structure(), bodies()
    alice = {
        **{"id": 7, "username": "alice", "name_key": "alice", "email": "a@example.org"},
        **{"password_hash": "x", "created_at": "2020-01-01 00:00:00"},
    }
    lines = [{"table": "users", "columns": [*alice]}, [*alice.values()]]
    file = io.BytesIO()
    writer = archive.Writer(file)
    writer.add("database/users/000000.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines).encode())
    manifest = writer.close({"version": "0", "revisions": ["0001"], "rows": {"users": 1}})
    beside = restore._stage(file, manifest, config, lambda _: None)
    assert structure() | whole == structure()
    assert bodies() == before
    db.session.remove()
    beside.swap([])
    beside.discard()
    assert bodies() == []
    assert User.find("alice").id == 7
    assert structure() == whole


def test_a_loading_that_was_cut_short_goes_on(site, config, monkeypatch):
    fill(3)
    file, manifest = make_backup(config.database_url)
    added, later, right = [], [], rows.Loader.add

    def table(chunk):
        return json.loads(chunk.split(b"\n")[0])["table"]

    def dies(loader, chunk):
        if len(added) == 4:
            raise KeyboardInterrupt
        added.append(table(chunk))
        return right(loader, chunk)

    def goes_on(loader, chunk):
        later.append(table(chunk))
        return right(loader, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(rows.Loader, "add", dies)
        # As a power cut does: nothing is cleaned up.
        patch.setattr(aside.Aside, "discard", lambda beside: None)
        with pytest.raises(KeyboardInterrupt):
            restore._stage(file, manifest, config, lambda _: None)
    monkeypatch.setattr(rows.Loader, "add", goes_on)
    said = []
    beside = restore._stage(file, manifest, config, said.append)
    assert said[0] == "Going on with what was loaded before ..."
    assert added
    assert not set(added) & set(later)
    assert {*added, *later} == set(manifest["rows"])
    beside.swap([])
    beside.discard()
    assert len(bodies()) == 3
    # Another backup begins anew.
    manifest["created"] = "later"
    restore._stage(file, manifest, config, said.append).discard()
    assert said[1].startswith("Loading ")


def test_a_server_that_goes_away_meanwhile_is_waited_for(site, config, monkeypatch):
    fill(3)
    file, manifest = make_backup(config.database_url)
    right, lost = rows.Loader.keep, []

    def cut(loader, pieces):
        if len(lost) < 2 and "posts" in loader.counts:
            lost.append(pieces)
            loader._opened.connection.dbapi_connection._force_close()
        right(loader, pieces)

    monkeypatch.setattr(rows.Loader, "keep", cut)
    beside = restore._stage(file, manifest, config, lambda _: None)
    assert len(lost) == 2
    db.session.remove()
    beside.swap([])
    beside.discard()
    assert len(bodies()) == 3


def test_what_fails_leaves_nothing_behind(site, config):
    fill(1)
    file, manifest = make_backup(config.database_url)
    manifest["rows"]["posts"] = 5
    whole = structure()
    with pytest.raises(HostError, match="5 rows of posts were expected, 1 loaded"):
        restore._stage(file, manifest, config, lambda _: None)
    assert structure() == whole
    target = server.Target.parse(config.database_url)
    # A restore that a version before has begun has its second database all the same.
    assert not isinstance(kinds.Mysql(config.database_url, target).beside(print, 2), aside.Aside)


@pytest.mark.parametrize("prefix", rows.ASIDE)
def test_tables_of_somebody_else_with_such_a_name_are_refused_untouched(site, config, own_server, prefix):
    fill(1)
    file, manifest = make_backup(config.database_url)
    theirs = f"site.{prefix}posts"
    with own_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {theirs} AS SELECT * FROM site.posts")  # noqa: S608
        with pytest.raises(
            HostError, match=f"the table {prefix}posts of the database site is somebody else's"
        ):
            restore._stage(file, manifest, config, lambda _: None)
        assert cursor.execute(f"SELECT * FROM {theirs}") == 1  # noqa: S608
        cursor.execute(f"DROP TABLE {theirs}")
        # What else is there, whatever it is called, is let be.
        cursor.execute("CREATE TABLE site.`their``s` (x INT)")
        restore._stage(file, manifest, config, lambda _: None).discard()
        cursor.execute("DROP TABLE site.`their``s`")


THEIRS = (
    "CREATE DATABASE theirs",
    "CREATE TABLE theirs.things (id INT PRIMARY KEY)",
    "CREATE TABLE site.theirs (x SET('a', 'b'), y INT, FOREIGN KEY (y) REFERENCES theirs.things (id))",
    "INSERT INTO site.theirs VALUES ('a,b', NULL)",
)


def test_who_shares_the_database_keeps_what_is_theirs(site, config, own_server, monkeypatch, tmp_path):
    """Whatever it is: no backup of ours takes it along, and none put back takes it away."""
    fill(3)
    monkeypatch.setenv("MICROBLOG_ENV_FILE", str(tmp_path / "env"))
    (tmp_path / "env").touch()
    monkeypatch.setattr(restore.layout, "TLS", tmp_path)
    monkeypatch.setattr(restore, "_open", lambda file: file)
    monkeypatch.setattr(restore, "finish", lambda _say: None)
    file, strays = io.BytesIO(), []
    monkeypatch.setattr(restore, "_commit", lambda _name, _settings, found: strays.extend(found))
    # What an upgrade will have made, with the next version's files; beside it, a program of somebody else's.
    known = aside.known_tables()
    monkeypatch.setattr(aside, "known_tables", lambda: {*known, "extra"})
    with own_server.connect() as connection, connection.cursor() as cursor:
        for statement in THEIRS:
            cursor.execute(statement)
        connection.commit()
        try:
            manifest = backup._writing(config.database_url, file)()
            assert "theirs" not in manifest["rows"]
            assert manifest["strangers"] == ["theirs"]
            assert {*manifest["rows"], rows.REVISIONS, rows.LEASE} == known
            cursor.execute("CREATE TABLE site.extra (x INT)")
            file.seek(0)
            restore.put_back(file, config, lambda _: None)
            assert strays == ["extra"]
        finally:
            aside.Aside(config.database_url, server.Target.parse(config.database_url), print).discard()
            cursor.execute("DROP TABLE site.theirs")
            cursor.execute("DROP DATABASE theirs")


@pytest.mark.parametrize(
    ("tie", "undo", "said"),
    [
        (
            "CREATE TRIGGER theirs AFTER INSERT ON posts FOR EACH ROW SET @x = 1",
            "DROP TRIGGER theirs",
            "the trigger theirs, which is none of this version's, hangs on the site's table posts",
        ),
        (
            "CREATE TABLE theirs (x BIGINT, CONSTRAINT fk FOREIGN KEY (x) REFERENCES posts (id))",
            "DROP TABLE theirs",
            "the foreign key site.theirs.fk, which is none of this version's, hangs on the site's table",
        ),
    ],
)
def test_what_hangs_on_the_sites_tables_is_told_before_anything_is_changed(
    site, config, own_server, monkeypatch, tmp_path, tie, undo, said
):
    """When they are exchanged, it is too late."""
    fill(1)
    file = tmp_path / "backup"
    file.write_bytes(make_backup(config.database_url)[0].getvalue())
    monkeypatch.setattr(Config, "load", lambda _path: config)
    with own_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("USE site")
        cursor.execute(tie)
        whole = structure()
        with pytest.raises(HostError, match=said):
            restore._restore(file, print, force=False, name="x")
        with pytest.raises(HostError, match=said), restore.staged(file, print):
            pass
        # A second database, where the server is this site's, would be held by it.
        with pytest.raises(HostError, match=said):
            staging.Mysql(
                config.database_url, server.Target.parse(config.database_url), print, earlier=False
            ).refuse_ties()
        assert structure() == whole
        cursor.execute(undo)
        with restore.staged(file, lambda _: None) as (_, manifest, _):
            assert manifest["rows"]["posts"] == 1
