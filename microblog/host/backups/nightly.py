"""Each night: a backup, sent elsewhere, and every week tried; administrators hear of what fails.

Each step is done whatever became of the others.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from microblog.errors import HostError
from microblog.host.backups import backup, drill, elsewhere, journal
from microblog.host.site import telling

# So that a night's clock may be a little early.
_TOLD_SECONDS = 20 * 3600
_WHAT = {
    "backup": "No backup was made",
    "send": "The backup was not sent to its second place",
    "drill": "The last backup could not be restored in the weekly drill",
}


def nightly(say: Callable[[str], None]) -> tuple[Path, dict[str, Any]]:
    """What the timer does.

    :return: the local backup, which stays whatever else fails; its manifest.
    :raises HostError: the first thing that failed; all were tried, and told.
    """
    # Where there is no room to note it, a backup is needed all the more.
    with suppress(HostError):
        if "since" not in journal.read():
            journal.note(since=time.time())
    errors: list[HostError] = []
    made: tuple[Path, dict[str, Any]] | None = None
    try:
        made = backup.backup(kind="daily")
        journal.done("backup")
    except backup.NothingThere:
        raise
    except HostError as error:
        journal.failed("backup", error)
        errors.append(error)
    if made:
        try:
            elsewhere.send(*made, say)
        except HostError as error:
            errors.append(error)
        if drill.due():
            try:
                drill.drill(say)
            except HostError as error:
                errors.append(error)
    if errors:
        tell(say)
        raise errors[0]
    assert made  # noqa: S101
    return made


def failures() -> list[tuple[str, str, str]]:
    """What has failed and was not mended since: the step, what is wrong, the way out."""
    failed = journal.read().get("failed", {})
    return [
        (step, f"{_WHAT[step]}: {failed[step]['message']}", failed[step]["hint"])
        for step in journal.STEPS
        if step in failed
    ]


def tell(say: Callable[[str], None]) -> None:
    """Write to the administrators, once a day at most."""
    found = failures()
    if not found or was_told():
        return
    lines = [line for _, what, hint in found for line in (f"{what}.", f"  then: {hint}", "")]
    if telling.tell("backups need you", "\n".join([*lines, "microblog status tells more."]), say):
        journal.note(told=time.time())


def was_told() -> bool:
    """Whether administrators got mail about backups today."""
    told: float = journal.read().get("told", 0.0)
    return time.time() - told < _TOLD_SECONDS
