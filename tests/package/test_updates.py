"""``microblog update``: to a version that is good, to bad ones, with power cuts; and the way back."""

import json
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from nspawn import Machine, wait_until
from sites import BACKUPS, ENV, SQLITE, fill, look, offer, switch_to, tables
from test_agent_units import ask
from variants import ADD, HEAD, Versions, migration

FOLDER = "var/lib/microblog-update"
DESTROY = ADD + '\nop.execute("DELETE FROM posts")\nop.execute("ALTER TABLE users ADD COLUMN y INTEGER")\n'  # noqa: S608
# One that SQLite takes, too: no row is left without the one that it belongs to.
SPOIL = ADD + "\nop.execute(\"UPDATE posts SET body = 'lost'\")\n"  # noqa: S608
# Even the command does not run any more.
BROKEN = {"__init__.py": "raise RuntimeError('no such luck')\n"}
# The health check is well, and visitors are not.
STEPS = ("prepare", "ready", "install", "check", "back")
UNSEEN = {"templates/auth/login.html": "{{ no.such.thing }}\n"}


def installed(machine: Machine) -> str:
    return machine.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}", "microblog").strip()


def update(machine: Machine, *options: str) -> str:
    return machine.run("microblog", "update", "--yes", "--wait", "5", *options, check=False)


def last(machine: Machine) -> dict[str, str]:
    path = machine.root / FOLDER / "last.json"
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def ended(machine: Machine) -> bool:
    return not (machine.root / FOLDER / "journal.json").exists()


def test_an_update_shows_what_it_changes_and_a_bad_one_goes_back(server: Machine, versions: Versions) -> None:
    fill(server, "alice", 20)
    before, was, schema = look(server), installed(server), tables(server)
    version = was.split()[0]
    server.run("sh", "-c", "echo '# mine' >> /etc/nginx/sites-available/microblog")

    # What cannot be kept, or backed up, is not begun.
    offer(server, versions("9.1", {**BROKEN, **migration("9001", HEAD, DESTROY)}))
    server.run("mkdir", "-p", f"/{FOLDER}")
    server.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", f"/{FOLDER}")
    assert "the update was not begun: /var/lib/microblog-update has 1 MiB free, " in update(server)
    assert server.code == 1
    server.run("umount", f"/{FOLDER}")
    server.run("sh", "-c", f"mv {BACKUPS} /root/kept 2> /dev/null; touch {BACKUPS}")
    assert "the update was not begun: no backup was made: " in update(server)
    assert (server.code, installed(server), ended(server)) == (1, was, True)
    server.run("rm", BACKUPS)

    # It does not even start; and its migration has changed what is there.
    assert f"microblog {version} -> 9.1" in server.run("microblog", "update", "--check")
    assert installed(server) == was
    said = update(server)
    assert server.code == 1, said
    assert "microblog: the update was taken back: " in said, said
    assert "Traceback" not in said
    assert installed(server) == was
    assert server.answers()
    assert (look(server), tables(server)) == (before, schema)
    assert last(server)["result"] == "taken back"
    assert "# mine" in (server.root / "etc/nginx/sites-available/microblog").read_text()
    # That version is not tried again, by nobody; until somebody wants it.
    assert "Nothing to update" in update(server)
    assert server.code == 0

    # It works, but visitors see an error; its migration has lost posts.
    offer(server, versions("9.2", {**UNSEEN, **migration("9001", HEAD, DESTROY)}))
    said = update(server)
    assert server.code == 1, said
    assert "taken back: visitors who want to log in are answered 500" in said, said
    assert "Putting the data back ..." in said
    assert (installed(server), look(server), tables(server)) == (was, before, schema)
    assert server.answers()

    # A good one is taken, with its schema.
    offer(server, versions("9.3", migration("9001", HEAD, ADD)))
    told = json.loads(server.run("microblog", "update", "--json").splitlines()[-1])
    assert told["result"] == "updated"
    assert told["changes"][0]["new"] == "9.3"
    assert told["backup"].startswith(f"{BACKUPS}/microblog-")
    assert installed(server) == "9.3 ii"
    assert server.answers()
    assert look(server) == before
    assert "extra" in tables(server)
    assert "# mine" in (server.root / "etc/nginx/sites-available/microblog").read_text()
    assert not (server.root / FOLDER / "old").exists()


@pytest.mark.thorough
def test_a_site_that_nobody_has_claimed_is_updated_whatever_roots_umask(
    server: Machine, versions: Versions
) -> None:
    """All its pages lead to the first; and what is kept is the application's user's to read."""
    server.sql("DELETE FROM microblog.settings WHERE name = 'claimed'")
    server.run("supervisorctl", "restart", "microblog")
    server.run("microblog", "setup")
    offer(server, versions("9.3", migration("9001", HEAD, ADD)))
    said = server.run("sh", "-c", "umask 077; exec microblog update --yes")
    assert "visitors see the site" in said, said
    assert installed(server) == "9.3 ii"
    # What the status says of it, everybody may read.
    server.run("runuser", "-u", "nobody", "--", "cat", f"/{FOLDER}/last.json")


