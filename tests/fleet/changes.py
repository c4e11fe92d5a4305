"""A fleet that runs gets a machine more, and has one less: as README.txt tells its owner, in that order
(builder/fleet/guide.py), by the product's own FLEET.toml, files and scripts."""

import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import disks
import galera
import told
from balancer import Balancer
from fleets import Fleet
from galera import Node
from machines import Machine
from network import Place
from rounds import Fault, Round
from told import Told

from builder.fleet import make, plan

# Which of their own everybody may reach (packer/provision).
_PORTS = {"database": (), "app": (80, 443), "balancer": (80, 443)}


class Owner:
    """Of a fleet: whoever has its FLEET.toml, and tells its machines."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._ground = fleet, fleet.ground
        self._path, self._folder = self._ground.told / "FLEET.toml", self._ground.told / told.MADE
        if not self._path.exists():
            self._path.write_text(self._first())
            make.make(self._path, self._folder)

    def _first(self) -> str:
        shared = self._fleet.balancers[0].told.shared
        lines = [
            f'site = "{told.SITE}"', f'owner = "{told.OWNER}"', 'ssh_keys = ["ssh-ed25519 AAAA ada"]',
            f'shared = "{shared}"', "begun = true",
        ]  # fmt: skip
        for kind in plan.KINDS:
            lines += ["", f"[{kind}]", *(f'{one.name} = "{one.address}"' for one in self._own(kind))]
        lines += ["", "[settings]", *(f'{name} = "{value}"' for name, value in told.SETTINGS.items())]
        return "\n".join(lines) + "\n"

    def _running(self, kind: str) -> "list[Node] | list[Machine] | list[Balancer]":
        return {"database": self._fleet.nodes, "app": self._fleet.apps, "balancer": self._fleet.balancers}[
            kind
        ]

    def _own(self, kind: str) -> Iterator[plan.Machine]:
        for one in self._running(kind):
            assert one.told
            yield one.told.machine

    def now(self) -> plan.Fleet:
        """What FLEET.toml says now."""
        return plan.load(self._path)

    def add(self, kind: str) -> tuple[plan.Machine, Place]:
        """Have one more in FLEET.toml."""
        # The last one has the highest number, whoever is gone.
        number = int(self.now().of(kind)[-1].name.strip(string.ascii_letters)) + 1
        place = self._ground.join()
        machine = plan.Machine(kind, told.named(kind, number), place.address)
        make.add(self._path, self._folder, machine)
        return machine, place

    def remove(self, name: str) -> None:
        make.remove(self._path, self._folder, name)

    def _tell(self, machine: plan.Machine, place: Place) -> Told:
        """What a machine does first when it is told: let others in."""
        found = told.tell_one(self._ground.told, self.now(), machine, place)
        self._guard(found)
        return found

    def _guard(self, found: Told) -> None:
        machine = found.machine
        found.place.allow(found.made("allowed", machine.name).splitlines(), *_PORTS[machine.kind])

    def guard(self, *, everybody: bool = False) -> None:
        """Have each machine's firewall. :param everybody: have none."""
        for kind in plan.KINDS:
            for one in self._running(kind):
                assert one.told
                one.place.allow_all() if everybody else self._guard(one.told)

    def tell(self, *kinds: str) -> Iterator[None]:
        """Tell those that run, one after the other. It yields where something ends, or begins again."""
        if "database" in kinds:
            for node in self._fleet.nodes:
                node.read_later(self._tell(node.told.machine, node.place))
        if "app" in kinds:
            for app, way in zip(self._fleet.apps, self._fleet.ways, strict=True):
                yield
                new = self._tell(way.told.machine, way.place)
                way.read_again(new)
                app.read_again(new)
                yield
        if "balancer" in kinds:
            for one in self._fleet.balancers:
                yield
                one.read_again(self._tell(one.told.machine, one.place))

    def begin(self, machine: plan.Machine, place: Place) -> Iterator[None]:
        """A machine begins, and is good."""
        new = self._tell(machine, place)
        if machine.kind == "database":
            yield from self._begin_database(new)
        elif machine.kind == "app":
            way = self._ground.way(new, self._fleet.nodes)
            app = self._ground.app(new, way)
            app.start()
            self._fleet.ways.append(way)
            self._fleet.apps.append(app)
        else:
            one = self._ground.balancer(new, self._fleet.apps)
            yield
            one.start()
            self._fleet.balancers.append(one)
            galera.wait_until("the new one is well", one.is_well)
            assert not one.has_address()

    def _begin_database(self, new: Told) -> Iterator[None]:
        number = max(node.number for node in self._fleet.nodes) + 1
        node = Node(self._fleet.nodes[0].folder.with_name(str(number)), number, new)
        node.folder.mkdir()
        disks.small(node.folder, self._ground.stack)
        node.keep_keys()
        node.install()
        self._ground.stack.callback(node.kill)
        yield
        node.start([])
        self._fleet.nodes.append(node)
        galera.wait_until("the new one serves", node.serves)
        yield

    def forget(self, one: "Node | Machine | Balancer") -> None:
        """It is gone."""
        fleet = self._fleet
        if isinstance(one, Machine):
            fleet.ways.pop(fleet.apps.index(one)).kill()
            fleet.apps.remove(one)
        elif isinstance(one, Node):
            fleet.nodes.remove(one)
        else:
            fleet.balancers.remove(one)


