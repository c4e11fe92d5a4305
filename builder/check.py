"""Check a baked image: boot it, and run testinfra on it over SSH."""

import sys
import time
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

from builder import cache, paths
from builder.command import attend
from builder.errors import BuildError
from builder.progress import duration, say

_TESTS = paths.ROOT / "tests" / "images"
# What tests record of a machine; each where it applies.
_MEASURED = ("boot_to_https_s", "idle_memory_mib")
_NOTHING_RAN = 5  # pytest's exit code


def key() -> str:
    """Hash of what an image is checked by."""
    here = Path(__file__)
    return cache.key(files=[_TESTS, here, *map(here.with_name, ("machine.py", "drive.py"))])


def is_done(facts: dict[str, Any], thorough: bool = False) -> bool:
    """Whether a manifest says that these very tests passed."""
    done = facts.get("check", {})
    return bool(done.get("key") == key() and (done.get("thorough") or not thorough))


def run(image: Path, accelerator: str, logs: Path, thorough: bool = False) -> dict[str, Any]:
    """Run tests/images on an image. pytest's lines go to stderr as they come.

    :param logs: a directory for the machine's console and the results.
    :param thorough: with the drills that are too long for every day.
    :return: what the manifest says of it: key, tests passed, seconds, accelerator.
    :raises BuildError: a test fails, or none ran.
    """
    results = logs / "check.xml"
    results.unlink(missing_ok=True)
    say(f"Checking {image.name} on a machine of its own")
    began = time.monotonic()
    code = attend(
        [sys.executable, "-m", "pytest", "-v", f"--rootdir={paths.ROOT}", "-c", paths.ROOT / "setup.cfg",
         f"--color={'yes' if sys.stderr.isatty() else 'no'}", "-p", "no:cacheprovider", _TESTS,
         "--image", image.resolve(), "--accel", accelerator, "--logs", logs, f"--junitxml={results}",
         *(["--thorough"] if thorough else [])],
        stdout=sys.stderr.fileno(),
        env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(paths.ROOT)},
    )  # fmt: skip
    seconds = round(time.monotonic() - began, 1)
    if code != 0:
        what = "no test ran" if code == _NOTHING_RAN else "tests failed"
        raise BuildError(
            f"{image.name} is not good: {what}", f"Their words are above; the console's in {logs}"
        )
    suite = xml.etree.ElementTree.parse(results).getroot().find("testsuite")  # noqa: S314
    assert suite is not None  # noqa: S101
    left_out = [skipped.get("message", "") for skipped in suite.iter("skipped")]
    passed = int(suite.get("tests", 0)) - len(left_out)
    properties = {item.get("name"): item.get("value") for item in suite.iter("property")}
    for why in dict.fromkeys(left_out):
        say(f"WARNING: {left_out.count(why)} tests of {image.name} were left out: {why}")
    say(f"Checked {image.name}: {passed} tests passed in {duration(seconds)}")
    return {
        "key": key(),
        "thorough": thorough,
        "passed": passed,
        **({"left_out": len(left_out)} if left_out else {}),
        "seconds": seconds,
        "accelerator": properties.get("accelerator", accelerator),
        **{name: float(properties[name] or 0) for name in _MEASURED if name in properties},
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
