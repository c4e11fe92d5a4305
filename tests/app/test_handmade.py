"""The tutorial's database becomes ours: what our forms take as it is, what they would not named."""

import io
import sqlite3

import flask_migrate
import pytest
from handmade import HASHES, PASSWORD, statements

from microblog.database import db
from microblog.errors import HostError
from microblog.host.backups import archive
from microblog.host.database import rows
from microblog.host.handmade import convert, found, read, take
from microblog.models import Post, User
from microblog.models.feeds import home_page
from microblog.models.passwords import check_password
from microblog.models.search import search_page


@pytest.fixture
def old(server, tmp_path):
    """``old(extra)``: the tutorial's database, with more statements; its URL."""

    def make(*extra, body=140):
        made = [*statements(bool(server), body), *extra]
        if server is None:
            path = tmp_path / "app.db"
            path.unlink(missing_ok=True)
            with sqlite3.connect(path) as connection:
                for statement in made:
                    connection.execute(statement)
            connection.close()
            return f"sqlite:///{path}"
        url = server.create("old")
        with server.connect("old") as connection, connection.cursor() as cursor:
            # As on servers of old, and the tutorial's own word for the database.
            cursor.execute("SET SESSION sql_mode = ''")
            cursor.execute("ALTER DATABASE old CHARACTER SET utf8mb3 COLLATE utf8mb3_bin")
            for statement in made:
                cursor.execute(statement)
        return url

    return make


@pytest.fixture
def taken_over(make_app, server, tmp_path):
    """``taken_over(url)``: an application with what was taken from there; what was said of it."""

    def take_over(url):
        here = server.create("here") if server else f"sqlite:///{tmp_path / 'here.db'}"
        app = make_app(database_url=here)
        file = io.BytesIO()
        taken = take._write(url, file)
        manifest = archive.verify(file)
        assert manifest["rows"] == taken.counts
        with app.app_context():
            flask_migrate.upgrade(revision=manifest["revisions"][0])
            db.engine.dispose()
        with rows.connection(here) as opened:
            loader = rows.Loader(opened)
            for name, data in archive.members(file):
                if name.startswith("database/"):
                    assert loader.add(data)[1] >= 0
            loader.commit()
        with app.app_context():
            flask_migrate.upgrade()
            db.engine.dispose()
        return app, taken

    return take_over


def test_accounts_followers_and_posts_are_taken_over(old, taken_over, server):
    url = old()
    if server:
        # The tutorial's own user: with a password, which MySQL 8 and newer ask for in another way.
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("DROP USER IF EXISTS theirs@localhost")
            cursor.execute("CREATE USER theirs@localhost IDENTIFIED BY 'db-pass'")
            cursor.execute("GRANT ALL ON old.* TO theirs@localhost")
        url = url.replace("//root@", "//theirs:db-pass@")
    app, taken = taken_over(url)
    assert taken.counts == {"users": 3, "posts": 4, "follows": 3}
    assert taken.remarks == ["account 3 (john doe): is called john_doe here"]
    assert taken.left == ["1 private messages"]
    with app.app_context():
        for name in ("susan", "david", "john_doe", "SUSAN@example.org"):
            assert User.authenticate(name, PASSWORD), name
            assert not User.authenticate(name, f"{PASSWORD}s")
        susan, david = User.find("susan"), User.find("david")
        assert (susan.id, david.id) == (1, 2)
        assert susan.about == "I like\ncats"
        assert str(susan.created_at) == "2018-08-01 10:11:12"
        assert (susan.posts_count, susan.followers_count, susan.following_count) == (2, 1, 1)
        assert (david.followers_count, david.following_count, david.last_seen) == (1, 2, None)
        assert [(post.id, post.body) for post in home_page(susan).posts] == [
            (5, "The Avengers movie was so cool!"),
            (2, "Ein schöner Tag, @david"),
            (1, "Beautiful day in Portland!"),
        ]
        assert [db.session.get(Post, number).language for number in (1, 2, 5)] == ["en", "de", None]
        assert str(db.session.get(Post, 2).created_at) == "2018-08-02 10:11:12"
        assert [post.id for post in search_page("schoner").posts] == [2]
        db.engine.dispose()


