"""Plugs are pulled under a mix of readers and writers; then all that was acknowledged is there, once."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import galera
import machines
import pytest
from checker import Verdict, judge
from fleets import SYNC, Fleet
from machines import Machine
from people import Mix

from builder.core import paths

SESSIONS = 8
# Before the fault, and after it is over.
CALM = 3.0


def settle(fleet: Fleet) -> None:
    galera.wait_until("all nodes serve", lambda: all(node.serves() for node in fleet.nodes))
    galera.wait_until("all machines are ready", lambda: all(app.is_ready() for app in fleet.apps))

    galera.wait_until("the site answers", fleet.answers)


def everywhere(fleet: Fleet) -> list[str]:
    """The posts, which all nodes have."""
    last, *others = [sorted(machines.posts(node)) for node in reversed(fleet.nodes)]
    assert all(other == last for other in others)
    return last


def kill_the_writer(fleet: Fleet) -> None:
    fleet.nodes[0].kill()
    time.sleep(6)
    fleet.nodes[0].start(fleet.nodes, SYNC)
    galera.wait_until("it is back", fleet.nodes[0].serves)


def freeze_the_writer(fleet: Fleet) -> None:
    fleet.nodes[0].signal(signal.SIGSTOP)
    time.sleep(10)
    fleet.nodes[0].signal(signal.SIGCONT)
    galera.wait_until("it is back", fleet.nodes[0].serves)


def kill_one_that_stands_by(fleet: Fleet) -> None:
    fleet.nodes[2].kill()
    time.sleep(3)
    fleet.nodes[2].start(fleet.nodes, SYNC)
    galera.wait_until("it is back", fleet.nodes[2].serves)


def kill_a_machine(fleet: Fleet) -> None:
    fleet.apps[1].kill()
    time.sleep(3)
    fleet.apps[1].start()


def restart_each_machine(fleet: Fleet) -> None:
    for app in fleet.apps:
        app.stop()
        app.start()
        # As long as a balancer takes to see it.
        time.sleep(2)


@pytest.mark.parametrize(
    "fault, most",
    [
        (restart_each_machine, 0),
        (kill_a_machine, 30),
        (kill_one_that_stands_by, 30),
        (kill_the_writer, 30),
        (freeze_the_writer, 30),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_plug_is_pulled(
    fleet: Fleet,
    fault: Callable[[Fleet], None],
    most: int,
    record_property: Callable[[str, object], None],
) -> None:
    settle(fleet)
    before = set(everywhere(fleet))
    mix = Mix([fleet.site], fleet.people(SESSIONS))
    with mix.beside():
        time.sleep(CALM)
        began = time.monotonic()
        fault(fleet)
        over = time.monotonic()
        time.sleep(CALM)
    settle(fleet)
    verdict = judge(mix.writes, [body for body in everywhere(fleet) if body not in before])
    failed = [request for request in mix.requests if request.failed]
    record_property(
        "table: faults", {"fault": fault.__name__.replace("_", " "), **row(mix, verdict, began, over)}
    )
    assert verdict.good, verdict
    assert not verdict.unknown
    assert not [request for request in failed if not began <= request.at <= over + 1]
    assert len(failed) <= most
    assert verdict.written > SESSIONS


def row(mix: Mix, verdict: Verdict, began: float, over: float) -> dict[str, object]:
    slowest = max(request.took for request in mix.requests)
    return {
        "seconds": round(over - began),
        "requests": len(mix.requests),
        "failed": sum(request.failed for request in mix.requests),
        "slowest (s)": round(slowest, 1),
        **{name: value for name, value in verdict.row().items() if name != "errors"},
    }


# Who is at odds with whom: two accounts, in four browsers each.
CROWD = 4
POSTS = 120


def two_writers(fleet: Fleet, folder: Path, root: Path) -> tuple[Mix, Verdict]:
    """Two machines that write to two nodes, whose commits meet; every fifth answer is not heard."""
    settle(fleet)
    before = set(everywhere(fleet))
    apps = [Machine(folder, node.url(), root) for node in fleet.nodes[:2]]
    mix = Mix([app.address for app in apps], fleet.people(2) * CROWD, unheard=5)
    try:
        for app in apps:
            app.start()
        with mix.beside():
            galera.wait_until("there are enough posts", lambda: len(mix.writes) >= POSTS)
    finally:
        for app in apps:
            app.kill()
    return mix, judge(mix.writes, [body for body in everywhere(fleet) if body not in before])


def test_two_writers_and_answers_that_are_lost(
    fleet: Fleet, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    mix, verdict = two_writers(fleet, tmp_path, paths.ROOT)
    record_property("table: two writers", row(mix, verdict, began, time.monotonic()))
    assert verdict.good, verdict
    assert not [request for request in mix.requests if request.failed]


def test_without_another_try_it_would_be_seen(fleet: Fleet, tmp_path: Path) -> None:
    root = machines.broken(tmp_path / "root", "microblog/units.py", "TRIES = 10", "TRIES = 1")
    mix, _ = two_writers(fleet, tmp_path, root)
    assert [request for request in mix.requests if request.status == 503]


def test_without_the_token_it_would_be_seen(fleet: Fleet, tmp_path: Path) -> None:
    right, wrong = "token = form.once.data or", "token ="
    root = machines.broken(tmp_path / "root", "microblog/web/posts/views.py", right, wrong)
    _, verdict = two_writers(fleet, tmp_path, root)
    assert verdict.doubled
