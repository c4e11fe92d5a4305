"""A real browser that is told to trust the machine's own authority: what it then believes, and what not."""

import contextlib
import http.server
import os
import ssl
import subprocess
import sys
import threading

import pytest
import requests
from live_site import Site, wait
from playwright.sync_api import Error, expect, sync_playwright

from builder.core.ports import free_port
from microblog import names, own_authority
from microblog.host.machine import layout
from microblog.host.site import authority
from microblog.models import site as settings

CHROMIUM = "/usr/bin/chromium"
NAME = "garden.local"
# Of whom the authority's key is stolen, and who uses it for another's name.
FORGE = """
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=bank.example \
    -keyout bank-key.pem -out bank.csr
printf 'subjectAltName=DNS:bank.example\\nextendedKeyUsage=serverAuth' > bank.cnf
openssl x509 -req -in bank.csr -CA authority.pem -CAkey authority-key.pem -CAcreateserial -days 9 \
    -extfile bank.cnf -out bank.pem
"""


@pytest.fixture
def certificates(tmp_path, monkeypatch):
    """A folder with an authority of the machine's, and what it has certified."""
    folder = tmp_path / "tls"
    folder.mkdir()
    monkeypatch.setattr(layout, "TLS", folder)
    monkeypatch.setattr(authority, "CERTIFICATE", folder / "authority.pem")
    monkeypatch.setattr(authority, "KEY", folder / "authority-key.pem")
    monkeypatch.setattr(authority.files, "write", lambda path, data, *_: path.write_text(data))
    monkeypatch.setattr(authority.socket, "gethostname", lambda: "garden")
    monkeypatch.setattr(names, "machine_names", lambda: ["garden", NAME])
    monkeypatch.setattr(names, "local_name", lambda: NAME)
    monkeypatch.setattr(own_authority, "FILE", tmp_path / "authority.json")
    authority.ensure()
    authority.sign(folder / "key.pem", folder / "cert.pem")
    authority.publish(folder / "cert.pem")
    subprocess.run(["sh", "-ec", FORGE], cwd=folder, capture_output=True, check=True)
    return folder


@pytest.fixture
def home(certificates, tmp_path):
    """The site by plain HTTP, and beside it by HTTPS; :return: it, and the ports of both and of a forger."""
    site = Site(tmp_path, HOST_NAMES=NAME)
    (site.agent / "authority.json").write_text(own_authority.FILE.read_text())
    secure = free_port()
    keys = f"--certfile {certificates}/cert.pem --keyfile {certificates}/key.pem"
    environment = {**site.environment, "BIND": f"127.0.0.1:{secure}", "GUNICORN_CMD_ARGS": keys}
    command = [sys.executable, "-m", "gunicorn", "-c", "python:microblog.gunicorn_config"]
    with (tmp_path / "secure.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "live_app:create_app()"], env=environment, stderr=log, stdout=log
        )

    def answers():
        assert process.poll() is None, (tmp_path / "secure.log").read_text()
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"https://127.0.0.1:{secure}/healthz", verify=False, timeout=5).ok  # noqa: S501

    with forger(certificates) as bank:
        wait(answers)
        yield (
            site,
            {f"{NAME}:80": int(site.url.rpartition(":")[2]), f"{NAME}:443": secure, "bank.example:443": bank},
        )
    process.terminate()
    process.wait(60)
    site.close()


@contextlib.contextmanager
def forger(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "bank.pem", certificates / "bank-key.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    # Browsers connect ahead, and say nothing.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def device(folder, ports):
    """A window of a browser that has this home folder, and finds the names at these ports."""
    rules = ", ".join(f"MAP {name} 127.0.0.1:{port}" for name, port in ports.items())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            env={**os.environ, "HOME": str(folder)},
            args=[f"--host-resolver-rules={rules}"],
        )
        page = browser.new_page(locale="en")
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def sees_the_tick(page):
    page.goto(f"http://{NAME}/certificate", wait_until="load")
    return page.evaluate("document.querySelector('.check img').naturalWidth > 0")


def trusted(site):
    with site.app.app_context():
        return settings.is_trusted(own_authority.read().mark)


@pytest.mark.thorough
def test_a_browser_trusts_the_authority_for_its_names_alone(home, certificates, tmp_path, axe):
    site, ports = home
    folder = tmp_path / "home"
    store = folder / ".pki/nssdb"
    store.mkdir(parents=True)
    told = {"check": True, "stdin": subprocess.DEVNULL}
    subprocess.run(["certutil", "-N", "--empty-password", "-d", f"sql:{store}"], **told)
    # Before it was told.
    with device(folder, ports) as page:
        assert not sees_the_tick(page)
        expect(page.get_by_alt_text("Not yet.")).to_have_count(1)
        assert axe.violations(page) == []
        with page.expect_download() as given:
            page.click("a[href$='.crt']")
        given.value.save_as(tmp_path / "given.crt")
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            page.goto(f"https://{NAME}/certificate")
        assert not trusted(site)
    # As its settings do it: what was downloaded, as an authority of web sites.
    put = ["certutil", "-A", "-d", f"sql:{store}", "-n", "garden", "-t", "C,,", "-i", tmp_path / "given.crt"]
    subprocess.run(put, **told)
    with device(folder, ports) as page:
        assert sees_the_tick(page)
        assert trusted(site)
        page.goto(f"https://{NAME}/certificate")
        expect(page.locator("main")).to_contain_text("You are here by HTTPS")
        # Whoever has stolen its key is no bank.
        with pytest.raises(Error, match="ERR_CERT_INVALID"):
            page.goto("https://bank.example/")
