"""A machine with little memory on which the package brings its database server along."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from nspawn import Machine, install

# What the server will read when it starts for the first time.
SEE = """
mkdir -p /etc/systemd/system/mariadb.service.d /etc/systemd/system/mysql.service.d
for unit in mariadb mysql; do
    cat > /etc/systemd/system/$unit.service.d/see.conf <<'END'
[Service]
ExecStartPre=+/bin/sh -c '[ -e /root/first ] || my_print_defaults mysqld > /root/first'
END
done
sed 's/^MemTotal:.*/MemTotal: 480000 kB/' /proc/meminfo > /root/meminfo
mount --bind /root/meminfo /proc/meminfo
"""
FIRST = "/etc/mysql/conf.d/microblog-first-start.cnf"


def test_the_database_server_is_small_from_its_first_start_on(
    base: Path, deb: Path, new_machine: Callable[..., Machine]
) -> None:
    """Killed for its size before setup can size it, the server would never come up."""
    machine = new_machine([base])
    machine.run("sh", "-ec", SEE)
    install(machine, deb)
    assert "--innodb_buffer_pool_size=24M" in machine.run("cat", "/root/first").split()
    # By now it has the size that fits the machine.
    assert machine.run("sh", "-c", f"ls {FIRST}", check=False).count("No such file") == 1
    assert int(machine.sql("SELECT @@innodb_buffer_pool_size")) == 56 * 2**20
    assert machine.answers()


def test_a_machine_with_a_database_or_memory_enough_is_left_alone(
    base: Path, deb: Path, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    machine = new_machine([base])
    subprocess.run(["dpkg-deb", "--control", deb, tmp_path], check=True)
    (machine.root / "root/preinst").write_text((tmp_path / "preinst").read_text())
    machine.run("sh", "/root/preinst", "install")
    assert not (machine.root / FIRST[1:]).exists()
    machine.run("sh", "-ec", SEE)
    machine.run("sh", "-c", "mkdir -p /var/lib/mysql/mysql && sh /root/preinst install")
    assert not (machine.root / FIRST[1:]).exists()
    machine.run("sh", "-c", "rmdir /var/lib/mysql/mysql && sh /root/preinst install")
    assert (machine.root / FIRST[1:]).exists()
