"""Parts of ``microblog setup`` that need no machine."""

import io
import os
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from dotenv import dotenv_values
from sqlalchemy.engine import make_url

from builder.core import paths
from microblog import claiming, gunicorn_config, ipv6, names
from microblog.config import Config
from microblog.errors import HostError
from microblog.gunicorn_config import worker_count
from microblog.host.database import claim, kinds, memory, schema, server, staging
from microblog.host.extras import doors, https
from microblog.host.handmade import read
from microblog.host.machine import apt, files, layout, privileges, services
from microblog.host.site import envfile, hsts, listen, nginx

VALUES = (
    *("plain", "a b#c", "x&y?z=1", "it's", '$HOME `id` \\ "', "", "mysql+pymysql://u:p@h/n"),
    *("it's $5", "Foo \\", "a\\\\b", "'", '"', "\U0001f469\u200d\U0001f680", "it's \\", " # x", "\\'"),
)


@pytest.mark.parametrize("value", VALUES)
def test_quoted_values_are_read_back(value: str, tmp_path: Path) -> None:
    path = tmp_path / "env"
    for following in ("x", "'x y'", '"x"'):
        path.write_text(f"KEY={envfile.quote(value)}\nNEXT={following}\n")
        assert dotenv_values(path, interpolate=False) == {"KEY": value, "NEXT": following.strip("'\"")}


def of_script(name: str, function: str) -> str:
    """A function of one of the package's scripts."""
    found = re.search(rf"(?ms)^{function}\(\) {{.*?^}}", (paths.ROOT / "debian" / name).read_text())
    assert found
    return found[0]


def test_what_is_answered_to_debconf_is_read_as_it_was_answered(tmp_path: Path) -> None:
    """The package's scripts quote by the same function, and read what that has written."""
    script = of_script("microblog.postinst", "line") + '\nwhile read -r n v; do line "$n" "$v"; done'
    told = {f"V{number}": value for number, value in enumerate(VALUES) if value == value.strip()}
    # The package's python3 has what it depends on, as the tests' has.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT), "PATH": path}
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        input="".join(f"{name} {value}\n" for name, value in told.items()),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert dotenv_values(stream=io.StringIO(done.stdout), interpolate=False) == told
    # What has no place in the file is told, and stops no installation.
    script = of_script("microblog.postinst", "line") + '\nline A "$(printf "one\\ntwo")"; line B two'
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "B=two\n"), done.stderr
    assert "more than one line" in done.stderr

    env = tmp_path / "env"
    lines = [f"W{number}={envfile.quote(value)}" for number, value in enumerate(VALUES)]
    # As people write them.
    lines += ['X1="two \\"words\\" x"', "X2=bare # of it", "X3='x' # y", 'X4="it\'s" # z', "X5=a\\b  "]
    env.write_text("\n".join(lines) + "\n")
    read = dotenv_values(env, interpolate=False)
    assert len(read) == len(lines)
    script = f"ENV={env}\n{of_script('microblog.config', 'setting')}\n"
    script += "".join(f"printf '%s\\0' \"$(setting {name})\"\n" for name in read)
    done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert dict(zip(read, done.stdout.split("\0"), strict=False)) == read


def test_a_quote_that_is_not_closed_loses_no_secret(tmp_path: Path) -> None:
    text = "SITE_NAME='Foo \\'\nSECRET_KEY=abc\nADMINS='x@y.example'\n"
    (tmp_path / "env").write_text(text)
    values = dotenv_values(tmp_path / "env", interpolate=False)
    assert "SECRET_KEY" not in values
    with pytest.raises(HostError, match="line 1: SITE_NAME cannot be read"):
        envfile.see_whole(tmp_path / "env", text, values)
    envfile.see_whole(tmp_path / "env", "# A=1\nB=2\n", {"B": "2"})


def test_a_value_of_more_than_one_line_is_refused() -> None:
    for value in ("one\ntwo", "one\r", "one\u2028two", "nothing\0"):
        with pytest.raises(HostError, match="more than one line"):
            envfile.quote(value)


def test_nothing_is_written_that_would_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "user_ids", lambda: (0, 0))
    path = tmp_path / "env"
    for text in ("'\n", "A='open\n"):
        path.write_text(text)
        with pytest.raises(HostError, match="B would not be read as it is written") as caught:
            envfile.change(path, {"B": "two words"})
        assert caught.value.hint.startswith("close it")
        assert path.read_text() == text


