"""Keys, addresses, restic's complaints, the sheet, the journal: what needs neither restic nor a machine."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from microblog.errors import HostError
from microblog.host.backups import (
    backup,
    drill,
    elsewhere,
    journal,
    key,
    nightly,
    places,
    restic,
    sheet,
    upgrade,
)
from microblog.host.backups.places import Access
from microblog.host.backups.progress import Progress, line
from microblog.host.database import rows
from microblog.host.health import status
from microblog.host.machine import files, layout, ledger, privileges

PLACE = places.of("sftp:me@backup.example:/srv/b")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "FOLDER", tmp_path / "etc")
    monkeypatch.setattr(layout, "BACKUPS", tmp_path / "backups")
    return tmp_path


def test_a_key_is_read_however_it_is_typed() -> None:
    words = key.new()
    assert re.fullmatch(r"([a-z]{5}-){8}[a-z]{5}", words)
    assert len({key.new() for _ in range(100)}) == 100
    for typed in (words, words.upper(), words.replace("-", " "), f"\n {words.replace('-', '  ')}.\n"):
        assert key.read(typed) == words


def test_the_words_are_those_of_proquints() -> None:
    """As the scheme's own paper has them: 127.0.0.1 is lusab-babad, 63.84.220.193 gutih-tugad."""
    for address, words in (("127.0.0.1", "lusab-babad"), ("63.84.220.193", "gutih-tugad")):
        data = bytes(map(int, address.split(".")))
        assert "-".join(map(key._word, key._numbers(data))) == words
        assert [key._number(word) for word in words.split("-")] == key._numbers(data)
    assert all(key._number(key._word(number)) == number for number in range(2**16))


def test_a_key_that_is_mistyped_is_told_from_another() -> None:
    words = key.new().split("-")
    wrong = {
        "has 9 words, not 8": words[:-1],
        "has 9 words, not 10": [*words, "babad"],
        "word 3 is no word": [*words[:2], "hello", *words[3:]],
        "is mistyped": ["babad" if words[0] != "babad" else "lusib", *words[1:]],
    }
    for message, typed in wrong.items():
        with pytest.raises(HostError, match=message):
            key.read(" ".join(typed))
    with pytest.raises(HostError, match="is mistyped"):
        key.read("-".join([words[1], words[0], *words[2:]]))


GOOD = {
    "/mnt/backup": places.Folder,
    "usb:BACKUP disk": places.Usb,
    "sftp:me@backup.example:/srv/b": places.Ssh,
    "sftp:me@backup.example:relative": places.Ssh,
    "sftp://me@[2001:db8::1]:2222//srv/b": places.Ssh,
    "s3:https://s3.eu.example/bucket/site": places.Bucket,
    "s3:s3.amazonaws.com/bucket": places.Bucket,
    "rclone:drive:folder/site": places.Rclone,
}


@pytest.mark.parametrize("address", GOOD)
def test_an_address_is_known_by_its_form(address: str) -> None:
    assert type(places.of(address)) is GOOD[address]
    assert places.of(address).address == address


