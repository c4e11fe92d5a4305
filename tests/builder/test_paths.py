"""Where build.py keeps things, whatever the environment says of its user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.core import paths
from builder.core.errors import BuildError


@pytest.fixture
def environment(monkeypatch, tmp_path):
    for variable in ("MICROBLOG_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_the_cache_is_where_the_user_wants_it(environment, tmp_path):
    assert paths.cache_dir() == tmp_path / "my home/.cache/microblog"
    # A relative path is to be ignored (XDG Base Directory Specification).
    environment.setenv("XDG_CACHE_HOME", "cache")
    assert paths.cache_dir() == tmp_path / "my home/.cache/microblog"
    environment.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert paths.cache_dir() == tmp_path / "cache/microblog"
    environment.setenv("MICROBLOG_CACHE", "here")
    assert paths.cache_dir() == tmp_path / "here"
    assert paths.cache_dir().stat().st_mode & 0o777 == 0o700


def test_data_is_not_in_the_cache(environment, tmp_path):
    assert paths.data_dir() == tmp_path / "my home/.local/share/microblog"
    environment.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert paths.data_dir() == tmp_path / "data/microblog"


@pytest.mark.parametrize("variable", ["HOME", "MICROBLOG_CACHE"])
def test_a_cache_that_cannot_be_made_is_one_clear_line(environment, tmp_path, variable):
    (tmp_path / "file").touch()
    environment.setenv(variable, str(tmp_path / "file/cache"))
    with pytest.raises(BuildError, match=r"can't be made: Not a directory") as error:
        paths.cache_dir()
    assert "export MICROBLOG_CACHE=" in error.value.hint


def test_a_cache_that_cannot_be_written_is_one_clear_line(environment):
    # The kernel's: it is read-only for root, too.
    environment.setenv("MICROBLOG_CACHE", "/proc/sys")
    with pytest.raises(BuildError, match="can't be written"):
        paths.cache_dir()


def test_a_user_without_a_home_directory_is_told(environment):
    def none():
        raise RuntimeError("Could not determine home directory.")

    environment.setattr(Path, "home", none)
    with pytest.raises(BuildError, match="no home directory"):
        paths.cache_dir()


def test_build_py_says_so_before_anything_else(environment, tmp_path):
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, paths.ROOT / "build.py", "--help"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path / "file")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"build.py: {tmp_path}/file/.cache/microblog can't be made: Not a directory\n"
        "  Name a directory of yours on a large disk: export MICROBLOG_CACHE=DIR\n"
    )
