"""Backups in a second place: real restic, a real sshd, an S3 server, a disk; all that can go wrong there.

The local file is an archive made here: what is in it is the machines' tests' (test_backup_elsewhere.py).
"""

import fcntl
import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from nspawn import wait_until

from builder.core.needs import Program
from builder.core.ports import free_port
from microblog.errors import HostError
from microblog.host.agent import destinations
from microblog.host.backups import archive, backup, elsewhere, journal, key, places, restic
from microblog.host.backups.places import Access
from microblog.host.machine import apt, layout

NEEDS = (
    Program("restic", "restic"),
    Program("rclone", "rclone"),
    Program("sshd", "openssh-server"),
    Program("ssh", "openssh-client"),
    Program("losetup", "mount"),
)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@dataclass
class Here:
    """This machine, as far as backups go.

    :ivar said: the lines that were said.
    """

    folder: Path
    said: list[str] = field(default_factory=list)

    def backup(self, mib: int = 1, seed: int = 1) -> tuple[Path, dict[str, Any]]:
        """A local backup with this much in it that cannot be packed."""
        path = self.folder / "local.tar.gz"
        rest = random.Random(seed)  # noqa: S311
        with path.open("wb") as file:
            writer = archive.Writer(file)
            for number in range(mib):
                writer.add(f"database/posts/{number:06}.jsonl", rest.randbytes(2**20))
            return path, writer.close({"version": "1"})

    def choose(self, address: str, **options: Any) -> elsewhere.Chosen:
        return elsewhere.choose(address, self.said.append, **options)

    def send(self, **options: Any) -> None:
        elsewhere.send(*self.backup(**options), self.said.append)

    def back(self) -> bytes:
        """What the chosen place gives back, unpacked."""
        now = elsewhere.chosen()
        assert now
        with elsewhere.fetched(now.place, now.access, self.said.append) as (path, _, _):
            archive.verify(path.open("rb"))
            return gzip.decompress(path.read_bytes())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    monkeypatch.setattr(places, "FOLDER", tmp_path / "etc")
    monkeypatch.setattr(layout, "BACKUPS", tmp_path / "backups")
    monkeypatch.setattr(layout, "RUN", tmp_path / "run")
    monkeypatch.setattr(restic, "_CACHE", tmp_path / "cache")
    # What is missing here is this suite's to install, before it begins.
    monkeypatch.setattr(apt, "ensure", lambda _say, *_packages: None)
    yield Here(tmp_path)
    assert not list((tmp_path / "backups").glob(".*.partial"))


def refused(work: Callable[[], object], *words: str) -> HostError:
    """A step fails with one line and a way out."""
    with pytest.raises(HostError) as caught:
        work()
    error = caught.value
    assert "\n" not in error.message + error.hint
    assert error.hint
    for word in words:
        assert word in error.message, error
    return error