def test_what_the_forms_would_not_take_is_named(old, taken_over):
    bad = [
        "INSERT INTO user (id, username, email, password_hash) VALUES"
        " (10, 'admin', 'admin@example.org', 'plain'), (11, 'José', 'no address', NULL),"
        " (12, 'Al', 'DAVID@example.org', 'sha256$a$b'), (13, NULL, NULL, 'scrypt:32768:8:1$salt$abc'),"
        " (14, 'Susan', 'other@example.org', 'x'), (15, 'a-b', '15@example.org', 'x'),"
        " (16, 'a.b', '16@example.org', 'x')",
        "INSERT INTO post VALUES (20, '  \u200b ', '2020-01-01 00:00:00', 1, 'en'),"
        " (21, 'nobody wrote this', '2020-01-01 00:00:00', NULL, NULL),"
        " (22, 'when?', NULL, 1, 'zh-cn'), (23, 'when?', '0000-00-00 00:00:00', 1, 'xx_yy'),"
        " (24, '" + "long " * 40 + "', '2020-01-02 00:00:00', 1, 'en')",
        "INSERT INTO followers VALUES (1, NULL)",
    ]
    app, taken = taken_over(old(*bad, body=300))
    assert taken.counts == {"users": 10, "posts": 7, "follows": 3}
    said = "\n".join(taken.remarks)
    for line in (
        "account 10 (admin): is called admin_ here",
        "account 10 (admin): has no password that can be checked: it needs a new one",
        "account 11 (José): is called Jose here",
        "account 11 (José): no address is no address: it has none here, and comes in by its name",
        "account 12 (Al): is called Al_ here",
        "account 12 (Al): another account has its address: it has none here, and comes in by its name",
        "account 13 (nothing): is called user here",
        "account 14 (Susan): is called Susan_ here",
        "account 15 (a-b): is called a_b here",
        "account 16 (a.b): is called a_b_ here",
        "post 20: left out: there is nothing to see in it",
        "post 21: left out: its author (nothing) is nobody",
        "post 22: has no time: it has that of the post before it",
        "post 23: has no time: it has that of the post before it",
        "post 24: is longer than 140 characters, and is cut",
        "1 follows nothing: left out: one of them is nobody",
    ):
        assert line in taken.remarks, said
    with app.app_context():
        assert User.authenticate("susan", PASSWORD).id == 1
        assert User.find("account11@unknown.invalid").username == "Jose"
        assert not User.authenticate("admin_", "plain")
        assert not User.authenticate("user", "abc")
        assert len(db.session.get(Post, 24).body) == 140
        assert db.session.get(Post, 22).language == "zh"
        assert db.session.get(Post, 23).language is None
        db.engine.dispose()


def test_a_time_of_no_year_is_none():
    assert convert._moment("2020-01-01 02:00:00+02:00") == convert._moment("2020-01-01 00:00:00")
    assert convert._moment("0001-01-01 00:00:00+14:00") is None
    assert convert._moment("9999-12-31 23:59:59-01:00") is None


def test_a_database_beside_theirs_has_a_password_that_careful_servers_take(server):
    """By the first question of mysql_secure_installation, many ask for letters, digits and signs."""
    if server is None:
        assert take._beside("sqlite:////x", print) == ""
        return
    url = f"mysql+pymysql://microblog@localhost/microblog?unix_socket={server.socket}"
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER microblog@localhost IDENTIFIED BY 'theirs'")
        careful = server.name == "mysql"
        if careful:
            cursor.execute("INSTALL COMPONENT 'file://component_validate_password'")
            cursor.execute("SET GLOBAL validate_password.policy = MEDIUM")
        try:
            for _ in range(5):
                beside = take._beside(url, lambda _: None)
                with rows.connection(beside) as opened:
                    assert opened.exec_driver_sql("SELECT DATABASE()").scalar() == "microblog_site"
                cursor.execute("DROP DATABASE microblog_site")
                cursor.execute("DROP USER microblog_site@localhost")
        finally:
            cursor.execute("DROP USER microblog@localhost")
            if careful:
                cursor.execute("UNINSTALL COMPONENT 'file://component_validate_password'")


def test_what_is_no_database_of_the_tutorials_is_refused(old, app, database_url, server, tmp_path):
    with pytest.raises(HostError, match="of this package's own"), read.opened(database_url):
        pass
    url = old("DROP TABLE message", "DROP TABLE post")
    with pytest.raises(HostError, match="no database of the tutorial's: post lacks body, id, user_id"):
        take._write(url, io.BytesIO())
    gone = url.replace("/old?", "/gone?") if server else f"sqlite:///{tmp_path / 'gone.db'}"
    with pytest.raises(HostError, match="cannot be read"):
        take._write(gone, io.BytesIO())


def test_an_early_chapters_database_has_less(old, taken_over):
    url = old(
        "DROP TABLE message",
        "DROP TABLE followers",
        "ALTER TABLE user DROP COLUMN about_me",
        "ALTER TABLE user DROP COLUMN last_seen",
        "ALTER TABLE post DROP COLUMN language",
    )
    app, taken = taken_over(url)
    assert taken.counts == {"users": 3, "posts": 4, "follows": 0}
    with app.app_context():
        assert User.find("susan").about == ""
        db.engine.dispose()


