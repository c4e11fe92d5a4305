"""The doctor's form: every finding has an id of its own, and a check that breaks hides no other."""

import ast
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.core import paths
from microblog.config import Config, MailServer
from microblog.host.health import doctor
from microblog.host.health.checks import mail
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
