import pytest
from app_client import Browser
from flask import request, session
from werkzeug.test import create_environ, run_wsgi_app

from microblog import names
from microblog.web.hosts import external_url

pytestmark = pytest.mark.any_database


def test_headers(client):
    for path in ("/", "/login", "/healthz", "/nowhere", "/static/microblog.css"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "Strict-Transport-Security" not in headers


def test_hsts_behind_tls_only(make_app, migrated):
    tls = make_app(trusted_proxies=1, https=True)
    assert (
        "Strict-Transport-Security"
        in Browser(tls, environ={"HTTP_X_FORWARDED_PROTO": "https"}).get("/").headers
    )
    assert "Strict-Transport-Security" not in Browser(tls).get("/").headers


@pytest.mark.parametrize(
    "settings, peer, address",
    [
        ({}, "127.0.0.1", "127.0.0.1"),
        ({"trusted_proxies": 1}, "127.0.0.1", "192.0.2.2"),
        ({"trusted_proxies": 1}, "::1", "192.0.2.2"),
        ({"trusted_proxies": 2}, "127.0.0.1", "192.0.2.1"),
        # A Unix socket's other end.
        ({"trusted_proxies": 1}, "", "192.0.2.2"),
        # Somebody who reached gunicorn past the proxy.
        ({"trusted_proxies": 1}, "10.0.0.1", "10.0.0.1"),
        ({"trusted_proxies": 1}, "no address", "no address"),
        ({"trusted_proxies": 1, "proxy_networks": ("10.0.0.0/8",)}, "10.0.0.1", "192.0.2.2"),
        ({"trusted_proxies": 1, "proxy_networks": ("10.0.0.0/8",)}, "127.0.0.1", "127.0.0.1"),
        # One that nobody but this machine's own nginx reaches, with a balancer in front of that.
        (
            {"trusted_proxies": 1, "proxy_networks": ("10.0.0.0/8",), "bind": "127.0.0.1:8001"},
            "127.0.0.1",
            "192.0.2.2",
        ),
        (
            {"trusted_proxies": 1, "proxy_networks": ("10.0.0.0/8",), "bind": "127.0.0.1:8001,0.0.0.0:8002"},
            "127.0.0.1",
            "127.0.0.1",
        ),
    ],
)
def test_only_the_proxies_are_believed(make_app, settings, peer, address):
    app = make_app(**settings)
    seen = []

    @app.before_request
    def note():
        seen.append((request.remote_addr, request.host))

    headers = {"X-Forwarded-For": "192.0.2.1, 192.0.2.2", "X-Forwarded-Host": "evil.example"}
    app.test_client().get("/healthz", headers=headers, environ_base={"REMOTE_ADDR": peer})
    assert seen == [(address, "localhost")]


OWN = names.machine_names()[0]
MINE = ("example.org", "www.example.org:8443")


@pytest.mark.parametrize(
    "host_names, host, code",
    [
        ((), "localhost", 200),
        ((), "localhost:5000", 200),
        ((), OWN, 200),
        ((), OWN.upper(), 200),
        ((), "microblog.local", 200),
        ((), "192.0.2.7", 200),
        ((), "192.0.2.7:80", 200),
        ((), "[2001:db8::1]:80", 200),
        ((), "evil.example", 400),
        ((), "local", 400),
        (MINE, "example.org", 200),
        (MINE, "example.org:8080", 200),
        (MINE, "www.example.org", 200),
        (MINE, "localhost", 200),
        (MINE, "127.0.0.1:8000", 200),
        (MINE, "[::1]", 200),
        (MINE, OWN, 400),
        (MINE, "192.0.2.7", 400),
        (MINE, "microblog.local", 400),
        (MINE, "example.org.evil.example", 400),
        (MINE, "evilexample.org", 400),
    ],
)
def test_hosts(make_app, migrated, host_names, host, code):
    visitor = make_app(host_names=host_names).test_client()
    response = visitor.get("/login", headers={"Host": host})
    assert response.status_code == code
    if code == 400:
        assert "another name" in response.text
    assert visitor.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("192.0.2.7:80@evil.example", "[::1]@evil.example", "[::1]evil.example", "127.0.0.1/evil.example"),
        *("evil.example#.local", "\x00.local", "a..local", ".local", "local..", "", " ", "a b", "é.local"),
        *(
            "x" * 64 + ".local",
            "x." * 150 + "local",
            "localhost:",
            "localhost:x",
            "localhost:999999",
            "[::1",
            "[]",
        ),
    ],
)
def test_what_is_no_host(make_app, migrated, host):
    app = make_app()
    for path in ("/login", "/healthz", "/nowhere", "/static/microblog.css"):
        environ = {**create_environ(path), "HTTP_HOST": host}
        assert run_wsgi_app(app, environ)[1].startswith("400 ")


