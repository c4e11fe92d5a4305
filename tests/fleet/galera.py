"""A cluster of MariaDB Galera on loopback, of the distribution's own packages: each node has its own folder,
ports and process."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql

from builder.core.needs import File, Program

_PROVIDER = "/usr/lib/galera/libgalera_smm.so"
NEEDS = (
    Program("mariadbd", "mariadb-server"),
    File("/usr/lib/galera/libgalera_smm.so", "galera-4"),
    Program("rsync", "rsync"),
)
DATABASE, USER, PASSWORD = "fleet", "web", "of the fleet alone"
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


def url(port: int) -> str:
    """The database's, at a node or a balancer."""
    return f"mysql+pymysql://{USER}:{quote(PASSWORD)}@127.0.0.1:{port}/{DATABASE}"


class Node:
    """One server.

    :ivar port: for clients.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.number, self.folder = number, folder
        self.port, self.group, self.ist, self.sst = (free_port() for _ in range(4))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self, peers: "list[Node]", *options: str, new: bool = False) -> None:
        """:param new: it begins a cluster."""
        peer_addresses = ",".join(f"127.0.0.1:{peer.group}" for peer in peers)
        provider = f"gmcast.listen_addr=tcp://127.0.0.1:{self.group};ist.recv_addr=127.0.0.1:{self.ist}"
        command = [
            shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults",
            f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}", f"--port={self.port}", "--bind-address=127.0.0.1",
            *_user(),
            "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--wsrep-on=ON",
            f"--wsrep-provider={_PROVIDER}", "--wsrep-cluster-name=fleet",
            f"--wsrep-cluster-address=gcomm://{'' if new else peer_addresses}",
            f"--wsrep-node-name=node{self.number}", f"--wsrep-node-address=127.0.0.1:{self.group}",
            f"--wsrep-provider-options={provider};gcache.size=32M;pc.recovery=FALSE",
            "--wsrep-sst-method=rsync", f"--wsrep-sst-receive-address=127.0.0.1:{self.sst}",
            # Three servers share this machine, and one process at a time is killed, not the machine.
            "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF",
            *options,
        ]  # fmt: skip
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, env={**os.environ, "TMPDIR": str(self.folder)}, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def connect(self, user: str = "root") -> "pymysql.connections.Connection[Any]":
        return pymysql.connect(
            unix_socket=str(self.folder / "socket"), user=user, autocommit=True, charset="utf8mb4",
            connect_timeout=5,
        )  # fmt: skip

    def ask(self, sql: str) -> list[Any]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def is_synced(self) -> bool:
        """Whether it serves, as part of the cluster."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(
                f"node {self.number} has ended:\n{self.log.read_text(errors='replace')[-4000:]}"
            )
        with suppress(pymysql.err.MySQLError, OSError):
            return bool(self.ask("SHOW STATUS LIKE 'wsrep_local_state_comment'")[0][1] == "Synced")
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

    def url(self) -> str:
        return url(self.port)

    def signal(self, number: int) -> None:
        """Kill, freeze, or thaw it."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """As if the power had gone."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


@contextmanager
def cluster(*options: str, size: int = 3) -> Iterator[list[Node]]:
    """Nodes that serve, with an empty database."""
    # A socket's path may have some 100 characters.
    with tempfile.TemporaryDirectory(prefix="microblog-") as name:
        nodes = [Node(Path(name) / str(number), number) for number in range(1, size + 1)]
        for node in nodes:
            node.folder.mkdir()
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
            # One after the other: each gets its data from one that is not busy giving them.
            for node in others:
                node.start(nodes, *options)
                wait_until(f"node {node.number} serves", node.is_synced)
            first.ask(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            first.ask(f'CREATE USER {USER} IDENTIFIED BY "{PASSWORD}"')
            first.ask(f"GRANT ALL ON {DATABASE}.* TO {USER}")
            yield nodes
        finally:
            for node in nodes:
                node.kill()