@pytest.mark.parametrize(
    "address",
    [
        *("", "backup", "relative/folder", "ftp://me@host/x", "usb:", "usb:-o", "usb:a/b", "rclone:x"),
        *("sftp:-oProxyCommand=x@host:/x", "sftp:me@-oProxyCommand=x:/x", "sftp:host:/x", "sftp:a b@host:/x"),
        *("s3:https://me:secret@host/bucket", "s3:https://host/", "/x\ny", "rclone:a:b\n", "rclone:-x:y"),
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(HostError) as caught:
        places.of(address)
    assert "sftp:USER@HOST" in caught.value.hint


def test_ssh_is_told_no_more_than_a_host(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "etc").mkdir()
    (folder / "etc/ssh_key").touch()
    (folder / "etc/ssh_key.pub").touch()
    with places.of("sftp://me@[2001:db8::1]:2222//srv/b").opened() as opened:
        assert opened.location == "sftp:me@2001-db8--1:/srv/b"
        (option,) = opened.options
        assert option.startswith("sftp.command=ssh -i ")
        assert " -p 2222 " in option
        assert option.endswith("-l me 2001:db8::1 -s sftp")


# What restic and those below it say, and what the owner is told.
SAID = {
    "Fatal: wrong password or no key found": "the key is not that of",
    "Fatal: unable to open config file: no such file or directory\nIs there a": "there is no repository",
    "Fatal: unable to open config file: The specified key does not exist.\n": "there is no repository",
    "Fatal: unable to open config file: Stat: Access Denied.\nIs there a repository at": "does not let this",
    "subprocess ssh: Permission denied (publickey).\nFatal: unable to open repository": "does not let",
    "ssh: connect to x port 22: Connection refused\nunable to start the sftp session": "cannot be reached",
    "subprocess ssh: Host key verification failed.\nunable to start the sftp": "is not the machine",
    "Fatal: unable to save snapshot: write x: no space left on device": "is full",
    "Save(<data/1>) returned error, retrying after 1s: write x: input/output error": "has gone while",
    "mount: /run/x: wrong fs type, bad option": "cannot be mounted",
    "Fatal: unable to create lock in backend: repository is already locked by PID 1": "another program",
    "Load(<index/1>) ... ciphertext verification failed": "is damaged",
    "Fatal: repository contains errors": "is damaged",
    "Fatal: the sky is green": "restic has failed at sftp:me@backup.example:/srv/b: Fatal: the sky is green",
    "": "restic has failed",
}


@pytest.mark.parametrize("said", SAID)
def test_each_complaint_is_one_line_with_a_way_out(said: str, folder: Path) -> None:
    (folder / "etc").mkdir()
    (folder / "etc/ssh_key.pub").write_text("ssh-ed25519 AAAA microblog@here\n")
    error = restic.judge(1, said, PLACE)
    assert SAID[said] in error.message
    assert error.hint
    assert "\n" not in error.message + error.hint
    assert isinstance(error, restic.Missing) == ("no repository" in SAID[said])


def test_progress_is_bytes_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    clock = [0.0]
    monkeypatch.setattr("microblog.host.backups.progress.time.monotonic", lambda: clock[0])
    progress = Progress("Sending", 48 * 2**20, said.append)
    progress.add(2**20)
    clock[0] = 10.0
    progress.add(11 * 2**20)
    progress.add(2**20)
    assert said == ["Sending: 12 of 48 MiB, 25 %, for 10 s, about 30 s left"]
    assert line("Fetching", 2**21, 0, 3700) == "Fetching: 2 MiB, for 1 h 1 min"


def sheets(address: str) -> str:
    words = key.new()
    place = places.of(address)
    page, text = sheet.page(place, words), sheet.text(place, words)
    for word in words.split("-"):
        assert f">{word}<" in page
        assert word in text
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("s3:https:", "")
    return text


def test_the_sheet_says_what_to_do() -> None:
    text = sheets("sftp:me@backup.example:/srv/b")
    assert "sudo microblog restore --from sftp:me@backup.example:/srv/b" in text
    assert "authorized_keys on backup.example" in text
    assert "restore --from 'usb:BACKUP disk'" in sheets("usb:BACKUP disk")
    assert "access key" in sheets("s3:https://s3.eu.example/bucket")
    assert "rclone config" in sheets("rclone:drive:folder")
    assert "&lt;" in sheet.page(places.of("/mnt/<b>"), key.new())


def test_a_failure_stays_until_it_is_mended(folder: Path) -> None:
    assert journal.read() == {}
    journal.failed("send", HostError("it is full", "make room"))
    first = journal.read()["failed"]["send"]["first"]
    journal.failed("send", HostError("it is gone", "plug it in"))
    journal.failed("drill", HostError("no room", "make some"))
    assert journal.read()["failed"]["send"]["first"] == first
    assert [what for what, _, _ in nightly.failures()] == ["send", "drill"]
    journal.done("send", sent={"when": 5})
    assert [what for what, _, _ in nightly.failures()] == ["drill"]
    assert journal.read()["sent"] == {"when": 5}
    assert (folder / "backups/.journal.json").stat().st_mode & 0o077 == 0
    (folder / "backups/.journal.json").write_text("[")
    assert journal.read() == {}


def test_what_a_wrong_clock_has_noted_is_not_believed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = time.time() + 86400 * 400
    journal.note(since=ahead, told=ahead, sent={"when": ahead}, drilled={"when": ahead})
    assert journal.read() == {}
    assert drill.due()
    assert not nightly.was_told()
    layout.BACKUPS.joinpath("microblog-20380101T000000Z-daily.tar.gz").touch()
    os.utime(layout.BACKUPS / "microblog-20380101T000000Z-daily.tar.gz", (ahead, ahead))
    fact = status._backup(Any)
    assert not fact.ok
    assert "hours ago" not in fact.text


def test_a_full_disk_hides_no_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    def no_room(**_: object) -> None:
        raise HostError("no backup was made: there is no room", "make some")

    monkeypatch.setattr(files, "write", full)
    monkeypatch.setattr(backup, "backup", no_room)
    with pytest.raises(HostError, match="no backup was made: there is no room"):
        nightly.nightly(print)
    with pytest.raises(HostError, match="No space left on device"):
        journal.note(since=1)


def test_other_notes_that_are_damaged_are_one_line_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.BACKUPS.mkdir()
    monkeypatch.setattr(layout, "UPGRADING", layout.BACKUPS / "upgrading.json")
    layout.UPGRADING.write_text('{"backup": "/var')
    with pytest.raises(HostError, match=r"upgrading\.json cannot be read: it is damaged"):
        upgrade._record()
    monkeypatch.setattr(ledger, "FOLDER", folder)
    (folder / "index.json").write_text("[{")
    monkeypatch.setattr(status, "_FACTS", {"backup": lambda _: ledger.entries(), "version": status._version})
    monkeypatch.setattr(status.Config, "load", lambda _: None)
    facts = status.status()
    assert (facts["backup"].ok, facts["version"].ok) == (False, True)
    assert facts["backup"].text == f"{folder}/index.json: it is damaged"


def test_backups_do_not_stop_silently_without_their_key(folder: Path) -> None:
    assert elsewhere.chosen() is None
    elsewhere._write(elsewhere.Chosen(PLACE, Access("lusab-babad"), True))
    (places.FOLDER / "key").unlink()
    with pytest.raises(HostError, match=r"where.json cannot be read: .*No such file"):
        elsewhere.chosen()


def test_a_key_that_nobody_has_is_not_written_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "require_root", lambda *_: None)
    monkeypatch.setattr(elsewhere.apt, "ensure", lambda *_: None)
    monkeypatch.setattr(restic.Repository, "exists", lambda _: False)
    monkeypatch.setattr(restic.Repository, "make", lambda _: None)
    first = elsewhere.choose("/mnt/a", print)
    # Nothing was sent there yet.
    second = elsewhere.choose("/mnt/b", print)
    assert second.access.key != first.access.key
    journal.note(sent={"when": 5})
    with pytest.raises(HostError, match="what was sent there could not be opened any more"):
        elsewhere.choose("/mnt/c", print)
    assert elsewhere.choose("/mnt/b", print).access.key == second.access.key
    elsewhere.seen()
    assert elsewhere.choose("/mnt/c", print).place.address == "/mnt/c"


def test_a_drill_is_due_after_a_week(folder: Path) -> None:
    assert drill.due()
    journal.done("drill", drilled={"when": time.time() - 6 * 86400})
    assert not drill.due()
    journal.done("drill", drilled={"when": time.time() - 7 * 86400})
    assert drill.due()
    # And each night after one that failed.
    journal.done("drill", drilled={"when": time.time()})
    assert not drill.due()
    journal.failed("drill", HostError("it is damaged", "begin another"))
    assert drill.due()


def test_rows_are_compared_whatever_their_order() -> None:
    def sums(*chunks: str) -> drill.Sums:
        found: drill.Sums = {}
        for chunk in chunks:
            drill._add(found, chunk.encode())
        return found

    head = '{"table": "posts", "columns": ["id", "body"]}\n'
    kept = sums(f'{head}[1, "a\\u2028b"]\n', f'{head}[2, "c"]\n')
    turned = sums('{"table": "posts", "columns": ["body", "id"]}\n["c", 2]\n["a\u2028b", 1]\n')
    assert kept == turned
    assert drill._different(kept, turned, contents=True) == []
    other = sums(f'{head}[1, "a\\u2028b"]\n[2, "C"]\n')
    assert drill._different(kept, other, contents=True) == ["posts"]
    assert drill._different(kept, other, contents=False) == []
    assert drill._different(kept, sums(f'{head}[1, "x"]\n'), contents=False) == ["posts"]
    assert drill._different(kept, {}, contents=False) == ["posts"]


def test_each_step_of_the_night_is_done_whatever_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    manifest: dict[str, Any] = {"rows": {}, "members": {}}

    def make(kind: str) -> tuple[Path, dict[str, Any]]:
        done.append(kind)
        return folder / "x", manifest

    def send(*_: object) -> str:
        done.append("send")
        raise HostError("it is full", "make room")

    def drilled(_: object) -> None:
        done.append("drill")
        raise HostError("it is damaged", "begin another")

    told: list[object] = []
    monkeypatch.setattr(backup, "backup", make)
    monkeypatch.setattr(elsewhere, "send", send)
    monkeypatch.setattr(drill, "drill", drilled)
    monkeypatch.setattr(nightly, "tell", told.append)
    with pytest.raises(HostError, match="it is full"):
        nightly.nightly(print)
    assert done == ["daily", "send", "drill"]
    assert told == [print]


def test_what_fails_night_after_night_is_mailed_once_a_day(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand again on the same day, too; the timer's next night may be a little early."""
    began, now = time.time(), [0.0]
    mails: list[float] = []

    def fail(**_: Any) -> Any:
        raise HostError("there is no room", "make some")

    def nights(*hours: float) -> list[float]:
        mails.clear()
        for now[0] in hours:
            with pytest.raises(HostError, match="no room"):
                nightly.nightly(print)
        return mails

    monkeypatch.setattr(backup, "backup", fail)
    monkeypatch.setattr(time, "time", lambda: began + now[0] * 3600)
    monkeypatch.setattr(nightly.telling, "tell", lambda *_: not mails.append(now[0]))
    assert nights(0, 1, 12, 19, 24, 25, 40, 46, 47, 60, 94, 95) == [0, 24, 46, 94]
    # A mail that did not go is tried again.
    monkeypatch.setattr(nightly.telling, "tell", lambda *_: bool(mails.append(now[0])))
    assert nights(120, 121) == [120, 121]


def test_secrets_are_in_no_representation() -> None:
    access = Access("lusab-babad", {"AWS_SECRET_ACCESS_KEY": "the-secret"})
    assert "lusab" not in repr(access)
    assert "the-secret" not in repr(access)


def test_what_work_tells_is_heard_and_is_no_part_of_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "drop", lambda: None)
    heard: list[str] = []

    def work() -> int:
        print("a library's own line")
        privileges.tell("Loading: 1 of 2 MiB")
        return 5

    assert privileges.ask("it cannot be done", work, heard.append) == 5
    assert heard == ["Loading: 1 of 2 MiB"]
    # Nobody listens: it is an ordinary line.
    assert privileges.ask("it cannot be done", work) == 5


def test_what_ssh_said_is_not_lost(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """restic may have ended before it passed it on."""
    (folder / "etc").mkdir()
    (folder / "etc/ssh_key").touch()
    (folder / "etc/ssh_key.pub").write_text("ssh-ed25519 AAAA microblog@here\n")
    monkeypatch.setattr(places.Ssh, "why", lambda _: "me@x: Permission denied (publickey).")
    repository = restic.Repository(PLACE, places.Opened("x"), Access("lusab-babad"))
    error = repository._failed(1, "Fatal: unable to start the sftp session, error: EOF")
    assert "does not let this machine in" in error.message
    assert error.hint.endswith("ssh-ed25519 AAAA microblog@here")


ID = "0123456789abcdef" * 4
SNAPSHOT = {"id": ID, "time": "2026-01-01T03:00:00.123456789+01:00", "hostname": "one"}
FOUND = {"snapshot": ID, "matches": [{"path": "/microblog.tar", "size": 5}]}
ENTRY = {"path": "/microblog.tar", "size": 5}


def lists(monkeypatch: pytest.MonkeyPatch, **said: Any) -> restic.Repository:
    """A repository of which restic says this; what is no text, as JSON."""
    right = {"snapshots": [SNAPSHOT], "find": [FOUND], "ls": ENTRY}
    texts = {name: it if isinstance(it, str) else json.dumps(it) for name, it in {**right, **said}.items()}
    monkeypatch.setattr(restic.Repository, "_run", lambda _, command, *__: texts[command])
    return restic.Repository(PLACE, places.Opened("x"), Access("lusab-babad"))


def test_what_restic_lists_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    repository = lists(monkeypatch)
    when = datetime(2026, 1, 1, 2, tzinfo=timezone.utc).timestamp()
    assert repository.sized() == [restic.Snapshot(ID, when, "one", 5)]
    assert repository.size(ID) == 5
    repository = lists(
        monkeypatch, snapshots="", find="null", ls='{"struct_type": "snapshot"}\n{"path": "/x"}\n'
    )
    assert repository.sized() == []
    with pytest.raises(HostError, match="none of Microblog's"):
        repository.size(ID)
    # One that holds nothing of ours, and a clock that has never been set.
    repository = lists(
        monkeypatch,
        find=[{"snapshot": ID, "matches": []}],
        snapshots=[{**SNAPSHOT, "time": "1970-01-01T00:00:01Z", "hostname": "o\x1b[1mne" + "x" * 99}],
    )
    assert repository.sized() == []
    assert (found := repository.snapshots()[0]).host == "o?[1mne" + "x" * 53
    assert found.made() == "1970-01-01 00:00 UTC"


ODD = {
    "snapshots": [
        *("no JSON", "[" * 100_000, "7", '{"id": 1}', "[1]", "[null]", '"x"', "\ud800"),
        *([{**SNAPSHOT, "time": time}] for time in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z")),
        *([{**SNAPSHOT, "time": time}] for time in ("2106-02-08T00:00:00Z", "1969-12-31T23:59:59Z")),
        *([{**SNAPSHOT, "time": time}] for time in ("2026-01-01T00:00:00", "", 5, None, "x\x1b[2J")),
        *(
            [{**SNAPSHOT, "id": one}]
            for one in (None, "", "latest", "--repo", ID[1:], ID.upper(), [ID], "é" * 64)
        ),
        *([{**SNAPSHOT, "hostname": one}] for one in (None, 5, ["a"])),
        [{name: SNAPSHOT[name] for name in ("id", "hostname")}],
    ],
    "find": [
        *("no JSON", "{}x", "7", "[7]", [{**FOUND, "snapshot": "x"}], [{**FOUND, "snapshot": None}]),
        *([{**FOUND, "matches": matches}] for matches in (None, 5, {"size": 5}, [5], [ENTRY, ENTRY])),
        *([{**FOUND, "matches": [{"size": size}]}] for size in (-1, True, "5", 5.5, None, 2**60, [5])),
    ],
    "ls": [
        *("no JSON", "[]", "7", "null", "{}\n[" + "[" * 100_000),
        *({**ENTRY, "size": size} for size in (-1, True, "5", 5.5, None, 2**60)),
    ],
}


@pytest.mark.parametrize(
    ("command", "said"),
    [(name, one) for name, every in ODD.items() for one in every],
    ids=lambda one: ascii(one)[:40],
)
def test_what_no_restic_would_say_is_one_line(
    command: str, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes to the repository has written it."""
    repository = lists(monkeypatch, **{command: said})
    with pytest.raises(HostError, match="holds cannot be: ") as caught:
        repository.size(ID) if command == "ls" else repository.sized()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 250
    assert caught.value.hint


@pytest.fixture
def pretends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], restic.Repository]:
    """A repository whose restic is a script."""
    monkeypatch.setattr(restic, "_CACHE", tmp_path)
    real = subprocess.Popen
    monkeypatch.setattr(
        restic.subprocess,
        "Popen",
        lambda command, **given: real(
            [str(tmp_path / "restic") if one == "restic" else one for one in command], **given
        ),
    )

    def script(text: str) -> restic.Repository:
        (tmp_path / "restic").write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "restic").chmod(0o755)
        return restic.Repository(PLACE, places.Opened("x"), Access("lusab-babad"))

    return script


def test_what_restic_says_has_an_end(
    monkeypatch: pytest.MonkeyPatch, pretends: Callable[[str], restic.Repository]
) -> None:
    monkeypatch.setattr(restic, "_HEARD_MAX", 2**16)
    repository = pretends("exec yes '{}'")
    for ask in (repository.snapshots, repository.sized, lambda: repository.size(ID)):
        with pytest.raises(HostError, match="there is too much of it"):
            ask()
    # Of complaints and of a backup's progress, the last words are what counts.
    pretends("yes | head -c 300000 >&2; printf 'Fatal: no\\033[2J such thing\\n' >&2; exit 1")
    with pytest.raises(HostError, match=r"Fatal: no\?\[2J such thing"):
        repository.snapshots()
    summary = json.dumps({"message_type": "summary", "snapshot_id": ID[:8]})
    pretends(f"cat > /dev/null; yes '[]' | head -c 300000; echo '{summary}'")
    assert repository.save(lambda write: write(b"x")) == ID[:8]
    pretends("cat > /dev/null; echo '[7]'; echo 'x'")
    assert repository.save(lambda write: write(b"x")) == ""


def test_another_pipe_that_breaks_is_not_restics_end(
    pretends: Callable[[str], restic.Repository], tmp_path: Path
) -> None:
    """As where progress is printed to who has gone: restic would be waited for, and wait itself."""
    repository = pretends(f"cat > /dev/null; touch {tmp_path}/stored")

    def feed(write: Callable[[bytes], object]) -> None:
        write(b"x")
        raise BrokenPipeError("another one")

    with pytest.raises(BrokenPipeError, match="another one"):
        repository.save(feed)
    assert not (tmp_path / "stored").exists()
    # It has ended before it was given all: what it has said counts.
    repository = pretends("echo 'Fatal: no such thing' >&2; exit 1")
    with pytest.raises(HostError, match="Fatal: no such thing"):
        repository.save(lambda write: [write(bytes(2**16)) for _ in range(9)])


def test_a_disk_is_let_go_of_when_restic_was_told_to_end(tmp_path: Path) -> None:
    """By Ctrl-C: a lock of a process that was killed would stay on the disk."""
    for name in ("mount", "umount"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/{name}ed\n")
        (tmp_path / name).chmod(0o755)
    works = (
        f"trap 'sleep 0.2; touch {tmp_path}/unlocked; exit 130' INT; echo ready; while :; do sleep 0.1; done"
    )
    process = subprocess.Popen(
        ["sh", "-c", places._MOUNTED, "sh", "/dev/none", "/none", "sh", "-c", works],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 130
    assert (tmp_path / "unlocked").exists()
    assert (tmp_path / "umounted").exists()


def test_a_row_that_goes_changes_few_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stores only what is new finds the others again."""
    monkeypatch.setattr(rows, "_CHUNK_BYTES", 20_000)
    monkeypatch.setattr(rows, "_CHUNK_LEAST_BYTES", 1_000)
    monkeypatch.setattr(rows, "_CHUNK_ENDS", 16)
    url = f"sqlite:///{tmp_path}/x.db"

    def chunks() -> list[bytes]:
        with rows.connection(url, snapshot=True) as opened:
            return [chunk for table in rows.tables(opened) for chunk, _ in rows.dump(opened, table)]

    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE posts (id INTEGER PRIMARY KEY, body TEXT)")
        for number in range(3000):
            database.execute("INSERT INTO posts VALUES (?, ?)", (number, f"post {number} " * 4))
    before = chunks()
    assert len(before) > 20
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("DELETE FROM posts WHERE id = 100")
    after = chunks()
    assert b"".join(after) != b"".join(before)
    assert len(set(after) - set(before)) <= 2
