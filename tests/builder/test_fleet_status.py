"""How a fleet is, asked from here: of machines that are made up, at addresses of this one."""

import http.server
import json
import ssl
import threading

import pytest
from click.testing import CliRunner

import build
from builder.core.needs import Program
from builder.fleet import authority as authority_
from builder.fleet import make, plan, status
from builder.fleet.vault import Vault

NEEDS = (Program("openssl", "openssl"),)
FLEET = """\
site = "garden.example.org"
owner = "ada@example.org"
ssh_keys = ["ssh-ed25519 AAAA ada"]
[database]
db1 = "127.0.9.1"
[app]
app1 = "127.0.9.2"
[balancer]
lb1 = "127.0.9.3"
"""


class _Answers(http.server.BaseHTTPRequestHandler):
    code, text = 200, b"it serves\n"

    def do_GET(self):
        self.send_response(self.code)
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_):
        pass


@pytest.fixture
def garden(tmp_path, monkeypatch):
    """FLEET.toml, its folder made, and each machine asked on a port that is free here."""
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    make.make(path, tmp_path / "fleet")
    running = []

    def begin(server):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)

    def certified(socket, own):
        pem = tmp_path / "pem"
        pem.write_text(own["key"] + own["cert"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context.wrap_socket(socket, server_side=True)

    def show(own):
        """Visitors this certificate, at the balancer."""
        server = http.server.ThreadingHTTPServer((plan.load(path).of("balancer")[0].address, 0), _Answers)
        server.socket = certified(server.socket, own)
        begin(server)
        monkeypatch.setattr(status, "_HTTPS", server.server_port)

    def serve(kind, code=200, text=b"it serves\n", authority=None, at=None, shown=None):
        handler = type("Handler", (_Answers,), {"code": code, "text": text})
        machine = plan.load(path).of(kind)[0]
        server = http.server.ThreadingHTTPServer((at or machine.address, 0), handler)
        if kind == "balancer":
            show(shown or authority_.make("Let's Encrypt"))
        if kind == "app":
            own = (authority or Vault(tmp_path / "fleet").known["machines"])[machine.name]
            server.socket = certified(server.socket, own)
        begin(server)
        url = f"http{'s' if kind == 'app' else ''}://{{}}:{server.server_port}/"
        monkeypatch.setitem(status._ASKED, kind, url)

    yield path, serve
    for server in running:
        server.shutdown()
        server.server_close()


def _told(path):
    return {one.name: (one.good, one.told) for one in status.ask(plan.load(path), path.with_suffix(""))}


def test_all_are_well(garden):
    path, serve = garden
    for kind in plan.KINDS:
        serve(kind)
    assert _told(path) == dict.fromkeys(("db1", "app1", "lb1"), (True, "it serves"))
    done = CliRunner().invoke(build.main, ["fleet", "status", str(path), "--json"])
    assert done.exit_code == 0
    assert [(one["name"], one["good"]) for one in json.loads(done.stdout)] == [
        ("db1", True), ("app1", True), ("lb1", True),
    ]  # fmt: skip
    done = CliRunner().invoke(build.main, ["fleet", "status", str(path)])
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["yes", "database"], ["yes", "app"], ["yes", "balancer"],
    ]  # fmt: skip


@pytest.mark.parametrize("written", ["begun = true", ""])
def test_whoever_has_not_written_that_the_databases_have_begun_is_told(garden, written):
    path, serve = garden
    path.write_text(f"{written}\n{FLEET}".replace("[app]", 'db2 = "127.0.9.4"\ndb3 = "127.0.9.5"\n[app]'))
    serve("database", at="0.0.0.0")  # noqa: S104 - all three addresses
    done = CliRunner().invoke(build.main, ["fleet", "status", str(path)])
    assert ("write begun = true into" in done.stderr) is not bool(written)


def test_what_is_wrong_is_told_of_each(garden):
    path, serve = garden
    serve("database", 503, b"its disk is full\nmore\n")
    # Another fleet's application, at the same address.
    other = Vault(path.parent / "other")
    other.complete(plan.load(path))
    serve("app", authority=other.known["machines"])
    serve("balancer", text=b"\x1b[31mred\n")
    told = _told(path)
    assert told["db1"] == (False, "503: its disk is full")
    assert told["app1"][0] is False
    assert "certificate verify failed" in told["app1"][1]
    assert told["lb1"] == (True, "?[31mred")


def test_the_certificate_that_visitors_are_shown_is_looked_at(garden, monkeypatch):
    path, serve = garden
    own = Vault(path.with_suffix("")).known
    serve("balancer", shown=own["machines"]["lb1"])
    good, told = _told(path)["lb1"]
    assert not good
    assert "is the fleet's own yet" in told
    # Twenty years are no less than thirty.
    other = authority_.make("Let's Encrypt")
    serve("balancer", shown=other)
    monkeypatch.setattr(status, "_SOON", 365 * 30)
    good, told = _told(path)["lb1"]
    assert not good
    assert told.startswith("its certificate ends on ")
    monkeypatch.setattr(status, "_SOON", 14)
    assert _told(path)["lb1"] == (True, "it serves")
    # Nobody listens there.
    monkeypatch.setattr(status, "_HTTPS", 1)
    assert _told(path)["lb1"] == (False, "it shows visitors no certificate")


def test_the_verb_says_which_do_not_answer(tmp_path, build):
    """Nobody listens at these addresses."""
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    make.make(path, tmp_path / "fleet")
    done = build("fleet", "status", str(path), "--json")
    assert done.returncode == 1
    assert [one["good"] for one in json.loads(done.stdout)] == [False] * 3
    assert all(one["told"].startswith("no answer: ") for one in json.loads(done.stdout))
    assert done.stderr.splitlines()[-2] == "build.py: not good: db1, app1, lb1"


def test_from_another_machine_it_is_asked_by_ssh(tmp_path, monkeypatch):
    """An ssh that is made up: it runs here what it is told to run there."""
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    make.make(path, tmp_path / "fleet")
    for name, text in {
        "ssh": '#!/bin/sh\nwhile [ "$1" = -o ]; do shift 2; done\n[ "$1" = lb1 ] || exit 255\n'
        'exec sh -c "$2"\n',
        "curl": "#!/bin/sh\nfor url; do :; done\ncase $url in\n*readyz) printf 'ready\\n200' ;;\n"
        "*9200/all) printf 'held back\\n503' ;;\n*) echo 'curl: no route' >&2; exit 7 ;;\nesac\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    told = [(one.good, one.told) for one in status.ask(plan.load(path), tmp_path / "fleet", "lb1")]
    assert told == [(False, "503: held back"), (True, "ready"), (False, "no answer: curl: no route")]


def test_a_folder_that_was_not_made_is_told(tmp_path, build):
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    done = build("fleet", "status", str(path))
    assert done.returncode == 1
    assert "ca.pem is not there" in done.stderr
