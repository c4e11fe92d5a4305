"""What an update is at, on the disk before it is done; and how the last one ended."""

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from microblog.errors import HostError
from microblog.host.machine import files, layout

# Root's alone to write; the application's user has to read the code that is kept there.
FOLDER = Path("/var/lib/microblog-update")
JOURNAL = FOLDER / "journal.json"
OLD = FOLDER / "old"
PROGRESS = FOLDER / "progress"
# Units whose failure was told to administrators, and that have not succeeded since.
TOLD = FOLDER / "told"
_LAST = FOLDER / "last.json"
_LOCK = layout.RUN / "update.lock"
# In the order of a run; BACK is where a bad one goes. The system's own update begins at SYSTEM.
PREPARE, READY, SYSTEM, INSTALL, CHECK, BACK = "prepare", "ready", "system", "install", "check", "back"
UPDATED, TAKEN_BACK, FAILED, NOTHING = "updated", "taken back", "failed", "nothing to do"


@dataclass(frozen=True)
class Change:
    """A package that an update changes.

    :ivar old: the version that is installed; empty for a package that comes new.
    :ivar origin: the repository of the new one, in apt's words.
    """

    name: str
    old: str
    new: str
    origin: str = ""

    def text(self) -> str:
        return f"{self.name} {self.old or 'none'} -> {self.new}"


@dataclass
class Journal:
    """:ivar step: what is done next, or was being done.
    :ivar origin: ``owner`` of an update that was asked for, ``system`` of one that the system did by itself.
    :ivar revisions: the schema's, before.
    :ivar automatic: the packages that are there for others' sake.
    :ivar backup: of the state before; empty where the data do not change.
    :ivar seconds: how long the new version may take to answer well.
    :ivar why: it is taken back.
    """

    origin: str
    changes: list[Change]
    revisions: list[str]
    step: str = PREPARE
    began: str = field(default_factory=lambda: now())
    automatic: list[str] = field(default_factory=list)
    backup: str = ""
    seconds: float = 300.0
    why: str = ""

    def at(self, step: str) -> None:
        """Write down what is done next."""
        self.step = step
        files.write(JOURNAL, json.dumps(asdict(self), indent=1), 0o644)


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def read() -> Journal | None:
    """That of the update that has not ended.

    :raises HostError: it is damaged.
    """
    try:
        found = json.loads(JOURNAL.read_text(encoding="utf-8"))
        found["changes"] = [Change(**change) for change in found["changes"]]
        return Journal(**found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise HostError(
            f"{JOURNAL} cannot be read: {getattr(error, 'strerror', None) or 'it is damaged'}",
            f"if the site is well: rm {JOURNAL}; the packages that were there before are in {OLD}",
        ) from None


def last() -> dict[str, Any]:
    """How the last update ended: result, why, origin, changes, began, ended; empty if there was none, or
    that cannot be read any more."""
    try:
        found: dict[str, Any] = json.loads(_LAST.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(found, dict) and {"result", "why", "changes", "began", "ended"} <= found.keys()
    return found if whole else {}


def end(journal: Journal, result: str, why: str = "") -> dict[str, Any]:
    """Note how it ended; nothing is left to do then.

    :return: what :func:`last` says from now on.
    """
    told = {
        **{
            name: value
            for name, value in asdict(journal).items()
            if name not in ("step", "revisions", "automatic")
        },
        **{"result": result, "why": why, "ended": now()},
    }
    try:
        files.write(_LAST, json.dumps(told, indent=1), 0o644)
    except OSError:
        # On a disk that is full, what was kept for the way back is in the way.
        shutil.rmtree(OLD, ignore_errors=True)
        files.write(_LAST, json.dumps(told, indent=1), 0o644)
    forget()
    return told


def see_none(why: str, *, otherwise: str = "") -> None:
    """:param why: what may not happen meanwhile: the way back would undo it.
    :param otherwise: what else there is to do.

    :raises HostError: an update has not ended.
    """
    if read():
        raise HostError(
            f"{why} while an update has not ended", f"microblog update --finish ends it{otherwise}"
        )


def forget() -> None:
    """As if it had not begun; what was kept for the way back goes."""
    if FOLDER.is_dir():
        JOURNAL.unlink(missing_ok=True)
        files.sync_directory(FOLDER)
    shutil.rmtree(OLD, ignore_errors=True)


@contextmanager
def sole() -> Iterator[bool]:
    """Whether nobody else is at an update; as long as this lasts, nobody else is."""
    layout.RUN.mkdir(mode=0o755, exist_ok=True)
    with _LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
