"""The site, as visitors and its database see it."""

import subprocess

import pytest
import requests
from visitor import Visitor

PASSWORD = "a long pass phrase of mine"


@pytest.fixture
def visitor(booted):
    return Visitor(booted.url)


@pytest.mark.cloud
def test_http_leads_to_https(booted):
    answer = requests.get(
        f"http://127.0.0.1:{booted.ports['http']}/explore?x=1", allow_redirects=False, timeout=120
    )
    assert answer.status_code == 301
    assert answer.headers["Location"] == "https://127.0.0.1/explore?x=1"


def test_health_is_good(visitor):
    assert visitor.get("/healthz").status_code == 200


def test_static_files_come_from_nginx_and_last_30_days(visitor, host):
    answer = visitor.get("/static/vendor/css/bootstrap.min.css")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/css")
    assert answer.headers["Cache-Control"] == "max-age=2592000"
    assert answer.headers["Server"] == "nginx"
    # Not by way of gunicorn: it has no part in it even while it is stopped.
    host.check_output("supervisorctl stop microblog")
    try:
        assert visitor.get("/static/vendor/css/bootstrap.min.css").status_code == 200
        assert visitor.get("/").status_code == 503
    finally:
        host.check_output("supervisorctl start microblog")
        visitor.wait_for_site()


def test_pages_load_nothing_from_elsewhere(visitor):
    page = visitor.get("/login").text
    assert "//cdn" not in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_register_log_in_and_post(visitor, booted):
    assert visitor.register("ada", PASSWORD).ok
    assert visitor.log_out().ok
    assert visitor.log_in("ada", PASSWORD).ok
    text = "Ahoj světe, hello 👋 from the image"
    visitor.write(text)
    assert text in visitor.get("/").text
    other = Visitor(booted.url)
    other.register("grace", PASSWORD)
    assert text in other.get("/explore").text


@pytest.mark.cloud
def test_cookies_stay_within_https(visitor):
    visitor.register("edith", PASSWORD)
    assert visitor.session.cookies
    assert all(
        cookie.secure and cookie.has_nonstandard_attr("HttpOnly") for cookie in visitor.session.cookies
    )


@pytest.mark.cloud
def test_certificate_is_for_this_machine(booted):
    chain = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{booted.ports['https']}", "-servername", "first"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
    ).stdout  # fmt: skip
    names = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=chain, capture_output=True, check=True
    ).stdout.decode()
    assert "DNS:first" in names


def _mysql(host, statement, user="root"):
    return host.run(f"runuser -u {user} -- mysql --batch --skip-column-names -e %s", statement)


@pytest.mark.cloud
def test_tables_are_utf8mb4(host):
    told = _mysql(
        host,
        "SELECT table_name, table_collation FROM information_schema.tables WHERE table_schema = 'microblog'",
    ).stdout
    tables = dict(line.split("\t") for line in told.splitlines())
    assert len(tables) >= 3
    assert all(collation.startswith("utf8mb4_") for collation in tables.values())
    assert _mysql(
        host,
        "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'microblog'",
    ).stdout.split() == ["utf8mb4"]


@pytest.mark.cloud
def test_database_user_reaches_its_database_alone(host):
    assert set(_mysql(host, "SHOW DATABASES", user="microblog").stdout.split()) == {
        "information_schema",
        "microblog",
    }
    denied = _mysql(host, "SELECT user FROM mysql.user", user="microblog")
    assert denied.rc != 0
    assert "denied" in denied.stderr


@pytest.mark.cloud
def test_database_user_has_no_password_and_needs_to_be_that_user(host):
    refused = host.run("runuser -u nobody -- mysql --user=microblog -e 'SELECT 1'")
    assert refused.rc != 0
    assert "denied" in refused.stderr
