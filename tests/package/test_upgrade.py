"""``apt install ./microblog_NEW.deb``: that works, that fails, whose power is cut; and the way back."""

import shutil
import subprocess
from pathlib import Path

import pytest
from nspawn import Machine, try_install, wait_until
from sites import BACKUPS, SQLITE, fill, in_maintenance, look, switch_to, tables
from variants import ADD, HEAD, Versions, migration

from builder.core import paths

DESTROY = ADD + '\nop.execute("DELETE FROM posts")\nop.execute("ALTER TABLE users ADD COLUMN y INTEGER")\n'  # noqa: S608
UNWELL = """
from flask import Blueprint, abort
blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz():
    abort(500)
"""


def test_an_upgrade_keeps_the_posts_and_says_how_long_it_took(
    server: Machine, versions: Versions, deb: Path
) -> None:
    fill(server, "alice", 20)
    before = look(server)
    said = try_install(server, versions("9.1", migration("9001", HEAD, ADD)))
    assert server.code == 0, said
    assert "Backed up to /var/backups/microblog/microblog-" in said
    assert "The site is back; it was away for" in said
    assert server.answers()
    assert look(server) == before
    assert "extra" in tables(server)
    assert len(server.run("ls", BACKUPS).split()) == 1
    # Nothing to migrate: nothing to back up.
    assert "Backed up" not in try_install(server, versions("9.2", migration("9001", HEAD, ADD)))
    assert server.code == 0

    said = try_install(server, deb)
    assert server.code != 0
    assert "cannot serve the database of 9.2 (schema 9001)" in said
    wait_until("the newer version serves on", server.answers)
    assert "9.2" in server.run("dpkg-query", "-W", "microblog")
    # Where the schema is the same, there is nothing against it.
    try_install(server, versions("9.1.5", migration("9001", HEAD, ADD)))
    assert server.code == 0
    # And back with a backup of then, as the refusal says.
    server.run("apt-get", "remove", "--yes", "microblog")
    try_install(server, deb)
    assert server.code != 0
    server.run("sh", "-c", f"microblog restore {BACKUPS}/*-upgrade.tar.gz")
    server.run("dpkg", "--configure", "--pending")
    assert server.answers()
    assert look(server) == before


# A package whose turn comes after ours, takes its time, and fails.
SLOW = """#!/bin/sh
touch /root/waiting
until [ -e /root/go ]; do sleep 0.1; done
exit 1
"""


def slow_package(folder: Path) -> Path:
    tree = folder / "slow/DEBIAN"
    tree.mkdir(parents=True)
    (tree / "control").write_text(
        "Package: zzz-slow\nVersion: 1\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n"
    )
    (tree / "postinst").write_text(SLOW)
    (tree / "postinst").chmod(0o755)
    made = folder / "zzz-slow.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree.parent, made], check=True)
    return made


def test_the_site_is_up_while_other_packages_take_their_time_and_fail(
    server: Machine, versions: Versions, tmp_path: Path
) -> None:
    fill(server, "alice", 3)
    before = look(server)
    old = server.run("supervisorctl", "pid", "microblog")
    shutil.copyfile(versions("9.1", {}), server.root / "root/new.deb")
    shutil.copyfile(slow_package(tmp_path), server.root / "root/slow.deb")
    server.run(
        *("systemd-run", "--quiet", "--setenv=DEBIAN_FRONTEND=noninteractive"),
        *("sh", "-c", "dpkg -i /root/new.deb /root/slow.deb > /root/said 2>&1; touch /root/ended"),
    )
    wait_until("the other package is at it", (server.root / "root/waiting").exists)
    # The new files are there, the old program serves on.
    assert "9.1" in server.run("dpkg-query", "-W", "microblog")
    assert server.answers()
    assert server.run("supervisorctl", "pid", "microblog") == old
    (server.root / "root/go").touch()
    wait_until("dpkg has ended", (server.root / "root/ended").exists)
    assert "error processing package zzz-slow" in (server.root / "root/said").read_text()
    wait_until("the site answers", server.answers)
    # The new version does, by now.
    assert server.run("supervisorctl", "pid", "microblog") != old
    assert look(server) == before
    # And a library of Python's that is upgraded reaches the program that runs.
    new = server.run("supervisorctl", "pid", "microblog")
    server.run("dpkg-trigger", "--by-package=python3-flask", "/usr/lib/python3/dist-packages")
    server.run("dpkg", "--triggers-only", "microblog", env={"DEBIAN_FRONTEND": "noninteractive"})
    assert server.run("supervisorctl", "pid", "microblog") != new
    assert server.answers()


