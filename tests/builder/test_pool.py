"""What a base lacks, by the host's apt, from an archive on loopback."""

import dataclasses
import functools
import http.server
import itertools
import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from builder.bake import pool
from builder.bases.cached import CachedBase
from builder.core.cache import sha256_file
from builder.core.errors import BuildError
from builder.core.request import USUAL, Request
from builder.core.work import Work
from builder.defs import definition

_CONTROL = """Package: {}
Version: {}
Architecture: {}
Multi-Arch: same
Maintainer: M <m@example.org>
Description: d
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def archive(tmp_path):
    """``archive(name, version, architecture, more)``: put a package into it. Its address is archive.url."""
    directory = tmp_path / "archive"
    directory.mkdir()
    handler = functools.partial(_Quiet, directory=str(directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index = {"arm64": [], "armhf": []}

    def add(name, version, architecture="arm64", more="", within=""):
        tree = tmp_path / f"{name}-{version}-{architecture}" / "DEBIAN"
        tree.mkdir(parents=True, exist_ok=True)
        (tree.parent / "within").write_text(within)
        (tree / "control").write_text(_CONTROL.format(name, version, architecture))
        deb = directory / f"{name}_{version}_{architecture}.deb"
        subprocess.run(["dpkg-deb", "--build", tree.parent, deb], check=True, capture_output=True)
        index[architecture].append(
            f"{_CONTROL.format(name, version, architecture)}{more}Filename: {deb.name}\n"
            f"Size: {deb.stat().st_size}\nSHA256: {sha256_file(deb)}\n"
        )
        for architecture, rows in index.items():
            to = directory / "dists/stable/main" / f"binary-{architecture}"
            to.mkdir(parents=True, exist_ok=True)
            (to / "Packages").write_text("\n".join(rows))
        suite = directory / "dists/stable"
        (suite / "Release").unlink(missing_ok=True)
        release = subprocess.check_output(
            ["apt-ftparchive", "-o", "APT::FTPArchive::Release::Architectures=arm64 armhf",
             "-o", "APT::FTPArchive::Release::Components=main", "release", "."], cwd=suite,
        )  # fmt: skip
        (suite / "Release").write_bytes(release)

    add.url = f"http://127.0.0.1:{server.server_address[1]}/"

    def stop():
        server.shutdown()
        server.server_close()

    add.stop, add.directory, add.index = stop, directory, index
    yield add
    stop()


@pytest.fixture
def old(tmp_path, archive):
    """A base in which all is at version 1: a kernel, a library of two architectures, a program."""
    directory = tmp_path / "base"
    (directory / "apt" / "preferences.d").mkdir(parents=True)
    (directory / "apt" / "sources.list").write_text(f"deb [trusted=yes] {archive.url} stable main\n")
    rows = [("linux-image-rpi-v8", "arm64"), ("lib", "arm64"), ("lib", "armhf"), ("tool", "arm64")]
    status = [_CONTROL.format(name, 1, arch) + "Status: install ok installed\n" for name, arch in rows]
    (directory / "status").write_text("\n".join(status))
    for name, arch in rows:
        archive(name, 2, arch)
    return CachedBase(
        directory=directory, name="old", architecture="arm64", user="pi", digest="k", sha256="", made=""
    )


@pytest.fixture
def lacks(tmp_path, archive, cache):
    """What a base lacks, as the names of files."""
    tree = tmp_path / "deb" / "DEBIAN"
    tree.mkdir(parents=True)
    (tree / "control").write_text(_CONTROL.format("microblog", 1, "all").replace("Multi-Arch: same\n", ""))
    deb = tmp_path / "microblog_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree.parent, deb], check=True, capture_output=True)

    numbers = itertools.count()

    def ask(of, packages=(), fresh=False, asked=USUAL):
        to = ask.to = tmp_path / f"to-{next(numbers)}"
        to.mkdir()
        pool.prepare(of, deb, packages, to, Work.at(tmp_path), dataclasses.replace(asked, fresh=fresh))
        return {path.name for path in to.glob("*.deb")} - {deb.name}

    return ask


def test_updates_come_for_both_architectures(old, lacks):
    """Raspberry Pi OS has armhf beside arm64: one half of a library alone can't be upgraded."""
    assert lacks(old) == {
        "lib_2_arm64.deb", "lib_2_armhf.deb", "linux-image-rpi-v8_2_arm64.deb", "tool_2_arm64.deb",
    }  # fmt: skip


def test_what_is_held_stays(old, lacks):
    assert "linux-image-rpi-v8_2_arm64.deb" not in lacks(dataclasses.replace(old, hold=("linux-image-*",)))


def test_the_bases_own_pins_count_too(old, lacks):
    (old.apt / "preferences").write_text("Package: tool\nPin: release *\nPin-Priority: -1\n")
    assert lacks(dataclasses.replace(old, hold=("linux-*",))) == {"lib_2_arm64.deb", "lib_2_armhf.deb"}


def test_what_is_there_does_not_hang_on_this_machines_identity(old, lacks, archive):
    """Ubuntu's phased updates: some machines get them, by their identity; an image gets them when all do."""
    archive("tool", 3, more="Phased-Update-Percentage: 99\n")
    assert "tool_3_arm64.deb" not in lacks(old)


def test_a_package_that_there_is_not_is_named(old, lacks):
    with pytest.raises(BuildError, match=r"^there is no package nosuch for old$") as error:
        lacks(old, packages=["tool", "nosuch"])
    assert "--base" in error.value.hint


