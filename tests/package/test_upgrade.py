"""``apt install ./microblog_NEW.deb``: that works, that fails, whose power is cut; and the way back."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def workers(machine: Machine) -> set[str]:
    """The processes that serve."""
    first = machine.run("supervisorctl", "pid", "microblog").strip()
    return set(machine.run("ps", "-o", "pid=", "--ppid", first).split())


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
    old = workers(server)
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
    assert workers(server) == old
    (server.root / "root/go").touch()
    wait_until("dpkg has ended", (server.root / "root/ended").exists)
    assert "error processing package zzz-slow" in (server.root / "root/said").read_text()
    wait_until("the site answers", server.answers)
    # The new version does, by now.
    assert not workers(server) & old
    assert look(server) == before
    # And a library of Python's that is upgraded reaches the program that runs; no visitor notices.
    new = workers(server)
    with visitor(server) as told:
        server.run("dpkg-trigger", "--by-package=python3-flask", "/usr/lib/python3/dist-packages")
        server.run("dpkg", "--triggers-only", "microblog", env={"DEBIAN_FRONTEND": "noninteractive"})
    assert (told["away"], told["back"]) == (0, True), told
    assert not workers(server) & new
    assert server.answers()


# What a package's scripts do: ask the site, as visitors do, each time that they run.
ASK = "#!/bin/sh\ncurl -sk -o /dev/null -w '%{http_code} ' https://localhost/healthz >> /root/asked || true\n"
MANY = 100
# A visitor who comes twenty times a second until all is over, and tells for how long nobody was there.
VISIT = """
import json, os, ssl, time
from urllib.request import urlopen

context = ssl._create_unverified_context()
away, longest, last, visits = 0.0, 0.0, None, 0
while not os.path.exists("/root/left"):
    began = time.monotonic()
    try:
        good = urlopen("https://localhost/healthz", timeout=60, context=context).status == 200
    except OSError:
        good = False
    visits += 1
    if good and last is not None:
        away, last = away + time.monotonic() - last, None
    elif not good:
        last = last or began
    time.sleep(0.05)
