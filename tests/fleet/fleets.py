"""A fleet on this machine: three databases, two machines of the application, and what leads to them.

As root, each is a machine with a network of its own, and two balancers share the site's address; else all are
processes with ports of this machine's.
"""

import http.client
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import balancer
import disks
import galera
import machines
import network
from balancer import Balancer, Databases
from galera import Node
from machines import Machine
from network import Place
from people import PASSWORD as PASSWORD

# Readers wait for what their node has been told of by the others: nobody is shown the past.
SYNC = "wsrep-sync-wait = 1"
# Each session of each test is somebody else: posts are limited by the hour.
NAMES = [f"{letter}{number:02}" for letter in "abcdefghijklmnop" for number in range(48)]


@dataclass
class Fleet:
    """:ivar ways: of each application's machine, its way to the databases.
    :ivar balancers: those that share the address; none where there is but one.
    :ivar site: its address, for visitors.
    """

    nodes: list[Node]
    apps: list[Machine]
    ways: list[Databases]
    balancers: list[Balancer]
    site: str
    _names: list[str] = field(default_factory=lambda: list(NAMES))

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(self.site, timeout=5)
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
def started(folder: Path) -> Iterator[Fleet]:
    """:param folder: for logs."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="microblog-")))
        alone = os.geteuid() == 0
        net = stack.enter_context(network.network()) if alone else None
        join = net.join if net else Place
        prepare = disks.small if alone else None
        nodes = stack.enter_context(galera.cluster(SYNC, place=join, prepare=prepare))
        machines.prepare(nodes[0], NAMES)
        apps, ways = [], []
        for number in (1, 2):
            place = join()
            ways.append(Databases(scratch / f"way{number}", place, nodes))
            stack.enter_context(balancer.running(ways[-1]))
            apps.append(Machine(folder, galera.url(ways[-1].port), place=place, DRAIN_SECONDS="3"))
            stack.callback(apps[-1].kill)
            apps[-1].start()
        at = [app.address for app in apps]
        if net:
            places, shared = [net.join(), net.join()], f"{net.prefix}.200"
            pair = [
                Balancer(scratch / name, place, at, shared=shared, other=other.address, priority=priority)
                for name, place, other, priority in (
                    ("balancer1", *places, 110), ("balancer2", *reversed(places), 100),
                )
            ]  # fmt: skip
            for one in pair:
                stack.enter_context(balancer.running(one))
            fleet = Fleet(nodes, apps, ways, pair, shared)
        else:
            only = balancer.Machines(scratch / "balancer", Place(), at)
            stack.enter_context(balancer.running(only))
            fleet = Fleet(nodes, apps, ways, [], only.address)
        galera.wait_until("the site answers", fleet.answers)
        yield fleet
