"""From the last release to this version: what people have there goes on, whatever has moved since."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nspawn import Machine, install, try_install, wait_until
from sites import BACKUPS, ENV, fill, look

from builder.core import cache, paths

# 0.1.0: gunicorn on port 8000, no ledger.
RELEASED = "6886671"


@pytest.fixture(scope="session")
def released(shared: Path) -> Path:
    """The last release's package, built from history as it was built then."""
    tree = shared / "released"
    with cache.lock(shared / "released.lock", "building the last release"):
        if not tree.is_dir():
            subprocess.run(["git", "clone", "--quiet", "--no-checkout", paths.ROOT, tree], check=True)
            subprocess.run(["git", "-C", tree, "checkout", "--quiet", RELEASED], check=True)
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


def _holds(now: str, then: str) -> bool:
    """Whether what people had then is there now, to the letter: a row may have more columns at its end."""
    rows = list(zip(now.splitlines(), then.splitlines(), strict=True))
    return all(new.startswith(old.removesuffix("]")) for new, old in rows)


def test_the_last_release_becomes_this_version(
    base: Path, released: Path, deb: Path, new_machine: Callable[..., Machine]
) -> None:
    machine = new_machine([base])
    install(machine, released)
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