def damage(repository: Path) -> None:
    """Turn bytes of every pack over."""
    for pack in (repository / "data").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            content = bytearray(pack.read_bytes())
            content[len(content) // 3] ^= 0xFF
            pack.write_bytes(content)


@pytest.mark.thorough
def test_a_folder_takes_what_is_new_and_gives_all_of_it_back(here: Here) -> None:
    repository = here.folder / "repository"
    now = here.choose(str(repository))
    assert here.said == [f"Made a repository at {repository}"]
    here.send(mib=8)
    whole = sum(path.stat().st_size for path in repository.rglob("*"))
    # A member more, one that is another: what is there already is not sent again.
    rest = random.Random(1)  # noqa: S311
    path = here.folder / "local.tar.gz"
    with path.open("wb") as file:
        writer = archive.Writer(file)
        writer.add("config/microblog.env", b"SECRET_KEY=another\n")
        for number in range(8):
            writer.add(f"database/posts/{number:06}.jsonl", rest.randbytes(2**20))
        manifest = writer.close({"version": "1"})
    elsewhere.send(path, manifest, here.said.append)
    assert sum(path.stat().st_size for path in repository.rglob("*")) < whole * 1.4
    assert here.back() == gzip.decompress(path.read_bytes())
    assert journal.read()["sent"]["bytes"] == len(here.back())
    # Of one day, the last one stays.
    assert len(elsewhere.snapshots(now.place, now.access, here.said.append)) == 1
    # It tells nobody anything without the key; the key is root's alone.
    assert not any(b"SECRET" in path.read_bytes() for path in repository.rglob("*") if path.is_file())
    for path in (places.FOLDER, *places.FOLDER.iterdir(), layout.BACKUPS / ".journal.json"):
        assert path.stat().st_mode & 0o077 == 0
    # The same address again changes nothing; the key stays.
    assert here.choose(str(repository)).access.key == now.access.key
    elsewhere.tidy(now, here.said.append)


def test_what_a_page_has_chosen_is_sent_without_the_certificate(here: Here) -> None:
    now = here.choose(str(here.folder / "repository"), by_root=False)
    path = here.folder / "local.tar.gz"
    with path.open("wb") as file:
        writer = archive.Writer(file)
        for name in ("config/microblog.env", *backup.TLS_MEMBERS, "database/posts/000000.jsonl"):
            writer.add(name, name.encode())
        manifest = writer.close({"version": "1"})
    elsewhere.send(path, manifest, here.said.append)
    with tarfile.open(fileobj=io.BytesIO(here.back())) as tar:
        assert tar.getnames() == ["config/microblog.env", "database/posts/000000.jsonl", "manifest.json"]
    # Two may fetch at once, a drill and a restore: neither deletes what the other reads.
    with elsewhere.fetched(now.place, now.access, here.said.append) as (path, _, digest):
        child = os.fork()
        if child == 0:
            here.back()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest() == digest


def made_at(repository: restic.Repository, when: datetime, size: int = 1000, host: str = "one") -> None:
    """A snapshot of another time, as :meth:`Repository.save` makes it."""
    command = ("backup", "--tag", "microblog", "--stdin", "--stdin-filename", "microblog.tar")
    process = repository._start(
        *(*command, "--host", host, "--time", f"{when:%Y-%m-%d %H:%M:%S}"), stdin=subprocess.PIPE
    )
    process.communicate(os.urandom(size))
    assert process.returncode == 0


def test_one_of_several_is_seen_with_its_size_and_fetched(here: Here) -> None:
    now = here.choose(str(here.folder / "repository"))
    path, _ = here.backup()
    with now.place.opened() as opened:
        repository = restic.Repository(now.place, opened, now.access)
        made_at(repository, datetime(2026, 1, 1, 3), 3000, "old")
    here.send()
    given = {"kind": "sftp", "words": now.access.key}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(destinations, "place", lambda _given: now.place)
        seen = destinations.there(here.said.append, **given, access_key="", secret="")["snapshots"]
    size = len(gzip.decompress(path.read_bytes()))
    assert [(one["bytes"], one["host"]) for one in seen] == [(size, socket.gethostname()), (3000, "old")]
    for one in seen:
        with elsewhere.fetched(now.place, now.access, here.said.append, snapshot=one["id"]) as (path, _, _):
            assert len(gzip.decompress(path.read_bytes())) == one["bytes"]
    refused(
        lambda: elsewhere.fetched(now.place, now.access, here.said.append, snapshot="0" * 16).__enter__(),
        "no backup",
    )


def kept_by_the_rule(times: "set[datetime]") -> "set[datetime]":
    """Of seven days, four weeks and twelve months the last one each, counted from the newest on."""
    kept: set[datetime] = set()
    for form, most in (("%Y-%m-%d", 7), ("%G-%V", 4), ("%Y-%m", 12)):
        last = {f"{when:{form}}": when for when in sorted(times)}
        kept |= {last[name] for name in sorted(last)[-most:]}
    return kept


@pytest.mark.thorough
def test_seven_days_four_weeks_and_twelve_months_stay(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Night by night at the end; of another machine's name, too, and nothing of anybody else's."""
    monkeypatch.setenv("TZ", "UTC")
    now = here.choose(str(here.folder / "repository"))
    end = datetime(2026, 3, 20, 3)
    months = [datetime(2024, 9, 15, 3) + timedelta(days=30.5 * number) for number in range(17)]
    weeks = [end - timedelta(weeks=number) for number in range(8, 1, -1)]
    nights = [end - timedelta(days=number) for number in range(11, -1, -1)]
    with now.place.opened() as opened:
        repository = restic.Repository(now.place, opened, now.access)

        def there() -> "set[datetime]":
            found = repository.snapshots()
            return {datetime.fromtimestamp(one.when, timezone.utc).replace(tzinfo=None) for one in found}

        process = repository._start("backup", "--stdin", stdin=subprocess.PIPE)
        process.communicate(b"theirs")
        expected: set[datetime] = set()
        for when in [*months, *weeks]:
            made_at(repository, when.replace(second=0, microsecond=0), host="before")
            expected.add(when.replace(second=0, microsecond=0))
        assert there() == expected
        for when in nights:
            # One more by hand, in the evening before.
            for moment in (when - timedelta(hours=6), when):
                made_at(repository, moment)
                expected = kept_by_the_rule({*expected, moment})
            repository.forget()
            assert there() == kept_by_the_rule(expected)
        # Two of the weeks are none of these days', ten of the months none of these weeks'.
        assert (len(there()), f"{min(there()):%Y-%m}") == (7 + 2 + 10, "2025-04"), sorted(there())
        repository.tidy()
        assert there() == expected
        assert len(json.loads(repository._run("snapshots", "--json"))) == len(expected) + 1


@pytest.mark.thorough
def test_a_repository_that_somebody_has_made_fills_no_disk(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.choose(str(here.folder / "repository"))
    here.send(mib=2)
    with monkeypatch.context() as patch:
        patch.setattr(restic.Repository, "size", lambda *_: 2**20)
        refused(here.back, "larger than it says")
    usage = shutil.disk_usage(here.folder)
    sizes = iter([usage, usage._replace(free=elsewhere._SPARE_BYTES - 1)])
    monkeypatch.setattr(elsewhere.shutil, "disk_usage", lambda _: next(sizes))
    refused(here.back, "has no room")


@pytest.mark.thorough
def test_a_repository_that_is_there_wants_its_key(here: Here) -> None:
    repository = here.folder / "repository"
    words = here.choose(str(repository)).access.key
    here.send()
    elsewhere.seen()
    assert elsewhere.off()
    assert elsewhere.chosen() is None
    # As on a new machine.
    assert isinstance(refused(lambda: here.choose(str(repository)), "already"), restic.WrongKey)
    refused(lambda: here.choose(str(repository), words=key.new()), "the key is not that of", str(repository))
    assert elsewhere.chosen() is None
    refused(lambda: here.choose(str(here.folder / "other"), words=words), "no repository")
    assert not (here.folder / "other").exists()
    assert here.choose(str(repository), words=words.upper().replace("-", " ")).access.key == words
    assert here.back()


def test_nobody_loses_the_only_key(here: Here) -> None:
    here.choose(str(here.folder / "repository"))
    refused(elsewhere.off, "nobody has the recovery sheet")
    assert elsewhere.chosen()


@pytest.mark.thorough
def test_a_damaged_repository_is_told_and_the_local_backup_stays(here: Here) -> None:
    repository = here.folder / "repository"
    now = here.choose(str(repository))
    here.send(mib=3)
    damage(repository)
    shutil.rmtree(restic._CACHE)
    refused(here.back, "is damaged", str(repository))
    assert (here.folder / "local.tar.gz").exists()
    shutil.rmtree(repository / "index")
    (repository / "index").mkdir()
    shutil.rmtree(restic._CACHE)
    refused(here.back, str(repository))
    shutil.rmtree(repository)
    refused(here.back, "no repository")
    refused(lambda: elsewhere.tidy(now, here.said.append), "no repository")
    refused(here.send, "no repository")
    assert "no repository" in journal.read()["failed"]["send"]["message"]


@pytest.mark.parametrize(
    "leash",
    [
        pytest.param(restic._LEASH, id="ends with us", marks=pytest.mark.thorough),
        pytest.param((), id="hears late of our end"),
    ],
)
def test_half_a_backup_is_never_stored(
    here: Here, leash: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where the local file breaks off, nor where whoever sends it is killed: its input ends before
    it is told so."""
    monkeypatch.setattr(restic, "_LEASH", leash)
    now = here.choose(str(here.folder / "repository"))
    path, manifest = here.backup(mib=4)
    path.write_bytes(path.read_bytes()[: 2 * 2**20])
    refused(lambda: elsewhere.send(path, manifest, here.said.append), "cannot be read")
    with now.place.opened() as opened:
        repository = restic.Repository(now.place, opened, now.access)
        assert repository.snapshots() == []
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:

            def feed(write: Callable[[bytes], object]) -> None:
                write(bytes(2**20))
                os.write(tell, b"x")
                signal.pause()

            try:
                repository.save(feed)
            finally:
                os._exit(1)
        assert os.read(told, 1) == b"x"
        number = running(str(here.folder))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        # Were it stored, its lock would be let go of; as it is, that is good until its process is nowhere.
        wait_until("restic has ended", lambda: not Path("/proc", number).exists())
        assert repository.snapshots() == []
        # And what it has left is in nobody's way.
        here.send()
        repository.tidy()
        assert len(repository.snapshots()) == 1


def running(words: str) -> str:
    """The number of a restic whose environment has these words; empty where there is none."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "comm").read_text() == "restic\n" and words in (process / "environ").read_text():
                return process.name
    return ""


@dataclass
class Sshd:
    """A server of SSH on a port of the loopback, for root, whose keys are in ``folder``."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        host_key = self.folder / "host_key"
        if not host_key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key], check=True)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        lines = [
            *("ListenAddress 127.0.0.1", f"Port {self.port}", f"HostKey {host_key}", "UsePAM no"),
            *("PermitRootLogin prohibit-password", "StrictModes no", "PasswordAuthentication no"),
            *(f"AuthorizedKeysFile {self.folder}/authorized_keys", "Subsystem sftp internal-sftp"),
            f"PidFile {self.folder}/pid",
        ]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", self.folder / "sshd_config"],
                stderr=log,
            )
        wait_until("sshd answers", self.answers)

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    server = Sshd(folder, free_port())
    server.start()
    yield server
    server.stop()


