"""A cluster of MariaDB Galera, of the distribution's own packages: each node has its own folder and process,
and either a machine's network of its own or ports of its own on this one's."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql
from network import Place

from builder.core.needs import File, Program
from builder.core.paths import ROOT

_PROVIDER = "/usr/lib/galera/libgalera_smm.so"
NEEDS = (
    Program("mariadbd", "mariadb-server"),
    File("/usr/lib/galera/libgalera_smm.so", "galera-4"),
    Program("mariabackup", "mariadb-backup"),
    Program("socat", "socat"),
    Program("rsync", "rsync"),
)
DATABASE, USER, PASSWORD = "fleet", "web", "of the fleet alone"
# Who copies one node's data for another.
COPIER, COPIER_PASSWORD = "copier", "of the nodes alone"
HEALTH = ROOT / "packer/files/database/usr/local/sbin/fleet-health"
# A slow machine, with others beside.
_WAIT = 300


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _user() -> list[str]:
    # Not root: rsync, which gives a newcomer its data, would give up root's rights, and with them the folder.
    return ["--user=mysql"] if os.geteuid() == 0 else []


def wait_until(what: str, ready: Callable[[], bool], seconds: float = _WAIT) -> None:
    ends = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > ends:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.1)


def url(port: int, host: str = "127.0.0.1", name: str = DATABASE) -> str:
    """The database's, at a node or a balancer."""
    return f"mysql+pymysql://{USER}:{quote(PASSWORD)}@{host}:{port}/{name}"


