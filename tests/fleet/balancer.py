"""HAProxy and keepalived as a fleet's images have them: before the application's machines, and one of each
machine's own before the databases. Where there are machines for it, two stand before the application's, and
keepalived gives one of them the site's address."""

import http.client
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import galera
from galera import Node
from machines import Machine
from network import Place
from told import Told, put, swapped
from whole import whole

from builder.core import paths
from builder.core.command import program
from builder.core.needs import Program
from builder.core.ports import free_port

NEEDS = (
    Program("haproxy", "haproxy"),
    Program("keepalived", "keepalived"),
    Program("curl", "curl"),
)
# What keepalived runs where the address moves to.
_TAKE = "/usr/local/sbin/fleet-take"


class Haproxy:
    """One that runs, with what belongs to it."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.folder, self.place = folder, place
        folder.mkdir()
        self.processes: list[subprocess.Popen[bytes]] = []
        # What its processes see beside what this one does.
        self.environ: dict[str, str] = {}

    @property
    def disk(self) -> Path:
        """Where its programs write."""
        path = self.folder / "disk"
        path.mkdir(exist_ok=True)
        return path

    @property
    def file(self) -> Path:
        return self.folder / "haproxy.cfg"

    def _put(self, text: str) -> bool:
        """Write its settings. :return: whether they are others."""
        if os.geteuid():
            text = swapped(text, {"    user haproxy\n    group haproxy\n": ""})
        return put(self.file, text)

    def start(self) -> None:
        # As the distribution's unit: a process, whose child serves.
        self._run(program("haproxy", "haproxy"), "-Ws", "-f", self.file)

    def reload(self) -> None:
        """Have another child serve, by the file as it is now; the first one finishes what it has."""
        self.processes[0].send_signal(signal.SIGUSR2)

    def _run(self, *command: "str | os.PathLike[str]") -> None:
        with (self.disk / "log").open("ab") as log, whole():
            process = subprocess.Popen(
                self.place.command(command), env={**os.environ, "TMPDIR": str(self.disk), **self.environ},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
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

    def shut_down(self) -> None:
        """As a machine that is switched off: HAProxy ends first."""
        for process in self.processes:
            process.terminate()
            process.wait()
        self.processes.clear()


class Databases(Haproxy):
    """A machine's own way to the databases.

    :ivar told: of an application's machine; :ivar place: where this is, if not there.
    :ivar port: to connect to, there.
    """

    def __init__(
        self, folder: Path, told: Told, nodes: Sequence[Node], place: "Place | None" = None
    ) -> None:  # fmt: skip
        super().__init__(folder, place or told.place)
        self.told, self._nodes = told, nodes
        self.port = 3306 if self.place.alone else free_port()
        self._put(self._text())

    def _text(self) -> str:
        text = self.told.made("haproxy")
        if not self.place.alone:
            text = swapped(text, {"bind 127.0.0.1:3306\n": f"bind 127.0.0.1:{self.port}\n"})
            for node in self._nodes:
                server = f"server {node.told.machine.name} {node.place.address}"
                there = {f"{server}:3306 check port 9200": f"{server}:{node.port} check port {node.health}"}
                text = swapped(text, there)
        return text

    def read_again(self, told: Told) -> None:
        """Told anew, it is reloaded where that changes its file."""
        self.told = told
        if self._put(self._text()):
            self.reload()

    def url(self) -> str:
        """The database's, by this way."""
        return galera.url(self.told, self.port)


class Balancer(Haproxy):
    """What visitors ask. Of two, one has the site's address. :ivar address: its own, with its port."""

    def __init__(self, folder: Path, told: Told, apps: Sequence[Machine]) -> None:
        super().__init__(folder, told.place)
        # Until an authority has certified the site's name: what it has of the fleet's own.
        pem = "".join((told.folder / f"tls/{what}.pem").read_text() for what in ("cert", "key"))
        (told.folder / "site.pem").write_text(pem)
        self.told, self._shared, self.address = told, told.shared, told.place.address
        # A computer in a container may let a process have few files open.
        self._swaps = {"maxconn 10000\n": "maxconn 400\n"}
        if not told.place.alone:
            self.address = f"127.0.0.1:{free_port()}"
            self._swaps["bind :80\n"] = f"bind 127.0.0.1:{free_port()}\n"
            self._swaps["bind :443 "] = f"bind {self.address} "
            for number, app in enumerate(apps, 1):
                self._swaps[f" app{number} 127.0.0.1:443 "] = f" app{number} {app.address} "
        self._put(swapped(told.made("haproxy"), self._swaps))
        if self._shared:
            put(self.file_of_address, self._text_of_address())

    @property
    def file_of_address(self) -> Path:
        """keepalived's."""
        return self.folder / "keepalived.conf"

    def _text_of_address(self) -> str:
        take = str(paths.PACKER / "files/balancer" / _TAKE.lstrip("/"))
        return swapped(self.told.made("keepalived"), {_TAKE: take})

    def read_again(self, told: Told) -> None:
        """Told anew, each of its programs is reloaded where that changes its file."""
        self.told = told
        if self._put(swapped(told.made("haproxy"), self._swaps)):
            self.reload()
        if put(self.file_of_address, self._text_of_address()):
            self.processes[1].send_signal(signal.SIGHUP)

    def start(self) -> None:
        self._clean()
        super().start()
        if self._shared:
            pids = [f"--{name}={self.disk / name}" for name in ("pid", "vrrp_pid", "checkers_pid")]
            self._run(
                program("keepalived", "keepalived"), "--dont-fork", "--log-console", "--vrrp",
                f"--use-file={self.file_of_address}", *pids,
            )  # fmt: skip

    def kill(self) -> None:
        super().kill()
        # With its power, its address goes.
        self._clean()

    def _clean(self) -> None:
        for name in ("pid", "vrrp_pid", "checkers_pid"):
            (self.disk / name).unlink(missing_ok=True)
        if self._shared:
            command = self.place.command(
                [program("ip", "iproute2"), "address", "delete", f"{self._shared}/32", "dev", "eth0"]
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
    try:
        haproxy.start()
        yield haproxy
    finally:
        haproxy.kill()
