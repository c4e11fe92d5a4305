"""The agent without a machine: what it refuses, and what comes of who asks oddly."""

import contextlib
import gzip
import io
import itertools
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from builder.core import paths
from microblog import protocol
from microblog.errors import HostError
from microblog.host.agent import arguments, destinations, jobs, logs, seen, serve, spool, verbs
from microblog.host.backups import archive, backup, elsewhere, key, places, restic
from microblog.host.card import boot
from microblog.host.extras import dns, postfix
from microblog.host.machine import layout, ledger, services
from microblog.host.site import authority, certificate, secrets
from microblog.host.updates import automatic

ODD = [
    *(None, True, -1, 0, 10**30, 1.5, [], {}, [[]], ["x"] * 50, {"x": 1}, [None]),
    *(
        "",
        " ",
        "x" * 100_000,
        "a\nb",
        "\0",
        "\x1b[2J",
        "$(touch /x)",
        "`id`",
        "; reboot",
        "| sh",
        "-x",
        "--help",
    ),
    *("../../etc/shadow", "/etc/shadow", "microblog-20260101T000000Z-x.tar.gz/../../x", "😀", "\udc80", "%s"),
    *("--pre-hook=/x@y", "[::1]", "a b", "a:b", "example.org.", "EXAMPLE.ORG"),
    *("-oProxyCommand=id", "x -oProxyCommand=id", ".ssh", "a/.ssh", "../x", "a/../b", "//", "~/x", "$HOME"),
    *("rclone", "local", "/etc/microblog", "x;id", "x'y", "x@y", "[::1", "a,b=c", "x?a=b", "x#y", "\u0660"),
    *(["/etc/shadow"], ["-x.example"], {"DATABASE_URL": "x"}, {"BIND": "x"}, {"SITE_NAME": "a\nBIND=x"}),
    {"ADMINS": "--pre-hook=/x@y"},
]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine is touched."""
    monkeypatch.setattr(jobs, "STATE", tmp_path / "state")
    monkeypatch.setattr(jobs, "RUN", tmp_path / "run")
    monkeypatch.setattr(layout, "BACKUPS", tmp_path / "backups")
    monkeypatch.setattr(logs, "AUDIT", tmp_path / "agent.log")
    monkeypatch.setattr(protocol, "SEEN", tmp_path / "seen.json")
    monkeypatch.setattr(layout, "user_ids", lambda: (os.getuid(), os.getgid()))
    monkeypatch.setenv("MICROBLOG_ENV_FILE", str(tmp_path / "env"))
    (tmp_path / "backups").mkdir()


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the table's functions were called with; they do nothing."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def fake(name: str, entry: verbs.Verb) -> verbs.Verb:
        def work(*_: Any, **given: Any) -> None:
            calls.append((name, given))

        return verbs.Verb(entry.kind, work, entry.takes)

    monkeypatch.setattr(verbs, "VERBS", {name: fake(name, entry) for name, entry in verbs.VERBS.items()})
    monkeypatch.setattr(jobs, "start", lambda verb, _by, given: calls.append((verb, given)))
    return calls


def ask(line: bytes) -> dict[str, Any]:
    target = io.BytesIO()
    serve.answer(io.BytesIO(line), target)
    said: dict[str, Any] = json.loads(target.getvalue().split(b"\n")[0])
    return said


def request(verb: Any, **given: Any) -> dict[str, Any]:
    return ask(json.dumps({"verb": verb, "by": "ada", "with": given}).encode() + b"\n")


@pytest.mark.parametrize(
    "line",
    [
        *(b"x\n", b"\xff\n", b"[]\n", b"{}\n", b"1" * 9000 + b"\n", b"[" * 9000 + b"\n", b'"look"\n'),
        *(
            b'{"verb": "look", "by": "ada"}',
            b" " * 20_000 + b"\n",
            b'{"verb": "look", "by": "ada", "x": 1}\n',
        ),
        *(b'{"verb": "look"}\n', b'{"verb": "look", "by": "a\\nb"}\n', b'{"verb": "look", "by": ""}\n'),
        *(
            b'{"verb": "look", "by": "ada", "with": []}\n',
            b'{"verb": "look", "by": "ada"' + b" " * 20_000 + b"}\n",
        ),
    ],
)
def test_what_is_no_request_is_refused(done: list[Any], line: bytes) -> None:
    assert ask(line)["error"]
    assert not done


@pytest.mark.parametrize(
    "verb", ["", "rm", "Look", "look ", "__class__", "/bin/sh", None, [], {}, 1, "x" * 5000]
)
def test_what_is_not_in_the_table_is_refused(done: list[Any], verb: Any) -> None:
    assert "no verb" in request(verb)["error"]
    assert not done
    assert logs.AUDIT.exists() is False


# Of what names a place, what is more than letters: a folder is below another one, and none is hidden.
FORMS = {
    "folder": r"|/?[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*",
    "label": r"|[A-Za-z0-9][A-Za-z0-9_ .+-]*",
    "host": r"|[a-z0-9][a-z0-9.-]*|\[[0-9a-f:.]+\]",
    **dict.fromkeys(("access_key", "secret"), r"[A-Za-z0-9._~+/=-]*"),
    "words": r"[A-Za-z ,;.-]*",
}
# What may be free text goes into no command: the site's name, a password, what a browser calls a file.
FREE = {"mark", "password", "user"}


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_no_odd_argument_gets_through(done: list[Any], verb: str) -> None:
    right: dict[str, Any] = {
        **{
            "domain": "example.org",
            "host": "mail.example.org",
            "port": 25,
            "to": "a@example.org",
            "now": False,
        },
        **{
            "name": NAME,
            "backup": "",
            "size": 5,
            "mark": "x",
            "offset": 0,
            "length": 1,
            "log": "web",
            "lines": 5,
        },
        **{
            "fresh": False,
            "values": {"SITE_NAME": "x"},
            "domains": ["example.org"],
            "user": "",
            "password": "",
        },
        "what": "all",
        **{"kind": "sftp", "folder": "/srv/b", "bucket": "bucket", "plain": True, "label": "BACKUP"},
        **{"access_key": "AK", "secret": "s", "words": "babad", "go_on": True, "on": True},
        **{"snapshot": "", "provider": "desec", "fields": {"token": "t"}, "wait": 60},
    }
    takes = verbs.VERBS[verb].takes
    given = {name: right[name] for name in takes}
    assert "error" not in request(verb, **given), "the right ones do"
    assert done.pop() is not None
    assert "no argument" in request(verb, **given, more=1)["error"]
    for name in takes:
        for odd in ODD:
            request(verb, **{**given, name: odd})
    for _, found in done:
        for name, value in found.items():
            assert_harmless(name, value)


def assert_harmless(name: str, value: Any) -> None:
    if isinstance(value, dict):
        account = {one for fields in protocol.DNS_FIELDS.values() for one in fields}
        assert set(value) <= (account if name == "fields" else set(verbs.SETTABLE))
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]:
        if isinstance(one, str):
            assert len(one) <= 1000
            assert one.isprintable()
            assert name in FREE or re.fullmatch(FORMS.get(name, r"|[A-Za-z0-9][A-Za-z0-9.@_-]*"), one), (
                name,
                one,
            )
        else:
            # How long a provider's record is waited for is also "as usual".
            assert isinstance(one, bool) or (-1 if name == "wait" else 0) <= one <= 2**42


def test_settings_are_of_a_fixed_list() -> None:
    for name in (
        "DATABASE_URL",
        "BIND",
        "SECRET_KEY",
        "ELASTICSEARCH_URL",
        "PATH",
        "LD_PRELOAD",
        "PYTHONPATH",
    ):
        assert "none of" in request("settings", values={name: "x"})["error"]
    assert "refused" in request("settings", values={"SITE_NAME": "x\nBIND=unix:/x"})["error"]


def test_a_secret_is_in_no_log(done: list[Any], capfd: pytest.CaptureFixture[str]) -> None:
    request("mail-relay", host="mail.example.org", user="ada", password="hunter22")
    request("settings", values={"MS_TRANSLATOR_KEY": "hunter22"})
    place = {"kind": "s3", "host": "s3.example", "bucket": "bucket"}
    request("backup-to", access_key="hunter22", secret="hunter22", words="hunter", **place)
    request("restore-from", access_key="hunter22", secret="hunter22", words="hunter", **place)
    request("backups-there", access_key="hunter22", secret="hunter22", words="hunter", **place)
    assert len(done) == 5
    said = capfd.readouterr().err + logs.AUDIT.read_text()
    assert said.count("mail.example.org") == 2
    assert "hunter" not in said


def test_what_is_done_is_noted_where_no_link_leads_elsewhere(done: list[Any], tmp_path: Path) -> None:
    request("upload-discard")
    first = logs.AUDIT.read_text()
    line = json.loads(first.split(" ", 1)[1])
    assert (line["by"], line["verb"], line["what"]) == ("ada", "upload-discard", "done")
    assert logs.AUDIT.stat().st_mode & 0o777 == 0o640
    request("upload-discard")
    assert logs.AUDIT.read_text().startswith(first)
    logs.AUDIT.unlink()
    (tmp_path / "elsewhere").write_text("")
    logs.AUDIT.symlink_to(tmp_path / "elsewhere")
    request("upload-discard")
    assert not (tmp_path / "elsewhere").read_text()


# The server itself.


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent that listens, in this process: its children fork from here."""
    # A socket's path may have 107 bytes, and everybody is to come to it.
    folder = tempfile.TemporaryDirectory(prefix="m")
    path = Path(folder.name) / "socket"
    path.parent.chmod(0o755)
    monkeypatch.setitem(
        verbs.VERBS, "look", verbs.Verb(verbs.ASK, lambda **_: "seen", verbs.VERBS["look"].takes)
    )
    monkeypatch.setattr(serve._Handler, "timeout", 3)
    server = serve._Server(str(path), serve._Handler)
    path.chmod(0o666)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield path
    server.shutdown()
    thread.join()
    server.server_close()
    folder.cleanup()


