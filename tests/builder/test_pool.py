"""What a base lacks, by the host's apt, from an archive on loopback."""

import dataclasses
import functools
import http.server
import subprocess
import threading

import pytest

from builder import base, pool
from builder.cache import sha256_file

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

    def add(name, version, architecture="arm64", more=""):
        tree = tmp_path / f"{name}-{version}-{architecture}" / "DEBIAN"
        tree.mkdir(parents=True)
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
    yield add
    server.shutdown()
    server.server_close()


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
    return base.CachedBase(
        directory=directory, name="old", architecture="arm64", user="pi", key="k", sha256="", made=""
    )


@pytest.fixture
def lacks(tmp_path, archive, cache):
    """What a base lacks, as the names of files."""
    tree = tmp_path / "deb" / "DEBIAN"
    tree.mkdir(parents=True)
    (tree / "control").write_text(_CONTROL.format("microblog", 1, "all").replace("Multi-Arch: same\n", ""))
    deb = tmp_path / "microblog_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree.parent, deb], check=True, capture_output=True)

    def ask(of, packages=()):
        to = tmp_path / "to"
        to.mkdir()
        pool.prepare(of, deb, packages, to, tmp_path / "log")
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
