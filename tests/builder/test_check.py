"""What is told of an image's checks."""

import subprocess
import sys

import pytest

from builder import check, paths

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
