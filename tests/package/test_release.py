"""From the last release to this version: what people have there goes on, whatever has moved since."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nspawn import Machine, install, try_install, wait_until
from sites import BACKUPS, ENV, fill, look, python

from builder.core import cache, paths
from builder.deb import package

# The newest release that CHANGELOG.md has a commit of. 0.1.0: gunicorn on port 8000, no ledger.
VERSION, COMMIT = re.findall(
    r"(?m)^## (\S+), commit ([0-9a-f]{7,})$", (paths.ROOT / "CHANGELOG.md").read_text()
)[0]
# The everyday base, and with --thorough the newest Debian beside it.
SYSTEMS = ["", pytest.param("debian-13", marks=pytest.mark.thorough)]


@pytest.fixture(scope="session")
def released(shared: Path) -> Path:
    """The last release's package, built from history as it was built then."""
    known = subprocess.run(["git", "-C", paths.ROOT, "cat-file", "-e", f"{COMMIT}^{{commit}}"], check=False)
    assert known.returncode == 0, (
        f"this clone's history lacks commit {COMMIT} ({VERSION}), from which the upgrade is tested:"
        " git fetch --unshallow"
    )
    tree = shared / "released"
    with cache.lock(shared / "released.lock", "building the last release"):
        if not tree.is_dir():
            subprocess.run(["git", "clone", "--quiet", "--no-checkout", paths.ROOT, tree], check=True)
            subprocess.run(["git", "-C", tree, "checkout", "--quiet", COMMIT], check=True)
        code = "from builder import package; print(package.build())"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture(params=SYSTEMS, ids=["everyday", "debian-13"])
def system(request: pytest.FixtureRequest, base: Path, base_of: Callable[[str], Path]) -> Path:
    """The root directory of a Debian without the package."""
    return base_of(request.param) if request.param else base


def _holds(now: str, then: str) -> bool:
    """Whether what people had then is there now, to the letter: a row may have more columns at its end."""
    rows = list(zip(now.splitlines(), then.splitlines(), strict=True))
    return all(new.startswith(old.removesuffix("]")) for new, old in rows)


def test_the_version_is_newer_than_the_last_release() -> None:
    newer = subprocess.run(["dpkg", "--compare-versions", package.version(), "gt", VERSION], check=False)
    assert newer.returncode == 0, f"setup.cfg's version is not above {VERSION}"
    assert f"## {package.version()}" in (paths.ROOT / "CHANGELOG.md").read_text()


def test_the_last_release_becomes_this_version(
    system: Path, released: Path, deb: Path, new_machine: Callable[..., Machine]
) -> None:
    machine = new_machine([system])
    install(machine, released)
    assert machine.run("dpkg-query", "-W", "-f", "${Version}", "microblog") == VERSION
    assert ":8000" in machine.run("ss", "-Hltn")
    fill(machine, "alice", 20)
    machine.run("microblog", "backup", "--output", "/root/old.tar.gz")
    before, secret = look(machine), machine.run("grep", "^SECRET_KEY=", ENV)

    said = try_install(machine, deb)
    assert machine.code == 0, said
    assert machine.answers()
    assert _holds(look(machine), before)
    assert machine.run("grep", "^SECRET_KEY=", ENV) == secret
    # Nobody can take the application's place on a port any more.
    assert ":8000" not in machine.run("ss", "-Hltn")
    assert "Nothing is wrong" in machine.run("microblog", "doctor")
    assert machine.run("microblog", "setup") == "Nothing was missing\n"
    machine.reboot()
    wait_until("the site answers", machine.answers)

    # A backup of then is read by this version.
    fill(machine, "bob", 1)
    machine.run("microblog", "restore", "/root/old.tar.gz")
    wait_until("the site answers", machine.answers)
    assert _holds(look(machine), before)
    assert machine.run("ls", BACKUPS)

    # And what the release had put aside comes back from this one.
    machine.run("apt-get", "remove", "--yes", "microblog")
    assert machine.run("ls", "/etc/nginx/sites-enabled").split() == ["default"]
    assert "Welcome to nginx" in machine.get("http://localhost/").body
    machine.destroy()
    machine.delete()


