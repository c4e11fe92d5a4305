"""Several images: one that fails keeps no other from being made, and the end tells of all."""

import json

import pytest
from click.testing import CliRunner
from conftest import facts_of

import build
from builder import make, report
from builder.core.errors import BuildError
from builder.results import library, manifest
from builder.vm import board, check


@pytest.fixture
def attempts(baked, tmp_path):
    """One image that is good, one whose checks failed, one that could not be baked."""
    good = library.Result(
        next(library.paths.OUT.glob("*.qcow2")), tmp_path / "manifest", tmp_path / "sums",
        facts_of(check=manifest.Check("k", False, 90, 1.0, "tcg", "")),
    )  # fmt: skip
    failure = check.Failure("service is enabled and running: nginx", "it is not", tmp_path / "nginx.log")
    bad = check.ChecksFailed("odd is not good", "", check.Outcome(passed=89, failures=[failure]), 300.0)
    return [
        make.Attempt("cloud", 661.0, good),
        make.Attempt("odd", 400.0, good, bad),
        make.Attempt(
            "pi", 3.0, None, BuildError("pi is baked in a chroot, which needs root", "Run: sudo it")
        ),
    ]


def test_a_table_and_each_failure_in_a_line(attempts, tmp_path):
    size = f"{attempts[0].result.image.stat().st_size / 1e6:.0f} MB"
    assert [line.split("  ") for line in _squeezed(report.table(attempts))] == [
        ["image", "base", "bake", "checks", "size", "time"],
        ["cloud", "debian-12", "2 min 00 s", "90 passed", size, "11 min 01 s"],
        ["odd", "debian-12", "2 min 00 s", "89 passed, 1 failed", size, "6 min 40 s"],
        ["pi", "-", "failed", "-", "-", "3 s"],
        [f"odd: service is enabled and running: nginx: it is not ({tmp_path}/nginx.log)"],
        ["pi: pi is baked in a chroot, which needs root. Run: sudo it"],
    ]


def _squeezed(table):
    import re

    return [re.sub(" {2,}", "  ", line) for line in table.splitlines()]


def test_a_program_reads_the_same(attempts, tmp_path):
    good, odd, pi = json.loads(report.as_json(attempts))
    assert "error" not in good
    assert good["image"] == str(attempts[0].result.image)
    assert odd["failed"] == [
        {
            "what": "service is enabled and running: nginx",
            "why": "it is not",
            "log": str(tmp_path / "nginx.log"),
        }
    ]
    assert pi == {"target": "pi", "error": "pi is baked in a chroot, which needs root", "failed": []}


def test_one_that_fails_keeps_no_other_from_being_made(monkeypatch, attempts):
    made = []

    def produce(name, _):
        made.append(name)
        if name == "cloud":
            raise BuildError("no base can be had", "Try again")
        return attempts[0].result

    monkeypatch.setattr(make, "produce", produce)
    tried = [make.attempt(name) for name in ("cloud", "pi")]
    assert made == ["cloud", "pi"]
    assert [bool(one.error) for one in tried] == [True, False]
    assert tried[1].result is attempts[0].result


def test_an_image_whose_checks_failed_is_still_told_of(monkeypatch, attempts):
    def produce(name, _):
        raise attempts[1].error

    monkeypatch.setattr(make, "produce", produce)
    monkeypatch.setattr(make.library, "find", lambda _: attempts[0].result)
    tried = make.attempt("odd")
    assert (tried.result, tried.failures) == (attempts[0].result, attempts[1].failures)


def test_a_check_is_told_to_programs_whatever_came_of_it(attempts, monkeypatch, tmp_path):
    _, odd, pi = attempts

    def ask(*options, error=None):
        def check(*_):
            if error:
                raise error
            return attempts[0].result

        monkeypatch.setattr(make, "check", check)
        done = CliRunner().invoke(build.main, ["check", "cloud", *options])
        return done.exit_code, done.stdout

    code, printed = ask("--json", error=odd.error)
    assert (code, json.loads(printed)) == (1, {
        "passed": 89, "left_out": 0, "seconds": 300.0, "error": "odd is not good",
        "failed": json.loads(report.as_json(attempts))[1]["failed"],
    })  # fmt: skip
    # It came to no check.
    code, printed = ask("--json", error=pi.error)
    assert (code, json.loads(printed)) == (1, {"error": pi.error.message, "failed": []})
    code, printed = ask("--json")
    assert (code, json.loads(printed)["passed"]) == (0, 90)
    # What is for people is unchanged.
    assert ask(error=odd.error) == (1, "")
    assert ask() == (0, f"{attempts[0].result.image}\n")


def test_a_board_that_does_not_start_is_told_to_programs(baked, monkeypatch):
    def watch(_):
        raise BuildError("QEMU ended with exit code 1", "")

    monkeypatch.setattr(board, "watch", watch)
    done = CliRunner().invoke(build.main, ["check", "cloud", "--board", "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (
        1,
        {"error": "QEMU ended with exit code 1", "failed": []},
    )


def test_a_site_that_does_not_come_up_on_a_board_is_a_failure(baked, monkeypatch):
    """What was seen is told all the same."""
    seen = dict.fromkeys(board.MILESTONES) | {"the kernel starts": 42.0, "the card is found": 63.0}
    monkeypatch.setattr(board, "watch", lambda _: seen)
    done = CliRunner().invoke(build.main, ["check", "cloud", "--board", "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (1, seen)
    done = CliRunner().invoke(build.main, ["check", "cloud", "--board"])
    assert done.exit_code == 1
    assert "not seen" in done.stdout
    assert (
        "the site did not come up on the board: the last that was seen is: the card is found" in done.stderr
    )
    monkeypatch.setattr(board, "watch", lambda _: dict.fromkeys(board.MILESTONES, 1.0))
    assert CliRunner().invoke(build.main, ["check", "cloud", "--board"]).exit_code == 0
