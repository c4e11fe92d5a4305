"""A cluster of MariaDB Galera, of the distribution's own packages, with the settings of a fleet's image.

Each node has its own folder and process, and either a machine's network of its own or ports of its own on
this one's.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql
from network import Place
from told import Told, swapped, tell
from whole import whole

from builder.core.needs import File, Program
from builder.core.paths import ROOT
from builder.core.ports import free_port

NEEDS = (
    Program("mariadbd", "mariadb-server"),
    File("/usr/lib/galera/libgalera_smm.so", "galera-4"),
    Program("mariabackup", "mariadb-backup"),
    Program("socat", "socat"),
)
# As the image's accounts have it.
DATABASE = USER = "microblog"
HEALTH = ROOT / "packer/files/database/usr/local/sbin/fleet-health"
# A slow machine, with others beside.
_WAIT = 300


def _user() -> list[str]:
    # Not root, as on a machine.
    return ["--user=mysql"] if os.geteuid() == 0 else []


def wait_until(what: str, ready: Callable[[], bool], seconds: float = _WAIT) -> None:
    ends = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > ends:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.1)


def url(told: Told, port: int, host: str = "127.0.0.1", name: str = DATABASE) -> str:
    """The database's, at a node or a balancer, as an application's machine is told it."""
    return f"mysql+pymysql://{USER}:{told.password}@{host}:{port}/{name}?ssl_ca={told.authority}"


class Node:
    """One server, with what says that it serves.

    :ivar port: for clients, and ``health``: for who asks for its health.
    """

    def __init__(self, folder: Path, number: int, told: Told) -> None:
        self.number, self.folder, self.told, self.place = number, folder, told, told.place
        if self.place.alone:
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
    def file(self) -> Path:
        """Its settings."""
        return self.folder / "my.cnf"

    @property
    def group_address(self) -> str:
        return f"{self.place.address}:{self.group}"

    def start(self, peers: "list[Node]", *options: str, new: bool = False) -> None:
        """:param options: more settings, which it keeps; :param new: it begins a cluster."""
        self.options = options or self.options
        self.file.write_text(self._settings(peers))
        how = ["--wsrep-new-cluster"] if new else []
        if position := self.position():
            how.append(f"--wsrep-start-position={position}")
        with self.log.open("ab") as output, whole():
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
        """Its file, which what copies its data reads, too: the image's, and what is elsewhere here."""
        address = self.place.address
        # Of a small disk.
        cache = {"gcache.size=512M": "gcache.size=32M"}
        if not self.place.alone:
            ports = f"gmcast.listen_addr=ssl://{self.group_address};ist.recv_addr={address}:{self.ist}"
            cache = {"gcache.size=512M": f"gcache.size=32M;{ports}"}
        text = swapped(self.told.made("settings"), {"/etc/mysql/fleet": str(self.folder / "tls"), **cache})
        lines = [
            # What copies its data says into its log what it does.
            "sst-syslog = -1", "sst-log-archive = 0",
            "[mysqld]", f"datadir = {self.folder / 'data'}", f"socket = {self.folder / 'socket'}",
            f"pid-file = {self.folder / 'pid'}", f"port = {self.port}", "innodb-buffer-pool-size = 64M",
            # Three servers share this machine, and processes are killed, not the machine: what was written
            # need not be on the disk.
            "innodb-flush-log-at-trx-commit = 2", "innodb-doublewrite = OFF", "innodb-log-file-size = 16M",
            *self.options,
        ]  # fmt: skip
        if not self.place.alone:
            lines += [
                f"bind-address = {address}",
                f"wsrep-cluster-address = gcomm://{','.join(peer.group_address for peer in peers)}",
                f"wsrep-node-address = {self.group_address}",
                f"wsrep-sst-receive-address = {address}:{self.sst}",
            ]
        return text + "\n".join(lines) + "\n"

    def install(self) -> None:
        """Have an empty database, as the package makes it."""
        subprocess.run(
            [
                "mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}", "--skip-test-db",
                "--auth-root-authentication-method=normal", "--force",
                *_user(),
            ],
            check=True, capture_output=True, env={**os.environ, "TMPDIR": str(self.folder)},
        )  # fmt: skip

    def keep_keys(self) -> None:
        """Have its certificates where its server may read them."""
        shutil.copytree(self.told.folder / "tls", self.folder / "tls")
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, "mysql")

    def _server(self) -> "list[str | os.PathLike[str]]":
        name = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        return [name, f"--defaults-file={self.file}", *_user()]

    def position(self) -> str:
        """How far what is on its disk goes, as the distribution's unit asks before it starts the server
        (galera_recovery): else one that was killed would be given all data anew. Empty: it has none.
        """
        name = self.folder / "recovered.err"
        name.unlink(missing_ok=True)
        done = subprocess.run(
            self.place.command([*self._server(), "--wsrep-recover", f"--log-error={name}"]),
            env={**os.environ, "TMPDIR": str(self.folder)}, check=False, capture_output=True, text=True,
        )  # fmt: skip
        said = name.read_text(errors="replace") if name.exists() else done.stderr
        found = re.findall(r"Recovered position: ([0-9a-f-]+:-?\d+)", said)
        if done.returncode or not found:
            how = f"node {self.number} does not say where it is ({done.returncode})"
            raise AssertionError(f"{how}:\n{said[-8000:]}")
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
        return url(self.told, self.port, self.place.address, name)

    def signal(self, number: int) -> None:
        """Kill, freeze, or thaw it, and what tells of it."""
        for process in (self.teller, self.process):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, number)

    def read_later(self, told: Told) -> None:
        """Told anew, it reads its list of nodes when it starts next."""
        self.told = told
        self.file.write_text(self._settings([]))

    def shut_down(self) -> None:
        """As a machine that is switched off."""
        self.signal(signal.SIGTERM)
        for process in (self.teller, self.process):
            if process is not None:
                process.wait()

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
    told: "Sequence[Told] | None" = None,
    prepare: "Callable[[Path, contextlib.ExitStack], None] | None" = None,
) -> Iterator[list[Node]]:
    """Nodes that serve, with an empty database.

    :param told: the machines; if not given, all are this one.
    :param prepare: what is done to a node's folder, while it is empty.
    """
    # A socket's path may have some 100 characters.
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="microblog-"))
        told = told or tell(Path(name) / "told", {"database": [Place()] * size})["database"]
        nodes = [Node(Path(name) / str(number), number, one) for number, one in enumerate(told, 1)]
        for node in nodes:
            node.folder.mkdir()
            if prepare:
                prepare(node.folder, stack)
            if os.geteuid() == 0:
                Path(name).chmod(0o755)
            node.keep_keys()
        first, *others = nodes
        first.install()
        # What a newcomer has is thrown away, but it has to have something.
        for node in others:
            subprocess.run(["cp", "-a", first.folder / "data", node.folder], check=True)
        try:
            first.start(nodes, *options, new=True)
            wait_until("the first node serves", first.is_synced)
            subprocess.run(
                ["mariadb", "--no-defaults", f"--socket={first.folder / 'socket'}", "--user=root"],
                input=first.told.made("accounts"), text=True, check=True, capture_output=True,
            )  # fmt: skip
            # One after the other: each gets its data from one that is not busy giving them.
            for node in others:
                node.start(nodes, *options)
                wait_until(f"node {node.number} serves", node.is_synced)
            yield nodes
        finally:
            for node in nodes:
                node.kill()