@pytest.mark.parametrize(
    "url", [SQLITE, pytest.param("", marks=pytest.mark.thorough)], ids=["sqlite", "mariadb"]
)
def test_power_cuts_at_each_step_end_in_the_version_that_was_there(
    server: Machine, versions: Versions, url: str
) -> None:
    if url:
        switch_to(server, url)
    fill(server, "alice", 20)
    before, was, schema = look(server), installed(server), tables(server)
    offer(server, versions("9.1", {**UNSEEN, **migration("9001", HEAD, SPOIL)}))
    begin = ("systemd-run", "--quiet", "microblog", "update", "--wait", "5")
    for step in ("prepare", "install", "check", "back"):
        if ended(server):
            server.run(*begin)
        wait_until(f"the update is at {step}", lambda: at(server, step))  # noqa: B023
        server.kill()
        server.boot()
        if step == "prepare":
            # Nothing was changed: nothing is left of it.
            wait_until("it has been forgotten", lambda: ended(server))
            assert installed(server) == was
            wait_until("the site answers", server.answers)
    wait_until("the update has ended", lambda: ended(server))
    assert last(server)["result"] == "taken back", last(server)
    wait_until("the site answers", server.answers)
    assert (installed(server), look(server), tables(server)) == (was, before, schema)


@pytest.mark.thorough
def test_a_power_cut_within_a_good_update_is_completed(server: Machine, versions: Versions) -> None:
    fill(server, "alice", 20)
    before = look(server)
    wait = (
        f'{ADD}\nmark = "/var/lib/microblog/mark"\n'
        'if not os.path.exists(mark):\n    open(mark, "w").close()\n    time.sleep(3600)'
    )
    offer(server, versions("9.1", migration("9001", HEAD, wait)))
    server.run("systemd-run", "--quiet", "microblog", "update")
    wait_until("the migration is under way", (server.root / "var/lib/microblog/mark").exists)
    server.kill()
    server.boot()
    wait_until("the update has ended", lambda: ended(server))
    assert last(server)["result"] == "updated", last(server)
    assert installed(server) == "9.1 ii"
    assert (server.answers(), look(server)) == (True, before)
    assert "extra" in tables(server)


@pytest.mark.thorough
def test_a_neighbour_that_fails_half_way_is_put_back_with_the_site(
    server: Machine, versions: Versions, tmp_path: Path
) -> None:
    fill(server, "alice", 5)
    before, was = look(server), installed(server)
    shutil.copyfile(package(tmp_path, "1"), server.root / "root/one.deb")
    server.run("dpkg", "-i", "/root/one.deb")
    server.run("apt-mark", "auto", "zzz-neighbour")
    offer(server, versions("9.1", migration("9001", HEAD, ADD)), package(tmp_path, "2", "exit 1"))
    assert "zzz-neighbour" not in server.run("microblog", "update", "--dry-run")
    said = update(server, "--all")
    assert server.code == 1, said
    assert "the update was taken back: " in said
    assert installed(server) == was
    assert server.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}", "zzz-neighbour") == "1 ii "
    assert server.run("apt-mark", "showauto", "zzz-neighbour", "microblog").split() == ["zzz-neighbour"]
    assert (server.answers(), look(server)) == (True, before)


def mail_to_root(machine: Machine) -> None:
    """Have the site's administrator be root here."""
    path = machine.root / ENV.lstrip("/")
    kept = [
        line for line in path.read_text().splitlines() if not line.startswith(("ADMINS=", "MAIL_SERVER="))
    ]
    path.write_text("\n".join([*kept, "ADMINS=root@localhost", "MAIL_SERVER=localhost", ""]))
    machine.run("microblog", "setup")


def mails(machine: Machine) -> list[str]:
    """The subjects of root's."""
    said = machine.run("cat", "/var/mail/root", check=False)
    return re.findall(r"(?m)^Subject: (.*)$", said)


def test_a_unit_that_fails_is_told_once_until_it_succeeds(server: Machine) -> None:
    mail_to_root(server)
    unit = "microblog-backup.service"

    def fails() -> None:
        server.run("sh", "-c", f"rm -rf {BACKUPS}; touch {BACKUPS}")
        server.run("systemctl", "start", unit, check=False)
        assert server.code != 0
        told = server.root / FOLDER / "told/microblog-backup"
        wait_until("it is told", told.exists)

    fails()
    wait_until("the mail is there", lambda: len(mails(server)) == 1)
    assert mails(server)[0].endswith("microblog-backup has failed")
    assert "failed: microblog-backup" in server.run("microblog", "status", check=False)
    said = server.run("microblog", "status", "--nagios", check=False)
    assert (server.code, said.startswith("MICROBLOG WARNING - ")) == (1, True), said
    assert 'microblog_ok{what="units"} 0' in server.run("microblog", "status", "--prometheus")
    # Again: nothing new.
    server.run("systemctl", "start", unit, check=False)
    wait_until(
        "it has been heard", lambda: not server.run("systemctl", "list-jobs").count("microblog-failed")
    )
    # And it is as it was.
    server.run("rm", BACKUPS)
    server.run("systemctl", "start", unit)
    assert "none has failed" in server.run("microblog", "status", check=False)
    fails()
    wait_until("the second mail is there", lambda: len(mails(server)) == 2)


