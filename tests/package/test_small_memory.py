"""A server of 512 MB without swap, as the smallest that are sold: installed, hardened and booted in that."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from nspawn import Machine, add_admin, install, wait_until

# Minutes, on a machine with other tests beside it.
pytestmark = pytest.mark.thorough
# What such a machine has for its programs; and says that it has.
LIMIT_MIB, TOTAL_MIB = 460, 480
_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class Memory:
    """A limit for all programs of a machine, and what came of it."""

    def __init__(self, name: str) -> None:
        self.old = (_V1 / "memory.limit_in_bytes").exists()
        self.folder = (_V1 if self.old else _V2) / name
        if not self.old:
            (_V2 / "cgroup.subtree_control").write_text("+memory")
        self.folder.mkdir()
        limit = str(LIMIT_MIB * 2**20)
        if self.old:
            # The second counts swap, too.
            for file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
                if (self.folder / file).exists():
                    (self.folder / file).write_text(limit)
        else:
            (self.folder / "memory.max").write_text(limit)
            (self.folder / "memory.swap.max").write_text("0")

    def holds(self, pid: int) -> None:
        """Count a program, and what it starts from now on."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def killed(self) -> int:
        """How many programs were killed for want of memory."""
        text = (self.folder / ("memory.oom_control" if self.old else "memory.events")).read_text()
        counts = dict(line.split() for line in text.splitlines())
        return int(counts["oom_kill"])

    def used_mib(self) -> int:
        """What programs hold now, without what is kept of files."""
        text = (self.folder / "memory.stat").read_text()
        counts = dict(line.split() for line in text.splitlines())
        return int(counts["total_rss" if self.old else "anon"]) // 2**20


@pytest.fixture
def small(base: Path, new_machine: object) -> Iterator[tuple[Machine, Memory]]:
    """A machine with nothing installed, that holds as little."""
    assert callable(new_machine)
    machine: Machine = new_machine([base], boot=False)
    memory = Memory(machine.name)
    machine.limit = memory.holds
    said = Path("/proc/meminfo").read_text().splitlines()
    told = [f"MemTotal: {TOTAL_MIB * 1024} kB", "SwapTotal: 0 kB"]
    rest = [line for line in said if line.split(":")[0] not in ("MemTotal", "SwapTotal")]
    (machine.root / "root/meminfo").write_text("\n".join([*told, *rest]) + "\n")
    yield machine, memory
    machine.destroy()
    machine.delete()
    wait_until("its programs have ended", lambda: not (memory.folder / "cgroup.procs").read_text())
    memory.folder.rmdir()


# Before anything asks how much there is.
TOLD = """[Unit]
DefaultDependencies=no
Before=basic.target
[Service]
Type=oneshot
ExecStart=/bin/mount --bind /root/meminfo /proc/meminfo
[Install]
WantedBy=sysinit.target
"""


def test_in_512_mb_nothing_is_killed(small: tuple[Machine, Memory], deb: Path) -> None:
    machine, memory = small
    (machine.root / "etc/systemd/system/told.service").write_text(TOLD)
    machine.boot()
    machine.run("systemctl", "enable", "--now", "told")
    install(machine, deb)
    assert machine.answers()
    assert memory.killed() == 0
    apt = ("apt-get", "install", "--yes", "--no-install-recommends")
    machine.run(*apt, "openssh-server", "openssh-client", "sudo")
    add_admin(machine)
    machine.run("microblog", "harden", "--no-confirm")
    assert "sshd" in machine.run("fail2ban-client", "status")
    assert memory.killed() == 0
    machine.reboot()
    wait_until("the site answers", machine.answers)
    wait_until("fail2ban runs", lambda: "sshd" in machine.run("fail2ban-client", "status", check=False))
    # The largest of what it does by itself.
    machine.run("microblog", "backup", "--output", "/root/b.tar.gz")
    machine.run("microblog", "restore", "/root/b.tar.gz")
    assert machine.answers()
    assert "Nothing is wrong" in machine.run("microblog", "doctor")
    assert memory.killed() == 0
    print(f"512 MB: {memory.used_mib()} MiB in programs, with fail2ban")