class Node:
    """One server, with what says that it serves.

    :ivar port: for clients, and ``health``: for who asks for its health.
    """

    def __init__(self, folder: Path, number: int, place: Place) -> None:
        self.number, self.folder, self.place = number, folder, place
        if place.alone:
            self.port, self.group, self.ist, self.sst, self.health = 3306, 4567, 4568, 4444, 9200
        else:
            self.port, self.group, self.ist, self.sst, self.health = (free_port() for _ in range(5))
        self.process: subprocess.Popen[bytes] | None = None
        self.teller: subprocess.Popen[bytes] | None = None
        self.options: tuple[str, ...] = ()
        # What its process sees beside what this one does.
        self.environ: dict[str, str] = {}

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def group_address(self) -> str:
        return f"{self.place.address}:{self.group}"

    def start(self, peers: "list[Node]", *options: str, new: bool = False) -> None:
        """:param options: more settings, which it keeps; :param new: it begins a cluster."""
        self.options = options or self.options
        (self.folder / "my.cnf").write_text(self._settings(peers))
        how = ["--wsrep-new-cluster"] if new else []
        if position := self.position():
            how.append(f"--wsrep-start-position={position}")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.place.command([*self._server(), *how]),
                env={**os.environ, "TMPDIR": str(self.folder), **self.environ},
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
            if self.teller is None or self.teller.poll() is not None:
                told = ["--socket", self.folder / "socket", "--data", self.folder / "data"]
                where = ["--bind", self.place.address, "--port", str(self.health)]
                self.teller = subprocess.Popen(
                    self.place.command([sys.executable, HEALTH, *told, *where]), stdout=output,
                    stderr=output, start_new_session=True,
                )  # fmt: skip

    def _settings(self, peers: "list[Node]") -> str:
        """Its file: what copies its data to another node reads it, too."""
        address = self.place.address
        provider = f"gmcast.listen_addr=tcp://{self.group_address};ist.recv_addr={address}:{self.ist}"
        lines = [
            "[mysqld]", f"datadir = {self.folder / 'data'}", f"socket = {self.folder / 'socket'}",
            f"pid-file = {self.folder / 'pid'}", f"port = {self.port}", f"bind-address = {address}",
            "binlog-format = ROW", "innodb-autoinc-lock-mode = 2", "innodb-buffer-pool-size = 64M",
            # Three servers share this machine, and processes are killed, not the machine: what was written
            # need not be on the disk.
            "innodb-flush-log-at-trx-commit = 2", "innodb-doublewrite = OFF", "innodb-log-file-size = 16M",
            "wsrep-on = ON", f"wsrep-provider = {_PROVIDER}", "wsrep-cluster-name = fleet",
            f"wsrep-cluster-address = gcomm://{','.join(peer.group_address for peer in peers)}",
            f"wsrep-node-name = node{self.number}", f"wsrep-node-address = {self.group_address}",
            f'wsrep-provider-options = "{provider};gcache.size=32M"',
            f"wsrep-sst-method = {'mariabackup' if self.place.alone else 'rsync'}",
            f"wsrep-sst-receive-address = {address}:{self.sst}",
            f'wsrep-sst-auth = "{COPIER}:{COPIER_PASSWORD}"',
            *self.options,
            # What copies its data says into its log what it does.
            "[sst]", "sst-syslog = -1", "sst-log-archive = 0",
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _server(self) -> "list[str | os.PathLike[str]]":
        name = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        return [name, f"--defaults-file={self.folder / 'my.cnf'}", *_user()]

    def position(self) -> str:
        """How far what is on its disk goes, as the distribution's unit asks before it starts the server
        (galera_recovery): else one that was killed would be given all data anew. Empty: it has none.
        """
        if not (self.folder / "data/grastate.dat").exists():
            return ""
        name = self.folder / "recovered.err"
        name.unlink(missing_ok=True)
        subprocess.run(
            self.place.command([*self._server(), "--wsrep-recover", f"--log-error={name}"]),
            env={**os.environ, "TMPDIR": str(self.folder)}, check=True, capture_output=True,
        )  # fmt: skip
        found = re.findall(r"Recovered position: ([0-9a-f-]+:-?\d+)", name.read_text(errors="replace"))
        return str(found[-1])

    def may_begin(self) -> None:
        """Let it begin the cluster anew, as an administrator does who has seen that no other is ahead."""
        state = self.folder / "data/grastate.dat"
        state.write_text(state.read_text().replace("safe_to_bootstrap: 0", "safe_to_bootstrap: 1"))

    def forget(self) -> None:
        """Throw away all that it has; it does not run."""
        for path in (self.folder / "data").iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def connect(self, user: str = "root") -> "pymysql.connections.Connection[Any]":
        return pymysql.connect(
            unix_socket=str(self.folder / "socket"), user=user, autocommit=True, charset="utf8mb4",
            connect_timeout=5,
        )  # fmt: skip

    def ask(self, sql: str) -> list[Any]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def status(self, name: str) -> str:
        return str(self.ask(f"SHOW GLOBAL STATUS LIKE '{name}'")[0][1])

    def is_synced(self) -> bool:
        """Whether it serves, as part of the cluster."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(
                f"node {self.number} has ended:\n{self.log.read_text(errors='replace')[-4000:]}"
            )
        with suppress(pymysql.err.MySQLError, OSError):
            return self.status("wsrep_local_state_comment") == "Synced"
        return False

    def answers(self, database: str = DATABASE) -> bool:
        """Whether it has caught up: where it is set so, a statement waits for that, and may do so in vain."""
        with suppress(pymysql.err.MySQLError, OSError):
            return bool(self.ask(f"SELECT 1 FROM {database}.alembic_version"))  # noqa: S608
        return False

    def serves(self) -> bool:
        """As a balancer asks: without patience."""
        try:
            connection = pymysql.connect(
                unix_socket=str(self.folder / "socket"), user="root", connect_timeout=1, read_timeout=1
            )
            with connection, connection.cursor() as cursor:
                cursor.execute("SHOW GLOBAL STATUS LIKE 'wsrep_%'")
                found = dict(cursor.fetchall())
                told = [found.get(f"wsrep_{name}") for name in ("ready", "cluster_status", "local_state")]
                return told == ["ON", "Primary", "4"]
        except (pymysql.err.MySQLError, OSError):
            return False

    def url(self, name: str = DATABASE) -> str:
        return url(self.port, self.place.address, name)

    def signal(self, number: int) -> None:
        """Kill, freeze, or thaw it, and what tells of it."""
        for process in (self.teller, self.process):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, number)

    def kill(self) -> None:
        """As if the power had gone."""
        self.signal(signal.SIGKILL)
        for process in (self.teller, self.process):
            if process is not None:
                process.wait()


def make_database(node: Node, name: str) -> None:
    """An empty one, in all nodes, for the application."""
    node.ask(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    node.ask(f"GRANT ALL ON {name}.* TO {USER}")


@contextmanager
def cluster(
    *options: str,
    size: int = 3,
    place: Callable[[], Place] = Place,
    prepare: "Callable[[Path, contextlib.ExitStack], None] | None" = None,
) -> Iterator[list[Node]]:
    """Nodes that serve, with an empty database.

    :param place: makes a machine; :param prepare: its folder, while it is empty.
    """
    # A socket's path may have some 100 characters.
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="microblog-"))
        nodes = [Node(Path(name) / str(number), number, place()) for number in range(1, size + 1)]
        for node in nodes:
            node.folder.mkdir()
            if prepare:
                prepare(node.folder, stack)
            if os.geteuid() == 0:
                Path(name).chmod(0o755)
                shutil.chown(node.folder, "mysql")
        first, *others = nodes
        subprocess.run(
            [
                "mariadb-install-db", "--no-defaults", f"--datadir={first.folder / 'data'}", "--skip-test-db",
                "--auth-root-authentication-method=normal", "--force",
                *_user(),
            ],
            check=True, capture_output=True, env={**os.environ, "TMPDIR": str(first.folder)},
        )  # fmt: skip
        # What a newcomer has is thrown away, but it has to have something.
        for node in others:
            subprocess.run(["cp", "-a", first.folder / "data", node.folder], check=True)
        try:
            first.start(nodes, *options, new=True)
            wait_until("the first node serves", first.is_synced)
            for user, password in ((f"{COPIER}@localhost", COPIER_PASSWORD), (USER, PASSWORD)):
                first.ask(f'CREATE USER {user} IDENTIFIED BY "{password}"')
            rights = "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICA MONITOR"
            first.ask(f"GRANT {rights} ON *.* TO {COPIER}@localhost")
            make_database(first, DATABASE)
            # One after the other: each gets its data from one that is not busy giving them.
            for node in others:
                node.start(nodes, *options)
                wait_until(f"node {node.number} serves", node.is_synced)
            yield nodes
        finally:
            for node in nodes:
                node.kill()
