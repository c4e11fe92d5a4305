"""What became of the last backups: when one was sent elsewhere, drilled, and what has failed.

One JSON file beside the backups, root's alone. Names are ``since`` (the first night), ``sent``, ``drilled``,
``failed`` (by step) and ``told`` (when administrators last got mail).
"""

import json
import time
from contextlib import suppress
from typing import Any

from microblog.errors import HostError
from microblog.host.machine import files, layout

STEPS = ("backup", "send", "drill")
# A clock may be set a little.
_AHEAD_SECONDS = 3600.0


def read() -> dict[str, Any]:
    """All of it; empty where there is nothing, or nothing that can be read.

    What lies ahead was noted by a clock that was wrong: it is left out, else it would be young for years.
    """
    try:
        found = json.loads((layout.BACKUPS / ".journal.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if _when(value) <= time.time() + _AHEAD_SECONDS}


def _when(value: Any) -> float:
    """When an entry was noted; 0 where it does not say."""
    when = value.get("when") if isinstance(value, dict) else value
    return when if isinstance(when, (int, float)) else 0.0


def note(**changes: Any) -> None:
    """Set entries; one that is None goes.

    :raises HostError: they cannot be written down.
    """
    entries = {**read(), **changes}
    kept = {name: value for name, value in entries.items() if value is not None}
    try:
        layout.BACKUPS.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(layout.BACKUPS / ".journal.json", json.dumps(kept, indent=1) + "\n", 0o600)
    except OSError as error:
        raise HostError(f"{error.filename}: {error.strerror}", "make room there, or mend that") from None


def done(step: str, **entries: Any) -> None:
    """A step has come to its end."""
    failed = read().get("failed", {})
    failed.pop(step, None)
    note(failed=failed or None, **entries)


def failed(step: str, error: HostError) -> None:
    """A step has not; when it failed first stays. Its error is told even where this cannot be noted."""
    known = read().get("failed", {})
    first = known.get(step, {}).get("first", time.time())
    entry = {"first": first, "when": time.time(), "message": error.message, "hint": error.hint}
    with suppress(HostError):
        note(failed={**known, step: entry})
