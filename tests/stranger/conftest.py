"""Bare systems, in which nothing helps that is installed on the machine around them."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.core import cache, paths
from builder.core.needs import Program

NEEDS = (
    Program("mmdebstrap", "mmdebstrap"),
    Program("unshare", "util-linux"),
)
_SCRIPT = Path(__file__).with_name("bare-root")
USER = "susan"


class Bare:
    """A bare system that no other test has touched.

    :ivar root: its root directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: str, user: str = "root") -> "subprocess.CompletedProcess[str]":
        """Run a command in the checkout of its user."""
        words = ["run", self.root] if user == "root" else ["run-as", user, self.root]
        return subprocess.run(
            [_SCRIPT, *words, *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip

    def add_user(self) -> None:
        """Add an ordinary user, :data:`USER`."""
        subprocess.run([_SCRIPT, "user", self.root, USER], check=True)

    @property
    def installed(self) -> set[str]:
        """The names of the packages in it."""
        status = (self.root / "var/lib/dpkg/status").read_text(errors="replace")
        return {
            line.removeprefix("Package: ") for line in status.splitlines() if line.startswith("Package: ")
        }


@pytest.fixture(scope="session")
def pristine() -> Iterator[Callable[[str], Path]]:
    """Bare systems, one of a suite, made when they are first asked for; they are copied, never entered."""
    # Below the cache: a path of the tests' own directory is too long for some sockets in it.
    with cache.scratch(paths.cache_dir() / "bare") as work:
        work.chmod(0o755)

        def make(suite: str) -> Path:
            root = work / suite
            if not root.exists():
                root.mkdir(mode=0o755)
                subprocess.run([_SCRIPT, "make", root, suite], check=True)
            return root

        yield make


@pytest.fixture
def bare(pristine) -> Iterator[Callable[[str], Bare]]:
    """A bare system of a suite (bookworm, trixie), gone at the end of the test."""
    made = []

    def copy(suite: str) -> Bare:
        root = pristine(suite).with_name(f"{suite}-copy-{len(made)}")
        made.append(root)
        subprocess.run(["cp", "-a", pristine(suite), root], check=True)
        return Bare(root)

    yield copy
    for root in made:
        shutil.rmtree(root)