def test_a_setting_goes_with_all_of_its_lines() -> None:
    text = "# A: it's\n\nexport A='one\nB=two'\nB='three'\nA=four # five\nC='open\nB=six\n"
    assert envfile.without(text, ["A"]) == "# A: it's\n\nB='three'\nC='open\nB=six\n"
    # A quote that is not closed takes no other line with it.
    assert envfile.without("B=1\nC='open\nD=2\n", ["C"]) == "B=1\nD=2\n"


def test_what_is_there_or_given_is_kept() -> None:
    made = envfile.missing(
        {"DATABASE_URL": "sqlite:////x"}, {"SECRET_KEY": "given"}, "sqlite:////y", proxied=True
    )
    assert made == {"SECRET_KEY": "given", "TRUSTED_PROXIES": "1", "CLAIM_CODE": claiming.code("given")}
    # An empty line is not a setting.
    assert "SECRET_KEY" in envfile.missing({"SECRET_KEY": " "}, {}, "sqlite:////y", proxied=False)


def test_the_code_is_of_the_key_that_is_there_or_chosen() -> None:
    whole = {"SECRET_KEY": "x", "DATABASE_URL": "y"}
    assert envfile.missing(whole, {}, "z", proxied=False, new=True) == {"CLAIM_CODE": claiming.code("x")}
    # A machine that an older version has set up is not to be claimed.
    assert envfile.missing(whole, {}, "z", proxied=False) == {}
    lacks = envfile.missing(whole, {}, "z", proxied=True)
    assert lacks == {"TRUSTED_PROXIES": "1", "CLAIM_CODE": claiming.code("x")}
    for chosen in ("none", "GARDENXY"):
        present = {"SECRET_KEY": "x", "DATABASE_URL": "y", "CLAIM_CODE": chosen}
        assert envfile.missing(present, {}, "z", proxied=False, new=True) == {}
    given = envfile.missing({}, {"CLAIM_CODE": "GARDENXY"}, "z", proxied=False)
    assert given["CLAIM_CODE"] == "GARDENXY"


@pytest.mark.parametrize(
    ("server", "names"),
    [
        ("listen 80; server_name a.example B.example;", {"a.example", "b.example"}),
        ('server_name "a.example" .b.example _;', {"a.example", "b.example"}),
        ("listen 80; server_name $hostname www.a.example;", {"garden", "www.a.example"}),
        ("listen 10.1.2.3; server_name a.example;", {"a.example"}),
        ("listen [::1]; server_name a.example;", {"a.example"}),
        ("listen 443 ssl; listen 8443 ssl; location / { x; } server_name a.example;", {"a.example"}),
        ("listen 8080; listen [::]:8080; location / { try_files $uri =404; } server_name a.example;", set()),
        ("listen unix:/run/a.sock; server_name a.example;", set()),
        ("listen 10.1.2.3:8080 default_server; server_name a.example;", set()),
        # What that has in it is not looked for.
        ("listen 8080; include snippets/listen.conf; server_name a.example;", {"a.example"}),
    ],
)
def test_names_of_nginxs_other_sites_are_theirs_where_visitors_would_meet_them(
    monkeypatch: pytest.MonkeyPatch, server: str, names: set[str]
) -> None:
    text = f"http {{ upstream x {{ server 1.2.3.4:80; }} server {{ {server} }} server {{ server_name z; }} }}"
    monkeypatch.setattr(nginx, "_others", lambda: ("", text))
    monkeypatch.setattr(nginx.socket, "gethostname", lambda: "Garden")
    assert nginx.claimed() == {*names, "z"}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("listen 8080; # or 80 }", set()),
        ("listen 8080; # don't", set()),
        ("#listen 80;\nlisten 8080;", set()),
        # A # within a word, or a text, is part of it; and so is a brace within a text.
        ("listen 8080; location / { return 302 /#/home; }", set()),
        ("listen 8080; location /x { return 302 '/a #b'; }", set()),
        ("listen 8080; location ~ \"^/{\" { return 200 'it\\'s {'; }", set()),
        ("listen 80; location / { return 302 /#/home; }", {"a.example"}),
    ],
)
def test_comments_and_texts_of_nginxs_other_sites_end_no_block(
    monkeypatch: pytest.MonkeyPatch, line: str, names: set[str]
) -> None:
    sites = f"server {{ {line}\nserver_name a.example; }}\nserver {{ listen 443 ssl; server_name z; }}\n"
    said = f"# configuration file /etc/nginx/nginx.conf:\n{sites}"
    monkeypatch.setattr(nginx.services, "run", lambda *command: subprocess.CompletedProcess(command, 0, said))
    assert nginx.claimed() == {*names, "z"}


