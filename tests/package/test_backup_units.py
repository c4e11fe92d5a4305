"""A backup's file, and what is kept of this machine's settings: parts that need no machine."""

import ast
import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from builder.core import paths
from microblog import cli
from microblog.commands import machine
from microblog.errors import HostError
from microblog.host.backups import archive, backup, restore, upgrade
from microblog.host.machine import layout, privileges

MEMBERS = {"config/microblog.env": b"SECRET_KEY=x\n", "database/users/000000.jsonl": b"{}\n" * 100}


def written(facts: dict[str, object] | None = None) -> bytes:
    file = io.BytesIO()
    writer = archive.Writer(file)
    for name, data in MEMBERS.items():
        writer.add(name, data)
    writer.close(facts or {"version": "1"})
    return file.getvalue()


def twice() -> bytes:
    file = io.BytesIO()
    writer = archive.Writer(file)
    writer.add("config/microblog.env", b"SECRET_KEY=another\n")
    for name, data in MEMBERS.items():
        writer.add(name, data)
    writer.close({"version": "1"})
    return file.getvalue()


def with_manifest(text: bytes) -> bytes:
    file = io.BytesIO()
    writer = archive.Writer(file)
    writer.add(archive.MANIFEST, text)
    writer._tar.close()
    writer._gzip.close()
    return file.getvalue()


def repacked(change: tuple[bytes, bytes]) -> bytes:
    old, new = change
    plain = gzip.decompress(written())
    assert old in plain
    return gzip.compress(plain.replace(old, new))


def with_headers(size: int, number: int) -> bytes:
    """Headers of extended ones (pax), before any member."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, size
    padded = b"9" * size + bytes(-size % tarfile.BLOCKSIZE)
    return gzip.compress((header.tobuf(tarfile.USTAR_FORMAT) + padded) * number, 1)


def test_what_was_written_is_read() -> None:
    file = io.BytesIO(written())
    assert archive.verify(file)["version"] == "1"
    assert {name: data for name, data in archive.members(file) if name != archive.MANIFEST} == MEMBERS


BROKEN = {
    "nothing": b"",
    "no archive": b"Hello\n" * 100,
    "cut short": written()[:-40],
    "cut in the middle": written()[:200],
    "no manifest": gzip.compress(gzip.decompress(written())[:2048]),
    "a changed byte": repacked((b"SECRET_KEY=x", b"SECRET_KEY=y")),
    "a member of another name": repacked((b"000000.jsonl", b"000001.jsonl")),
    "a manifest that is none": repacked((b'"format"', b'"format\\')),
    "a later format": written({"format": 2}),
    "a member that is there twice": twice(),
    "a manifest without members": with_manifest(b'{"format": 1}'),
    "a header that fills the memory": with_headers(2**20, 1),
    "headers of headers": with_headers(0, 5000),
    "a manifest of brackets": with_manifest(b"[" * 100_000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_backup_is_one_line(name: str) -> None:
    with pytest.raises(HostError) as caught:
        archive.verify(io.BytesIO(BROKEN[name]))
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_member_of_any_size_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMBER_MAX", 100)
    with pytest.raises(HostError, match="nothing that a backup holds"):
        archive.verify(io.BytesIO(written()))


def test_no_more_parts_are_read_than_a_backup_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMBERS_MAX", 2)
    assert archive.verify(io.BytesIO(written()))
    monkeypatch.setattr(archive, "MEMBERS_MAX", 1)
    with pytest.raises(HostError, match="more parts"):
        archive.verify(io.BytesIO(written()))


@pytest.mark.parametrize(
    "change",
    [
        *({"rows": rows} for rows in ([], {"users": -1}, {"users": "1"}, {"users": 10**400}, {"users": 1.5})),
        *({"revisions": one} for one in ({}, "0001", None)),
        *({"version": one} for one in (1, ["1"], "1" * 200, "1\x1b[2J", "1\n2")),
        *({"created": one} for one in (5, {"a": 1}, "x" * 10_000)),
        *({name: ["x"]} for name in ("host", "database")),
    ],
)
def test_what_a_manifest_tells_is_bounded(
    change: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privileges, "drop", lambda: None)
    path = tmp_path / "b.tar.gz"
    right = {"version": "1", "revisions": ["0001"], "rows": {"users": 1}}
    path.write_bytes(written({**right}))
    assert restore.check(path)["rows"] == {"users": 1}
    path.write_bytes(written({**right, **change}))
    with pytest.raises(HostError, match="lacks what belongs there"):
        restore.check(path)


def test_the_machines_own_settings_stay() -> None:
    theirs = (
        "# theirs\nSITE_NAME='A b'\nDATABASE_URL=sqlite:////x\nexport BIND=0.0.0.0:80\nSECRET_KEY=theirs\n"
    )
    ours = "SECRET_KEY=ours\nDATABASE_URL='mysql+pymysql://u:p#w@h/n'\nTRUSTED_PROXIES=1\n"
    assert restore.merge_settings(theirs, ours).splitlines() == [
        "# theirs",
        "SITE_NAME='A b'",
        "SECRET_KEY=theirs",
        "DATABASE_URL='mysql+pymysql://u:p#w@h/n'",
        "TRUSTED_PROXIES=1",
    ]


@pytest.mark.parametrize("theirs", ["SECRET_KEY=x\n", f"SECRET_KEY={'a1' * 32}\nSITE_NAME={'x' * 99}\n"])
def test_settings_that_nobody_can_read_are_not_begun_with(
    theirs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the site would stay away, at each boot anew."""
    here = tmp_path / "microblog.env"
    here.write_text("SECRET_KEY=ours\nDATABASE_URL=sqlite:////x/y.db\n")
    monkeypatch.setattr(layout, "env_file", lambda: here)
    monkeypatch.setattr(layout, "BACKUPS", tmp_path)
    monkeypatch.setattr(layout, "RESTORING", tmp_path / "restoring")
    monkeypatch.setattr(restore, "_PARTIAL", tmp_path / ".restoring.partial")
    monkeypatch.setattr(restore.files, "write", lambda path, text, *_: path.write_text(text))
    with pytest.raises(HostError, match="the backup's settings cannot be used"):
        restore._commit("b", {"microblog.env": theirs}, [])
    assert not layout.RESTORING.exists()
    restore._commit("b", {"microblog.env": f"SECRET_KEY={'a1' * 32}\n"}, [])
    assert layout.RESTORING.is_dir()


