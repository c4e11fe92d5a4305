"""Plugs are pulled under a mix of readers and writers; then all that was acknowledged is there, once."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import changes
import galera
import machines
import pytest
import rounds
from checker import Verdict, judge
from fleets import Fleet
from machines import Machine
from people import Mix, Request, Visitor, arrivals
from rounds import Round
from windows import AFTER, BEFORE, Share, around

from builder.core import paths

SESSIONS = 8
# Before the fault, and after all is to be well again, in seconds.
CALM = 2.0


def settle(fleet: Fleet) -> None:
    galera.wait_until("all nodes serve", lambda: all(node.serves() for node in fleet.nodes))
    galera.wait_until("all machines are ready", lambda: all(app.is_ready() for app in fleet.apps))
    if fleet.balancers:
        fleet.leading()
    galera.wait_until("all balancers are well", lambda: all(one.is_well() for one in fleet.balancers))
    galera.wait_until("the site answers", fleet.answers)


def everywhere(fleet: Fleet) -> list[str]:
    """The posts, which all nodes have."""
    last, *others = [sorted(machines.posts(node)) for node in reversed(fleet.nodes)]
    assert all(other == last for other in others)
    return last


@pytest.fixture(autouse=True)
def mended(fleet: Fleet) -> Iterator[None]:
    """A round that failed leaves none of it to the next one."""
    yield
    for machine in (*fleet.nodes, *fleet.apps, *fleet.balancers):
        machine.signal(signal.SIGCONT)
    for app in fleet.apps:
        if app.process is None or app.process.poll() is not None:
            app.start()
    for node in fleet.nodes:
        if node.process is None or node.process.poll() is not None:
            node.start(fleet.nodes)
    for one in fleet.balancers:
        if not one.processes:
            one.start()


@pytest.mark.parametrize(
    "drill",
    [
        pytest.param(drill, id=drill.name, marks=() if drill.everyday else pytest.mark.thorough)
        for drill in (*changes.ROUNDS, *rounds.ROUNDS)
    ],
)
def test_a_plug_is_pulled(fleet: Fleet, drill: Round, record_property: Callable[[str, object], None]) -> None:
    with drill.around(fleet) if drill.around else nullcontext():
        settle(fleet)
        before = set(everywhere(fleet))
        mix = Mix([fleet.site], fleet.people(SESSIONS), fleet.authority)
        visitor = Visitor([fleet.site], fleet.authority)
        visitor.log_in(*fleet.people(1))
        with arrivals(visitor) as visits, mix.beside():
            time.sleep(CALM + BEFORE)
            moments = [time.monotonic() for _ in drill.fault(fleet)]
            over = time.monotonic()
            time.sleep(AFTER + CALM)
        settle(fleet)
    verdict = judge(mix.writes, [body for body in everywhere(fleet) if body not in before])
    eight, new = around(mix.requests, moments), around(visits, moments)
    record_property(
        "table: faults",
        {
            "fault": drill.name,
            "seconds": round(over - moments[0]),
            **windows("eight people", *eight),
            **windows("arrivals", *new),
            "no arrival answered for (s)": gap(answered(visits)),
            "slowest (s)": slowest(mix),
            **posts(verdict),
        },
    )
    assert verdict.good, verdict
    assert not verdict.unknown
    assert verdict.written > SESSIONS
    if not drill.outage:
        assert not eight[1].failed
        assert not new[1].failed
        # What fails with a machine is what it was at.
        assert eight[0].failed <= SESSIONS + len(mix.requests) // 100
        assert new[0].failed <= 1 + new[0].asked * drill.arrivals / 100


def windows(whose: str, near: Share, other: Share) -> dict[str, object]:
    return {
        f"{whose}: failed at a change": str(near),
        f"{whose}: %": near.percent,
        f"{whose}: failed otherwise": str(other),
    }


def row(mix: Mix, verdict: Verdict, began: float, over: float) -> dict[str, object]:
    return {
        "seconds": round(over - began),
        "requests": len(mix.requests),
        "failed": sum(request.failed for request in mix.requests),
        "slowest (s)": slowest(mix),
        "answered nobody for (s)": gap(answered(mix.requests)),
        **posts(verdict),
    }


def slowest(mix: Mix) -> float:
    return round(max(request.took for request in mix.requests), 1)


def posts(verdict: Verdict) -> dict[str, object]:
    """What became of them; of none of these is it unknown."""
    return {name: value for name, value in verdict.row().items() if name != "errors"}


def answered(requests: Iterable[Request]) -> Iterator[float]:
    """When each was that was answered."""
    return (request.at for request in requests if not request.failed)


def gap(answered: Iterable[float]) -> float:
    """The longest time in which nobody was answered, in seconds."""
    return round(max((later - sooner for sooner, later in pairwise(sorted(answered))), default=0.0), 1)


# Who is at odds with whom: two accounts, in four browsers each.
CROWD = 4
POSTS = 120


def enough(mix: Mix) -> bool:
    return len(mix.writes) >= POSTS


def two_writers(
    fleet: Fleet, folder: Path, root: Path, over: Callable[[Mix], bool] = enough
) -> tuple[Mix, Verdict]:  # fmt: skip
    """Two machines that write to two nodes, whose commits meet; every fifth answer is not heard.

    :param over: whether it has gone on for long enough.
    """
    settle(fleet)
    before = set(everywhere(fleet))
    apps = [Machine(folder, node.url(), root) for node in fleet.nodes[:2]]
    mix = Mix([app.address for app in apps], fleet.people(2) * CROWD, unheard=5)
    try:
        for app in apps:
            app.start()
        with mix.beside():
            galera.wait_until("there are enough posts", lambda: over(mix))
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
    root = machines.broken(
        tmp_path / "root", "microblog/units.py", "TRIES, MEETINGS = 10, 200", "TRIES, MEETINGS = 1, 1"
    )

    def seen(mix: Mix) -> bool:
        return any(request.status == 503 for request in [*mix.requests])

    # How often commits meet is chance.
    mix, _ = two_writers(fleet, tmp_path, root, lambda mix: seen(mix) or len(mix.writes) >= 4 * POSTS)
    assert seen(mix)


def test_without_the_token_it_would_be_seen(fleet: Fleet, tmp_path: Path) -> None:
    right, wrong = "token = form.once.data or", "token ="
    root = machines.broken(tmp_path / "root", "microblog/web/posts/views.py", right, wrong)
    _, verdict = two_writers(fleet, tmp_path, root)
    assert verdict.doubled
