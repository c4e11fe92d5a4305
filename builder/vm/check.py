"""Check a baked image: boot it, and run testinfra on it over SSH."""

import os
import re
import shutil
import sys
import time
import xml.etree.ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from builder.core import inputs, paths
from builder.core.command import attend
from builder.core.errors import BuildError
from builder.core.inputs import Inputs
from builder.core.needs import Folder
from builder.core.progress import duration, say
from builder.results.manifest import Check, Manifest

_TESTS = Folder("tests/images")
# What tests record of a machine; each where it applies.
_MEASURED = ("boot_to_https_s", "idle_memory_mib")
# JUnit's elements of a test that did not pass.
_NOT_PASSED = ("failure", "error", "skipped")
_TESTS_FAILED, _NOTHING_RAN = 1, 5  # pytest's exit codes


@dataclass(frozen=True)
class Failure:
    """One check that failed."""

    what: str
    """The check in plain words: ``service is enabled and running: nginx``."""
    why: str
    """One line of what was found instead."""
    log: Path
    """The whole of it."""


@dataclass(frozen=True)
class Outcome:
    """What pytest's results say."""

    passed: int = 0
    failures: list[Failure] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Why a test was skipped, one of each."""
    properties: dict[str, str] = field(default_factory=dict)


class ChecksFailed(BuildError):
    """An image that is not good.

    :param outcome: without failures if the tests could not be run, or not to their end.
    :param seconds: that the checks took.
    """

    def __init__(self, message: str, hint: str, outcome: Outcome, seconds: float) -> None:
        super().__init__(message, hint)
        self.outcome = outcome
        self.seconds = seconds


def checked_by() -> Inputs:
    """The tests that an image is checked by, and the code that they and this one use."""
    return inputs.of({}, [_TESTS.path], [Path(__file__), *_TESTS.path.rglob("*.py")])


def is_done(facts: Manifest, thorough: bool = False) -> bool:
    """Whether a manifest says that these very tests passed."""
    done = facts.check
    return done is not None and done.checked_by == checked_by().digest and (done.thorough or not thorough)


def without_proxy() -> dict[str, str]:
    """The variables by which programs ask this machine itself, whatever proxy there is for others."""
    already = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    hosts = ",".join(filter(None, [already, "127.0.0.1", "localhost"]))
    return {"no_proxy": hosts, "NO_PROXY": hosts}


def run(
    image: Path, accelerator: str, logs: Path, thorough: bool = False, keep_failed: bool = False
) -> Check:
    """Run tests/images on an image. pytest's lines go to stderr as they come.

    :param logs: a directory for the machine's console and the results.
    :param thorough: with the drills that are too long for every day.
    :param keep_failed: after a test that failed, leave the machines running until Ctrl-C.
    :return: what the manifest says of it.
    :raises ChecksFailed: a test fails, or none ran.
    """
    results = logs / "check.xml"
    results.unlink(missing_ok=True)
    by = checked_by()
    inputs.explain(f"the check of {image.name}", logs / f"check.{inputs.SUFFIX}", by)
    say(f"Checking {image.name} on a machine of its own")
    began = time.monotonic()
    code = attend(
        [sys.executable, "-m", "pytest", "-v", f"--rootdir={paths.ROOT}", "-c", paths.ROOT / "setup.cfg",
         f"--color={'yes' if sys.stderr.isatty() else 'no'}", "-p", "no:cacheprovider", _TESTS.path,
         "--image", image.resolve(), "--accel", accelerator, "--logs", logs, f"--junitxml={results}",
         *(["--thorough"] if thorough else []), *(["--keep-failed"] if keep_failed else [])],
        stdout=sys.stderr.fileno(),
        env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(paths.ROOT), **without_proxy()},
    )  # fmt: skip
    seconds = round(time.monotonic() - began, 1)
    outcome = read(results, logs / "failed") if results.exists() else Outcome()
    if code != 0:
        what = {
            _TESTS_FAILED: f"{_checks(len(outcome.failures))} failed, {outcome.passed} passed",
            _NOTHING_RAN: "no test ran",
        }.get(code, f"its tests ended early (pytest's exit code {code})")
        raise ChecksFailed(
            f"{image.name} is not good: {what}",
            f"Their words are above; the console's in {logs}",
            outcome,
            seconds,
        )
    for why in dict.fromkeys(outcome.left_out):
        say(f"WARNING: {outcome.left_out.count(why)} tests of {image.name} were left out: {why}")
    by.write(logs / f"check.{inputs.SUFFIX}")
    say(f"Checked {image.name}: {outcome.passed} tests passed in {duration(seconds)}")
    return Check(
        checked_by=by.digest,
        thorough=thorough,
        passed=outcome.passed,
        left_out=len(outcome.left_out),
        seconds=seconds,
        accelerator=outcome.properties.get("accelerator", accelerator),
        when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **{name: float(outcome.properties[name] or 0) for name in _MEASURED if name in outcome.properties},
    )


def read(results: Path, failed: Path) -> Outcome:
    """Read pytest's results.

    :param results: in JUnit's form.
    :param failed: a directory for what each failed check printed; made, or made empty.
    """
    shutil.rmtree(failed, ignore_errors=True)
    suite = xml.etree.ElementTree.parse(results).getroot().find("testsuite")  # noqa: S314
    assert suite is not None  # noqa: S101
    outcome = Outcome(
        passed=sum(
            not any(case.find(bad) is not None for bad in _NOT_PASSED) for case in suite.iter("testcase")
        ),
        left_out=[skipped.get("message", "") for skipped in suite.iter("skipped")],
        properties={item.get("name", ""): item.get("value", "") for item in suite.iter("property")},
    )
    for case in suite.iter("testcase"):
        bad = [*case.findall("failure"), *case.findall("error")]
        if bad:
            failed.mkdir(parents=True, exist_ok=True)
            name = case.get("name", "")
            log = failed / f"{re.sub('[^A-Za-z0-9]+', '-', name).strip('-')}.log"
            log.write_text("\n".join(f"{one.get('message', '')}\n{one.text or ''}" for one in bad) + "\n")
            lines = bad[0].get("message", "").splitlines()
            outcome.failures.append(Failure(_in_words(name), lines[0] if lines else "", log))
    return outcome


def _in_words(test: str) -> str:
    """``test_package_is_installed[nginx]`` as people say it."""
    name, _, case = test.partition("[")
    words = name.removeprefix("test_").replace("_", " ")
    return f"{words}: {case.removesuffix(']')}" if case else words


def _checks(number: int) -> str:
    return f"{number} check{'' if number == 1 else 's'}"
