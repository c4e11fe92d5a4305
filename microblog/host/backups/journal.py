"""What became of the last backups: when one was sent elsewhere, drilled, and what has failed.

One JSON file beside the backups, root's alone. Names are ``since`` (the first night), ``sent``, ``drilled``,
``failed`` (by step) and ``told`` (when administrators last got mail).
"""

import json
import time
from typing import Any

from microblog.errors import HostError
from microblog.host.machine import files, layout

STEPS = ("backup", "send", "drill")


def read() -> dict[str, Any]:
    """All of it; empty where there is nothing, or nothing that can be read."""
    try:
        found = json.loads((layout.BACKUPS / ".journal.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note(**changes: Any) -> None:
    """Set entries; one that is None goes."""
    entries = {**read(), **changes}
    kept = {name: value for name, value in entries.items() if value is not None}
    layout.BACKUPS.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(layout.BACKUPS / ".journal.json", json.dumps(kept, indent=1) + "\n", 0o600)


def done(step: str, **entries: Any) -> None:
    """A step has come to its end."""
    failed = read().get("failed", {})
    failed.pop(step, None)
    note(failed=failed or None, **entries)


def failed(step: str, error: HostError) -> None:
    """A step has not; when it failed first stays."""
    known = read().get("failed", {})
    first = known.get(step, {}).get("first", time.time())
    entry = {"first": first, "when": time.time(), "message": error.message, "hint": error.hint}
    note(failed={**known, step: entry})
