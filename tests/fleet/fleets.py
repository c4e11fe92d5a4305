"""A fleet on this machine: three databases, two machines of the application, and what leads to them."""

import http.client
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import balancer
import galera
import machines
from galera import Node
from machines import Machine
from people import PASSWORD as PASSWORD

# Readers wait for what their node has been told of by the others: nobody is shown the past.
SYNC = "--wsrep-sync-wait=1"
# Each session of each test is somebody else: posts are limited by the hour.
NAMES = [f"{letter}{number:02}" for letter in "abcdefgh" for number in range(24)]


@dataclass
class Fleet:
    """:ivar site: its address, for visitors."""

    nodes: list[Node]
    apps: list[Machine]
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
        return taken


@contextmanager
def started(folder: Path) -> Iterator[Fleet]:
    """:param folder: for logs."""
    with ExitStack() as stack:
        nodes = stack.enter_context(galera.cluster(SYNC))
        machines.prepare(nodes[0], NAMES)
        health = [stack.enter_context(balancer.health(node)) for node in nodes]
        apps = []
        for _ in range(2):
            port = stack.enter_context(balancer.databases(nodes, health))
            apps.append(Machine(folder, galera.url(port), DRAIN_SECONDS="3"))
            stack.callback(apps[-1].kill)
            apps[-1].start()
        site = stack.enter_context(balancer.machines([app.port for app in apps]))
        fleet = Fleet(nodes, apps, site)
        galera.wait_until("the site answers", fleet.answers)
        yield fleet
