"""Little memory, and no swap: a server of 512 MB, installed, hardened and booted in that; and one of 1 GB
that is given a backup of 2 GB."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nspawn import Kept, Machine, add_admin, install, wait_until
from sites import fill, look

# Minutes, on a machine with other tests beside it.
pytestmark = pytest.mark.thorough
# What such a machine has for its programs; and says that it has.
LIMIT_MIB, TOTAL_MIB = 460, 480
_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class Memory:
    """A limit for all programs of a machine, and what came of it."""

    def __init__(self, name: str, mib: int = LIMIT_MIB) -> None:
        self.old = (_V1 / "memory.limit_in_bytes").exists()
        self.folder = (_V1 if self.old else _V2) / name
        if not self.old:
            (_V2 / "cgroup.subtree_control").write_text("+memory")
        self.folder.mkdir()
        limit = str(mib * 2**20)
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

    def gone(self) -> None:
        wait_until("its programs have ended", lambda: not (self.folder / "cgroup.procs").read_text())
        self.folder.rmdir()


@pytest.fixture
def small(base: Path, new_machine: Callable[..., Machine]) -> Iterator[tuple[Machine, Memory]]:
    """A machine with nothing installed, that holds as little."""
    machine = new_machine([base], boot=False)
    memory = Memory(machine.name)
    machine.limit = memory.holds
    said = Path("/proc/meminfo").read_text().splitlines()
    told = [f"MemTotal: {TOTAL_MIB * 1024} kB", "SwapTotal: 0 kB"]
    rest = [line for line in said if line.split(":")[0] not in ("MemTotal", "SwapTotal")]
    (machine.root / "root/meminfo").write_text("\n".join([*told, *rest]) + "\n")
    yield machine, memory
    machine.destroy()
    machine.delete()
    memory.gone()


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


# A backup as it is, with 2 GB beside it that nobody wants, and that are not packed.
ENLARGE = """
import sys
from pathlib import Path
from microblog.host.backups import archive

archive._LEVEL = 0
with open(sys.argv[1], "rb") as file, open("/root/large.tar.gz", "wb") as target:
    writer, facts = archive.Writer(target), None
    for name, data in archive.members(file):
        if name == archive.MANIFEST:
            facts = archive.read_manifest(data)
        else:
            writer.add(name, data)
    for number in range(32):
        writer.add(f"padding/{number:06}", bytes([number]) * archive.MEMBER_MAX)
    writer.close({key: value for key, value in facts.items() if key not in ("format", "members")})
"""
# As the page's script does: pieces, one after the other, over one connection; from where the site is.
UPLOAD = """
import json, os, re, ssl, sys
from http.client import HTTPSConnection
from urllib.parse import urlencode

context = ssl._create_unverified_context()
connection, cookies, until = HTTPSConnection("localhost", context=context, timeout=300), {}, int(sys.argv[1])


def send(method, path, body=None, **headers):
    headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    headers["Referer"] = "https://localhost/"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    for line in answer.headers.get_all("Set-Cookie", []):
        name, _, value = line.partition(";")[0].partition("=")
        cookies[name] = value
    return answer.status, answer.read().decode()


def post(path, body, kind="application/x-www-form-urlencoded", **headers):
    return send("POST", path, body, **{"Content-Type": kind, **headers})


def token(path):
    return re.search('name="csrf_token"[^>]*value="([^"]+)"', send("GET", path)[1])[1]


form = {"csrf_token": token("/login"), "username": "alice", "password": "correct horse alice"}
assert post("/login", urlencode(form))[0] == 302
headers = {"Accept": "application/json", "X-CSRFToken": token("/machine/backups/upload")}
size = os.path.getsize("/root/large.tar.gz")
code, said = post("/machine/backups/upload/begin", urlencode({"size": size, "mark": "large"}), **headers)
assert code == 200, said
have = began = json.loads(said)["have"]
with open("/root/large.tar.gz", "rb") as file:
    while have < min(size, until):
        file.seek(have)
        piece = file.read(512 * 1024)
        path = f"/machine/backups/upload/piece?offset={have}"
        code, said = post(path, piece, "application/octet-stream", **headers)
        assert code == 200, said
        have = json.loads(said)["have"]
if have == size:
    form = {"csrf_token": headers["X-CSRFToken"], "name": ""}
    assert post("/machine/backups/restore", urlencode(form))[0] == 302
print(began, have, size)
"""


def test_a_backup_of_2_gb_is_uploaded_and_restored_in_1_gb(
    installed: Kept, new_machine: Callable[..., Machine]
) -> None:
    machine = new_machine(installed.layers, boot=False)
    memory = Memory(machine.name, 1024)
    machine.limit = memory.holds
    machine.boot()
    wait_until("the site answers", machine.answers)
    fill(machine, "alice", 20)
    machine.run("microblog", "user", "promote", "alice")
    machine.run("microblog", "backup", "--output", "/root/b.tar.gz")
    before = look(machine)
    machine.run("env", "-C", "/", "python3", "-", "/root/b.tar.gz", stdin=ENLARGE)
    fill(machine, "bob", 3)

    half = 2**30
    began, have, size = map(int, machine.run("python3", "-", str(half), stdin=UPLOAD).split())
    assert (began, size > 2**31) == (0, True)
    assert half <= have < half + 512 * 1024
    # Interrupted by whatever there is: it goes on where it was.
    machine.run("supervisorctl", "restart", "microblog")
    machine.run("systemctl", "restart", "microblog-agent.socket")
    wait_until("the site answers", machine.answers)
    assert machine.run("python3", "-", str(size), stdin=UPLOAD).split() == [str(have), str(size), str(size)]

    state = machine.root / "var/lib/microblog-agent/job.json"
    wait_until("it is restored", lambda: '"state": "running"' not in state.read_text(), 1800)
    assert '"state": "done"' in state.read_text(), state.read_text()
    assert machine.answers()
    assert memory.killed() == 0
    # But for when she was here last.
    assert look(machine).splitlines()[1:] == before.splitlines()[1:]
    print(f"1 GB: {memory.used_mib()} MiB in programs")
    machine.destroy()
    machine.delete()
    memory.gone()
