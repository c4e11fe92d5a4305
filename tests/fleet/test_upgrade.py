"""The application's machines come to the next version one after the other, while people read and write."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from subprocess import CalledProcessError

import balancer
import galera
import machines
import pytest
import told
import versions
from balancer import Balancer, Databases
from checker import judge
from fleets import Fleet
from galera import Node
from machines import Machine
from network import Place
from people import Mix, Visitor

from builder.core.paths import ROOT
from microblog import units

NEEDS = versions.NEEDS
# What came with it: many tables, and four columns and three indexes of the table of posts.
REVISION = "0009"
DATABASE = "upgraded"
SESSIONS = 8
# Those that are there before, and of how many authors.
SOME, MANY, AUTHORS = 3_000, 1_000_000, 1_000
_PIECE = 20_000
# A browser waits for longer than a balancer.
_BROWSERS = 90
NAMES = [f"reader{number:02}" for number in range(SESSIONS)]


@dataclass
class Site:
    """Two machines of the application, of a version before this one, and what leads to them."""

    apps: list[Machine]
    address: str
    authority: Path

    def upgrade(self, root: Path) -> None:
        """One machine after the other, as docs/fleet.md has it; who fails is the last."""
        for app in self.apps:
            # As the package does: the version before serves on meanwhile, and then ends in order.
            machines.migrate(app.url, root)
            app.stop()
            app.root = root
            app.start()


@contextmanager
def site(folder: Path, nodes: list[Node], posts: int) -> Iterator[Site]:
    root = versions.before(REVISION, folder / "before")
    # With the patience that versions have since: what takes long is refused to who writes meanwhile.
    module = root / "microblog/units.py"
    text = module.read_text()
    for name, was, now in (("TRIES", 10, units.MEETINGS), ("PATIENCE", 10.0, units.MEETS)):
        assert text.count(f"{name} = {was}\n") == 1
        text = text.replace(f"{name} = {was}\n", f"{name} = {now}\n")
    module.write_text(text)
    galera.make_database(nodes[0], DATABASE)
    machines.prepare(nodes[0], NAMES, root, DATABASE)
    fill(nodes[0], posts)
    with ExitStack() as stack:
        # A socket's path may have some 100 characters.
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="microblog-")))
        places = {
            "database": [node.place for node in nodes],
            "app": [Place(), Place()],
            "balancer": [Place()],
        }
        members, apps = told.tell(scratch / "told", places), []
        for one in members["app"]:
            way = Databases(scratch / f"way-{one.machine.name}", one, nodes)
            stack.enter_context(balancer.running(way))
            # The databases are another fleet's, with its authority.
            url = galera.url(nodes[0].told, way.port, name=DATABASE)
            apps.append(Machine(folder, url, root, one))
            stack.callback(apps[-1].kill)
            apps[-1].start()
        (one,) = members["balancer"]
        front = Balancer(scratch / "front", one, apps)
        stack.enter_context(balancer.running(front))
        visitor = Visitor([front.address], one.authority)
        galera.wait_until("the site answers", lambda: visitor.ask(0, "GET", "/login").status == 200)
        yield Site(apps, front.address, one.authority)


def fill(node: Node, posts: int) -> None:
    """Write some posts. Not for the search: the migration does not touch that."""
    with node.connect() as connection, connection.cursor() as cursor:
        connection.select_db(DATABASE)
        authors = [
            (f"author{number}", f"author{number}", f"author{number}@example.org") for number in range(AUTHORS)
        ]
        cursor.executemany(
            "INSERT INTO users (username, name_key, email, password_hash, created_at)"
            " VALUES (%s, %s, %s, '', UTC_TIMESTAMP())",
            authors,
        )
        cursor.execute("SELECT COUNT(*) FROM users WHERE username LIKE 'author%'")
        assert cursor.fetchall() == ((AUTHORS,),)
        cursor.execute("CREATE TEMPORARY TABLE authors (number INT PRIMARY KEY, id INT) ENGINE=MEMORY")
        cursor.execute("SET @number = -1")
        cursor.execute(
            "INSERT INTO authors SELECT @number := @number + 1, id FROM users WHERE username LIKE 'author%'"
        )
        for start in range(0, posts, _PIECE):
            end = min(start + _PIECE, posts)
            # In pieces: a cluster holds a transaction in memory, at each node.
            cursor.execute(
                "INSERT INTO posts (author_id, body, created_at) SELECT authors.id, CONCAT('old ', seq),"  # noqa: S608
                f" UTC_TIMESTAMP() - INTERVAL {posts} - seq SECOND FROM seq_{start}_to_{end - 1}"
                f" JOIN authors ON authors.number = seq % {AUTHORS}"
            )


_FAILS = '''"""fails"""
from alembic import op

revision, down_revision, branch_labels, depends_on = "9001", "{head}", None, None
expands = True


def upgrade() -> None:
    op.execute("CREATE TABLE IF NOT EXISTS half_way (x INT)")
    raise RuntimeError("no such luck")
'''


def check(folder: Path, nodes: list[Node], posts: int) -> dict[str, object]:
    """Three upgrades, of which the first two fail, under a mix of readers and writers."""
    heads = max(versions.FILES)
    unmigrated = machines.changed(folder / "unmigrated")
    (unmigrated / "microblog/migrations/versions/9001_fails.py").write_text(_FAILS.format(head=heads))
    unwell = machines.broken(
        folder / "unwell",
        "microblog/gunicorn_config.py",
        'worker_class = "gthread"',
        'raise SystemExit("unwell")',
    )
    with site(folder, nodes, posts) as made:
        first, second = made.apps
        old, process = first.root, second.process
        mix = Mix([made.address], NAMES, made.authority, patience=_BROWSERS)
        with mix.beside():
            began = time.monotonic()
            for root in (unmigrated, unwell):
                with pytest.raises((AssertionError, CalledProcessError)):
                    made.upgrade(root)
                # It has stopped there.
                assert (second.root, second.process) == (old, process)
                galera.wait_until("the second one serves", second.is_ready)
                first.stop()
                first.root = old
                first.start()
            failing = time.monotonic()
            made.upgrade(ROOT)
            over = time.monotonic()
            galera.wait_until("they write by the new version", lambda: _since(mix, over) > SESSIONS)
        new, *others = [sorted(machines.posts(node, DATABASE, but_for="old ")) for node in reversed(nodes)]
        assert all(other == new for other in others)
        for node in nodes:
            ((kept,),) = node.ask(f"SELECT COUNT(*) FROM {DATABASE}.posts WHERE body LIKE 'old %'")  # noqa: S608
            assert kept == posts
    verdict = judge(mix.writes, new)
    assert verdict.good, verdict
    taken = sorted(request.at for request in mix.requests if request.method == "POST" and not request.failed)
    return {
        "posts before": posts,
        "the two that fail (s)": round(failing - began),
        "the upgrade (s)": round(over - failing),
        "requests": len(mix.requests),
        "failed": sum(request.failed for request in mix.requests),
        "slowest (s)": round(max(request.took for request in mix.requests), 1),
        "no post was taken for (s)": round(max(later - sooner for sooner, later in pairwise(taken)), 1),
        "posts": verdict.written,
        "not known": len(verdict.unknown),
    }


def _since(mix: Mix, moment: float) -> int:
    return sum(request.at > moment for request in mix.requests)


def test_machines_come_to_the_next_version_one_after_the_other(
    fleet: Fleet, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """And where that fails on the first, it stops there: the second one serves on."""
    row = check(tmp_path, fleet.nodes, SOME)
    record_property("table: rolling upgrades", row)
    assert (row["failed"], row["not known"]) == (0, 0)


@pytest.mark.thorough
def test_a_million_posts_are_migrated_under_way(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Likewise, where each statement of the migration takes its time."""
    with galera.cluster("innodb-buffer-pool-size = 256M") as nodes:
        row = check(tmp_path, nodes, MANY)
    record_property("table: rolling upgrades", row)
    # A cluster takes nothing for a table while an index of it is made, and whoever writes waits. Where that
    # is longer than they can, on a machine that is that slow, they are told so.
    assert row["failed"] == 0 or float(str(row["no post was taken for (s)"])) > units.MEETS