# What is broken in a package of the distribution's: a file, and what its postinst does besides.
BREAK = {
    "nginx": ("usr/sbin/nginx", ""),
    "mariadb-server-core": ("usr/sbin/mariadbd", "systemctl restart mariadb || true"),
}


def broken(machine: Machine, folder: Path, name: str) -> Path:
    """A newer version of one of the distribution's packages, whose program does not run."""
    (found,) = (machine.root / "var/cache/apt/archives").glob(f"{name}_*.deb")
    tree, (program, command) = folder / name, BREAK[name]
    subprocess.run(["dpkg-deb", "--raw-extract", found, tree], check=True)
    (tree / program).unlink()
    (tree / program).write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    (tree / program).chmod(0o755)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: (.*)", r"Version: \1.9", control.read_text()))
    if command:
        (tree / "DEBIAN/postinst").write_text(f"#!/bin/sh\n{command}\n")
        (tree / "DEBIAN/postinst").chmod(0o755)
    made = folder / f"{name}_9.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, made], check=True)
    return made


def taken_by_night(machine: Machine) -> set[str]:
    """From whom unattended-upgrades takes packages, as itself reads apt's settings; from nobody where it is
    off."""
    on = machine.run("apt-config", "shell", "ON", "APT::Periodic::Unattended-Upgrade").strip()
    if on in ("", "ON='0'"):
        return set()
    said = machine.run("unattended-upgrade", "--dry-run", "--debug")
    (line,) = re.findall(r"(?m)^Allowed origins are: (.*)$", said)
    return set(line.split(", ")) - {""}


@pytest.mark.thorough
def test_what_the_system_breaks_by_night_is_seen_put_back_and_told(
    server: Machine, versions: Versions, tmp_path: Path
) -> None:
    fill(server, "alice", 5)
    mail_to_root(server)
    before = look(server)
    server.run(
        *("apt-get", "install", "--yes", "--no-install-recommends", "unattended-upgrades"),
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )
    # Security by itself, and nothing of the site's, unless its owner says so.
    debian = taken_by_night(server)
    assert any("label=Debian-Security" in one for one in debian), debian
    assert not any("Microblog" in one for one in debian)
    switched = {"all": {*debian, "origin=Microblog"}, "site": {"origin=Microblog"}, "none": set()}
    for what, allowed in {**switched, "security": debian}.items():
        server.run("microblog", "update", "--automatic", what)
        assert taken_by_night(server) == allowed, what
        told = ask(server, "updates")["automatic"]
        assert told == {"security": debian <= allowed, "site": "origin=Microblog" in allowed}, what
    # As the package has it, but for the time that is given.
    soon = server.root / "etc/systemd/system/apt-daily-upgrade.service.d/soon.conf"
    soon.parent.mkdir(parents=True)
    soon.write_text("[Service]\nExecStartPre=\nExecStartPre=-/usr/bin/microblog update --watch --wait 5\n")
    server.run("systemctl", "daemon-reload")
    assert "by itself: security and site" in server.run("microblog", "update", "--automatic", "all")
    for name in ("microblog", *BREAK):
        was = server.run("dpkg-query", "-W", "-f", "${Version}", name)
        offer(server, broken(server, tmp_path, name) if name in BREAK else versions("9.1", UNSEEN))
        (server.root / FOLDER / "last.json").unlink(missing_ok=True)
        server.run("sh", "-c", "rm -rf /var/lib/apt/periodic/*-stamp; apt-get update")
        server.run("systemctl", "start", "apt-daily-upgrade.service")
        wait_until(f"the update of {name} has ended", lambda: "ended" in last(server))
        told = last(server)
        assert (told["result"], told["origin"]) == ("taken back", "system"), told
        assert server.run("dpkg-query", "-W", "-f", "${Version}", name) == was
        wait_until("the site answers", server.answers)
        assert look(server) == before
        wait_until("it is told", lambda: told["why"] in server.run("cat", "/var/mail/root", check=False))  # noqa: B023
        server.run("truncate", "--size=0", "/var/mail/root")


def at(machine: Machine, step: str) -> bool:
    """Whether it has got as far, or farther."""
    path = machine.root / FOLDER / "journal.json"
    with suppress(FileNotFoundError):
        return STEPS.index(json.loads(path.read_text())["step"]) >= STEPS.index(step)
    return step != "prepare" and "ended" in last(machine)


def package(folder: Path, version: str, postinst: str = "exit 0") -> Path:
    """Somebody else's."""
    tree = folder / f"neighbour-{version}/DEBIAN"
    tree.mkdir(parents=True)
    (tree / "control").write_text(
        f"Package: zzz-neighbour\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: x <x@localhost>\nDescription: x\n"
    )
    (tree / "postinst").write_text(f"#!/bin/sh\n{postinst}\n")
    (tree / "postinst").chmod(0o755)
    made = folder / f"zzz-neighbour_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree.parent, made], check=True)
    return made
