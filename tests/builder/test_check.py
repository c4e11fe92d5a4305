"""What is told of an image's checks."""

import contextlib
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from conftest import facts_of

from builder.core import paths
from builder.core.errors import BuildError
from builder.results import library
from builder.vm import check

_TESTS = """
import pytest

@pytest.fixture
def machine():
    raise RuntimeError("no SSH within 3 s")

def test_site_answers(): pass

@pytest.mark.parametrize("name", ["nginx", "/etc/ssh"])
def test_service_is_enabled_and_running(name):
    assert name != "nginx", "nginx is dead\\nand more"

def test_nothing_failed_at_boot(machine): pass

def test_left_out(): pytest.skip("no board")

@pytest.fixture
def untidy():
    yield
    raise OSError("not put away")

def test_of_what_is_put_away(untidy): pass
"""


@pytest.fixture
def results(tmp_path):
    (tmp_path / "test_image.py").write_text(_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-c", paths.ROOT / "setup.cfg", f"--rootdir={tmp_path}",
               "-p", "no:cacheprovider", f"--junitxml={tmp_path / 'check.xml'}", tmp_path]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    return tmp_path / "check.xml"


def test_failed_checks_are_told_in_plain_words(results, tmp_path):
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / "of-an-earlier-run.log").touch()
    outcome = check.read(results, failed)
    assert [failure.what for failure in outcome.failures] == [
        "service is enabled and running: nginx",
        "nothing failed at boot",
        "of what is put away",
    ]
    assert (outcome.passed, outcome.left_out) == (2, ["no board"])
    assert outcome.failures[0].why == "AssertionError: nginx is dead"
    assert "no SSH within 3 s" in outcome.failures[1].why
    assert "def test_service_is_enabled_and_running" in outcome.failures[0].log.read_text()
    assert {path.name for path in failed.iterdir()} == {failure.log.name for failure in outcome.failures}


@pytest.mark.parametrize(
    ("code", "said"),
    [(1, "2 checks failed, 7 passed"), (5, "no test ran"), (3, "its tests ended early")],
)
def test_an_image_that_is_not_good_says_why(code, said, tmp_path, monkeypatch):
    def pretend(args, **options):
        (tmp_path / "check.xml").write_text("")
        return code

    bad = [check.Failure("nginx runs", "it does not", tmp_path)] * 2
    monkeypatch.setattr(check, "attend", pretend)
    monkeypatch.setattr(check, "read", lambda *paths: check.Outcome(7, bad))
    with pytest.raises(check.ChecksFailed) as told:
        check.run(tmp_path / "image.qcow2", "tcg", tmp_path)
    assert said in told.value.message
    assert told.value.message.startswith("image.qcow2 is not good: ")
    assert told.value.outcome.failures == bad


@pytest.mark.parametrize("target", ["cloud", "pi"])
def test_without_room_for_others_the_machine_is_back_before_they_take_its_place(target, tmp_path):
    """On one processor; with more, it reboots while others are tested."""
    image = tmp_path / "image.qcow2"
    image.write_bytes(b"an image")
    facts_of(image, target=target).write(image)
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-c", paths.ROOT / "setup.cfg",
               f"--rootdir={paths.ROOT}", "-p", "no:cacheprovider", paths.ROOT / "tests" / "images",
               "--image", image, "--logs", tmp_path]  # fmt: skip
    told = subprocess.run(
        ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *command],
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    modules = list(dict.fromkeys(re.findall(r"(test_\w+)\.py::", told.stdout)))
    assert modules[0] == "test_machine"
    assert modules.index("test_faults") < modules.index("test_reboot") < modules.index("test_twins")


@pytest.mark.parametrize(
    ("processors", "memory_mb", "room"), [({0, 1}, 0, True), ({0}, 0, False), ({0, 1}, 10**9, False)]
)
def test_machines_run_side_by_side_where_there_is_room(processors, memory_mb, room, monkeypatch):
    monkeypatch.syspath_prepend(paths.ROOT / "tests" / "images")
    import lab

    monkeypatch.setattr(lab.os, "sched_getaffinity", lambda process: processors)
    monkeypatch.setattr(lab, "_EMULATORS_MB", 0)
    lab.side_by_side.cache_clear()
    assert lab.side_by_side(memory_mb) is room


def test_machines_of_a_failed_check_are_kept_until_ctrl_c(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(paths.ROOT / "tests" / "images")
    import lab

    image = tmp_path / "image.qcow2"
    image.write_bytes(b"an image")
    kept = lab.Lab(library.Result(image, tmp_path, tmp_path, facts_of(image)), "tcg", tmp_path, tmp_path)
    ended = types.SimpleNamespace(process=types.SimpleNamespace(poll=lambda: 0))
    runs = types.SimpleNamespace(
        process=types.SimpleNamespace(poll=lambda: None),
        directory=tmp_path / "first",
        ssh=["ssh", "-p", "22", "u@h"],
        serial_log=Path("/first/serial.log"),
    )
    kept._begun = [ended, runs]
    waited = []

    def pause():
        waited.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(lab.signal, "pause", pause)
    with pytest.raises(KeyboardInterrupt):
        kept.let_somebody_look()
    assert waited
    said = capsys.readouterr().err
    assert "first: ssh -p 22 u@h" in said
    assert "less /first/serial.log" in said
    # None runs any more: nobody is kept waiting.
    kept._begun = [ended]
    kept.let_somebody_look()
    assert len(waited) == 1


def test_a_machine_that_does_not_come_up_is_looked_at_before_it_goes(tmp_path, monkeypatch):
    """It is the one that somebody wants to look at; when the tests are through it is gone."""
    monkeypatch.syspath_prepend(paths.ROOT / "tests" / "images")
    import lab

    done = []

    @contextlib.contextmanager
    def boot(*_, **__):
        try:
            yield types.SimpleNamespace(directory=tmp_path / "first")
        finally:
            done.append("gone")

    monkeypatch.setattr(lab.machine, "boot", boot)
    image = tmp_path / "image.qcow2"
    image.write_bytes(b"an image")
    result = library.Result(image, tmp_path, tmp_path, facts_of(image))
    made = lab.Lab(result, "tcg", tmp_path, tmp_path, lambda: done.append("looked at"))
    with pytest.raises(BuildError, match="no SSH"), made.boot("first"):
        raise BuildError("no SSH within 1200 s", "The console")
    assert done == ["looked at", "gone"]


def test_keep_failed_reaches_the_tests(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(check, "attend", lambda command, **_: asked.append(command) or 5)
    for keep in (False, True):
        with pytest.raises(check.ChecksFailed):
            check.run(tmp_path / "image.qcow2", "tcg", tmp_path, keep_failed=keep)
    assert ["--keep-failed" in command for command in asked] == [False, True]
