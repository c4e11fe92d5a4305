"""What can happen to a fleet's machines: each fault is begun, lasts, and is over.

A fault yields just before each of its changes: before something ends, and before or when it comes back.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import disks
import galera
from balancer import Balancer
from fleets import Fleet
from network import Place
from people import Answer, Visitor, value_of

from builder.core.needs import Program

NEEDS = (Program("faketime", "faketime"),)
# Seconds for which a machine is frozen, or paused: neither dead nor alive; and cut off.
FROZEN, CUT = 30, 15
_HOUR = 3600
# Of somebody who wants to know, in seconds.
_PATIENT = 60


Fault = Callable[[Fleet], Iterator[None]]


class Target(Protocol):
    """A machine of any kind."""

    place: Place

    def signal(self, number: int) -> None: ...

    def kill(self) -> None: ...


Around = Callable[[Fleet], AbstractContextManager[None]]


class Round(NamedTuple):
    """:ivar name: for the table.
    :ivar fault: does it, yields at each change, and ends when it is over.
    :ivar everyday: whether it is done without ``--thorough``.
    :ivar arrivals: how many of those who arrive at a change may get no answer, in percent.
    :ivar outage: whether no database serves for longer than anybody is kept waiting.
    :ivar around: what is done before the visitors come, and after they are gone.
    """

    name: str
    fault: Fault
    everyday: bool = False
    around: "Around | None" = None
    outage: bool = False
    arrivals: float = 1.0


def _back(fleet: Fleet, number: int) -> None:
    node = fleet.nodes[number]
    if node.process is None or node.process.poll() is not None:
        node.start(fleet.nodes)
    galera.wait_until(f"node {number + 1} is back", node.serves)


def _again(fleet: Fleet, *numbers: int) -> Iterator[None]:
    """Start these at once, and wait for each."""
    yield
    for number in numbers:
        fleet.nodes[number].start(fleet.nodes)
    for number in numbers:
        _back(fleet, number)
        yield


def kill_node(number: int, *, forget: bool = False) -> Fault:
    """:param forget: it comes back without its data, and gets all of them (SST); else what it lacks (IST)."""

    def fault(fleet: Fleet) -> Iterator[None]:
        node = fleet.nodes[number]
        yield
        node.kill()
        time.sleep(6)
        if forget:
            node.forget()
        said = node.log.stat().st_size
        yield from _again(fleet, number)
        log = node.log.read_bytes()[said:].decode(errors="replace")
        assert ("Running IST" not in log) is forget, [
            line for line in log.splitlines() if "WSREP_SST" in line
        ]

    return fault


def _pick(what: str) -> Callable[[Fleet], Target]:
    return {
        "writer": lambda fleet: fleet.nodes[0],
        "standby": lambda fleet: fleet.nodes[2],
        "application": lambda fleet: fleet.apps[1],
        "balancer": lambda fleet: fleet.leading(),
        "balancer that stands by": lambda fleet: next(
            one for one in fleet.balancers if one is not fleet.leading()
        ),
    }[what]


def freeze(what: str) -> Fault:
    def fault(fleet: Fleet) -> Iterator[None]:
        target = _pick(what)(fleet)
        yield
        target.signal(signal.SIGSTOP)
        time.sleep(FROZEN)
        yield
        target.signal(signal.SIGCONT)

    return fault


def pause(what: str) -> Fault:
    """With its kernel, as by what it runs on: nothing of it answers, neither SYN nor ARP."""

    def fault(fleet: Fleet) -> Iterator[None]:
        target = _pick(what)(fleet)
        yield
        # In this order: whoever comes in between is answered by nobody, as on a machine.
        target.place.cut(kernel=True)
        target.signal(signal.SIGSTOP)
        time.sleep(FROZEN)
        yield
        target.place.mend()
        target.signal(signal.SIGCONT)

    return fault


def cut(what: str, **ways: bool) -> Fault:
    def fault(fleet: Fleet) -> Iterator[None]:
        place = _pick(what)(fleet).place
        yield
        place.cut(**ways)
        time.sleep(CUT)
        yield
        place.mend()

    return fault


def fill_disk(number: int) -> Fault:
    def fault(fleet: Fleet) -> Iterator[None]:
        node = fleet.nodes[number]
        yield
        filled = disks.fill(node.folder)
        time.sleep(CUT)
        yield
        filled.unlink()
        # It may go on, hang, or have ended: whoever makes room starts it again.
        node.kill()
        yield from _again(fleet, number)

    return fault


def fill(what: str) -> Fault:
    """Of a machine that keeps nothing: its programs go on."""

    def fault(fleet: Fleet) -> Iterator[None]:
        target = _pick(what)(fleet)
        yield
        filled = disks.fill(target.disk)  # type: ignore[attr-defined]
        time.sleep(CUT)
        yield
        filled.unlink()

    return fault


def kill_application(fleet: Fleet) -> Iterator[None]:
    yield
    fleet.apps[1].kill()
    time.sleep(3)
    fleet.apps[1].start()
    yield


def kill_way(fleet: Fleet) -> Iterator[None]:
    """The application's way to the databases ends, and its supervisor starts it again."""
    yield
    fleet.ways[0].kill()
    time.sleep(2)
    yield
    fleet.ways[0].start()


