"""Database servers of one's own, for a test session or a benchmark: on a socket, without a network.

MariaDB is this system's; MySQL, which Debian has in sid alone, is unpacked into the cache and run
from there, with its own libraries.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pymysql

from builder.core.needs import Program
from builder.core.paths import cache_dir

NEEDS = (
    Program("mariadbd", "mariadb-server"),
    Program("mmdebstrap", "mmdebstrap"),
)

SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
# A slow machine, with other tests beside.
_WAIT = 600


class Server(NamedTuple):
    """A running server.

    :ivar socket: its Unix socket; ``root`` needs no password.
    """

    name: str
    socket: Path

    def connect(self, database: str | None = None) -> "pymysql.connections.Connection":
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database, autocommit=True, charset="utf8mb4"
        )

    def create(self, database: str) -> str:
        """Make an empty database.

        :return: its URL.
        """
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{database}`")
            # What a server may have as its default, and the migrations must not depend on.
            cursor.execute(f"CREATE DATABASE `{database}` CHARACTER SET latin1")
        return f"mysql+pymysql://root@localhost/{database}?unix_socket={self.socket}"


@contextmanager
def mariadb(*options: str) -> Iterator[Server]:
    """This system's MariaDB, with an empty data directory."""
    with _directory() as directory:
        data = directory / "data"
        _run(
            directory,
            "mariadb-install-db", "--no-defaults", f"--datadir={data}", *_user(), "--skip-test-db",
            # Whether this machine's name can be looked up is nothing to a server without a network.
            "--auth-root-authentication-method=normal", "--force",
        )  # fmt: skip
        program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        with _serving("mariadb", [program, "--no-defaults"], directory, options) as server:
            yield server


@contextmanager
def mysql(*options: str) -> Iterator[Server]:
    """MySQL from Debian sid, with an empty data directory."""
    root = _mysql_files()
    library = next((root / "usr/lib").glob("*-linux-gnu"))
    loader = next(path for path in (root / "usr/lib").rglob("ld-linux*.so.*"))
    share = root / "usr/share/mysql"
    command = [
        str(loader), "--library-path", str(library), str(root / "usr/sbin/mysqld"), "--no-defaults",
        f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}",
        f"--plugin-dir={root / 'usr/lib/mysql/plugin'}", "--mysqlx=OFF", "--disable-log-bin",
    ]  # fmt: skip
    with _directory() as directory:
        _run(directory, *command, "--initialize-insecure", f"--datadir={directory / 'data'}", *_user())
        with _serving("mysql", command, directory, options) as server:
            yield server


@contextmanager
def _directory() -> Iterator[Path]:
    # A socket's path may have some 100 characters, fewer than a test's own directory has.
    with tempfile.TemporaryDirectory(prefix="microblog-") as name:
        yield Path(name)


def _user() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []


def _environment(directory: Path) -> dict[str, str]:
    # A server that starts removes the temporary tables of all that share its directory for them.
    return {**os.environ, "TMPDIR": str(directory)}


def _run(directory: Path, *command: str) -> None:
    done = subprocess.run(command, env=_environment(directory), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def _serving(name: str, command: list[str], directory: Path, options: tuple[str, ...]) -> Iterator[Server]:
    server = Server(name, directory / "socket")
    log = directory / "log"
    arguments = [
        f"--datadir={directory / 'data'}", f"--socket={server.socket}", "--skip-networking", *_user(),
        f"--pid-file={directory / 'pid'}", f"--secure-file-priv={directory}",
        # What it holds is thrown away: no waiting for the disk.
        "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF",
        "--innodb-flush-method=O_DIRECT_NO_FSYNC",
        *options,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments], env=_environment(directory), stdout=output, stderr=output
        )
    try:
        _wait_for(lambda: _answers(server), process, log)
        yield server
    finally:
        # Nothing in there is kept.
        process.kill()
        process.wait()


def _wait_for(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + _WAIT
    while not ready():
        if process.poll() is not None or time.monotonic() > ends:
            raise RuntimeError(f"the database server does not come up:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)


def _answers(server: Server) -> bool:
    try:
        server.connect().close()
    except pymysql.err.OperationalError:
        return False
    return True


def _mysql_files() -> Path:
    """The directory that has sid's MySQL, and the libraries it needs; unpacked once."""
    root = cache_dir() / "mysql-sid"
    with root.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            partial = root.with_name(f".{root.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            _run(
                root.parent,
                "mmdebstrap", "--quiet", "--variant=extract", "--include=mysql-server-core",
                # A mirror that is frozen at a date is as good.
                '--aptopt=Acquire::Check-Valid-Until "false"',
                "sid", str(partial), *mirror("sid"),
            )  # fmt: skip
            partial.rename(root)
    return root


def mirror(release: str) -> list[str]:
    """This machine's own mirror of Debian, where it has one; mmdebstrap knows Debian's."""
    text = SOURCES.read_text() if SOURCES.exists() else ""
    found = [line.split()[1] for line in text.splitlines() if line.startswith("URIs:")]
    return [f"deb {found[0]} {release} main"] if found else []
