"""The doctor's form: every finding has an id of its own, and a check that breaks hides no other."""

import ast
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from builder.core import paths
from microblog import proof, visit
from microblog.config import Config, MailServer
from microblog.host.health import doctor
from microblog.host.health.checks import mail, visitors
from microblog.host.health.finding import Finding

SOURCES = [ast.parse(path.read_text()) for path in (paths.ROOT / "microblog/host/health").rglob("*.py")]


def findings() -> list[ast.Call]:
    return [
        node
        for source in SOURCES
        for node in ast.walk(source)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding"
    ]


def test_every_finding_has_an_id_and_a_severity() -> None:
    ids = [ast.unparse(call.args[0]) for call in findings()]
    assert len(ids) == len(set(ids)) > 40
    assert {ast.unparse(call.args[1]) for call in findings()} <= {"'error'", "'warning'", "'note'"}
    assert all(len(call.args) == 5 for call in findings())


def test_every_check_is_made() -> None:
    """A function that yields findings, and that nobody calls, looks at nothing."""
    made = {check.__name__ for check in (*doctor.PLAIN, *doctor.CHECKS)}
    functions = [node for source in SOURCES for node in ast.walk(source) if isinstance(node, ast.FunctionDef)]
    written = {
        function.name
        for function in functions
        if function.returns and ast.unparse(function.returns) == "Iterator[Finding]"
    }
    assert written - {"_safely"} == made


def test_a_check_that_breaks_is_a_finding_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken() -> Iterator[Finding]:
        raise RuntimeError("no such luck\nand more")
        yield

    def well(_: Config) -> Iterator[Finding]:
        yield Finding("x", "note", "It is x.", "Because.", "Nothing.")

    (tmp_path / "env").write_text(f"SECRET_KEY={'x' * 32}\nDATABASE_URL=sqlite:////x\n")
    monkeypatch.setenv("MICROBLOG_ENV_FILE", str(tmp_path / "env"))
    monkeypatch.setattr(doctor.privileges, "require_root", lambda *_: None)
    monkeypatch.setattr(doctor, "PLAIN", (broken,))
    monkeypatch.setattr(doctor, "CHECKS", (well,))
    found = doctor.doctor()
    assert [finding.id for finding in found] == ["broken.unseen", "x"]
    assert found[0].why == "RuntimeError: no such luck"


def refusing(listener: socket.socket) -> None:
    """A mail server that takes no password."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rwb") as file:
        file.write(b"220 here\r\n")
        file.flush()
        for line in file:
            word = line.split()[0].upper()
            answers = {
                b"EHLO": b"250-here\r\n250 AUTH PLAIN\r\n",
                b"AUTH": b"535 no\r\n",
                b"QUIT": b"221 bye\r\n",
            }
            file.write(answers.get(word, b"250 fine\r\n"))
            file.flush()


def test_a_mail_server_that_refuses_the_password_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refusing, args=(listener,))
        thread.start()
        server = MailServer("127.0.0.1", listener.getsockname()[1], "me", "s3cret")
        found = list(mail._mail(Config("x" * 32, "sqlite:////x", mail=server)))
        thread.join()
    assert [finding.id for finding in found] == ["mail.login"], found
    assert "s3cret" not in str(found)


KEY = "x" * 32


class Answering(BaseHTTPRequestHandler):
    """A site that knows a key; its own, or this site's."""

    key = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header(proof.HEADER, proof.answer(self.key, self.headers.get(proof.HEADER, "")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("key", "found"), [(KEY, []), ("y" * 32, ["names.elsewhere"]), ("", ["names.unanswered"])]
)
def test_whoever_answers_at_the_sites_name_is_asked_who_it_is(
    monkeypatch: pytest.MonkeyPatch, key: str, found: list[str]
) -> None:
    """A balancer, a router and a CDN lead here though their address is another."""
    site = type("Site", (Answering,), {"key": key})
    with HTTPServer(("127.0.0.1", 0), site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        # One who answers nobody: it listens no more.
        gone = socket.create_server(("127.0.0.1", 0))
        port = server.server_port if key else gone.getsockname()[1]
        gone.close()
        monkeypatch.setattr(visit, "PORTS", {"http": port})
        monkeypatch.setattr(visitors.supervisor, "answers", lambda: True)
        monkeypatch.setattr(visitors.names, "machine_addresses", lambda: ["8.8.4.4"])
        monkeypatch.setattr(visitors.names, "is_loopback", lambda _: False)
        there = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        monkeypatch.setattr(
            visitors.socket, "getaddrinfo", lambda _, port, *__, **___: [(*there, ("127.0.0.1", port))]
        )
        config = Config(KEY, "sqlite:////x", host_names=("social.example",))
        said = [finding.id for finding in visitors._names(config)]
        server.shutdown()
        thread.join()
    assert said == found


@pytest.mark.parametrize(
    ("cron", "timer", "renewed"),
    [
        ("", "certbot.timer", True),
        ("", "snap.certbot.renew.timer", True),
        ("0 3 * * * root sleep 9 && certbot renew -q\n", "", True),
        ("# 0 3 * * * root certbot renew\n0 4 * * * root certbot certificates\n", "", False),
        ("", "", False),
    ],
)
def test_who_renews_a_certificate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cron: str, timer: str, renewed: bool
) -> None:
    (tmp_path / "crontab").write_text(cron)
    states = {timer: "active"}
    monkeypatch.setattr(visitors.services, "state", lambda unit: states.get(unit, "inactive"))
    monkeypatch.setattr(visitors, "_CRON", (tmp_path / "crontab", tmp_path / "none"))
    assert visitors._renewed() is renewed
