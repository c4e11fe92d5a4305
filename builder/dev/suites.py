"""The test suites."""

import json
import os
import random
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
    "fleet": "tests/fleet",
}
# The application is tested with every database and every set of libraries. What waits, for a database, a
# program or a machine that boots, waits for a third of the time and more: three for two processors.
_OPTIONS = {
    "app": ["--everywhere", "-n", "3", "--dist", "worksteal"],
    "browser": ["-n", "2"],
    "builder": ["-n", "3", "--dist", "worksteal"],
    "stranger": ["-n", "2"],
    "package": ["-n", "3", "--dist", "worksteal"],
}
# Databases and machines are small, made by the dozen and thrown away: waiting for a disk is most of
# the time. In bytes, what has to be free for them.
_IN_MEMORY = {"app": 2**30, "browser": 2**30, "package": 8 * 2**30}
_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of one's own in it
# Suites that make, boot and check real images, by the words that a user types; an input that changed
# makes one afresh. The first is the README's first command.
_IMAGES = {"images": ["images"], "pi": ["images", "pi"]}
# Which image each of them has.
_MADE = {"images": ["cloud", "pi"], "pi": ["pi"]}
# With --thorough the cloud's is made on these, too: another release, and another architecture, by UEFI.
_OTHER_BASES = {"images": ["debian-13", "debian-12-arm64"]}
# Baked in a chroot: left out of the first for who is not root.
_TAKES_ROOT = {"pi"}
# Part of another one; and a fleet's drills, for who works on it.
_BY_NAME_ONLY = {"pi", "fleet"}
# The images first: on a new machine they are then made with what they say themselves that they need,
# before other suites bring more.
SUITES = ("images", *_FOLDERS, "pi")


def chosen(suites: Sequence[str]) -> list[str]:
    """The suites to run: those named, or all but those that are part of another.

    :raises BuildError: there is no suite of that name.
    """
    for name in suites:
        if name not in SUITES:
            raise BuildError(f"there is no suite {name!r}", f"There are: {', '.join(SUITES)}")
    return list(suites) or [name for name in SUITES if name not in _BY_NAME_ONLY]


def needs_of(suites: Sequence[str]) -> list[needs.Need]:
    """What suites need of the distribution. Arguments and errors as of :func:`chosen`."""
    found: dict[needs.Need, None] = {}
    for name in chosen(suites):
        wanted = needs.of_verb("images") if name in _IMAGES else needs.of_folder(_FOLDERS[name])
        found |= dict.fromkeys(wanted)
    return list(found)


def run(suites: Sequence[str], thorough: bool) -> None:
    """Run suites, each to its end; what failed is said last.

    :param suites: names; none means all.
    :param thorough: with the drills that are too long for every day.
    :raises BuildError: a suite's name is unknown, or tests failed.
    """
    failed = []
    for name in chosen(suites):
        say(f"Suite {name}")
        began = time.monotonic()
        try:
            if name in _IMAGES:
                _run_images(name, thorough)
            else:
                needs.have(needs_of([name]))
                _run_pytest(name, thorough)
        except BuildError as error:
            failed.append(name)
            took = duration(time.monotonic() - began)
            say(f"Suite {name} failed after {took}: {error.message}. {error.hint}")
        else:
            say(f"Suite {name} passed in {duration(time.monotonic() - began)}")
    if failed:
        raise BuildError(f"failed: {', '.join(failed)}", f"Run one alone with: ./build.py test {failed[0]}")


def mutate(suites: Sequence[str], count: int, seed: int | None, within: str, as_json: bool) -> None:
    """Break the application in so many places, one at a time, and print which of them its tests notice.

    :param suites: "app" alone: the others take a machine for each.
    :param seed: which places; None: by chance.
    :param within: files or folders of the application's, with commas.
    :raises BuildError: another suite is named, or the tests fail as they are.
    """
    if list(suites) != ["app"]:
        raise BuildError("only the suite app is tried so", "./build.py test app --mutate 40")
    needs.have(needs_of(suites))
    chosen = random.randrange(10_000) if seed is None else seed  # noqa: S311 - chance, no secret
    asked = json.dumps([count, chosen, within, as_json])
    if attend(
        [sys.executable, str(paths.ROOT / "tests/mutate.py"), asked], env={"PYTHONPATH": str(paths.ROOT)}
    ):
        raise BuildError("the mutations could not be tried", "The words above say why")


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


def _run_images(name: str, thorough: bool) -> None:
    """As the README says it, by processes of their own that install what they need."""
    made, words = _MADE[name], _IMAGES[name]
    if os.geteuid() != 0 and name not in _TAKES_ROOT:
        say(f"WARNING: left out, for it takes root: {' '.join(_TAKES_ROOT)}")
        made = [image for image in made if image not in _TAKES_ROOT]
        words = ["images", *made]
    drills = [["check", image, "--thorough"] for image in made]
    drills += [["images", "cloud", "--base", base] for base in _OTHER_BASES.get(name, ())]
    for command in [words, *(drills if thorough else [])]:
        if attend([sys.executable, paths.ROOT / "build.py", *command]) != 0:
            raise BuildError(f"./build.py {' '.join(command)} failed", "Its words are above")
