"""A fleet on this machine: three databases, two machines of the application, and what leads to them.

As root, each is a machine with a network of its own, and two balancers share the site's address; else all are
processes with ports of this machine's.
"""

import http.client
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import balancer
import disks
import galera
import machines
import network
import told
from balancer import Balancer, Databases
from galera import Node
from machines import Machine
from network import Place
from people import PASSWORD as PASSWORD
from people import connect
from told import Told

# Each session of each test is somebody else: posts are limited by the hour.
NAMES = [f"{letter}{number:02}" for letter in "abcdefghijklmnop" for number in range(48)]


@dataclass
class Fleet:
    """:ivar ways: of each application's machine, its way to the databases.
    :ivar balancers: those that share the address; none where there is but one.
    :ivar site: its address, for visitors, and ``authority``: whose word they take for it.
    """

    nodes: list[Node]
    apps: list[Machine]
    ways: list[Databases]
    balancers: list[Balancer]
    site: str
    authority: Path
    ground: "Ground"
    _names: list[str] = field(default_factory=lambda: list(NAMES))

    def answers(self) -> bool:
        connection = connect(self.site, 5, self.authority)
        try:
            connection.request("GET", "/login")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def people(self, number: int) -> list[str]:
        """Some who have not been here yet."""
        taken, self._names[:number] = self._names[:number], []
        assert len(taken) == number
        return taken

    def leading(self) -> Balancer:
        """The balancer that has the address."""
        galera.wait_until(
            "one of two has the address", lambda: sum(map(Balancer.has_address, self.balancers)) == 1
        )
        return next(one for one in self.balancers if one.has_address())


@dataclass
class Ground:
    """On which machines are made, until the end of the fleet.

    :ivar logs: the folder of what applications log; :ivar scratch: of all else.
    :ivar net: of the machines that have one of their own; each then has a disk of its own, too.
    """

    logs: Path
    scratch: Path
    stack: ExitStack
    net: "network.Network | None"

    @property
    def told(self) -> Path:
        """The folder of what machines are told."""
        return self.scratch / "told"

    def join(self) -> Place:
        return self.net.join() if self.net else Place()

    def way(self, told: Told, nodes: Sequence[Node]) -> Databases:
        way = Databases(self.scratch / f"way-{told.machine.name}", told, nodes)
        self.stack.enter_context(balancer.running(way))
        return way

    def app(self, told: Told, way: Databases) -> Machine:
        """It does not run yet."""
        app = Machine(self.logs, way.url(), told=told)
        if self.net:
            app.disk.mkdir()
            disks.small(app.disk, self.stack)
        self.stack.callback(app.kill)
        return app

    def balancer(self, told: Told, apps: Sequence[Machine]) -> Balancer:
        """It does not run yet."""
        one = Balancer(self.scratch / told.machine.name, told, apps)
        if self.net:
            disks.small(one.disk, self.stack)
        self.stack.callback(one.kill)
        return one


@contextmanager
def started(folder: Path, tell: Callable[[str], None] = lambda _: None) -> Iterator[Fleet]:
    """:param folder: for logs; :param tell: is given what is waited for."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="microblog-")))
        # What gives up root's rights looks at a clock here.
        scratch.chmod(0o711)
        alone = os.geteuid() == 0
        net = stack.enter_context(network.network()) if alone else None
        ground = Ground(folder, scratch, stack, net)
        shared = f"{net.prefix}.200" if net else ""
        counts = {"database": 3, "app": 2, "balancer": 2 if net else 1}
        places = {kind: [ground.join() for _ in range(count)] for kind, count in counts.items()}
        members = told.tell(ground.told, places, shared)
        prepare = disks.small if alone else None
        tell("databases")
        nodes = stack.enter_context(galera.cluster(told=members["database"], prepare=prepare))
        tell("accounts")
        machines.prepare(nodes[0], NAMES)
        tell("applications")
        ways = [ground.way(one, nodes) for one in members["app"]]
        apps = [ground.app(one, way) for one, way in zip(members["app"], ways, strict=True)]
        for app in apps:
            app.start()
        tell("balancers")
        pair = [ground.balancer(one, apps) for one in members["balancer"]]
        for one in pair:
            one.start()
        site, authority = shared or pair[0].address, members["balancer"][0].authority
        fleet = Fleet(nodes, apps, ways, pair if net else [], site, authority, ground)
        galera.wait_until("the site answers", fleet.answers)
        yield fleet
