"""A container without systemd, and a machine without a network."""

import json
from collections.abc import Callable
from pathlib import Path

from nspawn import Machine, install, wait_until
from sites import fill, look, offer
from variants import ADD, HEAD, Versions, migration

# Debian's newest MySQL has no init script.
START_DATABASE = (
    "service mariadb start || service mysql start"
    " || (install -d -o mysql /run/mysqld && mysqld --daemonize --user=mysql)"
)


def test_a_container_without_systemd_is_set_up_by_hand(
    base: Path, deb: Path, new_machine: Callable[..., Machine], versions: Versions, thorough: bool
) -> None:
    machine = new_machine([base], boot=False)
    machine.start_without_init()
    said = install(machine, deb)
    assert said.count("There is no systemd here: run 'microblog setup' where the site is to run.") == 1
    assert "install ok installed" in machine.run("dpkg-query", "-W", "-f", "${Status}", "microblog")
    # No secret is in what may become an image.
    assert not (machine.root / "etc/microblog/microblog.env").exists()

    for service in ("mariadb", "mysql"):
        machine.run("service", service, "stop", check=False)
    said = machine.run("microblog", "setup", check=False)
    assert machine.code == 1
    assert said.splitlines()[-2:] == [
        "microblog: no database server answers at /run/mysqld/mysqld.sock",
        "  service mariadb start (or mysql); then: microblog setup",
    ]
    machine.run("sh", "-c", START_DATABASE)
    machine.run("microblog", "setup")
    assert machine.answers()
    assert machine.run("microblog", "setup") == "Nothing was missing\n"
    fill(machine, "alice", 3)
    before = look(machine)
    machine.run("microblog", "status")
    assert "Nothing is wrong" in machine.run("microblog", "doctor")

    # Stopped and started again, as containers are.
    machine.kill()
    machine.start_without_init()
    machine.run("sh", "-c", START_DATABASE)
    machine.run("microblog", "setup")
    wait_until("the site answers", machine.answers)
    assert look(machine) == before
    if thorough:
        update(machine, versions)
        assert look(machine) == before
    machine.run("apt-get", "purge", "--yes", "microblog")
    assert "Welcome to nginx" in machine.get("http://localhost/").body
    machine.destroy()


def update(machine: Machine, versions: Versions) -> None:
    """Without systemd, too, a bad version takes itself back, and a good one is taken."""
    was = machine.run("dpkg-query", "-W", "microblog")
    for version, files, result in (
        ("9.1", {"templates/auth/login.html": "{{ no.such.thing }}\n"}, "taken back"),
        ("9.2", migration("9001", HEAD, ADD), "updated"),
    ):
        offer(machine, versions(version, files))
        said = machine.run("microblog", "update", "--yes", "--wait", "5", "--json", check=False)
        assert json.loads(said.splitlines()[-1])["result"] == result, said
        assert (machine.run("dpkg-query", "-W", "microblog") == was) == (result == "taken back")
        wait_until("the site answers", machine.answers)


def test_without_a_network_what_must_be_fetched_is_one_line(site: Machine) -> None:
    site.run(
        "sh", "-c", "echo 'Dir::Cache::archives \"/tmp/none\";' > /tmp/apt.conf; mkdir -p /tmp/none/partial"
    )
    for command in (("https", "blog.example.org"), ("mail", "--domain", "blog.example.org")):
        said = site.run("microblog", *command, check=False, env={"APT_CONFIG": "/tmp/apt.conf"})
        assert site.code == 1
        assert said.splitlines()[-2].startswith("microblog: apt cannot install "), said
        assert "Traceback" not in said
    assert site.answers()