@pytest.fixture
def look_for(archive, cache, monkeypatch):
    """Ask the archive for packages, as for a base that is yet to be composed of it."""
    lines = [f"deb [trusted=yes] {archive.url} stable main"]
    monkeypatch.setattr(pool.compose, "all_archives", lambda _base: lines)
    archive("tool", 2)
    archive("lib", 2, more="Depends: of-another-archive\n")
    base = dataclasses.replace(definition.load_base("debian-12-arm64"), name="new")
    return lambda *names, **asked: pool.look_for(base, names, Request(**asked))


@pytest.mark.parametrize("name", ["nosuch", "nosuch.x", "no+such"])
def test_a_package_that_there_is_not_is_named_before_its_base_is_composed(look_for, cache, name):
    for _again in range(2):
        with pytest.raises(BuildError, match=f"^there is no package {re.escape(name)} for new$") as error:
            look_for("lib", "tool", name)
    assert "--base" in error.value.hint
    with pytest.raises(BuildError, match=r"^there is no package of-another-archive for new$"):
        look_for("of-another-archive")
    # What can't be installed for another reason is the archive's own affair.
    look_for("tool", "lib")
    assert not [*(cache / "pool").glob("work-*")]


def test_an_archive_is_asked_once_for_a_name(look_for, archive, capfd):
    def asked(*names, **more):
        look_for(*names, **more)
        return re.findall(r"Looking for (.*) in the archive", capfd.readouterr().err)

    assert asked("tool") == ["tool"]
    assert asked("tool") == []
    assert asked("lib", "tool") == ["lib"]
    assert asked("tool", fresh=True) == ["tool"]
    archive.stop()
    assert asked("tool") == []
    # One that does not answer has not said no; nor is that kept.
    for _again in range(2):
        assert asked("tool", "nosuch") == ["nosuch"]


def test_the_archive_of_a_day_is_asked_though_that_day_is_over(look_for, archive, monkeypatch):
    """What it said of itself then was good for a week: a package that it lacks is none the less named."""
    (archive.directory / "20260131").symlink_to(".")
    monkeypatch.setattr(pool.snapshot, "address", lambda url, day: f"{url}{day}/")
    update, told = pool._update, []

    def updated(apt, env, hint, work):
        told.append(Path(env["APT_CONFIG"]).read_text())
        update(apt, env, hint, work)
        assert [*work.directory.glob("lists/*_20260131_*")]

    monkeypatch.setattr(pool, "_update", updated)
    look_for("tool", snapshot="20260131")
    with pytest.raises(BuildError, match="there is no package nosuch for new"):
        look_for("tool", "nosuch", snapshot="20260131")
    assert ['Check-Valid-Until "false"' in text for text in told] == [True, True]


def _contents(deb):
    return subprocess.check_output(["dpkg-deb", "--fsys-tarfile", deb]).count(b"another distribution")


def test_distributions_have_packages_of_one_name(old, lacks, archive, tmp_path):
    """As Debian's and Ubuntu's supervisor_4.2.5-1_all.deb: of one name and one length, not of one content."""
    archive("tool", 3, within="one distribution's    ")
    lacks(old)
    assert _contents(lacks.to / "tool_3_arm64.deb") == 0
    (archive.directory / "dists/stable/main/binary-arm64/Packages").write_text("")
    archive.index["arm64"].clear()
    archive("tool", 3, within="another distribution's")
    lacks(dataclasses.replace(old, digest="another"))
    assert _contents(lacks.to / "tool_3_arm64.deb") == 1


def _debs(cache):
    return list((cache / "pool" / "debs").iterdir())


def test_what_was_published_long_ago_is_kept_when_it_was_just_fetched(old, lacks, archive, cache):
    """apt gives a file its date of publication."""
    for deb in archive.directory.glob("*.deb"):
        os.utime(deb, (1e9, 1e9))
    lacks(old)
    assert len(_debs(cache)) == 4
    assert all(time.time() - deb.stat().st_mtime < 86400 for deb in _debs(cache))
    pool._forget_old(cache / "pool")
    assert len(_debs(cache)) == 4


def test_the_next_day_without_a_network_has_the_day_befores_packages(old, lacks, archive, monkeypatch, capfd):
    first = lacks(old)
    archive.stop()
    real = time.strftime
    monkeypatch.setattr(pool.time, "strftime", lambda form, *rest: real(form, *rest).replace("202", "203"))
    assert lacks(old) == first
    assert "taking the packages of 202" in capfd.readouterr().err
    with pytest.raises(BuildError, match="apt-get failed"):
        lacks(old, fresh=True)
    with pytest.raises(BuildError, match="apt-get failed"):
        lacks(dataclasses.replace(old, digest="another"))


@pytest.mark.parametrize("folder", ["debs", "zstd"])
@pytest.mark.parametrize("damage", [lambda old: old[:200], lambda old: old[:-1] + b"?", lambda _: b""])
def test_a_damaged_package_is_fetched_anew(old, lacks, cache, folder, damage):
    first = lacks(old)
    good = {name: (lacks.to / name).read_bytes() for name in first}
    for deb in (cache / "pool" / folder).glob("*.deb"):
        whole = deb.read_bytes()
        deb.unlink()
        deb.write_bytes(damage(whole))
    assert lacks(old) == first
    assert {name: (lacks.to / name).read_bytes() for name in first} == good
    assert [sha256_file(deb) for deb in _debs(cache)] == [deb.stem for deb in _debs(cache)]


def test_what_can_not_be_unpacked_is_one_clear_line_and_goes(tmp_path):
    bad = tmp_path / "bad.deb"
    bad.write_bytes(b"!<arch>\n" + b"data.tar.xz     0           0     0     100644  7         `\nno xz!!\n")
    with pytest.raises(BuildError, match=r"bad\.deb is not a Debian package, or it is damaged"):
        pool._repacked(bad, tmp_path / "zstd")
    assert not bad.exists()
