"""Two machines with one database, on a server that one of them reaches over the network, with a password."""

import threading
from collections.abc import Callable, Iterator

import pytest
from nspawn import Kept, Machine, link, try_install, wait_until
from sites import ENV, fill, look
from variants import ADD, HEAD, Versions, migration

PASSWORD = "p'w @:/%"
# Counts how often it was run, and takes its time for it.
COUNTED = """
op.execute("CREATE TABLE IF NOT EXISTS counted (x INT)")
op.execute("INSERT INTO counted VALUES (1)")
time.sleep(3)
"""


@pytest.fixture
def pair(installed: Kept, new_machine: Callable[..., Machine]) -> Iterator[tuple[Machine, Machine]]:
    """Two servers whose settings name a database on the first one, still empty."""
    first, second = (new_machine(installed.layers) for _ in range(2))
    address, _ = link(first, second)
    folder = next(
        path
        for name in ("mariadb.conf.d", "mysql.conf.d", "conf.d")
        if (path := first.root / "etc/mysql" / name).is_dir()
    )
    (folder / "zz-network.cnf").write_text("[mysqld]\nbind-address = *\n")
    first.run("systemctl", "restart", "mysql")
    quoted = PASSWORD.replace("'", "''")
    first.sql(
        "CREATE DATABASE shared CHARACTER SET utf8mb4;"
        f"CREATE USER 'web'@'%' IDENTIFIED BY '{quoted}';"
        "GRANT ALL ON shared.* TO 'web'@'%'"
    )
    url = f"mysql+pymysql://web:p%27w%20%40%3A%2F%25@{address}/shared"
    for machine in (first, second):
        machine.run("sed", "-i", f"s|^DATABASE_URL=.*|DATABASE_URL={url}|", ENV)
        machine.run("supervisorctl", "stop", "microblog")
    yield first, second
    for machine in (first, second):
        machine.destroy()
        machine.delete()


def at_once(machines: tuple[Machine, ...], work: Callable[[Machine], str]) -> list[str]:
    """Do the same on each, at the same time."""
    said = [""] * len(machines)

    def one(number: int) -> None:
        said[number] = work(machines[number])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(machines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


@pytest.mark.thorough
def test_machines_that_share_a_database_migrate_it_once(
    pair: tuple[Machine, Machine], versions: Versions
) -> None:
    first, second = pair
    at_once(pair, lambda machine: machine.run("microblog", "setup", check=False))
    assert [machine.code for machine in pair] == [0, 0]
    assert first.answers()
    assert second.answers()
    fill(second, "alice", 20)
    before = look(first)
    assert "alice 19" in before
    assert "MySQL, shared on 10.99.0.1" in second.run("microblog", "status")

    new = versions("9.1", migration("9001", HEAD, COUNTED))
    said = at_once(pair, lambda machine: try_install(machine, new))
    assert [machine.code for machine in pair] == [0, 0], said
    assert first.sql("SELECT COUNT(*) FROM shared.counted").strip() == "1"
    assert first.answers()
    assert second.answers()
    assert look(second) == before

    # A backup of one of them, and back, by a user who may make no second database.
    second.run("microblog", "backup", "--output", "/root/b.tar.gz")
    fill(first, "bob", 3)
    assert "bob 2" in look(second)
    second.run("microblog", "restore", "/root/b.tar.gz")
    wait_until("both answer", lambda: first.answers() and second.answers())
    assert look(first) == look(second) == before
    assert "shared_" not in first.sql("SHOW DATABASES")
    assert "microblog_re" not in first.sql("SHOW TABLES FROM shared")
    assert "microblog_restored_" not in first.sql("SHOW CREATE TABLE shared.posts")
    for machine in pair:
        assert PASSWORD not in machine.run(
            "sh", "-c", "cat /var/log/microblog/* /run/microblog/*", check=False
        )

    # A migration that fails is not undone behind the other one's back.
    broken = migration("9001", HEAD, COUNTED) | migration(
        "9002", "9001", 'raise RuntimeError("no such luck")'
    )
    said = [try_install(second, versions("9.2", broken))]
    assert second.code != 0
    assert "the database, on another server, is as the upgrade left it; a backup is in " in said[0]
    assert first.answers()
    assert look(first) == before

    # Where the second one goes on to a newer version, the first serves on, also when it is set up anew.
    mended = migration("9001", HEAD, COUNTED) | migration("9002", "9001", ADD, back='op.drop_table("extra")')
    said = [try_install(second, versions("9.3", mended))]
    assert second.code == 0, said
    assert "schema is a newer version's (9002): this one serves on it" in first.run("microblog", "setup")
    assert first.answers()
    assert look(first) == before

    # And a server that is away is one line.
    first.run("ip", "link", "set", "cable", "down")
    said = [second.run("microblog", "doctor", check=False)]
    assert "no database server answers at 10.99.0.1:3306" in said[0]