def test_the_first_setup_is_known_by_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.setattr(layout, "ANSWERED", tmp_path / "answers")
    path = tmp_path / "env"
    assert envfile.is_first(path)
    path.write_text("HTTPS=false\n")
    assert envfile.is_first(path)
    path.write_text(f"SECRET_KEY={'x' * 32}\n")
    assert not envfile.is_first(path)


@pytest.mark.parametrize(
    ("tables", "new"),
    [
        ((), False),
        (("users",), False),
        (("users", "settings"), True),
        (("users", "settings", "INSERT INTO users VALUES ('susan')"), False),
        (("users", "settings", "INSERT INTO settings VALUES ('claimed')"), False),
        (("users", "settings", "INSERT INTO settings VALUES ('registration')"), True),
    ],
)
def test_a_new_site_has_neither_an_owner_nor_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: tuple[str, ...], new: bool
) -> None:
    path = tmp_path / "site.db"
    with sqlite3.connect(path) as connection:
        for table in tables:
            connection.execute(table if " " in table else f"CREATE TABLE {table} (name TEXT)")
    # As whoever is at it: there may be no user of the site's here.
    monkeypatch.setattr(privileges, "ask", lambda _what, work: work())
    database = kinds.of(f"sqlite:///{path}")
    assert database.is_new(5) is new
    monkeypatch.setattr(names, "machine_addresses", lambda: ["2001:db8::1", "192.0.2.7"])
    config = Config("x" * 32, f"sqlite:///{path}", claim_code="BCDFGHJK", https=True)
    line = claim.line(config)
    assert line == (
        "This Microblog is new: open https://192.0.2.7 and enter the code BCDF-GHJK" if new else ""
    )
    assert claim.line(replace(config, claim_code="")) == ""
    named = replace(config, host_names=("blog.example.org",))
    assert claim.url(named) == "https://blog.example.org"


