"""A systemd-nspawn machine on an overlay of read-only layers."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

BOOT_SECONDS = 900
# Name: Debian's release, and the database server instead of its default. MySQL is in sid alone.
RELEASES = {"debian-12": ("bookworm", ""), "debian-13": ("trixie", ""), "mysql": ("sid", "mysql-server")}


def wait_until(what: str, condition: Callable[[], T], seconds: float = 600) -> T:
    """Ask until the answer is true.

    :return: the answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.1)


@dataclass
class Answer:
    """:ivar headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: str
    protocol: str = field(default="")


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


class Machine:
    """One machine: boot, run commands in it, stop it, continue on its upper layer."""

    def __init__(self, name: str, layers: list[Path], folder: Path, disk_mib: int = 0) -> None:
        """:param disk_mib: the size of a disk of its own; 0 for a part of this machine's."""
        self.name = name
        self.disk = folder if disk_mib else None
        if self.disk:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={disk_mib}m", "tmpfs", self.disk], check=True
            )
        self.root, self.upper, self.work = folder / "root", folder / "upper", folder / "work"
        self.console = folder / "console.log"
        for path in (self.root, self.upper, self.work):
            path.mkdir()
        lower = ":".join(str(layer) for layer in layers)
        options = f"lowerdir={lower},upperdir={self.upper},workdir={self.work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], check=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.leader = 0
        # Given the process that starts it, before that does.
        self.limit: Callable[[int], None] | None = None

    def leave_free(self, kib: int) -> None:
        """Make its own disk so small, or so large, that this much of it is free."""
        assert self.disk
        disk = os.statvfs(self.disk)
        size = (disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024 + kib
        subprocess.run(["mount", "-o", f"remount,size={size}k", self.disk], check=True)

    def boot(self) -> None:
        """Start it and wait until its init has started everything."""
        self._start("systemd", "--boot")
        wait_until(
            f"{self.name} is up, see {self.console}",
            lambda: (
                self.run("systemctl", "is-system-running", "--wait", check=False).strip()
                in ("running", "degraded")
            ),
            BOOT_SECONDS,
        )

    def start_without_init(self) -> None:
        """Start it as a container whose only program is one that waits."""
        self._start("sleep", "--as-pid2", "sleep", "infinity")

    def _start(self, program: str, how: str, *command: str) -> None:
        """:param program: the name of what the container runs, once it runs."""
        nspawn = ["systemd-nspawn", "--quiet", f"--directory={self.root}", f"--machine={self.name}"]
        # Nobody's network: the ports in there are nobody's business out here.
        nspawn += ["--register=no", "--keep-unit", "--private-network", "--link-journal=no", how, *command]
        # systemd from 258 on boots with nothing older, whatever this machine has (systemd-nspawn(1)).
        env = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with self.console.open("ab") as console:
            self.process = subprocess.Popen(
                ["sh", "-c", 'read go && exec "$@"', "sh", *nspawn],
                env=env,
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
            assert self.process.stdin
            if self.limit:
                self.limit(self.process.pid)
            self.process.stdin.write(b"go\n")
            self.process.stdin.close()
        self.leader = wait_until(f"{program} runs in {self.name}", lambda: self._child(program))

    def _child(self, program: str) -> int:
        assert self.process and self.process.poll() is None, self.console.read_text(errors="replace")
        # nspawn's own helpers come and go; an init of its own may stand between.
        for child in _children(self.process.pid):
            for candidate in (child, *_children(child)):
                with suppress(OSError):
                    if Path(f"/proc/{candidate}/comm").read_text().strip() == program:
                        return candidate
        return 0

    def run(
        self,
        *command: str,
        check: bool = True,
        env: dict[str, str] | None = None,
        stdin: str = "",
        timeout: float = 900,
    ) -> str:
        """Run a command as the machine's root.

        :return: what it said, both streams.
        """
        done = subprocess.run(
            ["nsenter", f"--target={self.leader}", "--all", *command],
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "LC_ALL": "C.UTF-8",
                **(env or {}),
            },
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        self.code = done.returncode
        assert not check or done.returncode == 0, (
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}"
        )
        return done.stdout

    def get(self, url: str, *options: str) -> Answer:
        """Fetch a page from within; status 0 where nobody answers."""
        said = self.run(
            "curl", "--silent", "--insecure", "--include", "--max-time", "30", *options, url, check=False
        )
        head, _, body = said.replace("\r\n", "\n").partition("\n\n")
        match = re.match(r"(HTTP/[\d.]+) (\d+)", head)
        if not match:
            return Answer(0, {}, said)
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        return Answer(int(match[2]), headers, body, match[1])

    def sql(self, statement: str, user: str = "root", check: bool = True) -> str:
        """What the database server answers a system user, without headings."""
        return self.run("runuser", "-u", user, "--", "mariadb", "-N", "-B", "-e", statement, check=check)

    def answers(self) -> bool:
        """Whether the site, through nginx, reaches its database."""
        status = self.get("https://localhost/readyz").status
        # Versions before 0.2 say it elsewhere.
        return (self.get("https://localhost/healthz").status if status == 404 else status) == 200

    def stop(self) -> None:
        """Shut it down in order."""
        if self.process and self.process.poll() is None:
            # systemd(1): SIGRTMIN+4 powers off.
            os.kill(self.leader, signal.SIGRTMIN + 4)
            self.process.wait(timeout=600)
        self.process = None

    def kill(self) -> None:
        """Cut its power."""
        if self.process and self.process.poll() is None:
            os.kill(self.leader, signal.SIGKILL)
            self.process.wait(timeout=600)
        self.process = None

    def reboot(self) -> None:
        """Shut it down and boot it again."""
        self.stop()
        self.boot()

    def destroy(self) -> None:
        """Cut its power and let go of its root; what it wrote stays, as a layer for others."""
        self.kill()
        if self.root.is_mount():
            subprocess.run(["umount", self.root], check=False)

    def delete(self) -> None:
        """Delete what it wrote, but for its console."""
        assert not self.root.is_mount()
        if self.disk:
            subprocess.run(["umount", self.disk], check=True)
            self.disk = None
            return
        for path in (self.upper, self.work):
            shutil.rmtree(path, ignore_errors=True)


def link(first: Machine, second: Machine) -> tuple[str, str]:
    """A cable between two machines, and nobody else.

    :return: their addresses.
    """
    ends = (first, "10.99.0.1"), (second, "10.99.0.2")
    near, far = (f"netns {machine.leader}".split() for machine in (first, second))
    subprocess.run(
        ["ip", "link", "add", "cable", *near, "type", "veth", "peer", "name", "cable", *far], check=True
    )
    for machine, address in ends:
        machine.run("ip", "address", "add", f"{address}/24", "dev", "cable")
        machine.run("ip", "link", "set", "cable", "up")
    return ends[0][1], ends[1][1]


@dataclass
class Kept:
    """A machine that was stopped for good, to be continued by others.

    :ivar layers: its root directory, uppermost first.
    :ivar output: what the install said.
    """

    layers: list[Path]
    output: str


def install(machine: Machine, deb: Path, *options: str) -> str:
    """``apt install ./microblog.deb``, and, being recommended, the database server of this base."""
    alone = "--no-install-recommends" in options
    database = "" if alone else (machine.root / "root/database").read_text()
    shutil.copyfile(deb, machine.root / "root/microblog.deb")
    return machine.run(
        *("apt-get", "install", "--yes", "--quiet", *options, "/root/microblog.deb", *database.split()),
        env={"DEBIAN_FRONTEND": "noninteractive"},
        timeout=1800,
    )


def add_admin(machine: Machine) -> None:
    """An account ``ada`` who may use sudo; root's file ``/root/key`` opens it over SSH."""
    machine.run("useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo", "ada")
    # One that nobody knows: sudo asks for it.
    machine.run("usermod", "--password", "$6$x$y", "ada")
    machine.run(
        "sh",
        "-c",
        "mkdir ~ada/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/key"
        " && cp /root/key.pub ~ada/.ssh/authorized_keys && chown -R ada: ~ada/.ssh",
    )


def try_install(machine: Machine, deb: Path) -> str:
    """:return: what apt said, failing or not; ``machine.code`` tells."""
    shutil.copyfile(deb, machine.root / "root/new.deb")
    return machine.run(
        *("apt-get", "install", "--yes", "--quiet", "--allow-downgrades", "/root/new.deb"),
        env={"DEBIAN_FRONTEND": "noninteractive"},
        check=False,
        timeout=1800,
    )