@pytest.mark.parametrize("url", ["", SQLITE], ids=["mariadb", "sqlite"])
def test_a_migration_that_fails_leaves_the_data_and_says_so(
    server: Machine, versions: Versions, url: str
) -> None:
    if url:
        switch_to(server, url)
    fill(server, "alice", 20)
    before, tables_before = look(server), tables(server)
    broken = migration("9001", HEAD, f'{DESTROY}raise RuntimeError("no such luck")')
    said = try_install(server, versions("9.1", broken))
    assert server.code != 0
    assert (
        "microblog: the schema could not be brought up to date: RuntimeError: no such luck;"
        " the data are as they were, and the site shows its maintenance page" in said
    ), said
    assert said.count("microblog setup") == 1
    assert "Traceback" not in said
    assert in_maintenance(server)
    assert (look(server), tables(server)) == (before, tables_before)
    assert server.run("microblog", "status", check=False).count("in maintenance") == 1
    assert server.code == 1
    assert "microblog setup" in server.run("microblog", "doctor", check=False)

    # A boot tries again, fails again, and loses nothing.
    server.reboot()
    assert in_maintenance(server)
    assert server.run("pgrep", "gunicorn", check=False) == ""
    assert (look(server), tables(server)) == (before, tables_before)

    said = try_install(server, versions("9.2", migration("9001", HEAD, ADD)))
    assert server.code == 0, said
    assert server.answers()
    assert look(server) == before


def test_a_version_that_is_not_well_is_taken_back(server: Machine, versions: Versions) -> None:
    fill(server, "alice", 20)
    before, tables_before = look(server), tables(server)
    files = {**migration("9001", HEAD, DESTROY), "web/health.py": UNWELL}
    said = try_install(server, versions("9.1", files))
    assert server.code != 0
    assert "the application is not well: it answers 500; the data are as they were" in said, said
    assert in_maintenance(server)
    assert (look(server), tables(server)) == (before, tables_before)
    # What was wrong is mended by hand: the command that retries.
    (server.root / "usr/lib/python3/dist-packages/microblog/web/health.py").write_text(
        (paths.ROOT / "microblog/web/health.py").read_text()
    )
    path = server.root / "usr/lib/python3/dist-packages/microblog/migrations/versions/9001_test.py"
    path.write_text(path.read_text().replace("DELETE FROM posts", "SELECT 1"))
    server.run("microblog", "setup")
    assert server.answers()
    assert look(server) == before
    server.run("dpkg", "--configure", "--pending")


@pytest.mark.parametrize("url", ["", SQLITE], ids=["mariadb", "sqlite"])
def test_power_cut_within_a_migration_heals_at_the_next_boot(
    server: Machine, versions: Versions, url: str
) -> None:
    if url:
        switch_to(server, url)
    fill(server, "alice", 20)
    before = look(server)
    # The first time, it never ends.
    wait = (
        f'{ADD}\nmark = "/var/lib/microblog/mark"\n'
        'if not os.path.exists(mark):\n    open(mark, "w").close()\n    time.sleep(3600)'
    )
    shutil.copyfile(versions("9.1", migration("9001", HEAD, wait)), server.root / "root/new.deb")
    server.run(
        "systemd-run", "--quiet", "--setenv=DEBIAN_FRONTEND=noninteractive", "dpkg", "-i", "/root/new.deb"
    )
    wait_until("the migration is under way", (server.root / "var/lib/microblog/mark").exists)
    server.kill()
    server.boot()
    wait_until("the site answers", server.answers)
    assert look(server) == before
    assert "extra" in tables(server)
    assert server.run("dpkg", "--configure", "-a") is not None
    assert server.answers()
    assert server.run("find", BACKUPS, "-name", "upgrading*") == ""