def test_the_greeting_of_ssh_is_never_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "_DONE", tmp_path / "claimed")
    monkeypatch.setenv("MICROBLOG_ENV_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("SECRET_KEY", raising=False)
    assert claim.greeting() == ""
    assert not (tmp_path / "claimed").exists()
    found = ["This Microblog is new", ""]
    monkeypatch.setattr(claim.Config, "load", lambda _path: None)
    monkeypatch.setattr(claim, "line", lambda _config: found.pop(0))
    # The database is asked until there is an owner, and then no more.
    assert [claim.greeting() for _ in range(3)] == ["This Microblog is new", "", ""]
    assert found == []


def test_secret_keys_differ_and_are_long() -> None:
    first, second = (envfile.missing({}, {}, "x", proxied=False)["SECRET_KEY"] for _ in range(2))
    assert first != second
    assert len(first) == 64


def test_only_the_packages_own_database_is_made() -> None:
    socket = "?unix_socket=/run/mysqld/mysqld.sock"
    assert kinds.of(f"mysql+pymysql://microblog@localhost/microblog{socket}").ours
    assert not kinds.of("mysql+pymysql://microblog:secret@db.example/microblog").ours
    assert not kinds.of(f"mysql+pymysql://other@localhost/microblog{socket}").ours
    assert kinds.of("sqlite:////var/lib/microblog/microblog.db").ours


@pytest.mark.parametrize(
    ("url", "name", "elsewhere"),
    [
        ("sqlite:////srv/a b%20c.db?timeout=5", "SQLite, /srv/a b%20c.db", False),
        ("mysql+pymysql://u:p%40%2F@db.example/n?charset=utf8mb4", "MySQL, n on db.example", True),
        ("mysql+pymysql://u@localhost/n?unix_socket=/s", "MySQL, n on localhost", False),
    ],
)
def test_a_database_is_named_without_its_password(url: str, name: str, elsewhere: bool) -> None:
    database = kinds.of(url)
    assert (database.name, database.elsewhere) == (name, elsewhere)
    assert (database.data is None) == elsewhere
    assert database.kind == name.partition(",")[0].lower()


@pytest.mark.parametrize(
    "path", ["/var/lib/x.db", "/a b/%20.db", "/a%2Fb", "/x.db?timeout=5", "/x;y#z.db", "/ü/\u202e.db"]
)
def test_files_are_where_the_application_finds_them(path: str) -> None:
    url = f"sqlite:///{path}"
    assert str(staging.sqlite_path(url)) == make_url(url).database
    beside = kinds.of(url).beside(lambda _: None)
    assert make_url(beside.url).database == f"{make_url(url).database}.microblog-restored"


def test_a_database_beside_has_the_same_server_and_password() -> None:
    url = "mysql+pymysql://u:p%40%2F%25:@db.example:3307/n?ssl_ca=/x&charset=utf8mb4"
    # As versions before made one; now it is tables of the same database.
    beside, first = server.Target.parse(kinds.of(url).beside(print, 2).url), server.Target.parse(url)
    assert kinds.of(url).beside(print).url == url
    assert beside
    assert first
    assert beside == replace(first, name="n_microblog_restored")
    assert beside.password == "p@/%:"


def test_passwords_in_urls_are_decoded() -> None:
    target = server.Target.parse("mysql+pymysql://u:p%40ss@db.example:3307/n")
    assert target == server.Target("db.example", 3307, "u", "p@ss", "n", "")


def test_tls_to_the_database_is_not_dropped() -> None:
    url = "mysql+pymysql://u:p@db.example/n?ssl_ca=/etc/ssl/db.pem&ssl_check_hostname=false&charset=utf8mb4"
    target = server.Target.parse(url)
    assert target is not None
    assert target.options["ssl"]["ca"] == "/etc/ssl/db.pem"
    assert (target.host, target.name, target.password) == ("db.example", "n", "p")


@pytest.mark.parametrize(
    ("query", "said", "way_out"),
    [
        # As those who rent databases out write it.
        ("ssl-mode=REQUIRED", "is not known: ssl-mode", "by [?]ssl_ca=FILE"),
        ("ssl=true", "is not known: ssl", "by [?]ssl_ca=FILE"),
        ("read_timeout=x", "with a value that is none of its kind", "mend it"),
        ("ssl_ca=/none&ssl_verify_identity=true", "with ssl_verify_identity in DATABASE_URL", "name are che"),
        ("ssl_ca=/none&ssl_verify_cert=true", "with ssl_verify_cert in DATABASE_URL", "name are checked"),
        ("ssl_ca=/none&ssl_disabled=false", "with ssl_disabled in DATABASE_URL", "name are checked"),
        # Of these alone the library would make TLS with whoever answers.
        ("ssl_verify_identity=true", "ssl_verify_identity in DATABASE_URL asks", "put ssl_ca=FILE in its"),
        ("ssl_verify_cert=1", "ssl_verify_cert in DATABASE_URL asks", "/etc/ssl/certs/ca-certificates.crt"),
        ("ssl_check_hostname=true", "ssl_check_hostname in DATABASE_URL asks", "add ssl_ca=FILE"),
        ("ssl_cert=/a&ssl_key=/b", "ssl_cert in DATABASE_URL asks", "add ssl_ca=FILE"),
        ("ssl_ca=/none&read_timeout=9", "/none, which DATABASE_URL names for TLS", "put it there"),
    ],
)
def test_what_a_url_asks_for_is_not_dropped(query: str, said: str, way_out: str) -> None:
    def connect() -> None:
        target = server.Target.parse(f"mysql+pymysql://u:secret@127.0.0.1:9/n?{query}")
        assert target
        server.connect(target, print, as_root=False, wait_seconds=0)

    with pytest.raises(HostError, match=said) as caught:
        connect()
    assert re.search(way_out, caught.value.hint)
    assert "secret" not in str(caught.value)


def test_heads_are_read_without_alembic(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('revision = "a"\ndown_revision = None\n')
    (tmp_path / "b.py").write_text('revision: str = "b"\ndown_revision: "str | None" = "a"\n')
    (tmp_path / "c.py").write_text("revision = 'c'\ndown_revision = 'a'\n")
    assert schema.known(tmp_path) == ({"a", "b", "c"}, {"b", "c"})
    (tmp_path / "d.py").write_text('revision = "d"\ndown_revision = ("b", "c")\n')
    assert schema.known(tmp_path)[1] == {"d"}


def test_the_real_migrations_have_one_head() -> None:
    everything, heads = schema.known(schema.migrations())
    assert everything
    assert len(heads) == 1


def test_a_file_is_replaced_whole_and_never_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    (tmp_path / ".secret.new").write_text("left by a power cut")
    files.write(path, "new", 0o640, os.getuid(), os.getgid())
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("cores", "memory_mib", "workers"), [(1, 460, 1), (1, 980, 2), (2, 2000, 3), (4, 900, 3), (64, 256000, 8)]
)
def test_workers_fit_the_machine(cores: int, memory_mib: float, workers: int) -> None:
    assert worker_count(cores, memory_mib) == workers


@pytest.mark.parametrize(("memory_mib", "pool"), [(460, "56M"), (960, "120M"), (150, "24M"), (1990, "")])
def test_the_database_server_fits_a_small_machine(memory_mib: int, pool: str) -> None:
    text = memory.settings(memory_mib)
    assert (f"innodb_buffer_pool_size = {pool}\n" in text) if pool else not text


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("", f"unix:{layout.SOCKET}"),
        ("BIND=0.0.0.0:80", "127.0.0.1:80"),
        ("BIND=[::]:8080", "[::1]:8080"),
        ("BIND=10.0.0.2:81", "10.0.0.2:81"),
        ("BIND=127.0.0.1:8000,0.0.0.0:80,[::]:80", "127.0.0.1:8000"),
        ("BIND=unix:/run/x.sock", "unix:/run/x.sock"),
        ("BIND=nonsense", f"unix:{layout.SOCKET}"),
    ],
)
def test_the_application_is_asked_where_it_listens(
    line: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "env").write_text(line)
    monkeypatch.setenv("MICROBLOG_ENV_FILE", str(tmp_path / "env"))
    assert layout.app_address() == address


