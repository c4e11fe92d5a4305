"""A fleet on this machine: three databases, two machines of the application, and what leads to them.

As root, each is a machine with a network of its own, and two balancers share the site's address; else all are
processes with ports of this machine's.
"""

import http.client
import os
import tempfile
from collections.abc import Callable, Iterator
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


@contextmanager
def started(folder: Path, tell: Callable[[str], None] = lambda _: None) -> Iterator[Fleet]:
    """:param folder: for logs; :param tell: is given what is waited for."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="microblog-")))
        # What gives up root's rights looks at a clock here.
        scratch.chmod(0o711)
        alone = os.geteuid() == 0
        net = stack.enter_context(network.network()) if alone else None
        join, shared = (net.join, f"{net.prefix}.200") if net else (Place, "")
        counts = {"database": 3, "app": 2, "balancer": 2 if net else 1}
        places = {kind: [join() for _ in range(count)] for kind, count in counts.items()}
        members = told.tell(scratch / "told", places, shared)
        prepare = disks.small if alone else None
        tell("databases")
        nodes = stack.enter_context(galera.cluster(told=members["database"], prepare=prepare))
        tell("accounts")
        machines.prepare(nodes[0], NAMES)
        tell("applications")
        apps, ways = [], []
        for one in members["app"]:
            ways.append(Databases(scratch / f"way-{one.machine.name}", one, nodes))
            stack.enter_context(balancer.running(ways[-1]))
            apps.append(Machine(folder, ways[-1].url(), told=one))
            if alone:
                apps[-1].disk.mkdir()
                disks.small(apps[-1].disk, stack)
            stack.callback(apps[-1].kill)
            apps[-1].start()
        tell("balancers")
        pair = [Balancer(scratch / one.machine.name, one, apps) for one in members["balancer"]]
        for one in pair:
            if alone:
                disks.small(one.disk, stack)
            stack.enter_context(balancer.running(one))
        site, authority = shared or pair[0].address, members["balancer"][0].authority
        fleet = Fleet(nodes, apps, ways, pair if net else [], site, authority)
        galera.wait_until("the site answers", fleet.answers)
        yield fleet
