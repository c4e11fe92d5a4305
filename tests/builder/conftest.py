"""A checkout's definitions and a cache of their own for each test, so that nothing real is touched."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builder import paths


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