@pytest.mark.parametrize("line", ["port 22\n", "Port 22\n"], ids=["OpenSSH 8 to 9", "OpenSSH 10"])
def test_ports_that_systemd_listens_on_for_sshd_stay_open(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Ubuntu 24.04: ssh.socket has the port, and its administrator may have given it another."""
    answers = {
        "/usr/sbin/sshd": f"AddressFamily any\n{line}",
        "systemctl": "Listen=0.0.0.0:2222 (Stream)\n[::]:2222 (Stream)\n",
        "ss": "",
    }

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, 0, answers[command[0]])

    monkeypatch.setattr(doors, "installed", lambda: True)
    monkeypatch.setattr(doors.Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(doors.services, "run", run)
    monkeypatch.setattr(doors.services, "state", lambda unit: {"ssh.socket": "active"}[unit])
    assert doors.ports() == [22, 2222]
    monkeypatch.setattr(doors.services, "state", lambda _: "inactive")
    assert doors.ports() == [22]
    answers["/usr/sbin/sshd"] = line.replace("22", "2200")
    assert doors.ports() == [2200]
    # An address with a port of its own, and one that it listens on since before its settings changed.
    answers["/usr/sbin/sshd"] = f"{line}listenaddress 0.0.0.0:2022\nlistenaddress [::]:2022\n"
    assert doors.ports() == [2022]
    answers["ss"] = 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=9,fd=3))\n'
    assert doors.ports() == [22, 2022]


def test_a_programs_name_is_without_what_it_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = (
        "LISTEN 0 2048 127.0.0.1:8000 0.0.0.0:* "
        'users:(("gunicorn: worke",pid=12,fd=7),("gunicorn: maste",pid=10,fd=7))\n'
        'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=9,fd=5))\n'
    )
    monkeypatch.setattr(services, "run", lambda *command: subprocess.CompletedProcess(command, 0, listening))
    assert services.holders(8000) == {"gunicorn"}
    assert services.holders(80) == {"nginx"}
    assert services.places(80) == {("", "nginx")}


def test_apt_waits_for_a_new_servers_own_updates_and_restarts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = []

    def run(command: list[str], **options: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        called.append((command, options.get("env", {})))
        return subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(apt.subprocess, "run", run)
    apt.ensure(lambda _: None, "odd")
    command, environment = called[-1]
    assert command[:2] == ["apt-get", "install"]
    assert "DPkg::Lock::Timeout=600" in command
    assert environment["NEEDRESTART_SUSPEND"] == "1"


def test_no_package_of_somebodys_goes_for_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "The following packages will be REMOVED:\n  iptables-persistent netfilter-persistent\n"
        "The following NEW packages will be installed:\n  ufw\n"
        "E: Packages need to be removed but remove is disabled.\n"
    )
    ran = []

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        ran.append(command)
        return subprocess.CompletedProcess(command, 100, said)

    monkeypatch.setattr(apt.subprocess, "run", run)
    with pytest.raises(HostError, match="apt would remove iptables-persistent netfilter-persistent "):
        apt.ensure(lambda _: None, "ufw")
    assert "--no-remove" in ran[-1]
    assert [command[0] for command in ran].count("apt-get") == 1
    # Unless they may ('microblog mail --force').
    with pytest.raises(HostError):
        apt.ensure(lambda _: None, "ufw", may_remove=True)
    assert "--no-remove" not in ran[-1]


def test_nginx_is_told_nothing_that_ubuntu_22_04s_does_not_know() -> None:
    """1.18. Directives, and the versions that brought them (https://nginx.org/en/docs/)."""
    newer = {
        r"http2\s+o": "1.25.1", "ssl_reject_handshake": "1.19.4", "ssl_conf_command": "1.19.4",
        "proxy_cookie_flags": "1.19.3", "proxy_ssl_conf_command": "1.19.4", "http3": "1.25.0",
        "ssl_certificate_cache": "1.27.4", "keepalive_min_timeout": "1.27.4", "quic": "1.25.0",
    }  # fmt: skip
    text = (paths.ROOT / "debian/nginx/microblog").read_text()
    text += "".join(listen.files("", "", ipv6=True, version=(1, 18, 0)).values())
    assert [word for word in newer if re.search(rf"(?m)^\s*{word}|\b{word}\b.*;", text)] == []
    # What 1.18 wants in the place of the first.
    assert re.search(r"listen 443 ssl http2;", text)


OLD, NEW = (1, 22, 1), (1, 26, 3)
HERE = {"plain4": "listen 80;", "tls4": "listen 443 ssl http2;"}


@pytest.mark.parametrize(
    ("others", "version", "told"),
    [
        # Each socket is all sites': HTTP/2 is theirs to have.
        ("", OLD, HERE),
        ("listen 443 ssl;", OLD, {**HERE, "tls4": "listen 443 ssl;"}),
        ("listen *:443 ssl http2;", OLD, HERE),
        ("listen 443 ssl;", NEW, {**HERE, "tls4": "listen 443 ssl; http2 on;"}),
        # A name in a listen, a socket, another port: nobody's.
        ("listen localhost:80; listen unix:/run/x.sock; listen 127.0.0.1:80; listen 8443 ssl;", OLD, HERE),
        # Both kinds in one socket.
        (
            "listen [::]:80 ipv6only=off; listen [::]:443 ipv6only=off ssl http2;",
            OLD,
            {"plain6": "listen [::]:80;", "tls6": "listen [::]:443 ssl http2;"},
        ),
        ("listen [::]:80 ipv6only=on default_server;", OLD, {**HERE, "plain6": "listen [::]:80;"}),
        # Addresses of one's own.
        (
            "listen 192.0.2.7:80; listen 192.0.2.7:443 ssl; listen 192.0.2.8; listen [2001:DB8:0::1]:80;",
            OLD,
            {
                "plain4": "listen 192.0.2.7:80; listen 192.0.2.8:80;",
                "plain6": "listen [2001:db8::1]:80;",
                "tls4": "listen 192.0.2.7:443 ssl;",
                "tls6": "",
            },
        ),
        (
            "listen 192.0.2.7:80; listen [::]:80;",
            OLD,
            {**HERE, "plain4": "listen 80; listen 192.0.2.7:80;", "plain6": "listen [::]:80;"},
        ),
        # To which visitors do not come as they do to us.
        ("listen 192.0.2.7:80 proxy_protocol; listen 192.0.2.7:443; listen 192.0.2.8:443 quic;", OLD, HERE),
    ],
)
def test_the_site_listens_as_the_others_do(
    others: str, version: tuple[int, ...], told: dict[str, str]
) -> None:
    found = listen.files(others, "", ipv6=True, version=version)
    assert list(found) == [f"nginx-{name}.conf" for name in ("plain4", "plain6", "tls4", "tls6")]
    told = {f"nginx-{name}.conf": text for name, text in told.items()}
    for name, text in found.items():
        if name in told or "4" in name:
            assert " ".join(text.split("\n")).strip() == told.get(name, ""), name


@pytest.mark.parametrize(
    ("at", "sites", "whose"),
    [
        ("", "", "haproxy"),
        ("::", "listen 10.0.0.1:80;", "haproxy"),
        # At its own address it is in nobody's way who has another.
        ("10.0.0.2", "listen 10.0.0.1:80;", ""),
        ("10.0.0.1", "listen 10.0.0.1:80;", "haproxy"),
        ("10.0.0.2", "", "haproxy"),
    ],
)
def test_whoever_has_the_sites_place_is_a_neighbour(
    monkeypatch: pytest.MonkeyPatch, at: str, sites: str, whose: str
) -> None:
    monkeypatch.setattr(nginx.services, "state", lambda _: "inactive")
    monkeypatch.setattr(nginx.services, "places", lambda _: {(at, "haproxy"), ("", "gunicorn")})
    monkeypatch.setattr(nginx, "_others", lambda: (sites, ""))
    assert nginx.neighbour() == whose


def test_a_port_of_another_program_is_left_to_it() -> None:
    found = listen.files("", "", ipv6=True, version=NEW, left={443})
    assert [text for text in found.values() if text] == ["listen 80;\n", "listen [::]:80;\n"]
    # With no line at all nginx would listen at port 80.
    found = listen.files("", "", ipv6=True, version=NEW, left={80, 443})
    assert [text for text in found.values() if text] == ["listen unix:/run/microblog/nginx.sock;\n"]


def test_a_site_that_is_read_first_takes_no_address_of_anothers() -> None:
    theirs = "listen 192.0.2.7:80;"
    assert "192.0.2.7" not in str(listen.files("", theirs, ipv6=False, version=OLD))
    assert "192.0.2.7" in str(
        listen.files("", theirs.replace(";", " default_server;"), ipv6=False, version=OLD)
    )
    assert not any("::" in text for text in listen.files(theirs, "", ipv6=False, version=OLD).values())


@pytest.mark.parametrize(
    ("days", "told"), [(0, 300), (0.99, 300), (1, 86400), (8, 7 * 86400), (37, 7 * 86400), (400, 365 * 86400)]
)
def test_browsers_insist_on_https_for_longer_the_longer_it_is_there(days: float, told: int) -> None:
    assert hsts.seconds(days * 86400) == told


def test_a_renewed_certificate_withdraws_no_withdrawal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``https --off`` waits for up to a year, and certbot renews every two months."""
    told: list[str] = []
    monkeypatch.setattr(hsts, "_SINCE", tmp_path / "trusted")
    monkeypatch.setattr(hsts.certificate, "ours", lambda: False)
    monkeypatch.setattr(hsts.nginx, "put", lambda _, text: told.append(text) or len(set(told[-2:])) > 1)
    monkeypatch.setattr(hsts.files, "write", lambda path, text, _: path.write_text(text))
    monkeypatch.setattr(https, "_LINEAGE", tmp_path)
    monkeypatch.setattr(https.privileges, "require_root", lambda *_: None)
    monkeypatch.setattr(https.nginx, "mark_stale", lambda: None)
    monkeypatch.setattr(https.nginx, "apply", lambda: None)
    monkeypatch.setattr(https.certificate, "put", lambda *_: None)
    monkeypatch.setattr(https.certificate, "CERTIFICATE", tmp_path / "cert.pem")
    for name in ("fullchain.pem", "privkey.pem"):
        (tmp_path / name).write_text(name)
    https.deploy()
    assert told.pop() == 'https "max-age=300";\n'
    long_ago = hsts.time.time() - 100 * 86400
    os.utime(tmp_path / "trusted", (long_ago, long_ago))
    assert hsts.days_to_wait() == 365
    hsts.withdraw()
    os.utime(tmp_path / "trusted", (long_ago, long_ago))
    https.deploy()
    assert told[-2:] == ['https "max-age=0";\n'] * 2
    assert hsts.days_to_wait() == 265
    # Whoever asks for it again has it.
    assert hsts.resume()
    assert told[-1] == 'https "max-age=300";\n'
    assert not hsts.resume()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Blog.Example.", "blog.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        # Not strasse.example, which is another's.
        ("straße.example", "xn--strae-oqa.example"),
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a_b.c", "a_b.c"),
        ("a..b", "a..b"),
    ],
)
def test_names_are_taken_as_people_write_them(written: str, meant: str, tmp_path: Path) -> None:
    assert names.ascii_name(written) == meant
    if ".." in written or "_" in written:
        return
    # In the settings, too, with a port.
    path = tmp_path / "env"
    path.write_text(
        f"SECRET_KEY={'x' * 64}\nDATABASE_URL=sqlite:////x\nHOST_NAMES={written}:8443,b.example\n"
    )
    assert Config.load(path, {}).host_names == (f"{meant}:8443", "b.example")


def test_names_of_other_sites_are_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        nginx.names, "machine_names", lambda: ["host.example", "host", "evil;name", "host.local"]
    )
    config = Config(
        "x" * 32, "sqlite:////x", host_names=("social.example:8443", "[2001:db8::1]", "other.example")
    )
    wanted, lost = nginx.own_names(config, {"other.example", "host"})
    # Nothing gets into nginx's configuration that is no name.
    assert wanted == ["social.example", "[2001:db8::1]", "host.example", "host.local"]
    assert lost == ["other.example"]


def test_without_ipv6_the_site_listens_on_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = "127.0.0.1:8000,0.0.0.0:80,[::]:80"
    monkeypatch.setattr(ipv6, "available", lambda: True)
    assert gunicorn_config._addresses(wanted) == wanted.split(",")
    monkeypatch.setattr(ipv6, "available", lambda: False)
    assert gunicorn_config._addresses(wanted) == ["127.0.0.1:8000", "0.0.0.0:80"]


@pytest.mark.parametrize(
    ("bind", "ports"),
    [
        ("", set()),
        ("unix:/run/x.sock,127.0.0.1:8001,localhost:8002,[::1]:8003,127.9.9.9:8004", set()),
        ("0.0.0.0:80,[::]:81, 192.168.1.2:82,unix:/x", {80, 81, 82}),
        (":8000,[::ffff:127.0.0.1]:83,[fe80::1%eth0]:84", {8000, 84}),
        ("nonsense", set()),
    ],
)
def test_ports_that_others_reach(bind: str, ports: set[int]) -> None:
    assert layout.open_ports(bind) == ports


def test_a_database_server_is_where_its_files_say(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "mysqld": "--datadir=/old\n--skip-name-resolve\n--datadir=/srv/mysql\n",
        "client": "--socket=/x.sock\n",
    }
    monkeypatch.setattr(
        server.services, "run", lambda *words: subprocess.CompletedProcess(words, 0, said.get(words[1], ""))
    )
    assert server.data() == Path("/srv/mysql")
    assert kinds.of("mysql+pymysql://microblog@localhost/n?unix_socket=/s").data == Path("/srv/mysql")
    monkeypatch.setattr(server, "server_installed", lambda: True)
    assert server.default_url() == "mysql+pymysql://microblog@localhost/microblog?unix_socket=/x.sock"
    monkeypatch.setattr(
        server.services, "run", lambda *words: subprocess.CompletedProcess(words, 127, "none")
    )
    assert server.data() == Path("/var/lib/mysql")
    assert server.socket() == "/run/mysqld/mysqld.sock"


def test_a_library_that_a_login_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL 8's passwords, by TCP without TLS; python3-pymysql merely recommends it."""
    import pymysql

    def connect(*_: object, **__: object) -> None:
        raise RuntimeError("'cryptography' package is required for sha256_password")

    monkeypatch.setattr(pymysql, "connect", connect)
    target = server.Target.parse("mysql+pymysql://u:p@db.example/n")
    assert target
    with pytest.raises(HostError, match="cannot be logged in to") as caught:
        server.connect(target, print, as_root=False)
    assert caught.value.hint.startswith("apt-get install python3-cryptography")
    with (
        pytest.raises(HostError, match="cannot be logged in to"),
        read.opened("mysql+pymysql://u:p@db.example/n"),
    ):
        pass


def test_https_asks_the_certbot_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Snap's, or pip's: another one would renew their certificates, too."""
    asked: list[str] = []
    programs = [tmp_path / name for name in ("usr", "snap", "local")]
    monkeypatch.setattr(https, "_CERTBOTS", tuple(map(str, programs)))
    assert https._certbot() == ""
    assert https._delete()[0] == str(programs[0])
    programs[1].write_text("#!/bin/sh\n")
    programs[1].chmod(0o755)
    assert https._certbot() == https._delete()[0] == str(programs[1])
    monkeypatch.setattr(https.privileges, "require_root", lambda *_: None)
    monkeypatch.setattr(https.nginx, "installed", lambda: True)
    monkeypatch.setattr(https.apt, "ensure", lambda _, *packages: asked.extend(packages))

    def stop(_: object) -> None:
        raise HostError("enough", "")

    monkeypatch.setattr(https.lock, "sole", stop)
    for path, installs in ((programs[1], []), (None, ["certbot"])):
        if path is None:
            programs[1].unlink()
        with pytest.raises(HostError, match="enough"):
            https.enable(("blog.example.org",), "", "", lambda _: None)
        assert asked == installs


def test_the_machines_addresses_are_the_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As proc(5) shows them, without the loopback's and those of a link alone."""
    four, six = tmp_path / "fib_trie", tmp_path / "if_inet6"
    four.write_text(
        "Local:\n  +-- 10.0.2.0/24 2 0 2\n     |-- 10.0.2.0\n        /24 link UNICAST\n"
        "     |-- 10.0.2.15\n        /32 host LOCAL\n     |-- 10.0.2.255\n        /32 link BROADCAST\n"
        "     |-- 127.0.0.1\n        /32 host LOCAL\n"
    )
    six.write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "26062800021fcb070000000000000009 02 40 00 80     eth0\n"
        "fe800000000000000000000000000001 02 40 20 80     eth0\n"
    )
    monkeypatch.setattr(names, "_IPV4", four)
    monkeypatch.setattr(names, "_IPV6", six)
    monkeypatch.setattr(names, "outward_addresses", list)
    assert names.machine_addresses() == ["10.0.2.15", "2606:2800:21f:cb07::9"]