def test_another_machine_takes_it_by_ssh(here: Here, sshd: Sshd) -> None:
    address = f"sftp://root@127.0.0.1:{sshd.port}/{here.folder}/repository"
    error = refused(lambda: here.choose(address), "does not let this machine in")
    assert elsewhere.chosen() is None
    (line,) = re.findall(r"ssh-ed25519 \S+ \S+$", error.hint)
    (sshd.folder / "authorized_keys").write_text(f"{line}\n")
    here.choose(address)
    here.send(mib=2)
    assert here.back()
    assert (here.folder / "repository/config").exists()

    # Another machine in its place gets nothing.
    sshd.stop()
    (sshd.folder / "host_key").unlink()
    sshd.start()
    error = refused(here.send, "is not the machine that it was")
    known = re.search(r"rm (\S+),", error.hint)
    assert known
    Path(known[1]).unlink()
    here.send()
    sshd.stop()
    refused(here.send, "cannot be reached")
    refused(here.back, "cannot be reached")
    assert (here.folder / "local.tar.gz").exists()


@dataclass
class S3:
    """An S3 server on the loopback.

    :ivar fails: each how-manieth request is answered that it is too busy; 0 for none.
    :ivar access_key: the only one that it lets in.
    """

    port: int = 0
    fails: int = 0
    access_key: str = "AKIAEXAMPLE"
    asked: int = 0
    refused: int = 0

    def address(self) -> str:
        return f"s3:http://127.0.0.1:{self.port}/microblog-backups/site"

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        self.asked += 1
        if f"Credential={self.access_key}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            return self._no(environ, start, "403 Forbidden", "AccessDenied")
        if self.fails and self.asked % self.fails == 0:
            self.refused += 1
            return self._no(environ, start, "503 Slow Down", "SlowDown")
        return self.app(environ, start)

    @staticmethod
    def _no(environ: dict[str, Any], start: Callable[..., Any], status: str, code: str) -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    def serve(self) -> Any:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.app = DomainDispatcherApplication(create_backend_app)
        server = make_server("127.0.0.1", 0, self, threaded=True)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@pytest.fixture