def test_the_oldest_of_a_kind_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BACKUPS", tmp_path)
    for day in range(10, 20):
        for kind in ("daily", "manual"):
            (tmp_path / f"microblog-202601{day}T000000Z-{kind}.tar.gz").touch()
    (tmp_path / "mine.tar.gz").touch()
    for kind in ("daily", "manual"):
        backup.prune(kind, tmp_path / f"microblog-20260119T000000Z-{kind}.tar.gz")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in left if "daily" in name] == [
        f"microblog-202601{day}T000000Z-daily.tar.gz" for day in range(13, 20)
    ]
    assert len([name for name in left if "manual" in name]) == 10
    assert "mine.tar.gz" in left


def test_the_one_that_was_just_made_stays_though_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BACKUPS", tmp_path)
    for year in range(2031, 2034):
        (tmp_path / f"microblog-{year}0101T000000Z-update.tar.gz").touch()
    made = tmp_path / "microblog-20260101T000000Z-update.tar.gz"
    made.touch()
    backup.prune("update", made)
    assert sorted(path.name[10:14] for path in tmp_path.iterdir()) == ["2026", "2032", "2033"]


def test_the_manifest_is_json_to_everybody() -> None:
    plain = gzip.decompress(written())
    text = plain[plain.index(b'{\n "format"') :]
    assert json.loads(text[: text.rindex(b"}") + 1])["members"].keys() == MEMBERS.keys()


def test_another_machines_migration_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [HostError("no backup was made: Table definition has changed, please retry transaction")] * 2

    def back_up(kind: str) -> tuple[Path, dict[str, object]]:
        if errors:
            raise errors.pop()
        return Path(f"/{kind}"), {}

    said: list[str] = []
    monkeypatch.setattr(backup, "backup", back_up)
    monkeypatch.setattr(upgrade, "_AGAIN_SECONDS", 0)
    assert upgrade._backed_up(said.append) == Path("/upgrade")
    assert said == ["Waiting for another machine that changes the database ..."] * 2
    errors.append(HostError("no backup was made: the disk is full"))
    with pytest.raises(HostError, match="the disk is full"):
        upgrade._backed_up(said.append)


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("", "mend that; then: microblog setup"),
        ("make room", "make room; then: microblog setup"),
        ("make room; then: microblog setup", "make room; then: microblog setup"),
    ],
)
def test_the_way_on_is_said_once(hint: str, told: str) -> None:
    assert upgrade._and_retry(HostError("no", hint)) == told


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.ENOSPC])
def test_nobody_has_to_listen(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader of a pipe has gone, a terminal was hung up, a disk is full: no work is given up for that."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sys, "stdout", Gone())
    machine._say("one")
    machine._say("two")
    assert sys.stdout.name == os.devnull
    sys.stdout.close()


def test_no_strangers_words_move_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(**_: object) -> None:
        raise HostError("it says \x1b[2Jno\n\tand more", "see\x07 it")

    monkeypatch.setattr(cli, "server", refused)
    monkeypatch.setattr(refused, "commands", {"restore": None}, raising=False)
    monkeypatch.setattr(sys, "argv", ["microblog", "restore"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "microblog: it says ?[2Jno\n\tand more\n  see? it\n"


def test_signals_come_too_late_when_there_is_no_way_back() -> None:
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        restore._be_deaf()
        for number in numbers:
            os.kill(os.getpid(), number)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


# What a program is started with then: which signals it ignores, of whose session it is, what reaches it.
_STARTED = """
import os, signal, subprocess, sys
from microblog.host.backups import restore
from microblog.host.machine import apt, ledger, services
restore._be_deaf()
told = f"grep SigIgn: /proc/$$/status; ps -o sid= -p $$; kill -s HUP -- -{os.getpgrp()}; echo whole"
ask = ("sh", "-c", told)
for run in (lambda: services.run(*ask), lambda: ledger._run(ask), lambda: apt._run(list(ask))):
    print(run().stdout.replace("\\n", " "), os.getsid(0))
"""


def test_what_is_started_then_hears_signals_of_its_own_and_no_terminals() -> None:
    """supervisor, say, and by it the application: a signal that is ignored stays so over an exec."""
    done = subprocess.run(
        [sys.executable, "-c", _STARTED], capture_output=True, text=True, check=True, start_new_session=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        _, ignored, session, whole, ours = line.split()
        assert not int(ignored, 16) & sum(1 << (number - 1) for number in (1, 2, 15))
        assert session != ours
        assert whole == "whole"


def test_whatever_the_host_starts_may_be_out_of_a_terminals_reach() -> None:
    """It is killed with its terminal otherwise, in the middle of what is not to be left half-way."""
    found = 0
    for path in (paths.ROOT / "microblog/host").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "subprocess.run",
                "subprocess.Popen",
            ):
                assert "start_new_session" in {given.arg for given in node.keywords}, path
                found += 1
    assert found > 7
