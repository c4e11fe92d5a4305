"""What each provider's module offers, and what it is given."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from builder.core.errors import BuildError, Lost
from builder.core.needs import Folder
from builder.core.progress import say, step

USER_DATA = "images/user-data.yaml"
"""The example that the commands for a launch name."""
POLL_SECONDS = 10.0
"""Between two questions to a cloud whether it is done."""
PATIENCE_SECONDS = 2 * 3600.0
"""For a cloud to take an image in."""
_LOOKS = 6
"""How often it is looked for what a lost answer may have made."""
_Made = TypeVar("_Made")
_CLOUDS = Folder("builder/ship/clouds")


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
        """Keep these, too; one that is None is forgotten.

        (An address to upload to is a secret for as long as it is valid.)
        """
        self._facts = {name: fact for name, fact in {**self._facts, **facts}.items() if fact is not None}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.touch(mode=0o600)
        with part.open("w") as out:
            out.write(json.dumps(self._facts))
            out.flush()
            os.fsync(out.fileno())
        part.replace(self.path)

    def drop(self, name: str) -> None:
        """Forget one: it is not there any more."""
        self.note(**{name: None})

    def forget(self) -> None:
        """Forget all."""
        self._facts = {}
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Order:
    """What is to be published, where, and what is there of it already."""

    name: str
    """What the snapshot is called in the user's account, unlike all others: it is found by it."""
    region: str
    ledger: Ledger
    dry: bool = False
    """Show each call instead of making it."""
    bucket: str = ""
    """The user's, where a cloud fetches its images from one."""
    url: str = ""
    """Or the address where the user has put the file that ``--prepare`` makes."""
    description: str = ""
    """One line on what it is."""
    base: str = ""
    """The name of the base that the image was baked on."""
    architecture: str = ""
    disk_bytes: int = 0
    """Of the image's disk."""


@dataclass(frozen=True)
class Cloud:
    """One cloud: what it wants of the environment and of the file, and how an image gets there."""

    credentials: tuple[str, ...]
    """The environment's variables that it needs."""
    region: str
    """If the user names none."""
    ending: str
    """The form of the file it takes: ``.img.gz`` or ``.vmdk``."""
    takes: tuple[str, ...]
    """Of the options ``--bucket`` and ``--url`` those that mean something there."""
    ready: Callable[[Order], None]
    """Raises BuildError where the order lacks what it takes: asked before the file is made."""
    publish: Callable[[Order, Path], str]
    """(order, file) -> the snapshot's id. Notes in the ledger whatever it makes, before it goes on."""
    remove: Callable[[Order], None]
    """Remove all that the ledger tells of, and what was asked for and goes by the order's name."""
    launch: Callable[[str, str], list[str]]
    """(snapshot's id, region) -> the command, and the call, that start a server from it."""
    native: Callable[[], dict[str, str]]
    """What of the environment Packer's own builder gets, by the names of its template's variables."""


@dataclass(frozen=True)
class ScriptOnly:
    """A provider that takes no images: its servers install the package when they start."""

    script: Callable[[str], str]
    """(address of the package) -> the launch script."""


def shown(call: str, body: object = None) -> None:
    """Print a call that is not made."""
    say(f"would call: {call}" + (f" {json.dumps(body, default=str)}" if body else ""))


def make(order: Order, ask: Callable[[], _Made], find: Callable[[], _Made | None]) -> _Made:
    """Make what must not be made twice, though an answer can be lost.

    That it is asked for is noted before, until the caller has noted what was made.

    :param ask: makes it.
    :param find: looks for it by the order's name.
    :raises BuildError: it is refused; :class:`Lost`: nobody can say whether it is made.
    """
    if order.ledger.get("asked"):
        # An earlier run never heard what came of it.
        found = find()
        if found is not None:
            return found
    order.ledger.note(asked=order.name)
    try:
        return ask()
    except Lost as error:
        say(f"WARNING: {error.message}; looking for {order.name}")
        for _ in range(_LOOKS):
            found = find()
            if found is not None:
                return found
            time.sleep(POLL_SECONDS)
        raise
    except BuildError:
        order.ledger.drop("asked")
        raise


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


def names() -> list[str]:
    """The names of all providers."""
    return _CLOUDS.names


def find(name: str) -> Cloud | ScriptOnly:
    """A provider. (boto3 is slow to import: only the one that is wanted is loaded.)"""
    found: Cloud | ScriptOnly = _CLOUDS.load(name).CLOUD
    return found
