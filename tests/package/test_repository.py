"""``./build.py repo``: machines update from it, and from nothing that was tampered with."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nspawn import Machine
from variants import variant

from builder.deb import package, repository


@pytest.fixture
def data_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where keys are kept: gpg-agent's sockets bear no path of more than 107 characters (unix(7))."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        monkeypatch.setenv("XDG_DATA_HOME", name)
        yield Path(name)


def test_machines_update_from_the_repository(
    server: Machine, deb: Path, tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = variant(deb, tmp_path, "9.1", {})
    monkeypatch.setattr(package, "build", lambda: newer)
    monkeypatch.setattr(package, "version", lambda: "9.1")
    folder = tmp_path / "repository"
    first = repository.make(folder, url="file:///srv/apt")
    key = (first / repository.KEY_FILE).read_text()
    # Again: the same key, the same place.
    assert (repository.make(folder, url="file:///srv/apt") / repository.KEY_FILE).read_text() == key
    assert (data_home / "microblog/gnupg").stat().st_mode & 0o077 == 0

    shutil.copytree(folder, server.root / "srv/apt")
    shutil.copyfile(
        folder / repository.SOURCES_FILE, server.root / "etc/apt/sources.list.d/microblog.sources"
    )
    only = ("-o", "Dir::Etc::SourceList=/dev/null", "-o", "Dir::Etc::SourceParts=/srv/parts")
    server.run("sh", "-c", "mkdir /srv/parts && cp /etc/apt/sources.list.d/microblog.sources /srv/parts/")
    server.run("apt-get", *only, "update")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    said = server.run("apt-get", "--yes", "--quiet", "upgrade", "microblog", env=env)
    assert "9.1" in server.run("dpkg-query", "-W", "microblog"), said
    assert server.answers()

    server.run(
        "sed", "-i", "s/^Date:.*/Date: Thu, 01 Jan 2026 00:00:00 UTC/", "/srv/apt/dists/stable/InRelease"
    )
    said = server.run("apt-get", *only, "-o", "APT::Update::Error-Mode=any", "update", check=False)
    assert server.code != 0, said
    # In gpgv's words, or sqv's (Debian 13).
    assert "BADSIG" in said or "has been manipulated" in said
