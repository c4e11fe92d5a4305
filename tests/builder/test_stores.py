"""What is kept is listed with its size and its reason, and cleared where nobody uses it."""

import fcntl
import re
import subprocess
import sys
from pathlib import Path

import pytest

from builder.core import kept, progress, stores
from builder.core import needs as needs_
from builder.core.errors import BuildError

_KEY = "0123456789abcdef"


@pytest.fixture
def filled(cache):
    """A cache with some of each kind."""
    for name in (f"bases/debian-12-{_KEY}", f"layers/ubuntu-{_KEY}", "pool/debs", "venv-build-1", "odd"):
        (cache / name).mkdir(parents=True)
        (cache / name / "content").write_bytes(bytes([1]) * 100_000)
    (cache / f"bases/debian-12-{_KEY}" / "lock").touch()
    for name in ("bases/debian-12.lock", "bases/debian-12.log", "venv-build-1.lock"):
        (cache / name).touch()
    (cache / "bases/work-1").mkdir()
    return cache


def _names(entries):
    return sorted(one.name for one in entries)


def test_all_that_is_kept_is_listed_and_why(filled):
    found = stores.listing()
    assert _names(found) == [
        f"bases/debian-12-{_KEY}",
        f"layers/ubuntu-{_KEY}",
        "odd",
        "pool",
        "venv-build-1",
    ]
    assert all(one.bytes > 90_000 for one in found)
    why = {one.name: one.why for one in found}
    assert "base to bake on" in why[f"bases/debian-12-{_KEY}"]
    assert "Python" in why["venv-build-1"]
    assert why["odd"].startswith("of another version")


def test_while_it_is_measured_it_is_said_what(filled, capfd, monkeypatch):
    told = []
    monkeypatch.setattr(progress.Step, "update", lambda _step, *now: told.append(now))
    names = [one.name for one in stores.listing()]
    assert sorted(name for name, _ in told) == sorted(names)
    assert [round(done, 1) for _, done in told] == [0.0, 0.2, 0.4, 0.6, 0.8]
    said = capfd.readouterr()
    assert "Measuring the cache" in said.err and "Measured the cache: 5 entries" in said.err
    assert said.out == ""


def test_a_file_with_two_names_counts_once(tmp_path):
    (tmp_path / "one").write_bytes(bytes([1]) * 1_000_000)
    before = kept.size(tmp_path)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert kept.size(tmp_path) == before


def test_every_store_has_a_reason():
    """A new one, of the builder or of the tests, is to say what it is for."""
    builder = Path(needs_.__file__).parent.parent
    files = [file for top in (builder, builder.parent / "tests") for file in top.rglob("*.py")]
    text = "".join(file.read_text() for file in files)
    named = set(re.findall(r'cache_dir\(\) / f?"([a-z-]+)', text)) - {"packer-init"}
    assert len(named) > 12
    for name in named:
        entry = f"{name}x" if name.endswith("-") else f"{name}/x" if name in stores._WITH_ENTRIES else name
        why = next(why for pattern, why in stores._WHY.items() if stores.fnmatch.fnmatch(entry, pattern))
        assert not why.startswith("of another version"), name


def test_what_is_named_goes_and_nothing_else(filled):
    gone, stay = stores.clear(stores.choose(["bases/*", "odd"]))
    assert (_names(gone), stay) == ([f"bases/debian-12-{_KEY}", "odd"], [])
    assert _names(stores.listing()) == [f"layers/ubuntu-{_KEY}", "pool", "venv-build-1"]
    assert (filled / "bases/work-1").is_dir()
    with pytest.raises(BuildError, match="there is no odd in the cache"):
        stores.choose(["odd"])
    assert (
        _names(stores.choose(["layers"])) == _names(stores.choose(["layers/"])) == [f"layers/ubuntu-{_KEY}"]
    )


@pytest.mark.parametrize(
    ("lock", "kept_name"),
    [
        (f"bases/debian-12-{_KEY}/lock", f"bases/debian-12-{_KEY}"),
        ("pool/lock", "pool"),
        ("pool/work-1/lock", "pool"),
        ("venv-build-1.lock", "venv-build-1"),
    ],
)
def test_what_is_used_stays(filled, lock, kept_name):
    (filled / lock).parent.mkdir(exist_ok=True)
    with (filled / lock).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        _, stay = stores.clear(stores.choose([]))
    assert _names(stay) == [kept_name]
    assert (filled / kept_name).is_dir()


def test_an_environment_that_a_process_runs_in_stays(filled):
    python = filled / "venv-build-1/python"
    python.symlink_to(sys.executable)
    running = subprocess.Popen(
        [python, "-c", "print('up', flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    # The kernel tells a program's name some moments after it was begun.
    assert running.stdout.readline() == b"up\n"
    try:
        _, stay = stores.clear(stores.choose(["venv-*"]))
        assert _names(stay) == ["venv-build-1"]
    finally:
        running.communicate(b"\n")
    assert _names(stores.clear(stores.choose(["venv-*"]))[0]) == ["venv-build-1"]


def test_the_verb(build, filled, monkeypatch):
    for environment in Path(sys.prefix).parent.glob("venv-*"):
        (filled / environment.name).symlink_to(environment)
    listed = build("cache")
    assert listed.returncode == 0, listed.stderr
    assert f"bases/debian-12-{_KEY}" in listed.stdout
    assert listed.stdout.splitlines()[-1].endswith(" altogether")
    asked = build("cache", "--clear", "odd")
    assert asked.returncode != 0
    assert (filled / "odd").is_dir()
    done = build("cache", "--clear", "--yes", "odd")
    assert done.returncode == 0, done.stderr
    assert not (filled / "odd").exists()
    assert build("cache", "odd").returncode == 1
