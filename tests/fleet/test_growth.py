"""A site grows into a fleet, and goes back to one machine: by a backup and its restore; how long it takes."""

import hashlib
import io
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import galera
import machines
import pytest
import sqlalchemy as sa
from fleets import NAMES, Fleet
from people import Visitor
from test_fleet import everywhere, settle
from test_restore import as_ourselves, backup

from microblog.config import Config
from microblog.host.backups import restore
from microblog.host.database import rows

POSTS = 100_000


@contextmanager
def one_machine(kind: str, folder: Path) -> Iterator[str]:
    """The address of a database on one machine, with the accounts and nothing else."""
    if kind == "SQLite":
        url = f"sqlite:///{folder / 'site.sqlite'}"
        machines.prepare_at(url, NAMES)
        yield url
        return
    with galera.cluster(size=1) as (node,):
        machines.prepare(node, NAMES)
        yield node.url()


def write(url: str) -> None:
    """Many posts, by all."""
    bodies = ({"author": number % len(NAMES) + 1, "body": f"post {number}"} for number in range(POSTS))
    posts = sa.text(
        "INSERT INTO posts (author_id, body, created_at) VALUES (:author, :body, '2026-01-01 00:00:00')"
    )
    engine = sa.create_engine(url)
    while some := list(itertools.islice(bodies, 1000)):
        with engine.begin() as opened:
            opened.execute(posts, some)
    engine.dispose()


_CONTENT = {
    "posts": "SELECT id, author_id, body FROM posts ORDER BY id",
    "users": "SELECT id, username, email, password_hash FROM users ORDER BY id",
}


def content(url: str) -> dict[str, str]:
    """A digest of people, and of what they wrote. Not of times: SQLite keeps parts of a second."""
    with rows.connection(url, snapshot=True) as opened:
        found = {name: opened.exec_driver_sql(query).fetchall() for name, query in _CONTENT.items()}
    return {
        name: hashlib.sha256(repr([tuple(row) for row in some]).encode()).hexdigest()
        for name, some in found.items()
    }


class Watch:
    """Takes the time. :ivar told: what took how many seconds."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self._began = time.monotonic()

    def note(self, what: str) -> None:
        now = time.monotonic()
        self.told[what], self._began = round(now - self._began, 1), now


def put(file: io.BytesIO, manifest: "dict[str, object]", url: str) -> Callable[[], None]:
    """Load a backup beside what is there. :return: what puts it in its place."""
    beside = restore._stage(file, manifest, Config(machines.SECRET_KEY, url), lambda _: None)

    def swap() -> None:
        beside.swap([])
        beside.discard()

    return swap


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["MariaDB", "SQLite"])
def test_from_one_machine_to_a_fleet_and_back(
    fleet: Fleet,
    kind: str,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    as_ourselves(monkeypatch)
    settle(fleet)
    with one_machine(kind, tmp_path) as old:
        write(old)
        before, watch = content(old), Watch()
        made = backup(old)
        watch.note("backup of the one machine (s)")
        swap = put(*made, url)
        watch.note("loaded into the fleet (s)")
        swap()
        watch.note("put in its place (s)")
        assert content(url) == before
        assert len(everywhere(fleet)) == POSTS
        visitor = Visitor([fleet.site], fleet.authority)
        visitor.log_in(NAMES[0])
        assert f"post {POSTS - POSTS % len(NAMES)}" in visitor.ask(0, "GET", "/").text
        watch.note("looked at")
        made = backup(url)
        watch.note("backup of the fleet (s)")
        put(*made, old)()
        watch.note("restored on the one machine (s)")
        after = content(old)
    del watch.told["looked at"]
    record_property("table: growth", {"from": kind, "posts": POSTS, **watch.told})
    assert after == before