def s3() -> Iterator[S3]:
    bucket = S3()
    server = bucket.serve()
    yield bucket
    server.shutdown()


@pytest.mark.thorough
def test_a_bucket_takes_it_though_it_fails_now_and_then(
    here: Here, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(lambda: here.choose(s3.address()), "needs AWS_ACCESS_KEY_ID")
    wrong = {"AWS_ACCESS_KEY_ID": "AKIAWRONG", "AWS_SECRET_ACCESS_KEY": "wrong-secret"}
    error = refused(lambda: here.choose(s3.address(), secrets=wrong), "does not let this machine in")
    assert "wrong-secret" not in str(error)
    s3.fails = 4
    secrets = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": "the-secret"}
    here.choose(s3.address(), secrets=secrets)
    here.send(mib=3)
    assert here.back()
    assert s3.refused > 3
    # On no command line while it runs, in no line, and only where root alone reads.
    assert not any("the-secret" in line for line in here.said)
    s3.access_key = "AKIAREVOKED"
    refused(here.send, "does not let this machine in")
    monkeypatch.setattr(s3, "port", 1)
    gone = elsewhere.places.of(s3.address())
    refused(lambda: elsewhere.snapshots(gone, Access(key.new(), secrets), print), "cannot be reached")


@pytest.mark.thorough
def test_what_rclone_knows_takes_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.folder / "rclone.conf").write_text("[store]\ntype = local\n")
    monkeypatch.setenv("RCLONE_CONFIG", str(here.folder / "rclone.conf"))
    here.choose(f"rclone:store:{here.folder}/repository")
    here.send()
    assert here.back()
    elsewhere.seen()
    refused(lambda: here.choose("rclone:other:folder"), "rclone:other:folder")


