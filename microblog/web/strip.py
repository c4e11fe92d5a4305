"""The line on each page of an administrator's while something is wrong with the machine.

Pages do not wait for it: what the agent has seen lies in a file, which is read when it is another; when it
is old, the agent is asked to look again, after the page was sent.
"""

import json
import threading
import time
from contextlib import suppress
from typing import Any

from flask import after_this_request, has_request_context
from flask_login import current_user
from markupsafe import Markup

from microblog import protocol
from microblog.i18n import _n

# After this many seconds the agent looks again; each process asks it no more often than that.
OLD = 300.0
_asked = [0.0]
_lock = threading.Lock()
# The file's time and size, and what is in it.
_kept: list[Any] = [None, None]


def seen() -> dict[str, Any] | None:
    """What the agent has seen when it last looked: ``at``, ``facts``, ``findings``; None without one."""
    try:
        status = protocol.SEEN.stat()
        mark = status.st_mtime_ns, status.st_size, status.st_ino
        if _kept[0] != mark:
            _kept[:] = mark, json.loads(protocol.SEEN.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found: dict[str, Any] | None = _kept[1]
    return found


def strip() -> Markup:
    """The line, where there is something to say and somebody to say it to."""
    if not (has_request_context() and current_user.is_admin):
        return Markup("")
    found = seen()
    if found is None or not 0 <= time.time() - found["at"] < OLD:
        look_later()
    wrong = [one for one in found["findings"] if one["severity"] != "note"] if found else []
    if not wrong:
        return Markup("")
    text = _n(
        "%(num)s thing is wrong with this machine.", "%(num)s things are wrong with this machine.", len(wrong)
    )
    return Markup('<p class="notice strip"><a href="/machine">{}</a></p>\n').format(text)


def look_later() -> None:
    """Have the agent look when the visitor has the page."""
    now = time.monotonic()
    with _lock:
        if now - _asked[0] < OLD / 5 or not protocol.SOCKET.exists():
            return
        _asked[0] = now

    @after_this_request
    def ask(response: Any) -> Any:
        response.call_on_close(_ask)
        return response


def _ask() -> None:
    with suppress(protocol.Away):
        protocol.tell("look", "a page")
