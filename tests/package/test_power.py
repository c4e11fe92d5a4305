"""Power cuts at random points of an install, an upgrade, a backup and a restore, while somebody writes.

A few every day, the drill with ``--thorough``; the table is in docs/package.md. What is cut here is
every process at once: the kernel, and so what it was given to write, lives on. The images' tests
pull the plug of a whole machine.
"""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nspawn import Machine, wait_until
from sites import BACKUPS, SQLITE, Writer, fill, posts, switch_to
from variants import HEAD, Versions, migration

# Operation, database, cuts in the drill.
CASES = [
    ("restore", "sqlite", 5),
    ("upgrade", "sqlite", 6),
    ("backup", "sqlite", 3),
    ("restore", "mariadb", 5),
    ("upgrade", "mariadb", 6),
    ("backup", "mariadb", 3),
    ("install", "mariadb", 6),
]
EVERY_DAY = {("install", "mariadb"), ("upgrade", "mariadb"), ("restore", "sqlite")}
# As long as each takes, in seconds, where it was not measured.
USUAL = {"install": 8.0, "upgrade": 8.0, "restore": 6.0}
# And where it was.
measured: dict[str, float] = {}
KEPT = "/root/kept.tar.gz"
DPKG = "DEBIAN_FRONTEND=noninteractive dpkg -i /root/new.deb"
COMMANDS = {
    "install": DPKG,
    "upgrade": DPKG,
    "backup": "microblog backup",
    "restore": f"microblog restore {KEPT}",
}


class Site:
    """A site that is cut off again and again."""

    def __init__(self, machine: Machine, operation: str, deb: Path, versions: Versions) -> None:
        self.machine, self.operation, self.deb, self.versions = machine, operation, deb, versions
        self.rounds = 0

    def prepare(self) -> None:
        """What has to be there before the next round."""
        self.rounds += 1
        if self.operation == "install":
            self.machine.run("apt-get", "purge", "--yes", "microblog")
            shutil.copyfile(self.deb, self.machine.root / "root/new.deb")
        if self.operation == "upgrade":
            shutil.copyfile(self._newer(), self.machine.root / "root/new.deb")

    def _newer(self) -> Path:
        """A version with one more migration than the last."""
        files: dict[str, str] = {}
        last = HEAD
        for number in range(9001, 9001 + self.rounds):
            table = f'op.create_table("extra{number}", sa.Column("x", sa.Integer()))'
            body = f'if missing.table("extra{number}"):\n    {table}'
            files |= migration(str(number), last, body)
            last = str(number)
        return self.versions(f"9.{last}", files)

    def begin(self) -> None:
        command = f"({COMMANDS[self.operation]}) > /root/said 2>&1; touch /root/ended"
        self.machine.run("rm", "-f", "/root/said", "/root/ended")
        self.machine.run("systemd-run", "--quiet", "sh", "-c", command)

    def ended(self) -> bool:
        return (self.machine.root / "root/ended").exists()

    def said(self) -> str:
        """The last line of what it said before the cut."""
        path = self.machine.root / "root/said"
        lines = path.read_text(errors="replace").split("\n") if path.exists() else []
        return [line for line in lines if line.strip()][-1].strip() if any(lines) else "nothing yet"

    def heal(self) -> bool:
        """Boot, and do what an administrator is told to do.

        :return: whether the boot alone was enough.
        """
        self.machine.boot()
        if self.operation not in ("install", "upgrade"):
            wait_until("the site answers", self.machine.answers)
            return True
        status = self.machine.run("dpkg-query", "-W", "-f", "${Status}", "microblog", check=False).split()[-1]
        unit = self.machine.run("systemctl", "show", "--property=ActiveState", "microblog-setup", check=False)
        alone = unit.strip() == "ActiveState=active"
        # Only dpkg's own work, half done, is dpkg's to complete.
        assert alone or self.operation == "install" or status == "half-installed", status
        if alone:
            wait_until(f"the site answers, the package being {status}", self.machine.answers)
        # What dpkg asks for after an interruption.
        said = self.machine.run("sh", "-c", DPKG, check=False)
        assert self.machine.code == 0, said
        wait_until("the site answers", self.machine.answers)
        return alone


@pytest.mark.parametrize(
    ("operation", "database", "cuts"),
    [
        pytest.param(
            *case, marks=[] if case[:2] in EVERY_DAY else pytest.mark.thorough, id="-".join(case[:2])
        )
        for case in CASES
    ],
)
def test_power_cuts_lose_nothing(
    server: Machine,
    record_property: Callable[[str, object], None],
    deb: Path,
    versions: Versions,
    thorough: bool,
    operation: str,
    database: str,
    cuts: int,
) -> None:
    if database == "sqlite":
        switch_to(server, SQLITE)
    fill(server, "writer", 150)
    server.run("microblog", "backup", "--output", KEPT)
    kept = posts(server)
    site = Site(server, operation, deb, versions)
    if thorough and operation not in measured:
        site.prepare()
        began = time.monotonic()
        site.begin()
        wait_until(f"the {operation} has ended", site.ended)
        measured[operation] = time.monotonic() - began
        wait_until("the site answers", server.answers)
    usual = measured.get(operation, USUAL.get(operation, 1.0))
    row: dict[str, Any] = {"within": operation, "database": database}
    row |= dict.fromkeys(("cuts", "healed by the next boot alone", "posts acknowledged", "lost"), 0)
    record_property("table: power cuts", row)
    dice = random.Random(f"{operation} {database}")  # noqa: S311
    found = posts(server)
    for number in range(cuts if thorough else 1):
        there = found
        site.prepare()
        with Writer(server, f"round{number}") as writer:
            if operation != "install":
                wait_until("a post is acknowledged", writer.lines)
            delay = dice.uniform(0.1, usual)
            site.begin()
            server.run("sleep", f"{delay:.2f}")
            server.kill()
        where = f"after {delay:.2f} of {usual:.1f} s, at: {site.said()}"
        acknowledged = writer.lines()
        row["cuts"] += 1
        row["posts acknowledged"] += len(acknowledged)
        row["healed by the next boot alone"] += site.heal()
        found = posts(server)
        lost = {*there, *acknowledged} - found
        if operation == "restore":
            assert kept <= found, where
            # What a restore has replaced is in the backup that it made of that.
            lost -= posts(server, in_backups=True)
        row["lost"] += len(lost)
        print(f"{operation}, {database}: {where}; {len(acknowledged)} acknowledged, {len(lost)} lost")
        assert not lost, f"{where}: {sorted(lost)[:5]}"
        assert server.run("microblog", "setup") == "Nothing was missing\n", where
        assert server.run("find", BACKUPS, "-name", ".*", check=False).count("partial") == 0, where
    for path in server.run("sh", "-c", f"ls {BACKUPS}/*-manual.tar.gz || true").split("\n"):
        if path.startswith(BACKUPS):
            server.run("microblog", "restore", "--check", path)