def restart_applications(fleet: Fleet) -> Iterator[None]:
    for app in fleet.apps:
        yield
        app.stop()
        app.start()
        yield
        # As long as a balancer takes to see it.
        time.sleep(2)


def kill_balancer(what: str) -> Fault:
    def fault(fleet: Fleet) -> Iterator[None]:
        one = _pick(what)(fleet)
        yield
        one.kill()
        time.sleep(5)
        yield
        one.start()  # type: ignore[attr-defined]

    return fault


def power_is_gone(fleet: Fleet) -> Iterator[None]:
    """All databases at once; they come back together, and find each other."""
    yield
    for node in fleet.nodes:
        node.kill()
    time.sleep(2)
    yield from _again(fleet, *range(len(fleet.nodes)))


def power_is_gone_by_hand(fleet: Fleet) -> Iterator[None]:
    """All databases at once, and what they knew of each other is lost: docs/fleet.md."""
    yield
    for node in fleet.nodes:
        node.kill()
    for node in fleet.nodes:
        (node.folder / "data/gvwstate.dat").unlink(missing_ok=True)
    first = max(fleet.nodes, key=lambda node: int(node.position().partition(":")[2]))
    first.may_begin()
    first.start(fleet.nodes, new=True)
    galera.wait_until("the first is back", first.serves)
    yield
    for number in range(len(fleet.nodes)):
        _back(fleet, number)
        yield


def two_die(fleet: Fleet) -> Iterator[None]:
    """The last one does not know whether it is the last one, and serves nobody until another one is back."""
    visitor, page = _somebody(fleet)
    yield
    for number in (0, 1):
        fleet.nodes[number].kill()
    _wait_until_all_are_told(visitor, page)
    yield from _again(fleet, 0, 1)