@pytest.mark.parametrize(
    "settings, host, start",
    [
        ({"host_names": MINE}, "www.example.org", "http://example.org/"),
        ({"host_names": MINE, "https": True}, "localhost", "https://example.org/"),
        ({"host_names": ("[::1]:8443",)}, "localhost", "http://[::1]:8443/"),
        ({}, OWN, f"http://{OWN}/"),
        # Accepted, but anybody's: links lead to this machine.
        ({}, "evil.local", None),
        ({}, "198.51.100.66", None),
        ({}, "192.0.2.2:80@evil.example", None),
        ({}, f"{OWN}:80@evil.example", None),
        ({}, "localhost", None),
    ],
)
def test_links_in_mails_lead_here(make_app, monkeypatch, settings, host, start):
    monkeypatch.setattr(names, "machine_addresses", lambda: ["192.0.2.2"])
    app = make_app(**settings)
    with app.test_request_context("/", headers={"Host": host}):
        url = external_url("auth.login")
    assert url.endswith("/login")
    if start is None:
        start = tuple(f"http://{name}/" for name in names.machine_names())
    assert url.startswith(start)


def test_a_link_leads_to_the_address_that_was_used(make_app, monkeypatch):
    monkeypatch.setattr(names, "machine_addresses", lambda: ["192.0.2.2"])
    app = make_app(https=True)
    # A port that is the server's own; of any other, only its visitor speaks.
    for options, start in (
        ({"base_url": "https://192.0.2.2:8443"}, "https://192.0.2.2:8443/"),
        ({"headers": {"Host": "192.0.2.2:8443"}}, "https://192.0.2.2/"),
        ({"headers": {"Host": "192.0.2.2.:22"}}, "https://192.0.2.2/"),
    ):
        environ = {"REMOTE_ADDR": "192.0.2.9"}
        with app.test_request_context("/", environ_overrides=environ, **options):
            assert external_url("auth.login") == f"{start}login"


@pytest.mark.parametrize("host", ["example.org.", "EXAMPLE.org.:80", "example.org"])
def test_a_whole_name_of_the_dns_ends_with_a_full_stop(make_app, host):
    assert make_app(host_names=("example.org",)).extensions["microblog.hosts"].accepts(host)
    assert not make_app(host_names=("example.com",)).extensions["microblog.hosts"].accepts(host)


@pytest.mark.parametrize("https", [False, True])
def test_cookies_are_for_this_site_and_its_scheme(make_app, app, make_user, https):
    """Secure ones would not come back to a site at home, which has no HTTPS: nobody could log in."""
    make_user()
    prefix, base = ("__Host-", "https://localhost") if https else ("", "http://localhost")
    browser = Browser(make_app(https=https), base_url=base)
    sent = browser.login(remember_me="y").headers.getlist("Set-Cookie")
    assert {cookie.partition("=")[0] for cookie in sent} == {
        f"{prefix}{name}" for name in ("session", "remember", "known")
    }
    for cookie in sent:
        flags = {flag.strip() for flag in cookie.split(";")[1:]}
        assert ("Secure" in flags) == https
        assert {"HttpOnly", "Path=/"} <= flags
        assert flags & {"SameSite=Lax", "SameSite=Strict"}


def test_a_cookie_has_what_an_extension_forgot(app):
    response = app.response_class()
    response.set_cookie("some", "1")
    assert "SameSite=Lax" in response.headers["Set-Cookie"]
    assert "Secure" not in response.headers["Set-Cookie"]
    response = app.response_class()
    # As Flask-Login deletes its own.
    response.delete_cookie("__Host-remember")
    assert "Secure" in response.headers["Set-Cookie"]


def test_what_is_kept_for_everybody_has_nobodys_cookie_whoever_sets_it(app):
    with app.test_request_context():
        for public in (True, False):
            response = app.response_class()
            response.cache_control.public = public
            response.set_cookie("some", "1")
            app.session_interface.save_session(app, session, response)
            assert ("Set-Cookie" in response.headers) != public
