"""What each cloud's module offers, and what it is given."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuildError
from builder.library import Result
from builder.progress import say, step

USER_DATA = "images/user-data.yaml"
"""The example that the commands for a launch name."""
POLL_SECONDS = 10.0
"""Between two questions to a cloud whether it is done."""
PATIENCE_SECONDS = 2 * 3600.0
"""For a cloud to take an image in."""


class Ledger:
    """What a publishing has made so far: kept in a file, so that the next run goes on or takes it back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._facts: dict[str, Any] = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            self._facts = {}

    def __bool__(self) -> bool:
        return bool(self._facts)

    def get(self, name: str) -> Any:
        """What was noted under a name; None if nothing was."""
        return self._facts.get(name)

    def note(self, **facts: object) -> None:
        """Keep these, too. (An address to upload to is a secret for as long as it is valid.)"""
        self._facts |= facts
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        self.path.chmod(0o600)
        part = self.path.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(json.dumps(self._facts))
        part.replace(self.path)

    def drop(self, name: str) -> None:
        """Forget one: it is not there any more."""
        self._facts.pop(name, None)
        self.note()

    def forget(self) -> None:
        """Forget all."""
        self._facts = {}
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Order:
    """One image, on its way to one cloud."""

    image: Result
    region: str
    bucket: str
    """A bucket of the user's, where the cloud fetches its images from one."""
    url: str
    """Or the address where the user has put the file that ``--prepare`` makes."""
    dry: bool
    """Show each call instead of making it."""
    ledger: Ledger

    @property
    def name(self) -> str:
        """What the snapshot is called in the user's account: unlike that of every other bake."""
        facts = self.image.facts
        built = "".join(filter(str.isdigit, facts["built"]))[:12]
        return f"{self.image.image.name.partition('.qcow2')[0]}-{built}"

    @property
    def description(self) -> str:
        """One line on what it is."""
        facts = self.image.facts
        return f"Microblog {facts['version']} on {facts['base']['name']}"


@dataclass(frozen=True)
class Cloud:
    """One cloud: what it wants of the environment and of the file, and how an image gets there."""

    credentials: tuple[str, ...]
    """The environment's variables that it needs."""
    region: str
    """If the user names none."""
    ending: str
    """The form of the file it takes: ``.img.gz`` or ``.vmdk``."""
    publish: Callable[[Order, Path], str]
    """(order, file) -> the snapshot's id. Notes in the ledger whatever it makes, before it goes on."""
    remove: Callable[[Order], None]
    """Remove all that the ledger tells of."""
    launch: Callable[[str, str], list[str]]
    """(snapshot's id, region) -> the command, and the call, that start a server from it."""
    native: Callable[[], dict[str, str]]
    """What of the environment Packer's own builder gets, by the names of its template's variables."""


def shown(call: str, body: object = None) -> None:
    """Print a call that is not made."""
    say(f"would call: {call}" + (f" {json.dumps(body, default=str)}" if body else ""))


def wait(what: str, ask: Callable[[], str]) -> None:
    """Ask until it is done.

    :param ask: returns "" when it is done, else how far it is.
    :raises BuildError: it does not get done.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    with step(f"Waiting until {what}", f"Waited until {what}") as now:
        while said := ask():
            now.update(said)
            if time.monotonic() > until:
                raise BuildError(f"it did not come about that {what}; the last word was: {said}",
                                 "See the provider's status page, then run it again")  # fmt: skip
            time.sleep(POLL_SECONDS)
