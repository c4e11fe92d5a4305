"""What ``status`` and ``doctor`` see, kept for pages that must not wait for them."""

import json
import os
import time
from contextlib import suppress
from typing import Any

from microblog import protocol
from microblog.errors import HostError
from microblog.host.agent import jobs
from microblog.host.health.doctor import doctor
from microblog.host.health.status import status
from microblog.host.machine import files, layout
from microblog.host.site import secrets

# Asked more often, it is answered from what was seen.
_FRESH_SECONDS = 30.0


def look(fresh: bool = False) -> dict[str, Any]:
    """Look at the machine, and keep what is seen for the application to read.

    :param fresh: what somebody has seen a moment ago is not good enough.
    """
    asked = time.time()
    # Who comes second gets what the first has seen.
    with jobs.sole("look.lock"):
        known = _known()
        if known and (known["at"] >= asked if fresh else known["at"] > asked - _FRESH_SECONDS):
            return known
        return _look()


def _look() -> dict[str, Any]:
    told: dict[str, Any] = {"at": time.time(), "facts": {}}
    # Where the settings cannot be read, the doctor says why.
    with suppress(HostError):
        told["facts"] = {
            name: {"ok": fact.ok, "text": fact.text, **fact.values} for name, fact in status().items()
        }
    told["findings"] = [vars(finding) for finding in doctor()]
    _, gid = layout.user_ids()
    told = secrets.cleaned(told)
    files.write(protocol.SEEN, json.dumps(told), 0o640, os.getuid(), gid)
    return told


def _known() -> "dict[str, Any] | None":
    try:
        found: dict[str, Any] = json.loads(protocol.SEEN.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    # A clock that was set back must not keep it for ever.
    return found if found["at"] <= time.time() else None
