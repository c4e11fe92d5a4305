import subprocess
import sys

import pytest

from microblog.config import Config, MailServer
from microblog.errors import HostError

KEY = "k" * 32
SQLITE = "sqlite:////var/lib/microblog/microblog.db"
MYSQL = "mysql+pymysql://microblog@localhost/microblog?unix_socket=/run/mysqld/mysqld.sock&charset=utf8mb4"
GOOD = {"SECRET_KEY": KEY, "DATABASE_URL": SQLITE}


def load(tmp_path, **environ):
    return Config.load(tmp_path / "none.env", {**GOOD, **environ})


def test_reads_the_env_file(tmp_path):
    path = tmp_path / "microblog.env"
    path.write_text(
        f"SECRET_KEY='{KEY}${{HOME}}'\nDATABASE_URL={MYSQL}\nSITE_NAME=Our place\nexport HTTPS=yes\n"
    )
    config = Config.load(path, {})
    assert config == Config(f"{KEY}${{HOME}}", MYSQL, "Our place", trusted_proxies=0, https=True)


def test_the_environment_wins_over_the_file(tmp_path):
    path = tmp_path / "microblog.env"
    path.write_text(f"SECRET_KEY={KEY}\nDATABASE_URL={SQLITE}\nSITE_NAME=File\n")
    assert Config.load(path, {"SITE_NAME": "Environment"}).site_name == "Environment"


def test_the_environment_names_the_file(tmp_path):
    path = tmp_path / "elsewhere.env"
    path.write_text("SITE_NAME=Elsewhere\n")
    assert Config.load(environ={**GOOD, "MICROBLOG_ENV_FILE": str(path)}).site_name == "Elsewhere"


def test_defaults(tmp_path):
    config = load(tmp_path)
    assert (config.site_name, config.trusted_proxies, config.https) == ("Microblog", 0, False)


def test_behind_a_proxy_there_is_https_unless_told_otherwise(tmp_path):
    assert load(tmp_path, TRUSTED_PROXIES="1").https
    assert not load(tmp_path, TRUSTED_PROXIES="1", HTTPS="no").https


@pytest.mark.parametrize(
    "key, value",
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "   "),
        ("SECRET_KEY", "k" * 31),
        ("ELASTICSEARCH_URL", "localhost:9200"),
        ("ELASTICSEARCH_URL", "ftp://localhost"),
        ("ELASTICSEARCH_URL", "http://"),
        ("ELASTICSEARCH_URL", "http://localhost:none"),
        ("ELASTICSEARCH_URL", "http://localhost/a/b"),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "postgresql://localhost/microblog"),
        ("DATABASE_URL", "mysql://localhost/microblog"),
        ("DATABASE_URL", "mysql+pymysql://localhost"),
        ("DATABASE_URL", "mysql+pymysql://[broken/microblog"),
        ("DATABASE_URL", "mysql+pymysql://localhost:many/microblog"),
        ("DATABASE_URL", "mysql+pymysql://u:p@ss@localhost/microblog"),
        ("DATABASE_URL", "sqlite:///relative.db"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "mysql+pymysql:microblog"),
        ("DATABASE_URL", "MYSQL+PYMYSQL://u@h/n"),
        ("SITE_NAME", "x" * 41),
        ("SITE_NAME", "two\nlines"),
        ("TRUSTED_PROXIES", "-1"),
        ("TRUSTED_PROXIES", "one"),
        ("TRUSTED_PROXIES", "11"),
        ("TRUSTED_PROXIES", "²"),
        ("HTTPS", "maybe"),
        ("PROXY_NETWORKS", "10.0.0.1/8"),
        ("PROXY_NETWORKS", "the proxy"),
        ("HOST_NAMES", "https://example.org"),
        ("HOST_NAMES", "example.org evil.example"),
        ("HOST_NAMES", "example.org\nevil.example"),
        ("ADMINS", "susan"),
        ("ADMINS", "susan@example.org\nBcc: x@evil.example"),
        ("MAIL_FROM", "Susan <susan@example.org>"),
        ("MAIL_SERVER", "smtp://localhost"),
    ],
)
def test_refuses_a_wrong_value_in_one_line(tmp_path, key, value):
    with pytest.raises(HostError) as caught:
        load(tmp_path, **{key: value})
    assert caught.value.message.startswith(key)
    assert str(tmp_path / "none.env") in caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "environ, server",
    [
        ({"MAIL_PORT": "25"}, None),
        ({"MAIL_SERVER": "localhost"}, MailServer("localhost")),
        (
            {"MAIL_SERVER": "localhost", "MAIL_USERNAME": "u", "MAIL_PASSWORD": "p"},
            MailServer("localhost", username="u", password="p"),
        ),
        (
            {"MAIL_SERVER": "m.example", "MAIL_PORT": "587", "MAIL_USE_TLS": "1"},
            MailServer("m.example", 587, tls="starttls"),
        ),
        ({"MAIL_SERVER": "m.example", "MAIL_USE_SSL": "1"}, MailServer("m.example", 465, tls="tls")),
    ],
)
def test_mail(tmp_path, environ, server):
    assert load(tmp_path, **environ).mail == server


@pytest.mark.parametrize(
    "key, environ",
    [
        ("MAIL_PORT", {"MAIL_PORT": "0"}),
        ("MAIL_PORT", {"MAIL_PORT": "99999"}),
        ("MAIL_PORT", {"MAIL_PORT": "smtp"}),
        ("MAIL_USE_TLS", {"MAIL_USE_TLS": "1", "MAIL_USE_SSL": "1"}),
        ("MAIL_USERNAME", {"MAIL_USERNAME": "u", "MAIL_USE_TLS": "1"}),
        # Never in the clear.
        ("MAIL_PASSWORD", {"MAIL_USERNAME": "u", "MAIL_PASSWORD": "hunter2"}),
    ],
)
def test_mail_that_cannot_work(tmp_path, key, environ):
    with pytest.raises(HostError) as caught:
        load(tmp_path, MAIL_SERVER="mail.example", **environ)
    assert caught.value.message.startswith(key)
    assert "hunter2" not in str(caught.value)


def test_lists(tmp_path):
    config = load(
        tmp_path, HOST_NAMES=" Example.org, [::1]:8443,, example.org ", ADMINS="a@b.example,root@localhost"
    )
    assert config.host_names == ("example.org", "[::1]:8443")
    assert config.admins == ("a@b.example", "root@localhost")
    assert load(tmp_path).host_names == ()


def test_messages_keep_secrets(tmp_path):
    with pytest.raises(HostError) as caught:
        load(tmp_path, DATABASE_URL="mysql://microblog:hunter2@localhost/microblog")
    assert "hunter2" not in str(caught.value)
    config = load(tmp_path, MAIL_SERVER="localhost", MAIL_USERNAME="u", MAIL_PASSWORD="hunter2")
    assert KEY not in repr(config)
    assert "hunter2" not in repr(config)


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "microblog.env"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HostError, match=r"microblog\.env cannot be read"):
        Config.load(path, GOOD)


def test_importing_the_package_brings_no_flask():
    code = "import sys, microblog, microblog.config; print('flask' in sys.modules, microblog.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    flask, version = done.stdout.split()
    assert flask == "False"
    assert version[0].isdigit()
