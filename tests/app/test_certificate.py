"""The page on which a device comes to trust the site's own authority."""

import json
import plistlib
import re
import ssl
import subprocess
import time

import pytest
from app_client import Browser
from test_machine_pages import Agent, press

from microblog import own_authority, protocol
from microblog.database import db
from microblog.models import User, site
from microblog.web import lately
from microblog.web.certificate import views

pytestmark = pytest.mark.any_database


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=garden.local"
    command = [*made.split(), "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "cert.pem").read_text()


@pytest.fixture
def authority(pem, tmp_path, monkeypatch):
    monkeypatch.setattr(own_authority, "FILE", tmp_path / "authority.json")
    told = {"names": ["garden.local", "garden-2.local"], "pem": pem, "ends": time.time() + 1e8}
    own_authority.FILE.write_text(json.dumps(told))
    return own_authority.read()


@pytest.fixture
def by_name(app, authority):
    return Browser(app, "http://garden-2.local")


@pytest.fixture
def by_https(app, authority):
    return Browser(app, "https://garden-2.local")


def picture(page):
    return re.search(r'<img src="https://garden-2\.local(/certificate/seen/[^"]+)"', page.text)[1]


def trusted(app, authority):
    with app.app_context():
        return site.is_trusted(authority.mark)


def test_with_anothers_certificate_there_is_no_such_page(app, tmp_path, monkeypatch):
    monkeypatch.setattr(own_authority, "FILE", tmp_path / "authority.json")
    for path in ("/certificate", "/certificate/microblog.crt", "/certificate/microblog.mobileconfig"):
        assert Browser(app).get(path).status_code == 404
    # Nor where what was published cannot be read.
    own_authority.FILE.write_text("{")
    assert Browser(app).get("/certificate").status_code == 404


def test_the_page_says_what_devices_show(by_name, authority):
    page = by_name.get("/certificate")
    assert page.status_code == 200
    assert authority.sha256 in page.text
    assert authority.sha1 in page.text
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", authority.sha256)
    assert "garden.local, garden-2.local" in page.text
    for language, word in (("es", "candado"), ("ru", "замок")):
        assert word in by_name.get("/certificate", headers={"Accept-Language": language}).text


def test_the_certificate_is_given_out(by_name, authority, pem):
    crt = by_name.get("/certificate/microblog.crt")
    assert crt.mimetype == "application/x-x509-ca-cert"
    assert ssl.DER_cert_to_PEM_cert(crt.data) == pem
    profile = by_name.get("/certificate/microblog.mobileconfig")
    assert profile.mimetype == "application/x-apple-aspen-config"
    said = plistlib.loads(profile.data)
    (root,) = said["PayloadContent"]
    assert root["PayloadType"] == "com.apple.security.root"
    assert root["PayloadContent"] == crt.data
    # Put in once more, it takes its own place, and no other's.
    again = plistlib.loads(by_name.get("/certificate/microblog.mobileconfig").data)
    assert again["PayloadUUID"] == said["PayloadUUID"] != root["PayloadUUID"]


def test_a_device_that_trusts_is_seen(app, by_name, by_https, authority):
    page = by_name.get("/certificate")
    # The browser may fetch the picture from there, and nothing else.
    assert "img-src 'self' https://garden-2.local data:" in page.headers["Content-Security-Policy"]
    path = picture(page)
    assert by_name.get(path).status_code == 404
    assert not trusted(app, authority)
    tick = by_https.get(path)
    assert tick.status_code == 200
    assert tick.mimetype == "image/svg+xml"
    assert tick.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert trusted(app, authority)
    assert by_https.get(path).status_code == 200


def test_by_https_nothing_is_proven(app, by_https, authority):
    """Who was told to go on in spite of the warning gets every picture."""
    page = by_https.get("/certificate")
    assert "/certificate/seen/" not in page.text
    assert "https://garden" not in page.headers["Content-Security-Policy"]
    assert not trusted(app, authority)


def test_made_up_and_old_pictures_prove_nothing(app, by_name, by_https, authority, monkeypatch):
    path = picture(by_name.get("/certificate"))
    assert by_https.get("/certificate/seen/made-up.svg").status_code == 404
    monkeypatch.setattr(views, "_SECONDS", -1)
    assert by_https.get(path).status_code == 404
    monkeypatch.undo()
    assert not trusted(app, authority)


def test_trust_in_an_authority_is_none_in_the_next(app, by_name, by_https, authority, monkeypatch):
    path = picture(by_name.get("/certificate"))
    by_https.get(path)
    with app.app_context():
        assert not site.is_trusted("of another")
        site.note_trusted("of another")
        db.session.commit()
    assert not trusted(app, authority)


def test_a_visitor_by_another_name_is_asked_for_the_first(app, authority):
    assert (
        "https://garden.local/certificate/seen/"
        in Browser(app, "http://192.168.1.9").get("/certificate").text
    )


def test_the_owner_sends_visitors_to_https_once_somebody_trusts_it(
    app, client, make_user, by_name, by_https, authority, short_path, monkeypatch
):
    monkeypatch.setattr(protocol, "SOCKET", short_path / "socket")
    monkeypatch.setattr(lately, "confirmed", lambda: True)
    agent = Agent(protocol.SOCKET)
    try:
        make_user("root1")
        with app.app_context():
            User.find("root1").is_admin = True
            db.session.commit()
        client.login("root1")
        name = "/machine/name"
        assert 'name="redirect"' not in client.get(name).text
        refused = press(client, name, redirect="yes")
        assert refused.status_code == 409
        assert "No device was seen yet" in refused.text
        assert not [one for one in agent.asked if one[0] == "https-redirect"]
        by_https.get(picture(by_name.get("/certificate")))
        assert 'name="redirect" value="yes"' in client.get(name).text
        press(client, name, redirect="yes")
        assert agent.last() == ("https-redirect", {"on": True})
        press(client, name, redirect="no")
        assert agent.last() == ("https-redirect", {"on": False})
    finally:
        agent.server.shutdown()
        agent.server.server_close()
