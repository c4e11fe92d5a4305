"""What a request costs, in time of a processor, by who spends it.

On one computer machines only share what there is; of machines of their own, this says how many are needed."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import galera
import machines
import pytest
from fleets import NAMES, SYNC
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


@pytest.mark.thorough
@pytest.mark.parametrize("size", [1, 3], ids=["one database", "three databases"])
def test_what_a_request_costs(
    size: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    names = list(NAMES)
    with galera.cluster(SYNC, size=size) as nodes:
        machines.prepare(nodes[0], names)
        for count, spread in ((1, False),) if size == 1 else ((1, False), (2, False), (3, False), (3, True)):
            apps = [Machine(tmp_path, nodes[number if spread else 0].url()) for number in range(count)]
            try:
                for app in apps:
                    app.start()
                mix = Mix([app.address for app in apps], [names.pop() for _ in range(SESSIONS)])
                with mix.beside():
                    began, before = len(mix.requests), _spent(apps, nodes)
                    time.sleep(SECONDS)
                    requests, after = len(mix.requests) - began, _spent(apps, nodes)
            finally:
                for app in apps:
                    app.kill()
            assert requests > SESSIONS
            assert not [request for request in mix.requests if request.failed]
            cost = [1000 * (later - sooner) / requests for sooner, later in zip(before, after, strict=True)]
            record_property(
                "table: costs",
                {
                    "databases": size,
                    "machines of the application": count,
                    "written to": "each machine's own node" if spread else "one node",
                    "requests": requests,
                    "application (ms)": round(cost[0], 2),
                    "the first database (ms)": round(cost[1], 2),
                    "each other one (ms)": round(cost[2] / (size - 1), 2) if size > 1 else "",
                },
            )


def _spent(apps: list[Machine], nodes: list[galera.Node]) -> tuple[float, float, float]:
    def of(*runners: "Machine | galera.Node") -> float:
        return spent(runner.process.pid for runner in runners if runner.process is not None)

    return of(*apps), of(nodes[0]), of(*nodes[1:]) if nodes[1:] else 0.0