def connect(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(60)
    opened.connect(str(path))
    return opened


LOOK = b'{"verb": "look", "by": "ada"}\n'
SEEN = b'{"answer": "seen"}\n'


def answered(path: Path) -> bytes:
    with connect(path) as opened:
        opened.sendall(LOOK)
        return opened.makefile("rb").read()


def test_who_hangs_up_or_says_nothing_holds_nobody_up(agent: Path) -> None:
    silent = [connect(agent) for _ in range(5)]
    silent[0].sendall(b'{"verb": "lo')
    for begun in (b"", b"{", LOOK, LOOK[:-1], b"\xff" * 100_000):
        with connect(agent) as opened, suppress(BrokenPipeError):
            opened.sendall(begun)
    assert answered(agent) == SEEN
    for opened in silent:
        opened.close()


def test_another_user_is_not_answered(agent: Path, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o001)
    code = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        f"s.connect({str(agent)!r})\ntry:\n s.sendall({LOOK!r}); print(s.makefile('rb').read())\n"
        "except OSError as error: print(b'')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "b''"
    assert answered(agent) == SEEN


# Jobs.


@pytest.fixture
def unit(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """systemd's unit of jobs, as it would be."""
    now = {"state": "inactive"}

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        assert command == ("systemctl", "start", "microblog-job.service")
        now["state"] = "active"
        return subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(jobs.services, "run", run)
    monkeypatch.setattr(jobs.services, "state", lambda _: now["state"])
    return now


def finish(unit: dict[str, str], work: Callable[..., Any] = verbs.do) -> Any:
    jobs.run(work, serve.note)
    unit["state"] = "inactive"
    return jobs.last()


def test_a_job_that_does_not_start_has_failed(unit: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And was not interrupted: no boot completes what has not begun."""

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(command, 1, "")

    monkeypatch.setattr(jobs.services, "run", run)
    monkeypatch.setattr(jobs.services, "log_of", lambda _: "its log")
    assert request("setup") == {"error": "microblog-job.service does not start", "hint": "its log"}
    last = request("job")["answer"]
    assert (last["state"], last["hint"]) == ("failed", "its log")
    assert not (jobs.RUN / "request.json").exists()


def test_one_job_at_a_time(unit: dict[str, str]) -> None:
    begun = request("setup")["answer"]
    assert request("backup")["error"] == "another job goes on"
    assert request("job")["answer"] == {**begun, "state": "running"}

    def work(verb: str, given: Any, say: Callable[[str], None]) -> str:
        assert (verb, given) == ("setup", {})
        for number in range(300):
            say(f"step {number}")
        say("x" * 5000)
        (now,) = [jobs.last()]
        assert now
        assert now["lines"][-2:] == ["step 299", "x" * 500]
        assert now["state"] == "running"
        return "made"

    job = finish(unit, work)
    assert (job["state"], job["answer"], job["id"], job["by"]) == ("done", "made", begun["id"], "ada")
    assert len(job["lines"]) == 200
    assert "error" not in request("backup")


def test_a_job_that_fails_or_is_cut_off_says_so(unit: dict[str, str]) -> None:
    def fails(*_: Any) -> None:
        raise HostError("the disk is full", "delete something")

    def breaks(*_: Any) -> None:
        raise ZeroDivisionError("oh")

    request("setup")
    job = finish(unit, fails)
    assert (job["state"], job["error"], job["hint"]) == ("failed", "the disk is full", "delete something")
    request("setup")
    assert finish(unit, breaks)["error"] == "ZeroDivisionError: oh"
    request("setup")
    unit["state"] = "inactive"
    assert request("job")["answer"]["state"] == "interrupted"
    assert '"failed"' in logs.AUDIT.read_text()


def test_a_jobs_arguments_are_not_kept(unit: dict[str, str]) -> None:
    request("mail-relay", host="mail.example.org", user="ada", password="hunter22")
    (path,) = jobs.RUN.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    seen_by: list[Any] = []
    finish(unit, lambda _verb, given, _say: seen_by.append(given))
    assert seen_by[0]["password"] == "hunter22"
    assert not list(jobs.RUN.iterdir())
    assert "hunter22" not in "".join(path.read_text() for path in jobs.STATE.rglob("*") if path.is_file())


def test_a_jobs_arguments_are_checked_again_by_its_own_unit(unit: dict[str, str]) -> None:
    request("setup")
    path = jobs.RUN / "request.json"
    path.write_text(path.read_text().replace('"with": {}', '"with": {"path": "/etc/shadow"}'))
    assert "no argument" in finish(unit)["error"]


# Uploads.


def begin(size: int, mark: str = "a") -> Any:
    return request("upload-begin", size=size, mark=mark)["answer"]


def piece(offset: int, data: bytes, length: "int | None" = None) -> dict[str, Any]:
    said = {"offset": offset, "length": len(data) if length is None else length}
    line = json.dumps({"verb": "upload-piece", "by": "ada", "with": said}).encode() + b"\n"
    return ask(line + data)


def test_an_upload_goes_on_where_it_was() -> None:
    assert "no upload" in piece(0, b"x")["error"]
    assert begin(10)["have"] == 0
    assert piece(0, b"01234")["answer"]["have"] == 5
    # Who hung up in the middle of a piece.
    assert piece(5, b"5", 4)["answer"]["have"] == 6
    assert begin(10)["have"] == 6
    for offset, data in ((5, b"x"), (7, b"x"), (6, b"67890")):
        assert "at 6 of 10" in piece(offset, data)["error"]
    with pytest.raises(HostError, match="not complete"):
        spool.whole()
    assert piece(6, b"6789")["answer"]["have"] == 10
    assert spool.whole().read_bytes() == b"0123456789"
    assert spool.whole().stat().st_mode & 0o777 == 0o600
    # Another file takes its place.
    assert begin(3, "b")["have"] == 0
    request("upload-discard")
    assert request("upload")["answer"] is None


def test_an_upload_leaves_the_site_its_room() -> None:
    assert "no room" in request("upload-begin", size=2**42, mark="x")["error"]
    assert request("upload")["answer"] is None
    assert "no number" in request("upload-piece", offset=0, length=protocol.PIECE_MAX + 1)["error"].replace(
        "whole number", "number"
    )


def test_no_link_in_its_folder_is_followed(tmp_path: Path) -> None:
    target = tmp_path / "theirs"
    target.write_text("")
    begin(10)
    for name in ("upload", "upload.json"):
        path = jobs.STATE / "spool" / name
        path.unlink()
        path.symlink_to(target)
        assert "error" in piece(0, b"x")
        assert request("upload")["answer"] is None
        begin(10)
        assert not path.is_symlink()
    (jobs.STATE / "lock").symlink_to(target)
    assert "symbolic links" in request("setup")["error"]
    assert not target.read_text()
    target.write_text('{"state": "done", "verb": "theirs"}')
    (jobs.STATE / "job.json").symlink_to(target)
    assert request("job")["answer"] is None


# Backups.

NAME = "microblog-20260101T000000Z-manual.tar.gz"


def make_backup(name: str = NAME) -> Path:
    path = layout.BACKUPS / name
    with path.open("wb") as file:
        writer = archive.Writer(file)
        for member in (backup.ENV_MEMBER, *backup.TLS_MEMBERS, "database/users/000000.jsonl"):
            writer.add(member, member.encode() * 1000)
        writer.close({"version": "1", "revisions": ["0001"], "rows": {"users": 1}})
    return path


def download(name: str) -> bytes:
    target = io.BytesIO()
    line = json.dumps({"verb": "download", "by": "ada", "with": {"name": name}}).encode() + b"\n"
    serve.answer(io.BytesIO(line), target)
    target.seek(0)
    said = json.loads(target.readline())
    assert said == {"answer": True}, said
    return b"".join(protocol.chunks(target))


def test_a_download_has_all_but_the_certificates_key() -> None:
    path = make_backup()
    given = io.BytesIO(download(path.name))
    manifest = archive.verify(given)
    assert manifest["rows"] == {"users": 1}
    assert [name for name, _ in archive.members(given)] == [
        backup.ENV_MEMBER,
        "database/users/000000.jsonl",
        archive.MANIFEST,
    ]
    assert b"key.pem" not in gzip.decompress(given.getvalue())


def test_a_download_that_is_cut_short_is_not_taken_for_whole() -> None:
    path = make_backup()
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(EOFError):
        download(path.name)


@pytest.mark.parametrize(
    "verb, name", [("download", "name"), ("delete-backup", "name"), ("restore", "backup")]
)
def test_no_other_file_is_a_backup(tmp_path: Path, unit: dict[str, str], verb: str, name: str) -> None:
    (tmp_path / "secret").write_text("theirs")
    link = layout.BACKUPS / "microblog-20260102T000000Z-manual.tar.gz"
    link.symlink_to(tmp_path / "secret")
    (layout.BACKUPS / "microblog-20260103T000000Z-manual.tar.gz").mkdir()
    (layout.BACKUPS / "other.tar.gz").write_text("theirs")
    for one in (link.name, "microblog-20260103T000000Z-manual.tar.gz", "microblog-20260104T000000Z-x.tar.gz"):
        said = request(verb, **{name: one})
        if verb == "restore":
            said = finish(unit)
        assert "there is no backup" in said["error"]
    for one in ("other.tar.gz", "../secret", str(tmp_path / "secret"), "restoring"):
        assert "refused" in request(verb, **{name: one})["error"]
    assert (tmp_path / "secret").read_text() == "theirs"
    assert link.is_symlink()


def test_backups_are_listed_and_deleted() -> None:
    make_backup()
    make_backup("microblog-20260201T000000Z-daily.tar.gz")
    (layout.BACKUPS / "theirs").write_text("")
    listed = request("backups")["answer"]
    assert [one["kind"] for one in listed] == ["daily", "manual"]
    assert request("delete-backup", name=NAME) == {"answer": None}
    assert len(request("backups")["answer"]) == 1


# Where they go.


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Root, of a machine that has what it takes; what is asked of restic is noted, and all of it goes well.

    So is what is mailed."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(places, "FOLDER", tmp_path / "etc")
    monkeypatch.setattr(places, "make_ssh_key", lambda: "ssh-ed25519 AAAA")
    monkeypatch.setattr(places, "disks", list)
    monkeypatch.setattr(elsewhere.apt, "ensure", lambda _say, *packages: calls.append(("apt", *packages)))
    monkeypatch.setattr(elsewhere.privileges, "require_root", lambda *_: None)
    monkeypatch.setattr(places.socket, "create_connection", lambda *_: io.BytesIO())
    monkeypatch.setattr(destinations.telling, "tell", lambda subject, *_: calls.append(("mail", subject)))

    monkeypatch.setattr(
        restic.Repository, "_run", lambda self, *command: calls.append((command, self._opened)) or ""
    )
    monkeypatch.setattr(
        destinations.backup, "backup", lambda: (make_backup(), archive.verify(make_backup().open("rb")))
    )

    def save(self: restic.Repository, feed: Callable[[Callable[[bytes], object]], None]) -> str:
        sent = io.BytesIO()
        feed(sent.write)
        calls.append(("sent", sent.getvalue()))
        return "abc"

    monkeypatch.setattr(restic.Repository, "save", save)
    return calls


SFTP = {"kind": "sftp", "host": "nas.example", "user": "ada", "folder": "/srv/b"}
S3 = {"kind": "s3", "host": "s3.example", "bucket": "bucket", "access_key": "AK", "secret": "s"}


def sent(root: list[tuple[Any, ...]]) -> set[str]:
    """The members of what was sent last, which is a whole tar."""
    data = [call[1] for call in root if call[0] == "sent"][-1]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return set(tar.getnames())


def test_a_place_is_made_of_its_fields_and_no_program_of_theirs_is_run(
    unit: dict[str, str], root: list[tuple[Any, ...]]
) -> None:
    assert "error" not in request("backup-to", **SFTP, port=2222)
    assert finish(unit)["state"] == "done"
    now = elsewhere.chosen()
    assert now
    assert now.place.address == "sftp://ada@nas.example:2222//srv/b"
    shown = request("elsewhere")["answer"]["fields"]
    assert shown == {"kind": "sftp", "host": "nas.example", "port": "2222", "user": "ada", "folder": "/srv/b"}
    options = {call[1].options for call in root if isinstance(call[1], places.Opened)}
    (command,) = {option for (option,) in options}
    words = shlex.split(command.removeprefix("sftp.command="))
    # Of options that name a program, or a file with some, ssh is given none but our own.
    allowed = {
        *("IdentitiesOnly=yes", "BatchMode=yes", "ConnectTimeout=20", "StrictHostKeyChecking=accept-new"),
        *(f"UserKnownHostsFile={places.FOLDER}/known_hosts", "ServerAliveInterval=30"),
        "ServerAliveCountMax=4",
    }
    assert {after for before, after in itertools.pairwise(words) if before == "-o"} == allowed
    assert words[:7] == ["ssh", "-i", f"{places.FOLDER}/ssh_key", "-p", "2222", "-F", "none"]
    assert words[-5:] == ["-l", "ada", "nas.example", "-s", "sftp"]


def test_what_a_page_chooses_gets_nothing_that_root_alone_may_read(
    unit: dict[str, str], root: list[tuple[Any, ...]]
) -> None:
    request("backup-to", **S3)
    job = finish(unit)
    assert (job["state"], job["answer"]) == ("done", {"sheet": True}), job
    assert sent(root) == {backup.ENV_MEMBER, "database/users/000000.jsonl", archive.MANIFEST}
    assert ("mail", "backups go elsewhere") in root
    # Nor each night's.
    root.clear()
    elsewhere.send(make_backup(), {"members": {}}, print)
    assert not any("tls" in name for name in sent(root))
    # Nor if root says the same place: somebody else may have seen its key.
    said: list[str] = []
    elsewhere.choose("s3:https://s3.example/bucket", said.append)
    assert "the certificate is not sent there" in said[0]
    elsewhere.send(make_backup(), {"members": {}}, print)
    assert not any("tls" in name for name in sent(root))
    shown = request("elsewhere")["answer"]["fields"]
    assert shown == {"kind": "s3", "service": "https://s3.example", "bucket": "bucket", "folder": ""}
    assert "secret" not in json.dumps(request("elsewhere"))
    assert "AK" not in json.dumps(request("elsewhere"))
    line = logs.AUDIT.read_text()
    assert '"kind": "s3"' in line
    # Another place of root's gets all.
    elsewhere.seen()
    elsewhere.choose("/srv/other", print)
    elsewhere.send(make_backup(), {"members": {}}, print)
    assert set(backup.TLS_MEMBERS) < sent(root)


def test_what_root_has_chosen_no_page_changes_or_learns_the_key_of(
    unit: dict[str, str], root: list[tuple[Any, ...]]
) -> None:
    words = elsewhere.choose("/srv/repository", print).access.key
    before = {path.name: path.read_bytes() for path in places.FOLDER.iterdir() if path.is_file()}
    for verb in ("sheet", "sheet-kept", "backup-off"):
        assert "on the command line" in request(verb)["error"], verb
    request("backup-to", **S3)
    assert "on the command line" in finish(unit)["error"]
    state = request("elsewhere")["answer"]
    assert (state["place"], state["by_root"]) == ("/srv/repository", True)
    assert words not in json.dumps(state)
    after = {path.name: path.read_bytes() for path in places.FOLDER.iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before
    assert ("mail", "backups go elsewhere") not in root


def test_a_key_is_shown_until_somebody_has_it(unit: dict[str, str], root: list[tuple[Any, ...]]) -> None:
    assert "no key" in request("sheet")["error"]
    request("backup-to", **S3)
    finish(unit)
    shown = request("sheet")["answer"]
    now = elsewhere.chosen()
    assert now
    assert "-".join(shown["words"]) == now.access.key
    assert request("sheet")["answer"] == shown
    # Who has not seen it cannot leave what can be opened by it alone.
    request("backup-to", **SFTP)
    assert "recovery sheet" in finish(unit)["error"]
    assert "recovery sheet" in request("backup-off")["error"]
    assert request("sheet-kept") == {"answer": None}
    assert "not shown again" in request("sheet")["error"]
    # Not by choosing the same place once more, either.
    request("backup-to", **S3)
    assert finish(unit)["answer"] == {"sheet": False}
    assert "not shown again" in request("sheet")["error"]
    assert now.access.key not in "".join(
        path.read_text() for path in (*jobs.STATE.rglob("*"), logs.AUDIT) if path.is_file()
    )
    assert request("backup-off") == {"answer": None}
    assert elsewhere.chosen() is None
    assert root.count(("mail", "backups go elsewhere")) == 2


def test_who_was_told_so_far_hears_that_others_are(
    unit: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mails: list[Any] = []
    monkeypatch.setattr(verbs.telling, "tell", lambda *_, to: mails.append(to))
    monkeypatch.setattr(verbs.lock, "sole", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(verbs.whole, "setup", lambda say: None)
    monkeypatch.setattr(verbs.envfile, "change", lambda *_: None)
    (tmp_path / "env").write_text(
        f"SECRET_KEY={'x' * 40}\nDATABASE_URL=sqlite:////x\nADMINS=a@example.org,b@example.org\n"
    )
    for admins in (
        "b@example.org,c@example.org",
        "a@example.org,b@example.org,c@example.org",
        "c@example.org",
    ):
        request("settings", values={"ADMINS": admins})
        assert finish(unit)["state"] == "done"
    request("settings", values={"SITE_NAME": "x"})
    assert finish(unit)["state"] == "done"
    assert mails == [["a@example.org"], ["a@example.org", "b@example.org"]]
    # Without any, its administrators are told.
    monkeypatch.setattr(verbs.telling, "_known", lambda _: ("", ["a@example.org", "b@example.org"]))
    (tmp_path / "env").write_text(f"SECRET_KEY={'x' * 40}\nDATABASE_URL=sqlite:////x\n")
    mails.clear()
    for admins in ("", "a@example.org,b@example.org", "b@example.org,c@example.org"):
        request("settings", values={"ADMINS": admins})
        assert finish(unit)["state"] == "done"
    assert mails == [["a@example.org"]]


def test_that_mail_goes_another_way_is_told_by_the_old_one(
    unit: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    queues = iter(['{"queue_name": "active", "queue_id": "A"}\n', '{"queue_name": "deferred"}\n'] * 3)
    monkeypatch.setattr(verbs.telling, "tell", lambda subject, *_: calls.append(subject) or True)
    monkeypatch.setattr(services, "answer", lambda *command: calls.append(command[0]) or next(queues))
    for name in ("set_up", "disable"):
        monkeypatch.setattr(postfix, name, lambda *_, name=name: calls.append(name))
    for verb, given, does in (
        ("mail-relay", {"host": "mail.attacker.example"}, "set_up"),
        ("mail-direct", {}, "set_up"),
        ("mail-off", {}, "disable"),
    ):
        calls.clear()
        request(verb, **given)
        assert finish(unit)["state"] == "done"
        assert calls == ["mail goes another way", "postqueue", "postqueue", does]
    # Where none can be sent, nothing is waited for.
    calls.clear()
    monkeypatch.setattr(verbs.telling, "tell", lambda *_: False)
    request("mail-off")
    assert finish(unit)["state"] == "done"
    assert calls == ["disable"]


def test_a_restore_is_told_before_its_settings_name_others(
    unit: dict[str, str], root: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = restic.Snapshot("a" * 64, 0.0, "host")
    fetched = contextlib.nullcontext((Path("/fetched"), taken, ""))
    monkeypatch.setattr(elsewhere, "fetched", lambda *_, **__: fetched)
    monkeypatch.setattr(verbs.downloads, "find", lambda _: Path("/listed"))
    monkeypatch.setattr(spool, "whole", lambda: Path("/uploaded"))
    monkeypatch.setattr(verbs.whole, "setup", lambda say: None)
    monkeypatch.setattr(
        verbs.restore, "restore", lambda path, *_, **__: root.append(("restored", str(path))) or {"rows": {}}
    )
    listed = "microblog-20260101T000000Z-manual.tar.gz"
    for verb, given, path in (
        ("restore", {"backup": listed}, "/listed"),
        ("restore", {"backup": ""}, "/uploaded"),
        ("restore-from", {**S3, "words": key.new().replace("-", " "), "go_on": False}, "/fetched"),
    ):
        root.clear()
        request(verb, **given)
        assert finish(unit)["state"] == "done"
        assert root == [("mail", "a backup is restored"), ("restored", path)]


def test_less_that_is_updated_by_night_is_told(
    unit: dict[str, str], root: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [automatic.Automatic(True, True)]
    monkeypatch.setattr(automatic, "state", lambda: now[0])
    monkeypatch.setattr(automatic, "switch", lambda wanted, _say: now.__setitem__(0, wanted))
    for what, mails in (("all", 0), ("site", 1), ("security", 1), ("all", 0), ("none", 1), ("none", 0)):
        root.clear()
        request("update-automatic", what=what)
        assert finish(unit)["state"] == "done"
        assert root == [("mail", "less is updated by night")] * mails


def test_who_has_typed_a_key_has_it(unit: dict[str, str], root: list[tuple[Any, ...]]) -> None:
    request("backup-to", **S3, words=key.new().replace("-", " "))
    assert finish(unit)["answer"] == {"sheet": False}
    assert "not shown again" in request("sheet")["error"]


def test_a_backup_is_fetched_with_its_key_alone(
    unit: dict[str, str], root: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though this machine may know it: old backups hold what is not on the site any more."""
    request("backup-to", **S3)
    finish(unit)
    root.clear()
    for words in ("", "babad lusib"):
        for verb in ("restore-from", "backups-there"):
            request(verb, **S3, words=words)
            assert "words" in finish(unit)["error"]
    assert root == []
    for snapshot in ("latest", "--help", "abc", "../" + "a" * 8, "a" * 65):
        said = request("restore-from", **S3, words="babad", snapshot=snapshot)
        assert "the argument snapshot is refused" in said["error"]


def test_what_is_damaged_is_told_and_hides_nothing_else(
    unit: dict[str, str], root: list[tuple[Any, ...]]
) -> None:
    places.FOLDER.mkdir()
    (places.FOLDER / "where.json").write_text("{")
    state = request("elsewhere")["answer"]
    assert state["place"] is None
    assert "where.json cannot be read" in state["failed"][0]
    # It may be root's: no page writes it anew.
    request("backup-to", **S3)
    assert "cannot be read" in finish(unit)["error"]
    for verb in ("backup-off", "sheet", "sheet-kept"):
        assert "cannot be read" in request(verb)["error"], verb


@pytest.mark.parametrize(
    "fields, why",
    [
        ({**SFTP, "host": ""}, "host is missing"),
        ({**SFTP, "user": ""}, "user is missing"),
        ({**SFTP, "folder": ""}, "folder is missing"),
        ({**S3, "bucket": ""}, "bucket is missing"),
        ({"kind": "usb", "label": "rootfs"}, "no USB disk"),
        ({"kind": "usb"}, "label is missing"),
        ({**S3, "secret": ""}, "needs AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_place_that_lacks_something(
    unit: dict[str, str],
    root: list[tuple[Any, ...]],
    fields: dict[str, Any],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "disks", lambda: ["BACKUP"])
    for verb, more in (("backup-to", {}), ("restore-from", {"words": key.new().replace("-", " ")})):
        request(verb, **{**fields, **more})
        assert why in finish(unit)["error"]
    assert elsewhere.chosen() is None
    assert ("mail", "backups go elsewhere") not in root


def test_disks_are_what_is_plugged_in_and_not_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    def disk(tran: "str | None", *parts: tuple[Any, Any, Any]) -> dict[str, Any]:
        children = [{"label": label, "fstype": kind, "mountpoint": mount} for label, kind, mount in parts]
        return {"label": None, "fstype": None, "tran": tran, "mountpoint": None, "children": children}

    tops = [
        disk("sata", ("DATA", "ext4", None)),
        disk(None, ("CARD", "vfat", None)),
        disk("usb", ("BACKUP", "ext4", "/media/ada/BACKUP"), ("x\ny", "ext4", None), ("raw", None, None)),
        disk("usb", ("bootfs", "vfat", "/boot/firmware"), ("SPARE", "ext4", None)),
        {**disk("usb"), "label": "whole", "fstype": "vfat"},
        {"label": "bare", "fstype": "ext4", "tran": "usb", "mountpoint": None},
    ]
    said = json.dumps({"blockdevices": tops})
    monkeypatch.setattr(
        places.services, "run", lambda *command: subprocess.CompletedProcess(command, 0, said)
    )
    assert places.disks() == ["BACKUP", "bare", "whole"]
    # The system's own, in a partition that is encrypted.
    deep = disk("usb", ("luks", "crypto_LUKS", None), ("OTHER", "ext4", None))
    deep["children"][0]["children"] = [{"label": "root", "fstype": "ext4", "mountpoint": "/"}]
    said = json.dumps({"blockdevices": [deep]})
    assert places.disks() == []
    odd = ("lsblk: not found", "[]", "{}", "null", '{"blockdevices": 5}', '{"blockdevices": [5]}', "[" * 9999)
    for answer in odd:
        said = answer
        assert places.disks() == []


def test_a_label_that_no_disk_has_mounts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for code, said in ((2, ""), (0, ""), (0, "blkid: odd\n")):
        done = subprocess.CompletedProcess((), code, said)
        monkeypatch.setattr(places.services, "run", lambda *_, done=done: done)
        with pytest.raises(HostError, match="no disk labelled X"), places.of("usb:X").opened():
            pass


# Logs.


def test_secrets_are_taken_out_of_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env").write_text(
        "SECRET_KEY=0123456789abcdef\nMAIL_PASSWORD='hunter 22'\n"
        "METRICS_TOKEN=mmmmmmmmmmmmmmmmmmmm\n"
        "DATABASE_URL=mysql+pymysql://u:p%40ssword@h/n\nELASTICSEARCH_URL=http://e:elastic9@h:9200\n"
    )
    log = tmp_path / "log"
    log.write_text(
        "key 0123456789abcdef pw hunter 22 p%40ssword p@ssword elastic9\nGET /reset/abc.def-g HTTP\n"
        "https://x/confirm/zzz\nPOST /join/jjj?a HTTP\nmetrics mmmmmmmmmmmmmmmmmmmm\n"
        "mysql://ada:tiger@host/x\nCookie: session=yyy\nAuthorization: Bearer qqq\n"
        "said \x1b[31mred\n"
    )
    monkeypatch.setitem(logs.SOURCES, "web", logs._file(log))
    said = request("log", log="web", lines=100)["answer"]
    for secret in (
        "0123",
        "hunter",
        "ssword",
        "elastic9",
        "abc.def",
        "zzz",
        "jjj",
        "mmm",
        "tiger",
        "yyy",
        "qqq",
        "\x1b",
    ):
        assert secret not in said, said
    assert said.splitlines()[1] == "GET /reset/••• HTTP"
    assert request("log", log="web", lines=1)["answer"] == "said ?[31mred"


TOKEN = 'S3cr3t"of/the+Zone=%'
LINES = ("MIIEvgIBADANBgkqhkiG9w0BAQEF", "AASCBKgwggSkAgEAAoIBAQDExYz0")
PEM = "\n".join(("-----BEGIN PRIVATE KEY-----", *LINES, "-----END PRIVATE KEY-----", ""))


def keep_key(folder: Path) -> list[str]:
    elsewhere._write(elsewhere.Chosen(places.of("/mnt/b"), places.Access(key.new()), True))
    words = (folder / "etc/elsewhere/key").read_text().strip()
    return [words, words.replace("-", " ")]


def keep_bucket(folder: Path) -> list[str]:
    names = places.Bucket("x").secrets
    access = places.Access(key.new(), dict(zip(names, ("AKIAxxxxyyyy", TOKEN), strict=True)))
    elsewhere._write(elsewhere.Chosen(places.of("s3:https://s3.example/bucket"), access, True))
    return ["AKIAxxxxyyyy", TOKEN]


def keep_ssh_key(folder: Path) -> list[str]:
    places.make_ssh_key()
    return (folder / "etc/elsewhere/ssh_key").read_text().splitlines()[1:-2]


def keep_accounts(folder: Path) -> list[str]:
    """Of each provider that a page may be told of, each field that opens something; and one of a file."""
    found = []
    for provider, names in protocol.DNS_FIELDS.items():
        fields = {name: f"{provider}-{name}-value" for name in names}
        fields.update({"server": "192.0.2.1", "port": "53"} if "port" in names else {})
        with dns.typed(provider, fields).keeping():
            pass
        # linode's is replaced by the one below, and kept nowhere.
        found += [fields[name] for name in names if name not in OPEN_FIELDS and provider != "linode"]
    mine = folder / "mine.ini"
    mine.write_text('dns_linode_key = "quoted-by-root" # a remark\ndns_linode_version = 4\n')
    mine.chmod(0o600)
    with dns.Dns("linode", credentials=mine).keeping():
        pass
    return [*found, "quoted-by-root"]


def keep_google(folder: Path) -> list[str]:
    (folder / "etc/dns").mkdir(parents=True)
    account = {"type": "service_account", "private_key_id": "abcdef0123", "private_key": PEM}
    (folder / "etc/dns/google.json").write_text(json.dumps(account))
    return ["abcdef0123", *LINES]


def keep_aws(folder: Path) -> list[str]:
    secrets.AWS.write_text(f"[default]\naws_access_key_id=AKIAzzzz\naws_secret_access_key = {TOKEN}\n")
    return ["AKIAzzzz", TOKEN]


def keep_relay(folder: Path) -> list[str]:
    postfix._write_password(postfix.Relay("mail.example", 587, "me", "relay:pass=word"))
    return ["relay:pass=word"]


def keep_relay_before(folder: Path) -> list[str]:
    """What was in its place is kept, to be put back."""
    secrets.RELAY.write_text("[mail.example]:587 me:the-one-before\n")
    postfix._write_password(postfix.Relay("mail.example", 587, "me", "relay:pass=word"))
    return ["the-one-before", "relay:pass=word"]


def keep_log_in_before(folder: Path) -> list[str]:
    """At the mail server that ours came in the place of."""
    env = folder / "env"
    env.write_text("MAIL_USERNAME=me\nMAIL_PASSWORD='at p w'\n")
    ledger.lines("mail", env, {"MAIL_PASSWORD": "MAIL_PASSWORD=''"})
    return ["at p w"]


def keep_tls(folder: Path) -> list[str]:
    layout.TLS.mkdir(parents=True)
    for name in (certificate.KEY.name, authority.KEY.name):
        (layout.TLS / name).write_text(PEM)
    return [*LINES]


def keep_dkim(folder: Path) -> list[str]:
    (secrets.DKIM / "microblog.a.example.private").write_text(PEM)
    return [*LINES]


def keep_admin(folder: Path) -> list[str]:
    values = {"admin user": "adamant", "admin email": "a@b.example", "admin password": TOKEN}
    (folder / "etc" / boot._ADMIN.name).write_text(json.dumps(values))
    return [TOKEN]


def keep_wifi(folder: Path) -> list[str]:
    boot._netplan({"wifi name": "home-net", "wifi password": "a wifi\\ pass", "wifi country": "DE"})
    boot._network_manager({"wifi name": "home-net", "wifi password": " another\\ one", "wifi country": "DE"})
    return ["a wifi\\ pass", " another\\ one"]


OPEN_FIELDS = ("server", "port", "name", "algorithm", "endpoint")
KEPT = (
    *(keep_key, keep_bucket, keep_ssh_key, keep_accounts, keep_google, keep_aws, keep_relay),
    *(keep_relay_before, keep_log_in_before, keep_tls, keep_dkim, keep_admin, keep_wifi),
)


@pytest.fixture
def keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's folders; what is written there is written by what writes it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "dkim").mkdir()
    monkeypatch.setattr(layout, "ETC", tmp_path / "etc")
    monkeypatch.setattr(layout, "TLS", tmp_path / "etc/tls")
    monkeypatch.setattr(places, "FOLDER", tmp_path / "etc/elsewhere")
    monkeypatch.setattr(dns, "FOLDER", tmp_path / "etc/dns")
    monkeypatch.setattr(ledger, "FOLDER", tmp_path / "ledger")
    for module, name, ours in (
        (postfix, "_PASSWORDS", "RELAY"),
        (postfix, "_KEYS", "DKIM"),
        (boot, "_WIFI", "WIFI"),
        (boot, "_CONNECTION", "NETWORK_MANAGER"),
        (None, "", "AWS"),
    ):
        path = {"DKIM": tmp_path / "dkim", "RELAY": tmp_path / "microblog-relay"}.get(ours, tmp_path / ours)
        if module:
            # One and the same place.
            assert getattr(module, name) == getattr(secrets, ours)
            monkeypatch.setattr(module, name, path)
        monkeypatch.setattr(secrets, ours, path)
    monkeypatch.setattr(boot, "_COUNTRY", tmp_path / "country")
    run = services.run
    done = subprocess.CompletedProcess((), 0, "")
    monkeypatch.setattr(
        services, "run", lambda *command: run(*command) if command[0] == "ssh-keygen" else done
    )
    return tmp_path


@pytest.mark.parametrize("keep", KEPT, ids=lambda keep: keep.__name__)
def test_each_secret_that_is_kept_is_in_no_line(keep: Callable[[Path], list[str]], keeping: Path) -> None:
    kept = keep(keeping)
    assert kept
    for secret in kept:
        quoted = (quote(secret), quote(secret, safe=""), quote_plus(secret))
        for written in {secret, *quoted, json.dumps(secret)[1:-1]}:
            assert secrets.clean(f"certbot: <{written}> no") == "certbot: <•••> no"
            assert written not in str(secrets.cleaned({"told": [{"as": f"<{written}>"}]}))
    told = "home-net of me at 192.0.2.1:53 by HMAC-SHA256 for adamant: s3.example, mail.example, a@b.example"
    assert secrets.clean(told) == told
    # The first lines of a key, whosever it is.
    assert secrets.clean("-----BEGIN RSA PRIVATE KEY-----\nabc\ndef") == "-----BEGIN RSA PRIVATE KEY-----•••"


def test_no_word_is_tried_for_a_secret_by_who_does_not_know_it(
    keeping: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is taken out tells which word is one: not of those that the application says."""
    (secret,) = keep_relay(keeping)
    layout.env_file().write_text("METRICS_TOKEN=kept-in-the-env-file\n")
    log = keeping / "log"
    log.write_text(f"GET /?{secret} kept-in-the-env-file\n")
    monkeypatch.setattr(logs, "AUDIT", log)
    for name in ("application", "web", "agent", "job"):
        if name != "agent":
            monkeypatch.setitem(logs.SOURCES, name, logs._file(log))
        tried = "•••" if name == "job" else secret
        assert request("log", log=name, lines=9) == {"answer": f"GET /?{tried} •••"}
    assert secret[:30] in request(secret)["error"]
    assert secret[:30] in request("look", **{secret: 1})["error"]


def test_a_damaged_file_hides_no_other_secret(keeping: Path) -> None:
    (secret,) = keep_relay(keeping)
    (keeping / "etc/elsewhere").mkdir()
    for odd in ("[" * 100_000, "7", "{", '{"secrets": 5}', "\0"):
        (keeping / "etc/elsewhere/where.json").write_text(odd)
        (keeping / "etc/first-admin.json").write_text(odd)
        assert secrets.clean(f"<{secret}>") == "<•••>"


def test_what_is_typed_is_in_no_line_of_its_job(
    unit: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept nowhere yet; and what is kept is taken out before a line is cut."""

    def choose(say: Callable[[str], None], **given: Any) -> None:
        say(f"restic says {given['secret']} {quote(given['secret'], safe='')}")
        say("x" * 495 + "kept-in-the-env-file")
        raise OSError(f"{given['secret']} at {given['host']}")

    (layout.env_file()).write_text("METRICS_TOKEN=kept-in-the-env-file\n")
    entry = verbs.VERBS["backup-to"]
    monkeypatch.setitem(verbs.VERBS, "backup-to", verbs.Verb(entry.kind, choose, entry.takes))
    form = {"kind": "s3", "host": "s3.example", "bucket": "bucket", "access_key": "AKIA1234"}
    request("backup-to", **form, secret="typed/and+wrong=")
    ended = finish(unit)
    assert ended["lines"] == ["restic says *** ***", "x" * 495 + "•••"]
    assert ended["error"] == "OSError: *** at s3.example"


def test_a_visitors_line_takes_no_longer_than_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each colon is looked at with each other one, this takes a quarter of an hour."""
    (tmp_path / "log").write_text(f"GET ://{'a:' * 100_000} HTTP\ncache redis://:tiger@host\n")
    monkeypatch.setitem(logs.SOURCES, "web", logs._file(tmp_path / "log"))
    said = request("log", log="web", lines=2)["answer"]
    assert said.endswith("a: HTTP\ncache redis://•••@host")


def test_no_link_is_read_for_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shadow").write_text("root:x")
    for name, make in (("soft", Path.symlink_to), ("hard", Path.hardlink_to)):
        path = tmp_path / name
        make(path, tmp_path / "shadow")
        monkeypatch.setitem(logs.SOURCES, "web", logs._file(path))
        assert (
            "plain file" in (said := request("log", log="web"))["error"] or "cannot be read" in said["error"]
        )
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setitem(logs.SOURCES, "web", logs._file(tmp_path / "pipe"))
    assert "plain file" in request("log", log="web")["error"]


def test_a_long_logs_end_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("x" * 300_000 + "\n" + "last\n")
    assert logs.tail(path) == "last\n"


# What is seen.


def test_what_is_seen_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(seen, "status", dict)
    monkeypatch.setattr(seen, "doctor", lambda: looks.append(1) or [])
    first = request("look")["answer"]
    assert request("look")["answer"] == first
    assert len(looks) == 1
    assert request("look", fresh=True)["answer"]["at"] > first["at"]
    assert len(looks) == 2
    assert json.loads(protocol.SEEN.read_text())["findings"] == []
    assert protocol.SEEN.stat().st_mode & 0o777 == 0o640
    # A clock that was set back.
    protocol.SEEN.write_text(json.dumps({"at": time.time() + 10**6}))
    request("look")
    assert len(looks) == 3


def test_nothing_of_the_agent_goes_through_a_shell() -> None:
    for path in (paths.ROOT / "microblog/host").rglob("*.py"):
        assert "shell=True" not in path.read_text()
        assert "os.system" not in path.read_text()


def test_a_job_does_what_is_a_job_alone(done: list[Any]) -> None:
    for verb in ("look", "download", "delete-backup", "upload-piece"):
        with pytest.raises(HostError, match=r"no job|missing"):
            verbs.do(verb, {}, print)
    assert not done


@pytest.mark.parametrize(
    "check, right, wrong",
    [
        (arguments.number(1, 5), [1, 5], [0, 6, True, 1.0, "1", None]),
        (arguments.flag, [True, False], [0, 1, "true", None]),
        (arguments.text(3), ["", "abc", "a b"], ["abcd", "a\n", "\0", b"a", 1]),
        (arguments.needed(arguments.text(3)), ["a"], [""]),
        (arguments.one_of("a", "b"), ["a"], ["", "c", "A", ["a"], None]),
        (arguments.values({"A": arguments.text(3)}), [{"A": "x"}], [{}, {"B": "x"}, {"A": "xxxx"}, [], "A"]),
    ],
)
def test_what_checks_take(check: arguments.Check, right: list[Any], wrong: list[Any]) -> None:
    assert [check(one) for one in right] == right
    for one in wrong:
        with pytest.raises(ValueError, match=r"it |none of"):
            check(one)


def test_checks_of_arguments() -> None:
    host = arguments.text(253, arguments.HOST)
    assert host("mail.example.org") == "mail.example.org"
    for wrong in ("-a", "a_b", "a..b", ".", "a" * 64):
        with pytest.raises(ValueError, match="form"):
            host(wrong)


# A certificate by a record in the DNS.


@pytest.mark.parametrize(
    "secret", ["S3cr3tTokenOfTheZone-abcdefghij" * 2, "short", "abcd+ef=/gh"], ids=["long", "short", "signs"]
)
def test_no_part_of_a_secret_is_told(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """Where certbot's words are cut, too, and however a provider writes it."""
    account = dns.typed(
        "rfc2136", {"server": "192.0.2.1", "port": "53", "name": "key", "secret": secret, "algorithm": "a"}
    )
    for written in (secret, quote(secret, safe=""), quote(secret)):
        said = f"Error: {'x' * (290 - len(written) // 2)} {written} is refused by 192.0.2.1"
        done = subprocess.CompletedProcess([], 1, said)
        monkeypatch.setattr(verbs.https.ledger, "run", lambda *_arguments, done=done: done)
        with pytest.raises(HostError) as found:
            verbs.https._ask(("a.example",), account.options(), "", "", account)
        assert not any(written[:length] in found.value.message for length in range(4, len(written) + 1))
    assert account.without_secrets("192.0.2.1 says no") == "192.0.2.1 says no"


def test_an_error_of_another_kind_tells_no_secret(
    unit: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def enable(*given: Any, **_: Any) -> None:
        raise ValueError(f"Invalid header value {given[-1].told.split()[-1]}")

    monkeypatch.setattr(verbs.https, "enable", enable)
    request("https-dns", domains=["a.example"], provider="linode", fields={"key": "tok-" * 3}, wait=5)
    assert finish(unit)["error"] == "ValueError: Invalid header value ***"


def test_what_a_page_says_of_a_providers_account(
    unit: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def enable(domains: Any, server: str, email: str, _say: Any, given: dns.Dns, *, by_root: bool) -> None:
        assert not by_root
        given.check()
        asked.append((domains, server, email, given.options(), given.told))
        raise HostError(f"no certificate: {given.told.split()[-1]} is refused", "see it")

    monkeypatch.setattr(verbs.https, "enable", enable)
    token = "tok-" * 9
    request("https-dns", domains=["a.example"], provider="linode", fields={"key": token}, wait=5)
    ended = finish(unit)
    assert (ended["error"], ended["hint"]) == ("no certificate: *** is refused", "see it")
    (given,) = asked
    assert given[:3] == (("a.example",), "", "")
    assert given[3][:2] == ["--authenticator", "dns-linode"]
    assert given[4] == f"dns_linode_key = {token}\n"
    # It is in no log, and in none of the agent's files.
    said = capfd.readouterr()
    kept = "".join(path.read_text() for path in jobs.STATE.rglob("*") if path.is_file())
    assert token not in said.out + said.err + logs.AUDIT.read_text() + kept
    assert not (jobs.RUN / "request.json").exists()

    # Nothing else is taken: no provider that reads files, no field of another's, nothing that the file's
    # own syntax would read.
    for provider in ("google", "route53", "../x", ""):
        answer = request("https-dns", domains=["a.example"], provider=provider, fields={"key": "x"})
        assert "the argument provider is refused" in answer["error"]
    for fields in (
        {"key": "x\ndns_linode_x = y"},
        *({"key": bad} for bad in ("a b", "%(x)s", "a,b", "#x", '"x"', "'", "$x", "[x]", "x" * 301)),
        *({"path": "x"}, {"credentials": "/etc/shadow"}, {}, "x"),
    ):
        answer = request("https-dns", domains=["a.example"], provider="linode", fields=fields)
        assert "the argument fields is refused" in answer["error"], fields
    for fields in ({"key": ""}, {"token": "x"}, {"key": "x", "token": "x"}):
        request("https-dns", domains=["a.example"], provider="linode", fields=fields)
        assert finish(unit)["error"] == "linode wants: key"
    assert len(asked) == 1
    assert set(protocol.DNS_FIELDS) == set(dns.PROVIDERS) - {"google", "route53"}
    for provider, names in protocol.DNS_FIELDS.items():
        given = {**dict.fromkeys(names, "x")}
        given.update({"server": "192.0.2.1", "port": "53"} if "port" in names else {})
        text = dns.typed(provider, given).told
        known = dns.PROVIDERS[provider].replace(" = HMAC-SHA256", "").replace(" = ovh-eu", "")
        assert all(line.startswith(f"dns_{provider}_") for line in text.splitlines())
        assert all(name in known or name == "port" for name in names), provider


LINODE = {"domains": ["a.example"], "provider": "linode", "fields": {"key": "token-1"}}
RFC2136 = {"server": "192.0.2.53", "port": "53", "name": "key", "secret": "c2VjcmV0", "algorithm": "a"}
MAILED = ("mail", "the DNS is opened by another account")


@pytest.fixture
def authority_asked(keeping: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """An authority that certifies whatever it is asked for; what was done, and mailed."""
    calls: list[Any] = []
    work = verbs.https
    for name in ("see_shown", "see_not_shown"):
        monkeypatch.setattr(work.certificate, name, lambda: None, raising=False)
    monkeypatch.setattr(work.privileges, "require_root", lambda *_: None)
    monkeypatch.setattr(work.nginx, "installed", lambda: True)
    for name in ("mark_stale", "apply", "ensure"):
        monkeypatch.setattr(work.nginx, name, lambda *_: None)
    monkeypatch.setattr(work, "_certbot", lambda: work._CERTBOTS[0])
    monkeypatch.setattr(work.apt, "installed", lambda _: True)
    monkeypatch.setattr(work.apt, "ensure", lambda _say, *packages: calls.append(packages))
    monkeypatch.setattr(work.lock, "sole", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(work, "WEBROOT", keeping)
    monkeypatch.setattr(work.ledger, "run", lambda *_: None)
    monkeypatch.setattr(work.ledger, "take_back", lambda *_: None)
    monkeypatch.setattr(work, "_ask", lambda domains, way, *_: calls.append(way[1]))
    for name in ("_install", "_serve_anew"):
        monkeypatch.setattr(work, name, lambda *_: None)
    monkeypatch.setattr(work.hsts, "days_to_wait", lambda: 0)
    monkeypatch.setattr(work.own_authority, "read", lambda: None)
    monkeypatch.setattr(work.envfile, "change", lambda *_: None)
    for module, name in ((work.certificate, "ensure"), (work.hsts, "forget")):
        monkeypatch.setattr(module, name, lambda *_, **__: None)
    monkeypatch.setattr(verbs.telling, "tell", lambda subject, *_: calls.append(("mail", subject)))
    layout.env_file().write_text(f"SECRET_KEY={'x' * 40}\nDATABASE_URL=sqlite:////x\nHOST_NAMES=a.example\n")
    return calls


def test_what_root_has_said_of_the_dns_no_page_changes(
    unit: dict[str, str], authority_asked: list[Any], keeping: Path
) -> None:
    """Neither written over nor deleted, by whichever verb; of what a page has said, administrators hear."""
    work = verbs.https
    mine = keeping / "mine.ini"
    mine.write_text("dns_linode_key = root's\n")
    mine.chmod(0o600)
    work.enable(("a.example",), "", "", print, dns.Dns("linode", mine))
    kept = dns.Dns("linode").kept
    asked = [
        ("https-dns", LINODE),
        ("https-dns", {**LINODE, "provider": "rfc2136", "fields": RFC2136}),
        ("https", {"domains": ["a.example"]}),
        ("https-off", {"now": True}),
    ]
    before = list(authority_asked)
    for verb, given in asked:
        request(verb, **given)
        ended = finish(unit)
        assert ended["error"].startswith("what opens the DNS was given on the command line")
        assert ended["hint"].startswith("sudo microblog https")
        assert kept.read_text() == "dns_linode_key = root's\n"
    # Nothing was installed, asked for or mailed.
    assert authority_asked == before
    # The command line changes all of it; then it is the page's.
    work.disable(print, now=True)
    assert not kept.exists()
    for key_ in ("token-1", "token-2"):
        request("https-dns", **{**LINODE, "fields": {"key": key_}})
        assert finish(unit)["state"] == "done"
        assert kept.read_text().splitlines()[1:] == [f"dns_linode_key = {key_}"]
    assert authority_asked.count(MAILED) == 2
    # The same once more is no news.
    request("https-dns", **{**LINODE, "fields": {"key": "token-2"}})
    assert finish(unit)["state"] == "done"
    assert authority_asked.count(MAILED) == 2
    request("https-dns", **{**LINODE, "provider": "rfc2136", "fields": RFC2136})
    assert finish(unit)["state"] == "done"
    assert not kept.exists()
    assert authority_asked.count(MAILED) == 3
    request("https", domains=["a.example"])
    assert finish(unit)["state"] == "done"
    assert dns.accounts() == {}
    assert authority_asked.count(MAILED) == 4
    request("https-off", now=True)
    assert finish(unit)["state"] == "done"
    assert authority_asked.count(MAILED) == 4


@pytest.mark.parametrize(
    "change",
    [
        *({"server": one} for one in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "::", "0.1.2.3")),
        *({"server": one} for one in ("169.254.169.254", "fe80::1", "::ffff:169.254.1.1", "224.0.0.251")),
        *({"server": one} for one in ("localhost", "ns.example", "192.0.2.53:22", "2130706433", "127.1")),
        {"server": "0.0.0.0"},  # noqa: S104
        *({"port": one} for one in ("0", "65536", "99999", "-1", "x", "5.3", "+53")),
    ],
    ids=lambda change: "-".join(change.values()),
)
def test_no_name_server_is_this_machine(change: dict[str, str], unit: dict[str, str], keeping: Path) -> None:
    """What answers there would be told to whoever asks, as if root had asked."""
    request("https-dns", **{**LINODE, "provider": "rfc2136", "fields": {**RFC2136, **change}})
    assert re.search("is this machine|by its address|is no port", finish(unit)["error"])


def test_a_record_is_not_waited_for_without_end(done: list[Any]) -> None:
    # Debian 12's plugin takes what it does not know by this very name for MD5.
    assert " = HMAC-SHA256\n" in dns.typed("rfc2136", {**RFC2136, "algorithm": "hmac-sha256"}).told
    for right in ("192.168.1.1", "2001:db8::53", "10.0.0.1"):
        assert right in dns.typed("rfc2136", {**RFC2136, "server": right}).told
    answer = request("https-dns", **LINODE, wait=protocol.DNS_WAIT_MAX + 1)
    assert "the argument wait is refused" in answer["error"]
    assert done == []
    assert "error" not in request("https-dns", **LINODE, wait=protocol.DNS_WAIT_MAX)