def two_are_lost(fleet: Fleet) -> Iterator[None]:
    """They do not come back: the last one is told to go on, and others take their place (docs/fleet.md)."""
    visitor, page = _somebody(fleet)
    yield
    for number in (0, 1):
        fleet.nodes[number].kill()
    _wait_until_all_are_told(visitor, page)
    yield
    last = fleet.nodes[2]
    last.ask("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
    galera.wait_until("the last one serves", last.serves)
    galera.wait_until("the site answers", fleet.answers)
    for number in (0, 1):
        fleet.nodes[number].forget()
        yield from _again(fleet, number)


def _somebody(fleet: Fleet) -> tuple[Visitor, Answer]:
    """Who is logged in, and has the page with the form."""
    visitor = Visitor([fleet.site], fleet.authority, _PATIENT)
    visitor.log_in(*fleet.people(1))
    return visitor, visitor.ask(0, "GET", "/")


def _wait_until_all_are_told(visitor: Visitor, page: Answer) -> None:
    """Who reads and who writes is told when to come again."""
    forms = (None, {name: value_of(page, name) for name in ("csrf_token", "once")} | {"body": "lost"})

    def told(form: "dict[str, str] | None") -> bool:
        answer = visitor.ask(0, "POST" if form else "GET", "/", form)
        return (answer.status, answer.retry_after) == (503, "10") and "<h1>Not now</h1>" in answer.text

    galera.wait_until("visitors are told", lambda: all(map(told, forms)))


@dataclass
class Clock:
    """A machine's, which is set by a file (faketime(1))."""

    path: Path

    def move(self, seconds: int) -> None:
        other = self.path.with_suffix(".new")
        other.write_text(f"{seconds:+d}\n")
        other.chmod(0o644)
        other.replace(self.path)


def _library() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "faketime is installed, without its library"
    return str(found[0])


def _clock(folder: Path) -> tuple[Clock, dict[str, str]]:
    clock = Clock(folder / "clock")
    clock.move(0)
    return clock, {
        "LD_PRELOAD": _library(), "FAKETIME_TIMESTAMP_FILE": str(clock.path), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip


# Python's own sleep fails under libfaketime.
_SLEEP = """import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


def application_clock(seconds: int) -> "tuple[Fault, Around]":
    """As :func:`node_clock`, of an application's machine."""
    clocks: list[Clock] = []

    @contextmanager
    def around(fleet: Fleet) -> Iterator[None]:
        app = fleet.apps[1]

        def again() -> None:
            app.stop()
            app.start()

        made, environ = _clock(app.disk)
        (app.disk / "sitecustomize.py").write_text(_SLEEP)
        app.environ = {**environ, "PYTHONPATH": f"{app.disk}:{app.root}"}
        clocks.append(made)
        try:
            again()
            yield
        finally:
            app.environ = {}
            again()

    return partial(_moved, clocks, seconds, _log_in), around


def _keeps_address(fleet: Fleet) -> None:
    """Who has another clock knows the applications by their certificates still, at each new connection."""
    assert fleet.leading().environ


def _log_in(fleet: Fleet) -> None:
    """Each page comes from the one machine or the other: both know who logged in at either."""
    names = fleet.people(1)
    for _ in range(8):
        visitor = Visitor([fleet.site], fleet.authority, _PATIENT)
        visitor.log_in(*names)
        assert [visitor.ask(0, "GET", "/").status for _ in range(4)] == [200] * 4


def _moved(
    clocks: list[Clock], seconds: int, meanwhile: Callable[[Fleet], None], fleet: Fleet
) -> Iterator[None]:  # fmt: skip
    yield
    clocks[-1].move(seconds)
    # It looks at its file once a second.
    time.sleep(CUT)
    meanwhile(fleet)
    yield
    clocks[-1].move(0)


def node_clock(number: int, seconds: int) -> "tuple[Fault, Around]":
    """:return: the fault, and what goes around it: a node whose clock can be moved."""
    clocks: list[Clock] = []

    @contextmanager
    def around(fleet: Fleet) -> Iterator[None]:
        node = fleet.nodes[number]

        def again() -> None:
            node.kill()
            _back(fleet, number)

        made, node.environ = _clock(node.folder.parent)
        clocks.append(made)
        try:
            again()
            yield
        finally:
            node.environ = {}
            again()

    return partial(_moved, clocks, seconds, lambda _: None), around


def balancer_clock(seconds: int) -> "tuple[Fault, Around]":
    """As :func:`node_clock`, of the balancer that has the address."""
    clocks: list[Clock] = []

    @contextmanager
    def around(fleet: Fleet) -> Iterator[None]:
        leading = fleet.leading()
        one = next(one for one in fleet.balancers if one is not leading)
        made, one.environ = _clock(one.folder)
        clocks.append(made)
        try:
            _start_again(fleet, one)
            # Whoever is started again stands by: then the other one is, too.
            _start_again(fleet, leading)
            assert fleet.leading() is one
            yield
        finally:
            one.environ = {}
            _start_again(fleet, one)

    return partial(_moved, clocks, seconds, _keeps_address), around


def _start_again(fleet: Fleet, one: Balancer) -> None:
    one.kill()
    galera.wait_until(
        "the other one leads",
        lambda: any(other.has_address() for other in fleet.balancers if other is not one),
    )
    one.start()
    galera.wait_until("it is well", one.is_well)


def _pause(what: str, name: str) -> Round:
    return Round(f"{name} is paused with its kernel for {FROZEN} s", pause(what))


def _cuts(what: str, name: str, everyday: bool = False) -> list[Round]:
    return [
        Round(f"{name} is cut off for {CUT} s", cut(what), everyday),
        Round(f"{name} hears nothing for {CUT} s", cut(what, outward=False)),
        Round(f"{name} is not heard for {CUT} s", cut(what, inward=False)),
    ]


def _clocks(name: str, clock: "Callable[[int], tuple[Fault, Around]]") -> Iterator[Round]:
    for seconds, how in ((_HOUR, "goes an hour ahead"), (-_HOUR, "goes back by an hour")):
        fault, around = clock(seconds)
        yield Round(f"{name}'s clock {how}", fault, around=around)


WRITER, STANDBY = "the node that is written to", "a node that stands by"
ROUNDS = [
    Round("each application ends and starts again", restart_applications, True),
    Round("an application's machine is killed", kill_application, True),
    Round(f"an application's machine is frozen for {FROZEN} s", freeze("application")),
    _pause("application", "an application's machine"),
    *_cuts("application", "an application's machine"),
    Round("an application's machine has a full disk", fill("application")),
    *_clocks("an application's machine", application_clock),
    Round("an application's way to the databases ends, and starts again", kill_way),
    Round(f"{WRITER} is killed, and rejoins (IST)", kill_node(0), True),
    Round(f"{WRITER} is killed, and comes back empty (SST)", kill_node(0, forget=True)),
    Round(f"{WRITER} is frozen for {FROZEN} s", freeze("writer"), True),
    _pause("writer", WRITER),
    *_cuts("writer", WRITER, True),
    Round(f"{WRITER} has a full disk", fill_disk(0)),
    *_clocks(WRITER, partial(node_clock, 0)),
    Round(f"{STANDBY} is killed, and rejoins (IST)", kill_node(2)),
    Round("the other node that stands by is killed, and rejoins (IST)", kill_node(1)),
    Round("the other node that stands by is killed, and comes back empty (SST)", kill_node(1, forget=True)),
    Round(f"{STANDBY} is killed, and comes back empty (SST)", kill_node(2, forget=True), True),
    Round(f"{STANDBY} is frozen for {FROZEN} s", freeze("standby")),
    _pause("standby", STANDBY),
    *_cuts("standby", STANDBY),
    Round(f"{STANDBY} has a full disk", fill_disk(2)),
    *_clocks(STANDBY, partial(node_clock, 2)),
    Round("two nodes are killed at once, and rejoin", two_die, outage=True),
    Round("two nodes are lost for good, and the last is told to go on alone", two_are_lost, outage=True),
    Round("all nodes lose power at once, and come back together", power_is_gone, True, outage=True),
    Round("all nodes lose power at once, and are begun anew by hand", power_is_gone_by_hand, outage=True),
    Round("the balancer is killed, and starts again", kill_balancer("balancer"), True),
    Round(f"the balancer is frozen for {FROZEN} s", freeze("balancer"), arrivals=10.0),
    _pause("balancer", "the balancer"),
    *_cuts("balancer", "the balancer"),
    Round("the balancer has a full disk", fill("balancer")),
    *_clocks("the balancer", balancer_clock),
    Round(
        "the balancer that stands by is killed, and starts again", kill_balancer("balancer that stands by")
    ),
    Round(f"the balancer that stands by is frozen for {FROZEN} s", freeze("balancer that stands by")),
    _pause("balancer that stands by", "the balancer that stands by"),
    *_cuts("balancer that stands by", "the balancer that stands by"),
]
