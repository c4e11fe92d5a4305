"""What stays in the cache: by use, by age, by room."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from builder.core import cache as caching
from builder.core import kept


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Make directories, used so many days ago."""
    monkeypatch.setattr(kept, "_held", {})

    def make(name, key, days=0):
        directory = tmp_path / f"{name}-{key * 16}"
        directory.mkdir()
        (directory / "disk").write_bytes(b"x" * 100_000)
        (directory / "lock").touch()
        then = time.time() - days * 86400
        os.utime(directory / "lock", (then, then))
        return directory

    make.path = tmp_path
    make.there = lambda: sorted(path.name[:-15] for path in tmp_path.iterdir() if path.is_dir())
    return make


def test_two_that_alternate_stay_and_what_is_old_goes(store):
    """As of two checkouts, or of two images on one base."""
    for name, key, days in (("some", "a", 1), ("some", "b", 2), ("some", "c", 40), ("some-arm64", "a", 3)):
        store(name, key, days)
    kept.forget(store.path)
    assert store.there() == ["some-a", "some-arm64-a", "some-b"]


def test_what_is_used_counts_as_new(store):
    assert kept.use(store("some", "a", 40))
    kept._held.clear()
    kept.forget(store.path)
    assert store.there() == ["some-a"]
    assert not kept.use(store.path / "none-0000000000000000")


def test_the_oldest_goes_where_there_is_no_room(store, monkeypatch):
    monkeypatch.setattr(kept, "_LARGEST", 250_000)
    for days, key in enumerate("abcd"):
        store("some", key, days)
    kept.forget(store.path)
    assert store.there() == ["some-a", "some-b"]


def _another_process(directory):
    """Another build.py that uses a directory, until its input ends."""
    code = (
        f"from pathlib import Path; from builder.core import kept; print(kept.use(Path({str(directory)!r})))"
    )
    other = subprocess.Popen(
        [sys.executable, "-u", "-c", f"{code}; input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert other.stdout.readline() == "True\n"
    return other


def test_what_another_process_uses_is_not_removed(store):
    directory = store("some", "a")
    other = _another_process(directory)
    then = time.time() - 40 * 86400
    os.utime(directory / "lock", (then, then))
    kept.forget(store.path)
    assert store.there() == ["some-a"]
    other.communicate("\n")
    kept.forget(store.path)
    assert store.there() == []


def test_what_another_process_uses_is_not_replaced(store, tmp_path, monkeypatch):
    # Not read from stderr: what is written while that is read would be lost.
    said: list[str] = []
    monkeypatch.setattr(kept, "say", said.append)
    directory = store("some", "a")
    other = _another_process(directory)
    new = tmp_path / "new"
    new.mkdir()
    (new / "disk").write_bytes(b"new")
    replacing = threading.Thread(target=kept.replace, args=(new, directory))
    replacing.start()
    while not any("Waiting for another" in line for line in said):
        time.sleep(0.05)
    assert (directory / "disk").stat().st_size == 100_000
    other.communicate("\n")
    replacing.join()
    assert (directory / "disk").read_bytes() == b"new"
    assert kept.use(directory)


def test_scratch_is_not_lost_to_a_process_that_starts_at_the_same_time(tmp_path, monkeypatch):
    """It clears away what nobody has locked, just before this one locks its own."""
    real, inside = caching.fcntl.flock, []

    def flock(*given):
        if not inside:
            inside.append(1)
            with caching.scratch(tmp_path):
                pass
        return real(*given)

    monkeypatch.setattr(caching.fcntl, "flock", flock)
    with caching.scratch(tmp_path) as work:
        assert (work / "lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_scratch_forgets_what_was_killed_before_it_was_locked(tmp_path):
    for name, age in (("work-old", 2 * 86400), ("work-new", 10)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with caching.scratch(tmp_path):
        assert not (tmp_path / "work-old").exists()
    assert (tmp_path / "work-new").exists()