# What the last release's image of the Raspberry Pi has beside the package, and its owner on the card.
PI = """
mkdir -p /boot/firmware /etc/microblog
printf 'net.ipv4.ip_unprivileged_port_start = 80\nnet.ipv6.bindv6only = 1\n' > /etc/sysctl.d/60-microblog.conf
sysctl -q -p /etc/sysctl.d/60-microblog.conf
printf 'BIND=127.0.0.1:8000,0.0.0.0:80,[::]:80\nWEB_CONCURRENCY=2\n' > /etc/microblog/microblog.env
"""
CARD = {
    "site name": "Our place",
    "admin user": "susan",
    "admin email": "susan@example.org",
    "admin password": "three blue cups",
}
AUTHENTICATE = """
import sys
from microblog import create_app
from microblog.models import User

with create_app().app_context():
    user = User.authenticate(sys.argv[1], sys.argv[2])
    print(user.username, user.is_admin)
"""


def write_card(machine: Machine, values: dict[str, str]) -> None:
    """As the owner does, in the file that is there: a value behind the =, no # before it."""
    path = machine.root / "boot/firmware/microblog.txt"
    text = path.read_text()
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^#{key} = .*?(\r?)$", rf"{key} = {value}\1", text)
        assert count == 1, key
    path.write_text(text)


@pytest.mark.thorough
def test_the_last_releases_pi_becomes_this_version(
    system: Path, released: Path, deb: Path, new_machine: Callable[..., Machine]
) -> None:
    machine = new_machine([system])
    machine.run("sh", "-ec", PI)
    install(machine, released, "--no-install-recommends")
    machine.run("sh", "-ec", "microblog card template > /boot/firmware/microblog.txt")
    write_card(machine, CARD)
    for command in (("card", "read"), ("setup",), ("card", "admin")):
        machine.run("microblog", *command)
    assert not (machine.root / "boot/firmware/microblog-errors.txt").exists()
    fill(machine, "alice", 20)
    machine.run("microblog", "backup", "--output", "/root/old.tar.gz")
    before, settings = look(machine), machine.run("sort", ENV)
    # The owner has written something new, which the next boot's version reads.
    write_card(machine, {"site name": "Their place"})

    said = try_install(machine, deb)
    assert machine.code == 0, said

    def up(name: str) -> bool:
        page = machine.get("http://localhost/login")
        return page.status == 200 and name in page.body

    wait_until("the site answers", lambda: up("Our place"))
    assert _holds(look(machine), before)
    assert machine.run("sort", ENV) == settings
    assert python(machine, AUTHENTICATE, "susan", CARD["admin password"]) == "susan True\n"
    assert "Nothing is wrong" in machine.run("microblog", "doctor")
    machine.run("microblog", "card", "read")
    machine.reboot()
    wait_until("the site answers", lambda: up("Their place"))
    assert not (machine.root / "boot/firmware/microblog-errors.txt").exists()

    fill(machine, "bob", 1)
    machine.run("microblog", "restore", "/root/old.tar.gz")
    wait_until("the site answers", lambda: up("Our place"))
    assert _holds(look(machine), before)
    machine.destroy()
    machine.delete()


def test_a_site_of_nginx_that_somebody_has_changed_is_kept_and_served(
    base: Path, released: Path, deb: Path, new_machine: Callable[..., Machine]
) -> None:
    machine = new_machine([base])
    install(machine, released)
    theirs = "s/client_max_body_size 1m;/client_max_body_size 2m;/"
    machine.run("sed", "-i", theirs, "/etc/nginx/sites-available/microblog")
    fill(machine, "alice", 3)
    before = look(machine)
    (machine.root / "root/new.deb").write_bytes(deb.read_bytes())
    said = machine.run(
        *("dpkg", "--force-confold", "-i", "/root/new.deb"), env={"DEBIAN_FRONTEND": "noninteractive"}
    )
    assert "BIND=127.0.0.1:8000 is set for it" in said
    wait_until("the site answers", machine.answers)
    assert _holds(look(machine), before)
    assert "see it at" in machine.run("microblog", "status")
    machine.destroy()
    machine.delete()