print(json.dumps({"visits": visits, "away": round(away, 1), "back": last is None}))
"""


@contextmanager
def visitor(machine: Machine) -> Iterator[dict[str, Any]]:
    """What one who comes all the while tells in the end."""
    told: dict[str, Any] = {}
    process = subprocess.Popen(
        ["nsenter", f"--target={machine.leader}", "--all", "python3", "-c", VISIT],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield told
    finally:
        (machine.root / "root/left").touch()
        told.update(json.loads(process.communicate()[0]))
        (machine.root / "root/left").unlink()


def many_packages(folder: Path, version: str, scripts: bool) -> None:
    """Packages whose names come before ours and after it, and one of them fails."""
    for number in range(MANY):
        name = f"{'aaa' if number % 2 else 'zzz'}-{number}"
        tree = folder / f"tree-{version}-{number}/DEBIAN"
        tree.mkdir(parents=True)
        (tree / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: x <x@localhost>\nDescription: x\n"
        )
        for script in ("preinst", "postinst") if scripts else ():
            fails = script == "postinst" and number == MANY // 2
            (tree / script).write_text(f"{ASK}exit {int(fails)}\n")
            (tree / script).chmod(0o755)
        made = folder / f"{name}_{version}_all.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree.parent, made]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("migrates", [True, False], ids=["migration", "no migration"])
def test_the_site_is_away_for_the_migration_alone(
    server: Machine,
    versions: Versions,
    tmp_path: Path,
    migrates: bool,
    record_property: Callable[[str, object], None],
) -> None:
    fill(server, "alice", 50)
    before = look(server)
    folder = server.root / "root/many"
    folder.mkdir()
    many_packages(folder, "1", scripts=False)
    server.run("sh", "-c", "dpkg -i /root/many/*_1_all.deb")
    many_packages(folder, "2", scripts=True)
    files = migration("9001", HEAD, ADD) if migrates else {}
    shutil.copyfile(versions("9.1", files), folder / "microblog_2_all.deb")
    with visitor(server) as told:
        said = server.run(
            *("sh", "-c", "apt-get install --yes --quiet /root/many/*_2_all.deb || true"),
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )
    assert f"error processing package zzz-{MANY // 2}" in said
    # Whoever was at it when, the site was there; and it is, whatever has failed.
    assert (server.root / "root/asked").read_text().split() == ["200"] * (2 * MANY)
    assert told["back"], told
    # Where the schema stays, it is never away.
    assert migrates or told["away"] == 0, told
    wait_until("the site answers", server.answers)
    assert "9.1" in server.run("dpkg-query", "-W", "microblog")
    assert ("extra" in tables(server)) == migrates
    assert look(server) == before
    record_property(
        f"table: An upgrade of {MANY + 1} packages, one of which fails",
        {
            "schema": "changes" if migrates else "stays",
            "visits": told["visits"],
            "away, seconds": told["away"],
        },
    )


@pytest.mark.parametrize("url", ["", SQLITE], ids=["mariadb", "sqlite"])
def test_a_migration_that_fails_leaves_the_data_and_says_so(
    server: Machine, versions: Versions, url: str
) -> None:
    if url:
        switch_to(server, url)
    fill(server, "alice", 20)
    before, tables_before = look(server), tables(server)
    broken = migration("9001", HEAD, f'{DESTROY}raise RuntimeError("no such luck")')
    deb = versions("9.1", broken)
    if not url:
        # Somebody else's would go with the tables that the way back puts aside.
        server.sql("CREATE TRIGGER microblog.theirs BEFORE DELETE ON microblog.posts FOR EACH ROW SET @x = 1")
        said = try_install(server, deb)
        assert server.code != 0
        assert "the upgrade was not begun: the trigger theirs, which is none of this version's" in said, said
        assert (look(server), tables(server)) == (before, tables_before)
        assert "theirs" in server.sql("SELECT trigger_name FROM information_schema.triggers")
        server.sql("DROP TRIGGER microblog.theirs")
    said = try_install(server, deb)
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


# Takes its time, and says when it is at it.
SLOWLY = (
    ADD
    + """
open("/var/lib/microblog/adding", "w").close()
while not os.path.exists("/var/lib/microblog/go"):
    time.sleep(0.1)
"""
)


@pytest.mark.parametrize("well", [True, False], ids=["well", "unwell"])
def test_the_version_before_serves_while_the_schema_grows(
    server: Machine, versions: Versions, well: bool
) -> None:
    """And who writes meanwhile has written, also where the new version then does not answer."""
    fill(server, "alice", 3)
    before, tables_before = look(server), tables(server)
    shutil.copyfile(
        versions(
            "9.1",
            migration("9001", HEAD, SLOWLY, back='op.drop_table("extra")')
            | ({} if well else {"web/health.py": UNWELL}),
        ),
        server.root / "root/new.deb",
    )
    server.run(
        *("systemd-run", "--quiet", "--setenv=DEBIAN_FRONTEND=noninteractive"),
        *("sh", "-c", "dpkg -i /root/new.deb > /root/said 2>&1; echo $? > /root/ended"),
    )
    wait_until("the migration is at it", (server.root / "var/lib/microblog/adding").exists)
    assert server.answers()
    assert not in_maintenance(server)
    server.sql("INSERT INTO microblog.posts (author_id, body, created_at) VALUES (1, 'meanwhile', NOW())")
    (server.root / "var/lib/microblog/go").touch()
    wait_until("dpkg has ended", (server.root / "root/ended").exists)
    said = (server.root / "root/said").read_text()
    assert "The version before serves on meanwhile" in said
    assert "meanwhile" in look(server)
    assert all(line in look(server) for line in before.splitlines())
    if well:
        assert (server.root / "root/ended").read_text().strip() == "0", said
        assert "it was away" not in said
        assert server.answers()
        assert "extra" in tables(server)
    else:
        assert "the application is not well: it answers 500; the data are as they were" in said, said
        assert tables(server) == tables_before


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