# EXT4_IOC_SHUTDOWN, as xfstests has it ("godown"): from then on all that is asked of it is an I/O error.
SHUT_DOWN, WITHOUT_JOURNAL = 0x8004587D, 2


@dataclass
class Disk:
    """A USB disk's twin: a file behind a loop device, with a label."""

    file: Path
    label: str
    device: str = ""

    def plug(self) -> None:
        done = subprocess.run(
            ["losetup", "--find", "--show", self.file], capture_output=True, text=True, check=True
        )
        self.device = done.stdout.strip()

    def unplug(self) -> None:
        if self.device:
            subprocess.run(["losetup", "--detach", self.device], check=True)
            # Whose mount has only just ended may hold it for a moment yet.
            wait_until("the device is free", lambda: self._gone(self.device))
            self.device = ""

    @staticmethod
    def _gone(device: str) -> bool:
        done = subprocess.run(
            ["losetup", device], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return bool(done.returncode)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    file = tmp_path / "disk.img"
    with file.open("wb") as image:
        image.truncate(24 * 2**20)
    label = f"backup {os.getpid()}"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", label, file], check=True)
    plugged = Disk(file, label)
    plugged.plug()
    yield plugged
    plugged.unplug()


@pytest.mark.thorough
@pytest.mark.parametrize("by_ssh", [False, True])
def test_a_folder_that_is_full_is_told_and_what_is_there_stays(
    here: Here, disk: Disk, sshd: Sshd, by_ssh: bool
) -> None:
    """A small disk, mounted for good: here, or on another machine."""
    mounted = here.folder / "small"
    mounted.mkdir()
    subprocess.run(["mount", disk.device, mounted], check=True)
    try:
        address = f"{mounted}/repository"
        if by_ssh:
            address = f"sftp://root@127.0.0.1:{sshd.port}/{address}"
            places.FOLDER.mkdir()
            (sshd.folder / "authorized_keys").write_text(f"{places.make_ssh_key()}\n")
        here.choose(address)
        here.send(mib=2)
        first = here.back()
        error = refused(lambda: here.send(mib=40, seed=2), f"{address} is full")
        assert error.hint == "make room there; what is there already is whole"
        assert "is full" in journal.read()["failed"]["send"]["message"]
        assert archive.verify((here.folder / "local.tar.gz").open("rb"))
        assert here.back() == first
        # Room is made, and all goes on.
        here.send(mib=4, seed=3)
        assert here.back() != first
    finally:
        subprocess.run(["umount", mounted], check=True)


@pytest.mark.thorough
def test_a_disk_takes_it_and_may_be_pulled(here: Here, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"usb:{disk.label}"
    here.choose(address)
    here.send(mib=2)
    first = here.back()

    # There is no room for this; what is there stays.
    refused(lambda: here.send(mib=40, seed=2), f"{address} is full")
    assert (here.folder / "local.tar.gz").exists()
    assert here.back() == first
    # And what of it could not be finished takes none.
    here.send(mib=4, seed=2)
    here.send(mib=2)

    # Pulled half-way: from one moment on the disk reads and writes nothing.
    save = restic.Repository.save

    def pulled(self: restic.Repository, feed: Callable[..., None]) -> str:
        def cut(write: Callable[[bytes], object]) -> None:
            number = wait_until("restic runs", lambda: running(str(here.folder)))
            mount = os.open(f"/proc/{number}/root{layout.RUN}/usb", os.O_RDONLY | os.O_DIRECTORY)
            fcntl.ioctl(mount, SHUT_DOWN, struct.pack("I", WITHOUT_JOURNAL))
            os.close(mount)
            feed(write)

        return save(self, cut)

    with monkeypatch.context() as patch:
        patch.setattr(restic.Repository, "save", pulled)
        refused(lambda: here.send(mib=6, seed=3), f"{address} has gone while it was used")
    assert (here.folder / "local.tar.gz").exists()
    # It can be pulled whenever it is not used.
    disk.unplug()
    refused(here.send, f"no disk labelled {disk.label} is plugged in")
    disk.plug()
    assert here.back() == first
    here.send()
