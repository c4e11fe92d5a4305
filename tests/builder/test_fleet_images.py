"""What a fleet's images make of what they are told: each file by the program that reads it."""

import configparser
import contextlib
import http.client
import os
import re
import shlex
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from builder.core import paths
from builder.core.command import program
from builder.core.needs import Program
from builder.core.ports import free_port
from builder.defs import definition
from builder.fleet import make, plan, userdata
from microblog.units import PATIENCE
from tests.builder.test_fleet_make import FLEET

NEEDS = (Program("haproxy", "haproxy"), Program("keepalived", "keepalived"))
_FILES = paths.PACKER / "files"
_KINDS = dict.fromkeys(("db1", "db2", "db3"), "database") | {
    "app1": "app",
    "lb1": "balancer",
    "lb2": "balancer",
}


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """What each machine has in /etc/fleet, by name: in folders of theirs."""
    top = tmp_path_factory.mktemp("fleet")
    (top / "fleet.toml").write_text(FLEET)
    make.make(top / "fleet.toml", top / "made")
    for name in _KINDS:
        for file in yaml.safe_load((top / f"made/{name}.yaml").read_text())["write_files"]:
            path = top / name / Path(file["path"]).name
            path.parent.mkdir(exist_ok=True)
            if file["path"].startswith("/etc/fleet/tls/"):
                path = top / name / "tls" / path.name
                path.parent.mkdir(exist_ok=True)
            path.write_text(file["content"])
        site = "".join((top / name / f"tls/{what}.pem").read_text() for what in ("cert", "key"))
        (top / name / "site.pem").write_text(site)
    return top