@pytest.mark.once
def test_hashes_of_both_kinds_are_checked_whatever_the_library():
    """Debian 12's Werkzeug, 2.2, does not know scrypt, and would raise."""
    for hashed in HASHES:
        assert check_password(hashed, PASSWORD)
        assert not check_password(hashed, PASSWORD.upper())
    for broken in ("scrypt:32768:8:1$salt", "scrypt:3:8:1$salt$aa", "scrypt:x$y$z", convert.NO_PASSWORD, ""):
        assert not check_password(broken, PASSWORD)


@pytest.mark.once
def test_the_old_database_is_found_by_whatever_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(found.server, "socket", lambda: str(tmp_path / "mysqld.sock"))
    folder = tmp_path / "micro blog"
    folder.mkdir()
    with pytest.raises(HostError, match=r"neither a \.env that names a DATABASE_URL nor an app\.db"):
        found.source(str(folder))
    sqlite3.connect(folder / "app.db").execute("CREATE TABLE x (y)").connection.close()
    at_home = f"sqlite:///{folder / 'app.db'}"
    for told in (folder, folder / "app.db"):
        assert found.source(str(told)) == at_home
    env = folder / ".env"
    env.write_text("SECRET_KEY=x\nDATABASE_URL=mysql+pymysql://u:p@localhost:3306/microblog\n")
    for told in (folder, env):
        assert found.source(str(told)) == "mysql+pymysql://u:p@localhost:3306/microblog"
    # MySQL 8 asks for more than a password where the way is not safe: a socket is.
    (tmp_path / "mysqld.sock").touch()
    here = f"unix_socket={tmp_path}/mysqld.sock"
    assert found.source(str(env)) == f"mysql+pymysql://u:p@localhost:3306/microblog?{here}"
    assert (
        found.source("mysql://u@127.0.0.1/x?charset=utf8")
        == f"mysql+pymysql://u@127.0.0.1/x?charset=utf8&{here}"
    )
    for elsewhere in ("mysql+pymysql://u:p@localhost:3307/x", "mysql+pymysql://u:p@h/x?unix_socket=/y"):
        assert found.source(elsewhere) == elsewhere
    env.write_text("DATABASE_URL=sqlite:///app.db\n")
    assert found.source(str(env)) == at_home
    assert found.source("mysql://u:p@db/x") == "mysql+pymysql://u:p@db/x"
    for told, why in (
        ("postgresql://u:p@db/x", "only MySQL's, MariaDB's and SQLite's"),
        (str(tmp_path / "nowhere"), "is not there"),
        ("sqlite:////nowhere/app.db", "is not there"),
    ):
        with pytest.raises(HostError, match=why):
            found.source(told)
    env.write_text("MAIL_SERVER=localhost\n")
    with pytest.raises(HostError, match="names no DATABASE_URL"):
        found.source(str(env))


@pytest.mark.once
def test_all_that_belongs_to_a_deployment_is_named_and_nothing_else(tmp_path, monkeypatch):
    sites, settings = tmp_path / "sites", tmp_path / "conf.d"
    for folder in (sites, settings):
        folder.mkdir()
    monkeypatch.setattr(found, "_SITES", sites)
    monkeypatch.setattr(found.nginx, "_SITES", sites)
    monkeypatch.setattr(found.supervisor, "_SETTINGS", settings)
    monkeypatch.setattr(found.supervisor, "_LINK", settings / "microblog.conf")
    monkeypatch.setattr(found, "_folders", lambda: iter(()))
    (settings / "other.conf").write_text("[program:other]\ncommand=/bin/true\ndirectory=/srv/other\n")
    (settings / "broken.conf").write_text("no section\n")
    assert found.look() is None
    assert found.in_the_way() is None
    program = (
        "[program:{}]\ncommand={}  ; as the tutorial says\ndirectory=/home/u/microblog\nautostart=true\n"
    )
    gunicorn = "/home/u/microblog/venv/bin/gunicorn -b localhost:8000 -w 4 microblog:app"
    (settings / "a-tasks.conf").write_text(
        program.format("microblog-tasks", "venv/bin/rq worker microblog-tasks")
    )
    (settings / "blog.conf").write_text(program.format("blog", gunicorn))
    (sites / "blog").write_text(
        "server {\n  location / {\n    proxy_pass http://localhost:8000;\n  }\n"
        "  location /static { alias /home/u/microblog/app/static; }\n}\n"
    )
    (sites / "other").write_text("server {\n    proxy_pass http://localhost:9000;\n}\n")
    deployment = found.look()
    assert [name for name, _ in deployment.programs] == ["microblog-tasks", "blog"]
    assert deployment.sites == (sites / "blog",)
    assert str(deployment.folder) == "/home/u/microblog"
    # Of another name, it is not in the way of ours.
    assert found.in_the_way() is None
    (settings / "blog.conf").write_text(program.format("microblog", gunicorn))
    assert found.in_the_way() == found.look()
    assert found.look().retiring("again")[:3] == [
        "supervisorctl stop microblog-tasks",
        "supervisorctl stop microblog",
        "again",
    ]
