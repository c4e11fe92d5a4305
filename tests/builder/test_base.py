"""Bases: downloaded ones against a server on loopback, the cache, and the order of preference."""

import dataclasses
import hashlib
import http.server
import json
import os
import random
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from builder.bases import base, cached, compose, download, downloaded
from builder.core import cache as caching
from builder.core import kept
from builder.core.errors import BuildError
from builder.core.request import Request
from builder.core.work import Work
from builder.deb import package
from builder.defs import definition
from builder.disk.ext4 import FileSystem


class _Server(http.server.ThreadingHTTPServer):
    """Serves one file, with ranges; can break off."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.break_off_after = None
        self.ranges = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/base.qcow2"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = self.server.content[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_off_after])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A disk image, small but real: a partition table, and on it a file system with what a base must have."""
    work = tmp_path_factory.mktemp("disk")
    root = work / "root"
    for directory in ("boot", "var/lib/dpkg", "etc/apt", "etc/systemd/system"):
        (root / directory).mkdir(parents=True)
    (root / "boot/vmlinuz-1").write_bytes(b"a kernel")
    (root / "boot/incompressible").write_bytes(random.Random(1).randbytes(8 << 20))  # noqa: S311
    (root / "var/lib/dpkg/status").write_text("")
    (root / "etc/apt/sources.list").write_text("")
    raw = work / "disk.raw"
    with raw.open("wb") as out:
        out.truncate(24 << 20)
    for command in (
        ["/usr/sbin/sgdisk", "--new=1:2048:0", raw],
        ["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={1 << 20}", "-d", root, raw, "20M"],
        ["qemu-img", "convert", "-c", "-O", "qcow2", raw, work / "disk.qcow2"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return (work / "disk.qcow2").read_bytes()


@pytest.fixture
def server(disk, monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.01)
    running = _Server(disk)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def offered(definitions, cache, server):
    """Write a definition of the server's base; returns the function that does."""

    right = hashlib.sha256(server.content).hexdigest()

    def define(name="offered", url=server.url, sha256=right):
        (definitions / "bases" / f"{name}.toml").write_text(
            f'description = "A base"\nmethod = "download"\narchitecture = "amd64"\nuser = "u"\n'
            f'url = "{url}"\nsha256 = "{sha256}"\n'
        )
        return definition.load_base(name)

    return define


@pytest.fixture
def deb(tmp_path):
    """A package with dependencies of every kind."""
    control = tmp_path / "deb" / "DEBIAN"
    control.mkdir(parents=True)
    (control / "control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@example.org>\nDescription: d\n"
        "Depends: python3:any, one (>= 1.0), two (>= 0.5) | three,one (<< 9)\n"
    )
    subprocess.run(["dpkg-deb", "--build", control.parent, tmp_path], check=True, capture_output=True)
    return tmp_path / "p_1_all.deb"


def test_is_downloaded_once(offered, server):
    first = base.get(offered())
    assert first.kernel.read_bytes() == b"a kernel"
    assert (first.apt / "sources.list").exists()
    assert first.dpkg_status.exists()
    beside = json.loads((first.directory / "inputs.json").read_text())
    assert beside["values"]["base"]["url"] == server.url
    assert "builder/bases/base.py" in beside["files"]
    assert base.get(offered()) == first
    assert len(server.ranges) == 1


def test_boots_for_ssh_alone_until_it_is_baked(offered, tmp_path):
    """Else its first boot, in the bake, makes keys and identities for all that are made of it."""
    got = base.get(offered())
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", got.disk, raw], check=True)
    root = FileSystem.root_of(raw)
    assert (
        root._debugfs("stat /etc/systemd/system/default.target").count('Fast link dest: "bake.target"') == 1
    )
    assert b"Wants=" in root.read("/etc/systemd/system/bake.target")
    assert "Mode:  0644" in root._debugfs("stat /etc/systemd/system/bake.target")
    check = ["/usr/sbin/e2fsck", "-fn", f"{raw}?offset={root.offset}"]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0


def test_its_own_default_target_is_kept(disk, tmp_path):
    raw = tmp_path / "raw"
    (tmp_path / "disk.qcow2").write_bytes(disk)
    subprocess.run(["qemu-img", "convert", "-O", "raw", tmp_path / "disk.qcow2", raw], check=True)
    root = FileSystem.root_of(raw)
    root.change("symlink /etc/systemd/system/default.target /lib/systemd/system/graphical.target")
    downloaded._boot_for_ssh(raw)
    kept = root._debugfs("stat /etc/systemd/system/default.target.base")
    assert 'Fast link dest: "/lib/systemd/system/graphical.target"' in kept
    assert "Links: 1 " in kept


def test_a_key_that_has_two_names_is_one_key(tmp_path):
    """As in Debian 13: the old name is a link to the new one."""
    apt, keyrings = tmp_path / "apt", tmp_path / "keyrings"
    (apt / "sources.list.d").mkdir(parents=True)
    (apt / "sources.list.d" / "d.sources").write_text("Types: deb\nSigned-By: /usr/share/keyrings/k.pgp\n")
    keyrings.mkdir()
    # In whichever order a directory lists them.
    names = [f"{letter}-archive-keyring" for letter in "abcdefgh"]
    for name in names:
        (keyrings / f"{name}.pgp").write_bytes(b"a key")
        (keyrings / f"{name}.gpg").symlink_to(f"{name}.pgp")
    cached._trust_all(apt, keyrings)
    assert [(apt / "trusted.gpg.d" / f"{name}.gpg").read_bytes() for name in names] == [b"a key"] * 8
    assert "Signed-By" not in (apt / "sources.list.d" / "d.sources").read_text()


def test_a_differing_checksum_is_refused_and_nothing_kept(offered, cache):
    with pytest.raises(BuildError, match="has the checksum") as error:
        base.get(offered(sha256="0" * 64))
    assert "Do not use it" in error.value.hint
    assert [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 10000] == []


def test_what_is_no_checksum_is_refused(offered):
    with pytest.raises(BuildError, match="is not 64 hexadecimal digits"):
        offered(sha256="abc")


def test_a_broken_off_download_is_resumed(offered, server):
    server.break_off_after = 1_000_000
    with pytest.raises(BuildError, match="can't be downloaded") as error:
        base.get(offered())
    assert "again to resume" in error.value.hint
    server.break_off_after = None
    server.ranges.clear()
    assert base.get(offered()).kernel.exists()
    (asked,) = server.ranges
    assert int(asked.removeprefix("bytes=").rstrip("-")) > 3_000_000


def test_a_damaged_cache_is_made_anew(offered, server, capfd):
    first = base.get(offered())
    good = first.disk.read_bytes()
    first.disk.write_bytes(good[:-1] + b"?")
    assert base.get(offered()).disk.read_bytes() == good
    assert "differs from its checksum" in capfd.readouterr().err


def test_the_next_base_is_used_loudly(definitions, offered, deb, capfd):
    offered("good")
    offered("bad", url="http://127.0.0.1:9/none")
    path = definitions / "cloud.toml"
    path.write_text(path.read_text().replace('["ubuntu-22.04", "debian-12", "debian-13"]', '["bad", "good"]'))
    assert base.obtain(definition.load_image("cloud"), deb).name == "good"
    said = capfd.readouterr().err
    assert "WARNING: the base bad can't be had" in said
    assert "WARNING: cloud is baked on good instead of bad" in said


def test_insisting_takes_no_other(definitions, offered, deb):
    offered("good")
    offered("bad", url="http://127.0.0.1:9/none")
    path = definitions / "cloud.toml"
    path.write_text(path.read_text().replace('["ubuntu-22.04", "debian-12", "debian-13"]', '["bad", "good"]'))
    with pytest.raises(BuildError, match="can't be downloaded"):
        base.obtain(definition.load_image("cloud"), deb, Request("bad"))


@pytest.mark.parametrize(
    "said", ["E: Unable to locate package vmi", "E: Package 'vmi' has no installation candidate"]
)
def test_a_mistyped_package_is_no_reason_for_another_base(definitions, cache, deb, monkeypatch, said):
    path = definitions / "cloud.toml"
    path.write_text(path.read_text().replace('"ubuntu-22.04", ', ""))
    tried = []

    def fail(base, *_):
        tried.append(base.name)
        raise BuildError(f"unshare failed (exit 25): {said}", "The log")

    monkeypatch.setattr(compose, "compose", fail)
    image = definition.load_image("cloud")
    with pytest.raises(BuildError, match="there is no package vmi for debian-12") as error:
        base.obtain(image, deb, Request(packages=("vim", "vmi")))
    assert "--base" in error.value.hint
    assert tried == ["debian-12"]
    # One of the definition's own that a distribution does not have is a reason.
    with pytest.raises(BuildError, match="none of the bases"):
        base.obtain(image, deb)
    assert tried == ["debian-12", "debian-12", "debian-13"]


def test_a_base_in_use_stays_and_two_that_alternate_are_both_kept(offered, server, cache, monkeypatch):
    """As of two checkouts: each finds its own again, and none takes the other's away while it is read."""
    monkeypatch.setattr(kept, "_held", {})
    one, another = (base.get(offered(url=f"{server.url}?{which}")) for which in ("one", "another"))
    assert base.get(offered(url=f"{server.url}?one")) == one
    assert len(server.ranges) == 2
    for used in (one, another):
        os.utime(used.directory / "lock", (0, 0))
    kept.forget(cache / "bases")
    assert one.disk.exists()
    assert another.disk.exists()
    kept._held.clear()
    kept.forget(cache / "bases")
    assert not one.directory.exists()


def test_full_disk_is_one_clear_line(offered, monkeypatch):
    real = shutil.disk_usage
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda path: real(path)._replace(free=1000))
    with pytest.raises(BuildError, match=r"needs 0.0 GB in .*, 0.0 GB are free"):
        base.get(offered())


def test_scratch_forgets_what_was_killed_and_not_what_is_alive(tmp_path):
    dead = tmp_path / "work-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "half").write_text("done")
    with caching.scratch(tmp_path) as one, caching.scratch(tmp_path) as two:
        assert not dead.exists()
        assert one.exists()
        assert two.exists()
    assert list(tmp_path.iterdir()) == []


def test_base_json_is_written_last(offered, cache, monkeypatch):
    """What is interrupted has no final name."""
    monkeypatch.setattr(cached, "_look_into", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        base.get(offered())
    assert list((cache / "bases").glob("offered-*")) == []
    assert list((cache / "bases").glob("work-*")) == []


def test_base_key_follows_the_definition(offered, definitions):
    one = base.made_from(definition.load_base("debian-12")).digest
    script = definitions / "bases" / "cloud.sh"
    script.write_text(script.read_text() + "\n# changed\n")
    two = base.made_from(definition.load_base("debian-12")).digest
    assert two != one
    assert base.made_from(definition.load_base("debian-12"), ["nginx"]).digest != two


def test_what_a_base_has_anyway_does_not_change_it(definitions):
    wanted = definition.load_base("debian-12")
    assert (
        base.made_from(wanted, ["nginx"]).digest
        == base.made_from(wanted, ["nginx", wanted.packages[0]]).digest
    )


def test_what_a_package_needs_is_read_from_it(deb):
    assert package.dependencies(deb) == ["one", "python3", "two"]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's mounts are in a namespace anyway")
def test_a_composing_that_is_killed_leaves_no_mount(tmp_path):
    """A directory with this machine's /dev/shm mounted in it must never be removed."""
    mounts, inside = Path("/proc/self/mountinfo"), tmp_path / "inside"
    inside.mkdir()
    name = shlex.quote(str(inside))
    script = f"mount -t tmpfs none {name} && mountpoint -q {name} && echo 1 && exec sleep 600"
    process = subprocess.Popen([*compose._own_mounts(), "sh", "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"1\n"
    # proc(5): a space in a name is written as its number.
    assert str(inside).replace(" ", r"\040") not in mounts.read_text()
    process.kill()
    process.wait()
    # Its last process has gone when nobody holds the pipe.
    assert process.stdout.read() == b""


def test_a_mirror_has_updates_and_security_too(definitions):
    """mmdebstrap adds them to Debian's own archive alone."""
    bare = definition.load_base("debian-12")
    assert compose.archives(bare) == []
    mirrored = dataclasses.replace(bare, mirror="http://mirror.example/debian")
    lines = [line.split() for line in compose.archives(mirrored)]
    assert [[line[0], *line[-3:]] for line in lines] == [
        ["deb", "http://mirror.example/debian", "bookworm", "main"],
        ["deb", "http://mirror.example/debian", "bookworm-updates", "main"],
        ["deb", "http://security.debian.org/debian-security", "bookworm-security", "main"],
    ]
    assert [line.split()[-3:-1] for line in compose.all_archives(bare)] == [
        ["http://deb.debian.org/debian", "bookworm"],
        ["http://deb.debian.org/debian", "bookworm-updates"],
        ["http://security.debian.org/debian-security", "bookworm-security"],
    ]
    elsewhere = dataclasses.replace(mirrored, security_mirror="http://mirror.example/security")
    assert "http://mirror.example/security bookworm-security" in compose.archives(elsewhere)[2]
    assert len(compose.archives(dataclasses.replace(mirrored, security_mirror=""))) == 2
    assert len(compose.archives(dataclasses.replace(mirrored, suite="sid"))) == 1


def test_an_ordinary_users_composing_looks_for_space_where_it_unpacks(tmp_path, monkeypatch):
    """In /tmp: a user's namespace can't enter the cache."""
    asked = []

    def usage(path):
        asked.append(path)
        return shutil._ntuple_diskusage(1 << 40, 0, 1 << 20 if path == tmp_path / "tmp" else 1 << 40)

    monkeypatch.setattr(compose.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(compose.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(caching.shutil, "disk_usage", usage)
    with pytest.raises(BuildError, match=f"needs .* in {tmp_path}/tmp") as error:
        compose.compose(definition.load_base("debian-12"), [], tmp_path / "i", Work.at(tmp_path))
    assert "TMPDIR" in error.value.hint
