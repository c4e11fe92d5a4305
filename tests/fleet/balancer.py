"""HAProxy as a fleet has it: before the application's machines, and one of each machine's own before the
databases, of which one is written to and the others stand by. Where there are machines for it, two stand
before the application's, and keepalived gives one of them the site's address."""

import http.client
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from galera import Node, free_port
from network import Place

from builder.core.command import program
from builder.core.needs import Program

NEEDS = (
    Program("haproxy", "haproxy"),
    Program("keepalived", "keepalived"),
    Program("curl", "curl"),
)

_DEFAULTS = """
global
    maxconn 1000
defaults
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check {check}
    option redispatch
    retries 3
"""
# Order decides who is written to, on each machine the same. One that comes back has to be good for a while:
# it may not know yet that the others have gone on without it.
_DATABASES = """
listen databases
    mode tcp
    bind 127.0.0.1:{port}
    option httpchk GET /
    default-server inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions
{servers}
"""
_MACHINES = """
frontend web
    mode http
    bind {bind}
    # Where none is ready, those that live are asked all the same: they wait for the database with who asks.
    use_backend ready if {{ nbsrv(ready) gt 0 }}
    default_backend alive
    monitor-uri /balancer
    monitor fail if {{ nbsrv(alive) lt 1 }}
backend ready
    mode http
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200 error-status L7OKC
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
    default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
backend alive
    mode http
    balance roundrobin
    option httpchk GET /healthz
    default-server inter 500ms fall 2 rise 1
{servers}
"""
# Who reaches no machine gives the address away: it may be cut off itself.
_ADDRESS = """
global_defs {{
    script_user root
    enable_script_security
    vrrp_garp_master_refresh 2
}}
vrrp_script reaches {{
    script "{look}"
    interval 1
    timeout 2
    fall 2
    rise 2
}}
vrrp_instance site {{
    state BACKUP
    nopreempt
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int 1
    unicast_src_ip {own}
    unicast_peer {{
        {other}
    }}
    virtual_ipaddress {{
        {address}/24
    }}
    track_script {{
        reaches
    }}
}}
"""


class Haproxy:
    """One that runs, with what belongs to it. ``check``: how long it waits for who is asked how they are."""

    check = "1s"

    def __init__(self, folder: Path, place: Place, text: str) -> None:
        self.folder, self.place = folder, place
        folder.mkdir()
        (folder / "haproxy.cfg").write_text(_DEFAULTS.format(check=self.check) + text)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self._run(program("haproxy", "haproxy"), "-f", self.folder / "haproxy.cfg")

    def _run(self, *command: "str | os.PathLike[str]") -> None:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self.place.command(command), stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)

    def signal(self, number: int) -> None:
        """Kill, freeze, or thaw it."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, number)

    def kill(self) -> None:
        """As if the power had gone."""
        self.signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()
        self.processes.clear()


class Databases(Haproxy):
    """A machine's own way to the databases.

    :ivar port: to connect to, there.
    """

    def __init__(self, folder: Path, place: Place, nodes: Sequence[Node]) -> None:
        self.port = 3306 if place.alone else free_port()
        lines = [
            f"    server db{node.number} {node.place.address}:{node.port} check port {node.health}"
            + (" rise 10 on-marked-up shutdown-backup-sessions" if number == 0 else " backup")
            for number, node in enumerate(nodes)
        ]
        super().__init__(folder, place, _DATABASES.format(port=self.port, servers="\n".join(lines)))


class Machines(Haproxy):
    """What visitors ask. :ivar address: where."""

    # An application that waits for its database says so before.
    check = "4s"

    def __init__(self, folder: Path, place: Place, at: Sequence[str]) -> None:
        self.address = place.address if place.alone else f"127.0.0.1:{free_port()}"
        bind = ":80" if place.alone else self.address
        lines = [f"    server app{number} {one} check" for number, one in enumerate(at, 1)]
        super().__init__(folder, place, _MACHINES.format(bind=bind, servers="\n".join(lines)))


class Balancer(Machines):
    """One of two, of which one has the site's address."""

    def __init__(
        self, folder: Path, place: Place, at: Sequence[str], *, shared: str, other: str, priority: int
    ) -> None:
        super().__init__(folder, place, at)
        self._shared = shared
        look = folder / "look"
        look.write_text(
            f"#!/bin/sh\nexec {program('curl', 'curl')} -fsS -m 1 -o /dev/null http://{place.address}/balancer\n"
        )
        look.chmod(0o755)
        text = _ADDRESS.format(look=look, priority=priority, own=place.address, other=other, address=shared)
        (folder / "keepalived.conf").write_text(text)

    def start(self) -> None:
        self._clean()
        super().start()
        pids = [f"--{name}={self.folder / name}" for name in ("pid", "vrrp_pid", "checkers_pid")]
        self._run(
            program("keepalived", "keepalived"), "--dont-fork", "--log-console", "--vrrp",
            f"--use-file={self.folder / 'keepalived.conf'}", *pids,
        )  # fmt: skip

    def kill(self) -> None:
        super().kill()
        # With its power, its address goes.
        self._clean()

    def _clean(self) -> None:
        for name in ("pid", "vrrp_pid", "checkers_pid"):
            (self.folder / name).unlink(missing_ok=True)
        command = self.place.command(
            [program("ip", "iproute2"), "address", "delete", f"{self._shared}/24", "dev", "eth0"]
        )
        subprocess.run(command, check=False, capture_output=True)

    def has_address(self) -> bool:
        """Whether the site's address is here."""
        command = self.place.command([program("ip", "iproute2"), "-4", "address", "show", "dev", "eth0"])
        return (
            f"{self._shared}/" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )

    def is_well(self) -> bool:
        """Whether it reaches machines."""
        connection = http.client.HTTPConnection(self.place.address, timeout=2)
        try:
            connection.request("GET", "/balancer")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def running(haproxy: Haproxy) -> Iterator[Haproxy]:
    haproxy.start()
    try:
        yield haproxy
    finally:
        haproxy.kill()
