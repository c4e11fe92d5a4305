"""The test suites."""

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from builder.core import cache, needs, paths
from builder.core.command import attend
from builder.core.errors import BuildError
from builder.core.progress import duration, say

_FOLDERS = {
    "app": "tests/app",
    "browser": "tests/browser",
    "builder": "tests/builder",
    "package": "tests/package",
    "stranger": "tests/stranger",
}
# The application is tested with every database and every set of libraries, on two processors.
# A machine that boots waits more than it works.
_OPTIONS = {
    "app": ["--everywhere", "-n", "2"],
    "browser": ["-n", "2"],
    "stranger": ["-n", "2"],
    "package": ["-n", "2", "--dist", "worksteal"],
}
# Databases and machines are small, made by the dozen and thrown away: waiting for a disk is most of
# the time. In bytes, what has to be free for them.
_IN_MEMORY = {"app": 2**30, "browser": 2**30, "package": 8 * 2**30}
_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of one's own in it
# Suites that make, boot and check a real image, by the words that a user types; an input that changed
# makes it afresh.
_IMAGES = {"images": "cloud", "pi": "pi"}
# Emulating the Pi's processor takes longer than all the others together.
_THOROUGH = {"pi"}
# The image first: on a new machine it is then made with what it says itself that it needs, before other
# suites bring more.
SUITES = ("images", *_FOLDERS, "pi")


def chosen(suites: Sequence[str], thorough: bool) -> list[str]:
    """The suites to run: those named, or all but those that are too long for every day.

    :raises BuildError: there is no suite of that name.
    """
    for name in suites:
        if name not in SUITES:
            raise BuildError(f"there is no suite {name!r}", f"There are: {', '.join(SUITES)}")
    return list(suites) or [name for name in SUITES if thorough or name not in _THOROUGH]


def needs_of(suites: Sequence[str], thorough: bool) -> list[needs.Need]:
    """What suites need of the distribution. Arguments and errors as of :func:`chosen`."""
    found: dict[needs.Need, None] = {}
    for name in chosen(suites, thorough):
        wanted = needs.of_verb("images") if name in _IMAGES else needs.of_folder(_FOLDERS[name])
        found |= dict.fromkeys(wanted)
    return list(found)


def run(suites: Sequence[str], thorough: bool) -> None:
    """Run suites, each to its end; what failed is said last.

    :param suites: names; none means all, but those that are too long for every day only if ``thorough``.
    :param thorough: with the drills that are too long for every day.
    :raises BuildError: a suite's name is unknown, or tests failed.
    """
    failed = []
    for name in chosen(suites, thorough):
        say(f"Suite {name}")
        began = time.monotonic()
        try:
            if name in _IMAGES:
                _run_image(_IMAGES[name], thorough)
            else:
                needs.have(needs_of([name], thorough))
                _run_pytest(name, thorough)
        except BuildError as error:
            failed.append(name)
            took = duration(time.monotonic() - began)
            say(f"Suite {name} failed after {took}: {error.message}. {error.hint}")
        else:
            say(f"Suite {name} passed in {duration(time.monotonic() - began)}")
    if failed:
        raise BuildError(f"failed: {', '.join(failed)}", f"Run one alone with: ./build.py test {failed[0]}")


def _run_pytest(name: str, thorough: bool) -> None:
    options = [
        f"--rootdir={paths.ROOT}",
        "-c",
        str(paths.ROOT / "setup.cfg"),
        *_OPTIONS.get(name, []),
        *(["--thorough"] if thorough else []),
    ]
    command = [sys.executable, "-m", "pytest", *options, str(paths.ROOT / _FOLDERS[name])]
    with _temporary(name) as temporary:
        code = attend(command, env={"PYTHONPATH": str(paths.ROOT), **temporary})
    if code != 0:
        raise BuildError("tests failed" if code == 1 else f"pytest's exit code is {code}")


@contextmanager
def _temporary(name: str) -> Iterator[dict[str, str]]:
    """The variable that says where a suite's temporary files belong, if not where all do."""
    if name in _IN_MEMORY and os.access(_MEMORY, os.W_OK) and _IN_MEMORY[name] < _free_memory():
        with cache.scratch(_MEMORY / f"microblog-tests-{os.getuid()}") as work:
            yield {"TMPDIR": str(work)}
    else:
        yield {}


def _free_memory() -> int:
    """How many bytes files in memory may take."""
    # proc(5), meminfo
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    return min(shutil.disk_usage(_MEMORY).free, int(available[1]) * 1024 if available else 0)


def _run_image(name: str, thorough: bool) -> None:
    """As the README says it, by a process of its own that installs what it needs."""
    build = paths.ROOT / "build.py"
    commands = [["images", name], *([["check", name, "--thorough"]] if thorough else [])]
    for command in commands:
        if attend([sys.executable, build, *command]) != 0:
            raise BuildError(f"./build.py {' '.join(command)} failed", "Its words are above")