def _run(machines, name, script, *words, tree=None):
    """What a script of its image prints."""
    return subprocess.run(
        [_FILES / (tree or _KINDS[name]) / "usr/local/lib/fleet" / script, *words],
        env={**os.environ, "FLEET": str(machines / name)}, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def _haproxy(text, tmp_path):
    (tmp_path / "haproxy.cfg").write_text(text)
    return subprocess.run(
        [program("haproxy", "haproxy"), "-c", "-f", tmp_path / "haproxy.cfg"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["app1", "lb1", "lb2"])
def test_haproxy_takes_what_is_written_for_it(machines, name, tmp_path):
    done = _haproxy(_run(machines, name, "haproxy"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert _haproxy(_run(machines, name, "haproxy") + "\n    nonsense\n", tmp_path).returncode


def test_one_database_is_written_to_and_the_same_by_each(machines):
    servers = [
        line.split() for line in _run(machines, "app1", "haproxy").splitlines() if "    server db" in line
    ]
    assert [words[1:3] for words in servers] == [
        [f"db{number}", f"10.0.0.1{number}:3306"] for number in (1, 2, 3)
    ]
    assert ["backup" in words for words in servers] == [False, True, True]
    assert "shutdown-backup-sessions" in servers[0]


def test_visitors_reach_applications_that_are_known_by_the_fleets_authority(machines):
    servers = [line for line in _run(machines, "lb1", "haproxy").splitlines() if " server app" in line]
    assert len(servers) == 4
    assert all("ssl verify required ca-file" in line and "verifyhost app" in line for line in servers)
    assert "    server lb2 10.0.0.32:8888\n" in _run(machines, "lb1", "haproxy")


@contextlib.contextmanager
def _balancer(text, tmp_path):
    """One that runs, with these settings, and without TLS. :return: asks it for a path."""
    port = free_port("127.0.9.7")
    lines = [
        line
        for line in text.replace("bind :80", f"bind 127.0.9.7:{port}").splitlines()
        if not line.strip().startswith(("user ", "group ", "bind :443"))
    ]
    # Nobody of the fleet is asked from here, by a process that may have few files open.
    (tmp_path / "haproxy.cfg").write_text(
        re.sub(r"10\.0\.0\.\d+", "127.0.9.8", "\n".join(lines) + "\n").replace("10000", "100")
    )

    def connect():
        return http.client.HTTPConnection("127.0.9.7", port, timeout=300)

    def ask(path, method="GET"):
        connection = connect()
        connection.request(method, path, headers={"Host": "garden.example.org"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location") or answer.read()

    ask.connect = connect
    with _served(tmp_path / "haproxy.cfg") as ask.running:
        yield ask


@contextlib.contextmanager
def _served(settings):
    """As the distribution's unit has it, once it serves. :return: the process that is told to reload."""
    command = [program("haproxy", "haproxy"), "-Ws", "-f", settings]
    # As systemd hears that it is ready (sd_notify(3)): to be told to reload before that may be in vain.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, tempfile.TemporaryDirectory() as name:
        ready.bind(f"{name}/ready")
        ready.settimeout(60)
        environ = {**os.environ, "NOTIFY_SOCKET": f"{name}/ready"}
        running = subprocess.Popen(command, env=environ)
        try:
            while b"READY=1" not in ready.recv(1000):
                assert running.poll() is None, "it has ended"
            yield running
        finally:
            running.terminate()
            running.wait()


def test_visitors_are_led_to_https_and_a_certificates_authority_is_not(machines, tmp_path):
    """Of a balancer that runs, and reaches nobody: neither applications nor a certbot that listens."""
    with _balancer(_run(machines, "lb1", "haproxy"), tmp_path) as ask:
        assert ask("/explore?page=2") == (301, "https://garden.example.org/explore?page=2")
        assert ask("/.well-known/acme-challenge/a")[0] == 503


class _Application(ThreadingHTTPServer):
    """Answers with its name: /slow when it may, and nothing while it is silent.

    :ivar asked: what it was asked for, but for health."""

    daemon_threads = True

    def __init__(self, name):
        self.name, self.ready, self.asked = name, True, []
        self.speaks, self.may = threading.Event(), threading.Event()
        self.speaks.set()
        super().__init__(("127.0.9.8", 0), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """Who has asked is gone."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        app = self.server
        health = self.path in ("/readyz", "/healthz")
        if not health:
            app.asked.append(self.path)
        app.speaks.wait(300)
        if self.path == "/slow":
            app.may.wait(300)
        self.send_response(503 if self.path == "/readyz" and not app.ready else 200)
        self.send_header("Content-Length", str(len(app.name)))
        self.end_headers()
        self.wfile.write(app.name.encode())

    do_POST = do_GET

    def log_message(self, *_):
        """Nothing."""


def _until(done):
    ends = time.monotonic() + 300
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_what_a_silent_machine_was_asked_is_taken_back_and_one_that_ends_may_finish(machines, tmp_path):
    apps = {name: _Application(name) for name in ("app1", "app2")}
    first, second = apps.values()
    text = "\n".join(
        line for line in _run(machines, "lb1", "haproxy").splitlines() if "redirect scheme https" not in line
    )
    # So long it waits for who says nothing; longer than nginx and the application do for what they wait for.
    assert "    timeout check 4s\n" in text
    # And that is so for TLS, too, which has "inter"; those who have just come are led elsewhere meanwhile.
    often = "default-server inter 2s fastinter 500ms downinter 500ms fall 2 rise 1"
    assert text.count(often) == 2
    assert "backend ready\n    balance leastconn\n" in text
    text = re.sub(
        r"    server (app\d) \S+ check.*",
        lambda found: f"    server {found[1]} 127.0.9.8:{apps[found[1]].server_port} check",
        text.replace("timeout check 4s", "timeout check 1s").replace("inter 2s", "inter 500ms"),
    )
    with _balancer(text, tmp_path) as ask, ThreadPoolExecutor(8) as pool:

        def caught(method):
            """Ask until the first one is asked. :return: the answer that is to come."""
            while True:
                first.asked.clear()
                second.asked.clear()
                answer = pool.submit(ask, "/slow", method)
                _until(lambda: first.asked or second.asked)
                if first.asked:
                    return answer

        def told(names):
            _until(lambda: {ask("/")[1].decode() for _ in range(6)} == names)

        told({"app1", "app2"})
        second.may.set()
        slow = caught("POST")
        first.ready = False
        told({"app2"})
        first.may.set()
        assert slow.result() == (200, b"app1")

        first.ready = True
        told({"app1", "app2"})
        # Who has as many that wait is asked, too.
        first.may.clear()
        second.may.clear()
        form, page = caught("POST"), caught("GET")
        second.may.set()
        first.speaks.clear()
        assert page.result() == (200, b"app2")
        assert form.result()[0] == 502
        told({"app2"})
        # All of them wait for the database: they are alive, and asked all the same.
        first.speaks.set()
        for app in apps.values():
            app.ready = False
        told({"app1", "app2"})
        for app in apps.values():
            app.shutdown()


class _Certbot(_Answer):
    """Knows its own question alone, and hangs up on another's, as certbot's own does (acme.standalone)."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        if self.path == f"/.well-known/acme-challenge/{self.server.name}":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.name.encode())


@pytest.mark.parametrize("names", [["own", "lb2"], ["own", "lb2", "lb3"], ["lb2"], ["own"]])
def test_an_authority_is_led_to_the_balancer_that_asked_it(machines, tmp_path, names):
    """Also where each asks at once. With real ones: tests/fleet/test_certificate.py.

    :param names: of those that ask; nobody listens at the others.
    """
    text = _run(machines, "lb1", "haproxy") + "    server lb3 10.0.0.33:8888\n"
    certbots = [_Application(name) for name in names]
    for one in certbots:
        one.RequestHandlerClass = _Certbot
        text = re.sub(f"(    server {one.name}) .*", rf"\1 127.0.9.8:{one.server_port}", text)
    with _balancer(text, tmp_path) as ask, ThreadPoolExecutor(8) as pool:
        asked = [*names, *names] * 20
        answers = [*pool.map(lambda name: ask(f"/.well-known/acme-challenge/{name}"), asked)]
        assert answers == [(200, name.encode()) for name in asked]
        assert ask("/.well-known/acme-challenge/nobodys")[0] in (502, 503)
    for one in certbots:
        one.shutdown()


# As certbot does: what it is given is a number more where it was broken off before.
_CERTBOT = """
name=garden.example.org
for folder in etc/live/$name etc/live/$name-0001; do
    [ ! -e $folder ] || continue
    mkdir $folder
    cp own/fullchain.pem own/privkey.pem $folder/
    break
done
echo asked >> asked
"""


@pytest.fixture
def certifies(machines, tmp_path):
    """A balancer's scripts for its certificate, in a folder. :return: runs one of them."""
    known = (machines / "lb1/tls/cert.pem").read_text(), (machines / "lb1/tls/key.pem").read_text()
    for name in ("own", "etc/live"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in zip(("fullchain", "privkey"), known, strict=True):
        (tmp_path / f"own/{name}.pem").write_text(text)
    stubs = _stubs(tmp_path, certbot=_CERTBOT, systemctl='echo "systemctl $*"')
    scripts = ("usr/local/sbin/fleet-certificate", "etc/letsencrypt/renewal-hooks/deploy/fleet")
    places = {
        "/etc/letsencrypt/renewal-hooks/deploy/fleet": "bin/hook",
        "/etc/letsencrypt": "etc",
        "/etc/fleet/self": f"'{machines}'/lb1/self",
        "/usr/local/lib/fleet/put": f"'{_FILES}'/fleet/usr/local/lib/fleet/put",
        "/etc/fleet/site.pem": "./site.pem",
        "root:root": f"{os.getuid()}:{os.getgid()}",
    }
    for script, name in zip(scripts, ("fleet-certificate", "hook"), strict=True):
        text = (_FILES / "balancer" / script).read_text()
        for its, here in places.items():
            text = text.replace(its, here)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def run(name, **environ):
        return subprocess.run(
            [f"bin/{name}"], cwd=tmp_path, env={**stubs, **environ}, check=False,
            capture_output=True, text=True,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    "left",
    [
        # Of certbot's, where it was broken off: nothing, a link to nothing, what a power cut left empty.
        {},
        {"fullchain.pem": None},
        {"fullchain.pem": "", "privkey.pem": ""},
        {"fullchain.pem": "own", "privkey.pem": ""},
    ],
)
def test_a_balancer_gets_its_certificate_where_certbot_was_broken_off(certifies, tmp_path, left):
    ours = tmp_path / "etc/live/garden.example.org"
    if left:
        ours.mkdir()
    for name, content in left.items():
        if content is None:
            (ours / name).symlink_to("nothing")
        else:
            (ours / name).write_bytes((tmp_path / content / name).read_bytes() if content else b"")
    done = certifies("fleet-certificate")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "systemctl reload haproxy.service\n"
    both = "".join((tmp_path / f"own/{name}.pem").read_text() for name in ("fullchain", "privkey"))
    assert (tmp_path / "site.pem").read_text() == both
    # Half an hour later: there it is.
    done = certifies("fleet-certificate")
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.parametrize(
    ("lineage", "domains", "key", "code", "shown"),
    [
        ("garden.example.org", "garden.example.org", "", 0, "new"),
        # A number more, and a name more: it is the site's.
        ("garden.example.org-0001", "www.example.org garden.example.org", "", 0, "new"),
        # The site's from before, and another one of the owner's.
        ("old.example.org", "old.example.org", "", 0, "before"),
        ("garden.example.org.uk", "garden.example.org.uk", "", 0, "before"),
        ("garden.example.org", "garden.example.org", "none", 1, "before"),
        ("garden.example.org", "garden.example.org", "empty", 1, "before"),
        ("garden.example.org", "garden.example.org", "another", 1, "before"),
    ],
)
def test_what_is_no_certificate_of_the_sites_name_is_not_given_to_haproxy(
    machines, certifies, tmp_path, lineage, domains, key, code, shown
):
    (tmp_path / "site.pem").write_text("before")
    folder = tmp_path / "etc/live" / lineage
    (tmp_path / "own").rename(folder)
    if key == "none":
        (folder / "privkey.pem").unlink()
    elif key:
        (folder / "privkey.pem").write_text(
            (machines / "lb2/tls/key.pem").read_text() if key == "another" else ""
        )
    done = certifies("hook", RENEWED_LINEAGE=str(folder), RENEWED_DOMAINS=domains)
    assert done.returncode == code, done.stderr
    assert ((tmp_path / "site.pem").read_text() == "before") is (shown == "before")
    assert ("reload" in done.stdout) is (shown == "new")
    assert bool(done.stderr) is bool(code)


class _Database(socketserver.ThreadingTCPServer):
    """Takes whoever comes, says so, and nothing more. :ivar health: says by HTTP that it serves."""

    daemon_threads = True

    def __init__(self):
        self.health = _Application("health")
        super().__init__(("127.0.9.8", 0), _Taken)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def shutdown(self):
        super().shutdown()
        self.health.shutdown()


class _Taken(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello")
        self.request.recv(1)


@contextlib.contextmanager
def _way(machines, tmp_path):
    """An application's own HAProxy, before databases that are made up. :return: it, and how to connect."""
    nodes = {f"db{number}": _Database() for number in (1, 2, 3)}
    port = free_port("127.0.9.7")
    text = re.sub(
        r"server (db\d) \S+ check port 9200",
        lambda found: f"server {found[1]} 127.0.9.8:{nodes[found[1]].server_address[1]}"
        f" check port {nodes[found[1]].health.server_port}",
        re.sub(r" +(user|group) haproxy\n", "", _run(machines, "app1", "haproxy")),
    )
    (tmp_path / "haproxy.cfg").write_text(
        text.replace("bind 127.0.0.1:3306", f"bind 127.0.9.7:{port}").replace("maxconn 1000", "maxconn 100")
    )

    def connect():
        connection = socket.create_connection(("127.0.9.7", port), timeout=60)
        assert connection.recv(100) == b"hello"
        return connection

    with _served(tmp_path / "haproxy.cfg") as running:
        yield running, connect
    for node in nodes.values():
        node.shutdown()


def test_a_connection_from_before_a_reload_ends_before_the_applications_patience(machines, tmp_path):
    """The process that has it asks no database any more how it is: a frozen one would keep it for an hour."""
    stops = re.findall(r"^    hard-stop-after (\d+)s$", _run(machines, "app1", "haproxy"), re.M)
    assert [int(seconds) < PATIENCE for seconds in stops] == [True]
    with _way(machines, tmp_path) as (running, connect), connect() as before:
        running.send_signal(signal.SIGUSR2)
        assert before.recv(1) == b""
        connect().close()


def test_a_balancer_that_is_reloaded_finishes_and_lets_go_of_who_asks_nothing(machines, tmp_path):
    app = _Application("app1")
    text = re.sub(
        r"    server app1 \S+ check.*",
        f"    server app1 127.0.9.8:{app.server_port} check",
        re.sub(".* (server app2 |redirect scheme https).*\n", "", _run(machines, "lb1", "haproxy")),
    )
    with _balancer(text, tmp_path) as ask, ThreadPoolExecutor(1) as pool:
        _until(lambda: ask("/") == (200, b"app1"))
        idle = ask.connect()
        idle.request("GET", "/", headers={"Host": "garden.example.org"})
        assert idle.getresponse().read() == b"app1"
        slow = pool.submit(ask, "/slow", "POST")
        _until(lambda: "/slow" in app.asked)
        ask.running.send_signal(signal.SIGUSR2)
        assert idle.sock.recv(1) == b""
        assert ask("/") == (200, b"app1")
        app.may.set()
        assert slow.result() == (200, b"app1")
    app.shutdown()


def _takes_keepalived(text, tmp_path):
    """That it finds nothing wrong with its settings."""
    (tmp_path / "keepalived.conf").write_text(text.replace("/usr/local/sbin/fleet-take", "/bin/true"))
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", "sh", "-euc",
         'ip link add eth0 type veth peer name eth1; exec "$@"', "sh",
         program("keepalived", "keepalived"), "--config-test", "-f", tmp_path / "keepalived.conf"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_keepalived_takes_what_is_written_for_it(machines, tmp_path):
    places = []
    for name in ("lb1", "lb2"):
        text = _run(machines, name, "keepalived", "eth0")
        _takes_keepalived(text, tmp_path)
        assert "        10.0.0.5\n" in text
        places += [line.split()[1] for line in text.splitlines() if "priority" in line]
    assert places == ["100", "99"]


def test_a_balancer_that_is_alone_has_the_shared_address_and_tells_nobody(machines, tmp_path):
    """Before the second one, or after it: else it would tell all of the network, another fleet's, too."""
    shutil.copytree(machines / "lb1", tmp_path / "lb1")
    known = tmp_path / "lb1/machines"
    known.write_text(known.read_text().replace("balancer lb2 10.0.0.32\n", ""))
    text = _run(tmp_path, "lb1", "keepalived", "eth0")
    assert "10.0.0.32" not in text
    _takes_keepalived(text, tmp_path)


def _becomes(machines, tmp_path, name, systemctl):
    """What a machine makes of what it is told, in folders. :return: does so, given its words."""
    (tmp_path / "lib").mkdir()
    own = _FILES / _KINDS[name] / "usr/local/lib/fleet"
    shared = _FILES / "fleet/usr/local/lib/fleet"
    for path in (*own.iterdir(), shared / "put"):
        (tmp_path / "lib" / path.name).symlink_to(path)
    for program_name in ("haproxy", "keepalived"):
        (tmp_path / program_name).mkdir()
    shutil.copytree(machines / name, tmp_path / "etc")
    places = {
        "root:root": f"{os.getuid()}:{os.getgid()}",
        "/etc/haproxy": "../haproxy",
        "/etc/$program": "../$program",
        "/etc/keepalived": "../keepalived",
        # By its first line it goes there.
        "/usr/local/lib/fleet": "lib",
        "/etc/fleet": "../etc",
        "/run/": "../",
    }
    script, give = (own / "become").read_text(), (shared / "give").read_text()
    for its, here in places.items():
        script, give = script.replace(its, here), give.replace(its, here)
    (tmp_path / "lib/give").write_text(give)
    (tmp_path / "lib/give").chmod(0o755)
    stubs = _stubs(tmp_path, systemctl=systemctl, ip='echo "2: eth0 inet"', microblog="")

    def become(*words):
        return subprocess.run(
            ["sh", "-c", script, "become", *words], env={**stubs, "FLEET": str(tmp_path / "etc")},
            cwd=tmp_path, check=False, capture_output=True, text=True,
        )  # fmt: skip

    return become


@pytest.mark.parametrize("running", [[], ["running"]])
def test_one_balancer_alone_gives_the_shared_address_up(machines, tmp_path, running):
    """Of two one was removed, and the address with it: it may be another machine's by now."""
    become = _becomes(machines, tmp_path, "lb1", 'echo "$*"')
    file = tmp_path / "keepalived/keepalived.conf"
    both = [f"reload-or-restart {name}.service" for name in ("haproxy", "keepalived")]
    assert become(*running).stdout.splitlines() == (both if running else [])
    assert "10.0.0.5" in file.read_text()
    told = tmp_path / "etc/self"
    told.write_text(told.read_text().replace("SHARED=10.0.0.5", "SHARED="))
    assert become(*running).stdout.splitlines() == (["stop keepalived.service"] if running else [])
    assert not file.exists()


@pytest.mark.parametrize("name", ["app1", "lb1"])
def test_what_could_not_be_read_is_read_when_its_machine_is_told_again(machines, tmp_path, name):
    """Else all would be well, and HAProxy would go on with the machines from before."""
    become = _becomes(machines, tmp_path, name, '[ -e ../can ] || exit 1; echo "$*"')
    assert become("running").returncode
    (tmp_path / "can").touch()
    reload = "reload-or-restart haproxy.service"
    again = become("running")
    assert (again.returncode, reload in again.stdout) == (0, True)
    # Once, and not at each boot.
    assert [become(*words).stdout for words in (["running"], [])] == ["", ""]


def test_a_nodes_settings_are_its_own(machines):
    for name in ("db1", "db3"):
        parser = configparser.RawConfigParser()
        parser.read_string(_run(machines, name, "settings"))
        found = dict(parser["mysqld"])
        assert found["wsrep-node-name"] == name
        assert found["wsrep-cluster-address"] == '"gcomm://10.0.0.11,10.0.0.12,10.0.0.13"'
        assert found["wsrep-sst-method"] == "mariabackup"
        assert found["idle-transaction-timeout"] == "5"
        assert "socket.ssl_ca=/etc/mysql/fleet/ca.pem;" in found["wsrep-provider-options"]
        assert {"ssl-ca", "ssl-cert", "ssl-key"} <= {*found}
        assert dict(parser["sst"]) == {"ssl-mode": "VERIFY_CA"}


def test_each_machine_lets_those_in_that_want_something_of_it(machines):
    assert _run(machines, "app1", "allowed", "app1") == ""
    assert _run(machines, "lb2", "allowed", "lb2") == "from 10.0.0.31\n"
    rules = _run(machines, "db2", "allowed", "db2").splitlines()
    assert len(rules) == 6
    assert not [rule for rule in rules if "10.0.0.12 " in rule]
    assert [rule for rule in rules if "4567" in rule and "10.0.0.11 " in rule]
    assert not [rule for rule in rules if "4567" in rule and "10.0.0.2" in rule]


def test_accounts_come_by_tls_alone(machines):
    text = _run(machines, "db1", "accounts")
    assert "REQUIRE SSL" in text
    assert text.count("IF NOT EXISTS") == 3


@pytest.mark.parametrize("there", [True, False])
def test_a_node_that_listens_is_reached(machines, tmp_path, there):
    """By the list of nodes: a made-up one, whose only address is this machine's."""
    (tmp_path / "machines").write_text(f"database db1 10.0.0.11\ndatabase db2 127.0.9.{9 if there else 8}\n")
    script = (_FILES / "database/usr/local/lib/fleet/reached").read_text()
    with socket.create_server(("127.0.9.9", 0)) as listening:
        port = str(listening.getsockname()[1])
        done = subprocess.run(
            ["sh", "-c", script.replace("4567", port), "reached", "db1"],
            env={**os.environ, "FLEET": str(tmp_path)}, check=False,
        )  # fmt: skip
    assert (done.returncode == 0) is there


_NO_CLUSTER, _A_CLUSTER = "00000000-0000-0000-0000-000000000000", "5981f182-a8c6-11f0-9f8e-3b1c8a0e2f51"


@pytest.mark.parametrize(
    ("name", "of", "cluster", "there", "joined", "starts"),
    [
        ("db1", "three", "", False, False, "begins"),
        ("db1", "three", "", True, False, "joins"),
        ("db1", "three", _NO_CLUSTER, False, False, "begins"),
        ("db1", "three", _A_CLUSTER, False, False, "goes on"),
        ("db2", "three", "", False, False, ""),
        ("db2", "three", "", True, False, "joins"),
        # Its data is given up, as by a fault of it, or as half of another one's had come: others have it.
        ("db1", "three", _NO_CLUSTER, False, True, ""),
        ("db2", "three", _NO_CLUSTER, True, True, "joins"),
        # It was made anew, while the others are off or do not know its address yet: they have all data.
        ("db1", "three that have begun", "", False, False, ""),
        # There are no others: nobody would come to it.
        ("db1", "one that has begun", "", False, False, "begins"),
        ("db1", "one that has begun", _A_CLUSTER, False, True, "begins"),
        # What it has written down of who is there may be torn: it is not asked for.
        ("db1", "one that has begun and crashed", _A_CLUSTER, False, True, "begins"),
    ],
)
def test_one_database_begins_the_cluster_once(tmp_path, name, of, cluster, there, joined, starts):
    """What is looked at before the server starts, with the folders of a machine that is made up.

    :param cluster: of which it is, by its own files. :param there: whether it reaches another node.
    :param joined: whether it was in a cluster before.
    """
    may_start = _may_start(tmp_path, name, of, there)
    state = f"# GALERA saved state\nuuid:    {cluster}\nsafe_to_bootstrap: 0\n"
    (tmp_path / "data/grastate.dat").write_text(state)
    if "crashed" in of:
        (tmp_path / "data/gvwstate.dat").touch()
    # What it was told at another start.
    (tmp_path / "options").write_text("MYSQLD_OPTS=--other\n")
    if joined:
        (tmp_path / "joined").touch()
    done = may_start({})
    assert done.returncode == (0 if starts else 1)
    assert done.stderr == ("" if starts else "No other database is there to be joined yet\n")
    options = tmp_path / "options"
    told = "MYSQLD_OPTS=--wsrep-new-cluster\n" if starts == "begins" else ""
    assert (options.read_text() if options.exists() else "") == told
    assert (tmp_path / "joined").exists() is (joined or starts == "joins")
    # With 0 the server refuses to begin; of three, somebody has to have looked who is ahead.
    safe = state.replace(": 0", ": 1") if "one" in of else state
    assert (tmp_path / "data/grastate.dat").read_text() == safe
    # Whoever begins it by hand, and has put other data there, knows.
    assert may_start({"_WSREP_NEW_CLUSTER": "--wsrep-new-cluster"}).returncode == 0
    assert not options.exists()


def _may_start(tmp_path, name, of, there):
    """:return: runs the script, with what a unit has in its environment beside."""
    written = FLEET if "three" in of else re.sub("db[23].*\n", "", FLEET)
    fleet = plan.read(f"begun = {'true' if 'begun' in of else 'false'}\n{written}", tmp_path)
    own = {"cert": "", "key": ""}
    known = {"machines": {name: own}, "authority": own, "database_password": "", "copy_password": ""}
    for folder in ("etc/tls", "lib", "data"):
        (tmp_path / folder).mkdir(parents=True)
    for file in userdata.files(fleet, fleet.find(name), known):
        (tmp_path / file.path.replace("/etc/fleet/", "etc/")).write_text(file.content)
    (tmp_path / "lib/reached").write_text(f"#!/bin/sh\nexit {0 if there else 1}\n")
    (tmp_path / "lib/reached").chmod(0o755)
    script = (_FILES / "database/usr/local/lib/fleet/may-start").read_text()
    # By its first line it goes to the first of them.
    for its, here in (
        ("/usr/local/lib/fleet", "lib"),
        ("/etc/fleet", "../etc"),
        ("/var/lib/mysql", "../data"),
        ("/run/fleet-mariadb", "../options"),
        ("/var/lib/fleet/joined", "../joined"),
    ):
        assert its in script
        script = script.replace(its, here)

    def run(environ):
        return subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env={**os.environ, **environ},
            check=False, capture_output=True, text=True,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("swap", "told"),
    [(("", ""), False), (("10.0.0.13", "10.0.0.14"), False), (("sync-wait = 1", "sync-wait = 0"), True)],
)
def test_a_database_is_started_again_for_what_it_reads_alone_and_not_for_another_list(
    machines, tmp_path, swap, told
):
    """:param swap: what its file has said until now, in place of what it is to say."""
    (tmp_path / "lib").mkdir()
    own = _FILES / "database/usr/local/lib/fleet"
    for path in (*own.iterdir(), _FILES / "fleet/usr/local/lib/fleet/put"):
        (tmp_path / "lib" / path.name).symlink_to(path)
    (tmp_path / "etc").symlink_to(machines / "db2")
    text = _run(machines, "db2", "settings")
    (tmp_path / "90-fleet.cnf").write_text(text.replace(*swap) if swap[0] else text)
    script = (own / "become").read_text()
    # By its first line it goes to the first of them.
    for its, here in (
        ("/etc/mysql/mariadb.conf.d", ".."),
        ("/etc/mysql/fleet", ".."),
        ("/usr/local/lib/fleet", "lib"),
        ("/etc/fleet", "../etc"),
    ):
        script = script.replace(its, here)
    stubs = _stubs(tmp_path, install="", chown="", systemctl="")
    done = subprocess.run(
        ["sh", "-c", script, "become", "running"], env={**stubs, "FLEET": str(machines / "db2")},
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert ("systemctl restart mariadb" in done.stdout) is told
    assert (tmp_path / "90-fleet.cnf").read_text() == text


def _stubs(folder, **scripts):
    """Programs that are made up. :return: the environment in which they are found first."""
    (folder / "bin").mkdir()
    for name, text in scripts.items():
        path = folder / "bin" / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("serves", "held"), [("10.0.0.11", True), ("10.0.0.12", True), ("10.0.0.13", False), ("none", False)]
)
def test_the_only_node_that_serves_is_copied_and_not_held_back(machines, tmp_path, serves, held):
    """Two are gone, and the last was told to go on alone: balancers would have nobody left."""
    # One that was broken off has left its mark: this one is good.
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies/.new.bad").touch()
    done, asked = _copy(machines, tmp_path, "echo copy", f"http://{serves}:9200/")
    assert done.returncode == 0, done.stderr
    assert asked == [*(["ON"] if held else []), "OFF"]
    assert len([*tmp_path.glob("copies/*.xbstream.gz")]) == 1
    assert (tmp_path / "copied").exists()


def _copy(machines, tmp_path, copies, serves="http://10.0.0.11:9200/"):
    """Run fleet-backup.

    :param copies: what mariabackup does. :param serves: another node, until there is a file ``gone``.
    :return: how it ended, and what the server was told of being held back.
    """
    stubs = _stubs(
        tmp_path,
        mariadb='echo "${2##* }" >> asked',
        mariabackup=copies,
        curl=f'for url; do :; done; [ "$url" = {serves} ] && [ ! -e gone ]',
    )
    script = (_FILES / "database/usr/local/sbin/fleet-backup").read_text()
    for its, here in (
        ("/etc/fleet", f"'{machines}'/db3"),
        ("/var/backups/fleet", "copies"),
        ("/var/lib/fleet", "."),
    ):
        script = script.replace(its, here)
    # As a service: what ends it ends all of its processes.
    with (tmp_path / "said").open("w") as said:
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, env=stubs, check=False, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
    done.stderr = (tmp_path / "said").read_text()
    return done, (tmp_path / "asked").read_text().splitlines()


def test_a_node_that_copies_serves_once_no_other_one_does(machines, tmp_path):
    """With real nodes: tests/fleet/test_copied.py."""
    copies = (
        "touch gone; timeout 20 sh -c 'until grep -q OFF asked; do sleep 0.1; done'; echo copied >> asked"
    )
    done, asked = _copy(machines, tmp_path, copies)
    assert done.returncode == 0, done.stderr
    assert asked == ["ON", "OFF", "copied", "OFF"]


def test_a_copy_that_is_ended_lets_its_node_serve(machines, tmp_path):
    """As by ``systemctl stop fleet-backup``: else it would be held back until the next night's."""
    done, asked = _copy(machines, tmp_path, "kill 0; sleep 60")
    assert done.returncode == 1
    assert asked == ["ON", "OFF"]
    assert [*(tmp_path / "copies").glob("*.gz")] == []
    assert not (tmp_path / "copies/.new").exists()


def test_a_copy_that_is_killed_lets_its_node_serve(machines, tmp_path):
    """Its shell alone; where systemd sees that, all of it is ended, and its unit says what is done then."""
    done, asked = _copy(machines, tmp_path, "kill -KILL $(ps -o sid= -p $$); sleep 60")
    assert done.returncode == -signal.SIGKILL
    assert asked[0] == "ON"
    _until(lambda: (tmp_path / "asked").read_text().splitlines() == ["ON", "OFF"])
    assert [*(tmp_path / "copies").glob("*.gz")] == []


@pytest.mark.parametrize(
    ("result", "asked"), [("success", ""), ("signal", "-e SET GLOBAL wsrep_desync = OFF\n")]
)
def test_a_copy_that_ended_well_holds_nothing_back_that_its_unit_would_undo(tmp_path, result, asked):
    """At its time the unit runs on each node, and on most of them the script has nothing to do."""
    text = (_FILES / "database/etc/systemd/system/fleet-backup.service").read_text()
    (command,) = re.findall(r"^ExecStopPost=-(.+)$", text, re.M)
    environ = _stubs(tmp_path, mariadb='echo "$@"') | {"SERVICE_RESULT": result}
    done = subprocess.run(shlex.split(command), env=environ, check=False, capture_output=True, text=True)
    assert done.stdout == asked


def test_a_database_that_waits_for_others_is_stopped_within_minutes():
    """It hears no SIGTERM then, and by the distribution's unit it would outlive its stop."""
    text = (_FILES / "database/etc/systemd/system/mariadb.service.d/fleet.conf").read_text()
    (minutes,) = re.findall(r"^TimeoutStopSec=(\d+)min$", text, re.M)
    assert int(minutes) < 5
    assert "\nSendSIGKILL=yes\n" in text


@pytest.mark.parametrize(
    ("there", "broken", "left", "began"),
    [
        # It is told whether the server starts with what the copy has, and then with what was there.
        ("", "", {"data": "copy", "data.before": "now"}, 1),
        ("", "galera-new-cluster", {"data": "now"}, 2),
        ("", "mariabackup", {"data": "now"}, 0),
        ("", "mbstream", {"data": "now"}, 0),
        ("", "reached", {"data": "now"}, 0),
        ("", "mountpoint", {"data": "now"}, 0),
        # It waits for others, of which it can't know whether they run.
        ("", "mariadb", {"data": "now"}, 0),
        # Once before: what was kept is nobody's to throw away but its owner's.
        ("data.before", "", {"data": "now", "data.before": "kept"}, 0),
        # The power went between two names, and what was half unpacked is there.
        ("data.new", "", {"data": "copy", "data.before": "now"}, 1),
    ],
)
def test_a_copy_is_restored_whole_or_not_at_all(machines, tmp_path, there, broken, left, began):
    """With real programs: tests/fleet/test_copied.py."""
    work = {"galera-new-cluster": "echo began >> asked", "mbstream": 'cat > "$3/file"'}
    work |= {"mariabackup": "", "systemctl": "echo active", "gzip": 'cat "$2"'}
    work["mariadb"] = f"echo wsrep_cluster_status {'non-' * (broken == 'mariadb')}Primary"
    # These say by an error that nobody is there, and that it is an ordinary folder.
    for name in ("reached", "mountpoint"):
        work[name] = f"exit {0 if broken == name else 1}"
    if broken == "galera-new-cluster":
        work[broken] += "\n[ $(cat data/file) = now ]"
    elif broken not in ("reached", "mountpoint", "mariadb"):
        work[broken] = work.get(broken, "") + "\nexit 1"
    stubs = _stubs(tmp_path, **{name.replace("-", "_"): text for name, text in work.items() if name})
    (tmp_path / "bin/galera-new-cluster").rename(tmp_path / "bin/galera_new_cluster")
    copy = tmp_path / "copy.xbstream.gz"
    for folder, text in (("data.before" if there == "data.new" else "data", "now"), (there, "kept")):
        if folder:
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "file").write_text(text)
    copy.write_text("copy")
    script = (_FILES / "database/usr/local/sbin/fleet-restore").read_text()
    for its, here in (
        ("/etc/fleet", f"'{machines}'/db3"),
        ("/var/lib/mysql", "./data"),
        ("/usr/local/lib/fleet/reached", "bin/reached"),
    ):
        assert its in script
        script = script.replace(its, here)
    done = subprocess.run(
        ["sh", "-c", script, "fleet-restore", copy], cwd=tmp_path, env=stubs,
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    good = left["data"] == "copy"
    assert done.returncode == (0 if good else 1), done.stderr
    assert len(done.stderr.splitlines()) == (0 if good else 2), done.stderr
    assert {path.name: (path / "file").read_text() for path in tmp_path.glob("data*")} == left
    asked = tmp_path / "asked"
    assert (asked.read_text().splitlines() if asked.exists() else []) == ["began"] * began


@pytest.mark.parametrize(
    ("name", "told", "copied", "overdue"),
    [
        ("db3", 9, 1, ""),
        ("db3", 9, 3, "all databases were not copied since 2026-11-23: systemctl status fleet-backup"),
        ("db3", 1, None, ""),
        ("db3", 4, None, "all databases were not copied since 2026-11-22: systemctl status fleet-backup"),
        # It is not this one's turn.
        ("db2", 9, 8, ""),
        ("lb1", 9, None, ""),
    ],
)
def test_whoever_asks_how_a_fleet_is_is_told_that_it_is_not_copied(
    machines, tmp_path, monkeypatch, name, told, copied, overdue
):
    """:param told: days since it was told of its fleet. :param copied: and since the last copy."""
    now = 1795651200  # 2026-11-26
    monkeypatch.setitem(sys.modules, "pymysql", types.ModuleType("pymysql"))
    health = types.ModuleType("health")
    script = _FILES / "database/usr/local/sbin/fleet-health"
    # Nothing is to be left beside the script, which is laid into images.
    exec(compile(script.read_bytes(), script, "exec"), health.__dict__)  # noqa: S102
    own, mark = tmp_path / "self", tmp_path / "copied"
    own.write_text((machines / name / "self").read_text())
    os.utime(own, (0, now - told * 86400))
    if copied is not None:
        mark.touch()
        os.utime(mark, (0, now - copied * 86400))
    monkeypatch.setattr(health.time, "time", lambda: now)
    assert health.overdue(str(machines / name / "machines"), str(mark), str(own)) == overdue
    assert health.overdue("none", "none", "none") == ""


# What takes a file before its verb, as Debian 12's, or after it, as Debian 13's, and nowhere else.
_CLOUD_INIT = {
    "older": 'case "$1 $3" in "single ") ;; "--file single") cp "$2" taken ;; *) exit 2 ;; esac',
    "newer": 'case "$1 $6" in "single ") echo --file ;; "single --file") cp "$7" taken ;; *) exit 2 ;; esac',
}


@pytest.mark.parametrize("cloud_init", _CLOUD_INIT)
@pytest.mark.parametrize("known", ["", "db1"])
@pytest.mark.parametrize(
    ("told", "taken"),
    [("hostname: db1\n", True), ("hostname: db2\n", False), ("", False), ("#cloud-config\n# db1\n", False)],
)
def test_a_machine_is_told_of_itself_alone(tmp_path, known, told, taken, cloud_init):
    """Whoever mistypes one of seven lines would have two machines of one name."""
    stubs = _stubs(tmp_path, cloud_init=_CLOUD_INIT[cloud_init], ufw="")
    (tmp_path / "etc").mkdir()
    if known:
        (tmp_path / "etc/self").write_text("NAME=db1\n")
    script = (_FILES / "fleet/usr/local/sbin/fleet-machine").read_text()
    script = script.partition("# Who may reach")[0].replace("/run/", "./").replace(". /etc/fleet/self\n", "")
    script = script.replace("/etc/fleet", "./etc")
    done = subprocess.run(
        ["sh", "-c", script, "fleet-machine", "--told"], cwd=tmp_path, env=stubs,
        input=told, check=False, capture_output=True, text=True,
    )  # fmt: skip
    taken = taken or (told == "hostname: db2\n" and not known)
    assert (tmp_path / "taken").exists() is taken
    assert done.returncode == (0 if taken else 1)
    assert len(done.stderr.splitlines()) == (0 if taken else 2)
    assert not (tmp_path / "fleet-told.yaml").exists()


def test_a_file_is_put_whole_and_told_when_it_changed(tmp_path):
    put = _FILES / "fleet/usr/local/lib/fleet/put"
    who = f"{os.getuid()}:{os.getgid()}"

    def run(text):
        return subprocess.run(
            [put, "600", who, tmp_path / "file"], input=text, check=True, capture_output=True, text=True
        ).stdout

    assert [run("one\n"), run("one\n"), run("two\n")] == ["changed\n", "", "changed\n"]
    assert (tmp_path / "file").read_text() == "two\n"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_fleet_has_an_image_of_each_kind_and_it_is_made_by_name_alone():
    images = {kind: definition.load_image(kind) for kind in plan.KINDS}
    assert definition.usual() == ["cloud", "pi"]
    for kind, image in images.items():
        order = image.provision
        assert order.index("secure.sh") < order.index("fleet.sh") < order.index(f"{kind}.sh")
        assert order[-2:] == ["release.sh", "clean.sh"]
        assert "ufw" in image.packages
        # Only Debian's archive has MariaDB's cluster for the whole of these.
        assert image.bases == ["debian-12", "debian-13"]
        become = _FILES / kind / "usr/local/lib/fleet/become"
        assert become.stat().st_mode & 0o100
    assert "mariadb-server" not in images["app"].packages
    assert {"galera-4", "mariadb-backup", "socat"} <= {*images["database"].packages}
    assert {"haproxy", "keepalived", "certbot"} <= {*images["balancer"].packages}


@pytest.mark.parametrize("kind", ["database", "balancer"])
def test_what_an_image_lays_itself_is_not_masked(kind):
    """systemd refuses to: there would have to be another file in its place."""
    script = (paths.PACKER / f"provision/{kind}.sh").read_text().replace("\\\n", " ")
    masked = [name for line in re.findall(r"systemctl mask (.*)", script) for name in line.split()[1:]]
    assert "supervisor.service" in masked
    assert not [name for name in masked if [*_FILES.glob(f"*/etc/systemd/system/{name}")]]


def test_what_a_units_addition_runs_for_systemd_it_runs_as_root():
    """MariaDB's unit is its user's, whom systemd lets change nothing: the server would be ended at once."""
    text = (_FILES / "database/etc/systemd/system/mariadb.service.d/fleet.conf").read_text()
    lines = [line for line in text.splitlines() if line.startswith("Exec")]
    assert len(lines) == 2
    assert all("=+/" in line for line in lines)