def _first_of(fleet: Fleet, kind: str) -> "Node | Machine | Balancer":
    """The one of a kind that matters most."""
    if kind == "balancer":
        return fleet.leading()
    return fleet.nodes[0] if kind == "database" else fleet.apps[0]


def change(kind: str) -> Fault:
    """One is added, and the first one removed."""

    def fault(fleet: Fleet) -> Iterator[None]:
        owner, at = Owner(fleet), plan.KINDS.index(kind) + 1
        machine, place = owner.add(kind)
        yield from owner.tell(*plan.KINDS[:at])
        yield from owner.begin(machine, place)
        yield from owner.tell(*plan.KINDS[at:])
        _look(fleet, owner)
        gone = _first_of(fleet, kind)
        assert gone.told
        owner.remove(gone.told.machine.name)
        yield
        gone.shut_down()
        owner.forget(gone)
        yield from owner.tell(*plan.KINDS)
        _look(fleet, owner)
        if kind == "balancer":
            assert fleet.leading() is not gone

    return fault


def _look(fleet: Fleet, owner: Owner) -> None:
    """Each file names those machines that there are, and no other. Their address is the site's name, too."""
    now = owner.now()
    databases, apps, balancers = ({one.address for one in now.of(kind)} for kind in plan.KINDS)
    for node in fleet.nodes:
        assert _addresses(node.file) == databases | {now.shared}, node.file.read_text()
    for way in fleet.ways:
        assert _addresses(way.file) == databases, way.file.read_text()
    for app in fleet.apps:
        assert _addresses(app.disk / "nginx-real.conf") == balancers
    for one in fleet.balancers:
        own = {one.place.address}
        assert _addresses(one.file) == apps | balancers - own | {now.shared}, one.file.read_text()
        assert _addresses(one.file_of_address) == balancers | {now.shared}
    for each in (*fleet.nodes, *fleet.apps, *fleet.balancers):
        assert each.told
        assert _addresses(each.told.folder / "machines") == databases | apps | balancers


def _addresses(file: Path) -> set[str]:
    """Those of the fleet's network."""
    return set(re.findall(r"\b10(?:\.\d+){3}\b", file.read_text()))


@contextmanager
def behind_firewalls(kind: str, fleet: Fleet) -> Iterator[None]:
    """Each machine lets those in alone that it is told of; in the end there are as many as before."""
    owner = Owner(fleet)
    running = owner._running(kind)
    many = len(running)
    owner.guard()
    try:
        yield
    finally:
        # Where that failed on the way.
        while len(running) > many:
            last = running[-1]
            assert last.told
            owner.remove(last.told.machine.name)
            last.kill()
            owner.forget(last)
            for _ in owner.tell(*plan.KINDS):
                pass
        owner.guard(everybody=True)


ROUNDS = [
    Round(name, change(kind), around=partial(behind_firewalls, kind))
    for kind, name in (
        ("app", "an application's machine is added, and the first one is removed"),
        ("database", "a database is added (SST), and the one that is written to is removed"),
        ("balancer", "a balancer is added, and the one that has the address is removed"),
    )
]
