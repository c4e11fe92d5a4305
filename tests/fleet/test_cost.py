"""What a request costs, in time of a processor, by who spends it.

On one computer machines only share what there is; of machines of their own, this says how many are needed."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import galera
import machines
import pytest
from fleets import NAMES
from galera import Node
from machines import Machine
from people import Mix

SESSIONS, SECONDS = 6, 20
_TICKS = os.sysconf("SC_CLK_TCK")


def spent(sessions: Iterable[int]) -> float:
    """Seconds of a processor that processes of these sessions have had, and those of theirs that are gone."""
    wanted, total = set(sessions), 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) in wanted:
            total += sum(map(int, fields[11:15])) / _TICKS
    return total


class Cost(NamedTuple):
    """What a request costs, in milliseconds of a processor: the application's machines, the first database,
    and all others.

    :ivar posts: which part of the requests were posts; ``wait``: their median, in milliseconds.
    """

    requests: int
    application: float
    first: float
    others: float
    posts: float = 0.0
    wait: float = 0.0

    def less(self, reading: "Cost") -> "Cost":
        """Of a post alone: what is left when the pages' part is taken away."""
        pairs = zip(self[1:4], reading[1:4], strict=True)
        alone = [(all_of - (1 - self.posts) * page) / self.posts for all_of, page in pairs]
        return self._replace(application=alone[0], first=alone[1], others=alone[2])


def measure(apps: list[Machine], nodes: list[Node], names: list[str], *, writes: bool) -> Cost:
    mix = Mix([app.address for app in apps], names, writes_too=writes)
    with mix.beside():
        began, before = len(mix.requests), _spent(apps, nodes)
        time.sleep(SECONDS)
        seen, after = mix.requests[began:], _spent(apps, nodes)
    assert len(seen) > SESSIONS
    assert not [request for request in mix.requests if request.failed]
    waits = [request.took for request in seen if request.method == "POST"]
    spent_by = (1000 * (later - sooner) / len(seen) for sooner, later in zip(before, after, strict=True))
    wait = 1000 * median(waits) if waits else 0.0
    return Cost(len(seen), *spent_by, posts=len(waits) / len(seen), wait=wait)


@pytest.mark.thorough
@pytest.mark.parametrize("size", [1, 3], ids=["one database", "three databases"])
def test_what_a_request_costs(
    size: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    names = list(NAMES)

    def some() -> list[str]:
        return [names.pop() for _ in range(SESSIONS)]

    with galera.cluster(size=size) as nodes:
        machines.prepare(nodes[0], names)
        for count, spread in ((1, False),) if size == 1 else ((1, False), (2, False), (3, False), (3, True)):
            apps = [Machine(tmp_path, nodes[number if spread else 0].url()) for number in range(count)]
            try:
                for app in apps:
                    app.start()
                cost = measure(apps, nodes, some(), writes=True)
                reading = measure(apps, nodes, some(), writes=False)
            finally:
                for app in apps:
                    app.kill()
            for what, one in (("any", cost), ("a page", reading), ("a post", cost.less(reading))):
                others = round(one.others / (size - 1), 2) if size > 1 else ""
                record_property(
                    "table: costs",
                    {
                        "request": what,
                        "databases": size,
                        "machines of the application": count,
                        "written to": "each machine's own node" if spread else "one node",
                        "application (ms)": round(one.application, 2),
                        "the first database (ms)": round(one.first, 2),
                        "each other one (ms)": others,
                        "waited for (ms)": round(one.wait, 1) if what == "a post" else "",
                    },
                )


def _spent(apps: list[Machine], nodes: list[Node]) -> tuple[float, float, float]:
    def of(*runners: "Machine | Node") -> float:
        return spent(runner.process.pid for runner in runners if runner.process is not None)

    return of(*apps), of(nodes[0]), of(*nodes[1:]) if nodes[1:] else 0.0
