"""The power goes while people write: what was acknowledged is there afterwards.

It goes for the second machine; the first reboots in order meanwhile.
"""

import re
import threading

import pytest
from visitor import Visitor

from builder.core.errors import BuildError
from builder.core.progress import step

pytestmark = pytest.mark.pi

_POSTS_BEFORE_THE_CUT = 5
_ROUNDS, _THOROUGH_ROUNDS = 1, 20


def test_no_acknowledged_post_is_lost(lab, second, thorough, record_property):
    row = dict.fromkeys(("power cuts", "clean boots", "posts acknowledged", "lost"), 0)
    record_property("table: power cuts of the whole machine", row)
    visitor = Visitor(second.url)
    visitor.wait_for_site()
    visitor.register("grete", "a pass phrase that lasts")
    written: list[str] = []
    running, leave = second, None
    for number in range(_THOROUGH_ROUNDS if thorough else _ROUNDS):
        enough = threading.Event()
        writer = threading.Thread(target=_write, args=(visitor, number, written, enough))
        writer.start()
        assert enough.wait(600), "no posts are acknowledged"
        running.pull_plug()
        row["power cuts"] += 1
        writer.join()
        if leave:
            leave.__exit__(None, None, None)
        leave = lab.boot("second", named=False, console=f"power-{number + 1}")
        running = leave.__enter__()
        with step(f"Booting after power cut {number + 1}", "The machine answers") as now:
            running.wait_for_site(now)
            running.wait_for_ssh(now)
        assert running.run("systemctl --failed --no-legend --plain || true") == ""
        assert "ok" in running.run(
            'sudo -u microblog python3 -c "import sqlite3; print(sqlite3.connect('
            "'/var/lib/microblog/microblog.db').execute('PRAGMA integrity_check').fetchone()[0])\""
        )
        visitor.url = running.url
        lost = _lost(visitor, written)
        row["clean boots"] += 1
        row["posts acknowledged"] = len(written)
        row["lost"] = len(lost)
        assert not lost
    leave.__exit__(None, None, None)


def _write(visitor: Visitor, number: int, written: list[str], enough: threading.Event) -> None:
    """Write posts until the machine is gone; remember those that it acknowledged."""
    for count in range(1000):
        text = f"post {number}-{count}"
        try:
            if not visitor.write(text).ok:
                return
        except (OSError, AssertionError, BuildError):
            return
        written.append(text)
        if count >= _POSTS_BEFORE_THE_CUT:
            enough.set()


def _lost(visitor: Visitor, written: list[str]) -> set[str]:
    found: set[str] = set()
    path: str | None = "/user/grete"
    while path:
        page = visitor.get(path).text
        found.update(re.findall(r"post \d+-\d+", page))
        older = re.search(r'href="(/user/grete\?before=[^"]+)"', page)
        path = older[1].replace("&amp;", "&") if older else None
    return set(written) - found
