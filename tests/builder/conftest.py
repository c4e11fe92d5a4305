"""A checkout's definitions and a cache of their own for each test, so that nothing real is touched."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builder import manifest, paths, sbom


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("MICROBLOG_CACHE", str(directory))
    return directory


@pytest.fixture
def definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of images/, free to be broken; results go below it too."""
    directory = tmp_path / "images"
    shutil.copytree(paths.DEFINITIONS, directory, ignore=shutil.ignore_patterns("out"))
    monkeypatch.setattr(paths, "DEFINITIONS", directory)
    monkeypatch.setattr(paths, "OUT", directory / "out")
    return directory


@pytest.fixture
def baked(definitions: Path, cache: Path) -> bytes:
    """A baked image: small, but a real qcow2 file with all that is beside it. Returns the disk's content."""
    paths.OUT.mkdir()
    file = paths.OUT / "microblog-0.1.0-cloud-debian-12-amd64.qcow2"
    raw = definitions / "raw"
    raw.write_bytes(b"\x55" * (1 << 20) + bytes(3 << 20))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, file], check=True)
    facts = {
        "target": "cloud",
        "description": "An image",
        "version": "0.1.0",
        "architecture": "amd64",
        "built": "2026-01-02T03:04:05Z",
        "key": "k",
        "base": {"name": "debian-12"},
        "deb": {"name": "microblog_0.1.0_all.deb", "sha256": "0" * 64},
        "packages": [
            {"name": "adduser", "version": "3.134", "architecture": "all"},
            {"name": "g++", "version": "4:12.2.0-3~a", "architecture": "amd64"},
        ],
        "sbom": file.name.replace(".qcow2", sbom.SUFFIX),
    }
    bill = paths.OUT / facts["sbom"]
    sbom.write(facts, bill)
    facts["files"] = manifest.files(file, bill)
    manifest.path_for(file).write_text(json.dumps(facts))
    manifest.write_sums(paths.OUT)
    return raw.read_bytes()


@pytest.fixture
def build():
    """Run build.py as a user does. Returns exit code, stdout and stderr."""

    def run(*arguments: str, **options) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, paths.ROOT / "build.py", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    return run
