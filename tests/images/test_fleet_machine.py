"""What a fleet's image becomes when it is told of a fleet: one machine of each kind, the others away."""

import base64
import subprocess
from collections.abc import Iterator

import pytest
import testinfra.host
import yaml
from lab import Lab
from shell import RootShell

from builder.core.progress import step
from builder.fleet import plan, userdata
from builder.fleet.vault import Vault

# What QEMU gives a machine (its "user" network), and who is not there.
_OWN, _NOBODY = "10.0.2.15", "10.0.2.9{}"
_LATER = (plan.Machine("database", "more1", "10.0.2.101"), plan.Machine("database", "more2", "10.0.2.102"))
_ANOTHER = plan.Machine("app", "another", "10.0.2.103")


def _fleet(kind: str, key: str = "", more: "tuple[plan.Machine, ...]" = ()) -> plan.Fleet:
    machines = tuple(
        plan.Machine(one, one, _OWN if one == kind else _NOBODY.format(number))
        for number, one in enumerate(plan.KINDS)
    )
    return plan.Fleet("garden.example.org", "ada@example.org", (key,), (), "", {}, machines + more)


@pytest.fixture(scope="module")
def member(lab: Lab) -> "Iterator[testinfra.host.Host]":
    """testinfra's view of a machine that was told what ``fleet make`` writes for it."""
    kind = lab.image.facts.target
    key = lab.work / "owner"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    fleet = _fleet(kind, key.with_suffix(".pub").read_text().strip())
    vault = Vault(lab.work)
    vault.complete(fleet)
    vault.keep(())
    told = yaml.safe_load(userdata.of_machine(fleet, fleet.find(kind), vault.known))
    with lab.boot(kind, named=False, key=key, told=told) as running:
        with step("Booting a machine of a fleet", "It can be logged in to") as now:
            running.wait_for_ssh(now)
        running.wait_for_cloud_init()
        shell = RootShell(running)
        host = testinfra.host.Host(shell)
        shell.set_host(host)
        yield host
        shell.end()


def _wait(host: "testinfra.host.Host", command: str) -> str:
    """What a command prints once it succeeds: a machine that was just booted is still at it."""
    return str(host.check_output(f"timeout 300 sh -c 'until {command}; do sleep 1; done'"))


@pytest.mark.app
@pytest.mark.database
@pytest.mark.balancer
def test_it_becomes_what_it_was_told(member: "testinfra.host.Host") -> None:
    _wait(member, "systemctl --quiet is-active fleet-machine.service")
    assert member.check_output("systemctl --failed --no-legend --plain") == ""
    assert member.file("/etc/fleet/tls/key.pem").mode == 0o600
    assert member.check_output("hostname") == member.check_output(". /etc/fleet/self; echo $NAME")
    assert "Status: active" in member.check_output("ufw status verbose")


@pytest.mark.app
@pytest.mark.balancer
def test_haproxy_leads_on(member: "testinfra.host.Host") -> None:
    _wait(member, "systemctl --quiet is-active haproxy.service")
    member.check_output("haproxy -c -q -f /etc/haproxy/haproxy.cfg")


@pytest.mark.app
def test_an_application_asks_its_own_haproxy_for_the_database(member: "testinfra.host.Host") -> None:
    assert member.socket("tcp://127.0.0.1:3306").is_listening
    assert not member.package("mariadb-server").is_installed
    # The database is out of reach: it lives, and is not ready.
    _wait(member, "curl -fsS --cacert /etc/fleet/tls/ca.pem -o /dev/null https://127.0.0.1/healthz -k")
    assert member.run("curl -fsSk -m 20 https://127.0.0.1/readyz").rc != 0


@pytest.mark.database
def test_the_first_database_begins_the_cluster(member: "testinfra.host.Host") -> None:
    assert _wait(member, f"curl -fsS http://{_OWN}:9200/") == "it serves"
    status = member.check_output("mariadb -NBe \"SHOW STATUS LIKE 'wsrep_cluster_size'\"")
    assert status.split() == ["wsrep_cluster_size", "1"]
    _wait(member, "systemctl --quiet is-active fleet-accounts.service")
    assert "microblog" in member.check_output("mariadb -NBe 'SHOW DATABASES'").split()
    # It does so once.
    assert member.check_output("systemctl show-environment | grep -c WSREP_NEW || true") == "0"
    assert member.file("/var/lib/fleet/joined").exists


@pytest.mark.database
def test_a_database_is_copied(member: "testinfra.host.Host") -> None:
    _wait(member, f"curl -fsS -o /dev/null http://{_OWN}:9200/")
    member.check_output("systemctl start fleet-backup.service")
    (name,) = member.check_output("ls /var/backups/fleet/*.xbstream.gz").split()
    assert (
        int(member.check_output("gzip -dc %s | mbstream -x -C $(mktemp -d) && stat -c %%s %s", name, name))
        > 0
    )


# One that mariabackup finds whole, and that the server does not start with: its accounts are missing.
_WITHOUT_ACCOUNTS = """
cd $(mktemp -d) && gzip -dc {} | mbstream -x && rm -r mysql &&
find * -type f -print0 | xargs -0 mbstream -c | gzip -1 > /root/without-accounts.xbstream.gz && rm -r "$PWD"
"""


def _words(host: "testinfra.host.Host") -> list[str]:
    return str(host.check_output("mariadb -NBe 'SELECT word FROM microblog.words ORDER BY word'")).split()


def _cluster(host: "testinfra.host.Host") -> str:
    return str(host.check_output("mariadb -NBe \"SHOW STATUS LIKE 'wsrep_cluster_state_uuid'\"")).split()[1]


def _refused(host: "testinfra.host.Host", *words: str) -> str:
    """What it says who is refused: what is wrong, and the way out."""
    done = host.run(" ".join(("fleet-restore", *words)))
    assert done.rc == 1, done.stdout
    assert done.stdout == ""
    what, way_out = done.stderr.splitlines()[-2:]
    assert way_out
    return str(what)


def _restored(host: "testinfra.host.Host", copy: str) -> None:
    assert "systemctl start mariadb" in host.check_output(f"fleet-restore {copy}")
    assert _words(host) == ["kept"]
    for unit in ("mariadb", "fleet-accounts", "fleet-health"):
        _wait(host, f"systemctl --quiet is-active {unit}.service")
    assert _wait(host, f"curl -fsS http://{_OWN}:9200/") == "it serves"
    assert host.check_output("systemctl --failed --no-legend --plain") == ""


@pytest.mark.database
def test_all_databases_are_as_they_were_copied(member: "testinfra.host.Host") -> None:
    """With what systemd does: tests/fleet/test_copied.py plays it."""
    _wait(member, "systemctl --quiet is-active fleet-accounts.service")
    member.check_output("mariadb -e 'CREATE TABLE microblog.words (word VARCHAR(9) PRIMARY KEY)'")
    member.check_output("mariadb -e \"INSERT INTO microblog.words VALUES ('kept')\"")
    member.check_output("systemctl start fleet-backup.service")
    copy = member.check_output("ls /var/backups/fleet/*.xbstream.gz").split()[-1]
    member.check_output("mariadb -e \"INSERT INTO microblog.words VALUES ('later')\"")
    before = _cluster(member)
    runs = "systemctl show -P MainPID mariadb"
    process = member.check_output(runs)

    assert _refused(member) == "fleet-restore: there is no copy named"
    assert _refused(member, "/no/such") == "fleet-restore: there is no copy /no/such"
    member.check_output("head -c 100000 %s > /root/half.xbstream.gz", copy)
    assert "is not whole" in _refused(member, "/root/half.xbstream.gz")
    assert member.check_output(runs) == process
    member.check_output(_WITHOUT_ACCOUNTS.format(copy))
    assert "the server does not start with it" in _refused(member, "/root/without-accounts.xbstream.gz")
    assert _words(member) == ["kept", "later"]
    assert _cluster(member) == before
    # It had been stopped with the server.
    _wait(member, "systemctl --quiet is-active fleet-accounts.service")

    _restored(member, copy)
    # Else whoever was in that one, and has more, would come back with it.
    assert _cluster(member) != before
    assert "/var/lib/mysql.before is there" in _refused(member, copy)
    assert _words(member) == ["kept"]

    # All is lost, and it does not run.
    member.check_output("systemctl stop mariadb && rm -r /var/lib/mysql.before /var/lib/mysql/*")
    _restored(member, copy)


@pytest.mark.database
def test_a_copy_that_is_killed_lets_its_node_serve(member: "testinfra.host.Host") -> None:
    _wait(member, f"curl -fsS -o /dev/null http://{_OWN}:9200/")
    held = "mariadb -e 'SET GLOBAL wsrep_desync = ON'"
    _drop_in(member, "fleet-backup", f'ExecStart=\nExecStart=/bin/sh -c "{held}; kill -KILL $$$$"')
    assert member.run("systemctl start fleet-backup.service").rc
    assert _wait(member, f"curl -fsS http://{_OWN}:9200/") == "it serves"
    _drop_out(member, "fleet-backup")
    member.check_output("systemctl reset-failed fleet-backup.service")


def _drop_in(host: "testinfra.host.Host", unit: str, lines: str) -> None:
    """More of a unit's service, until the machine starts again."""
    text = base64.b64encode(f"[Service]\n{lines}\n".encode()).decode()
    folder = f"/run/systemd/system/{unit}.service.d"
    host.check_output(f"mkdir -p {folder} && echo {text} | base64 -d > {folder}/zz.conf")
    host.check_output("rm -f /run/tried && systemctl daemon-reload")


def _drop_out(host: "testinfra.host.Host", unit: str) -> None:
    host.check_output(f"rm /run/systemd/system/{unit}.service.d/zz.conf && systemctl daemon-reload")


# So many starts do.
_FAILS = "ExecStartPre=+/bin/sh -c 'echo >> /run/tried; [ $(wc -l < /run/tried) -gt {} ]'"


@pytest.mark.database
def test_a_server_that_ended_with_an_error_is_started_again(member: "testinfra.host.Host") -> None:
    """It crashes, as by a fault of its own; and then starts fail, more often than a default limit allows."""
    _wait(member, "systemctl --quiet is-active fleet-accounts.service")
    process, cluster = member.check_output("systemctl show -P MainPID mariadb"), _cluster(member)
    _drop_in(member, "mariadb", f"RestartSec=100ms\n{_FAILS.format(6)}")
    member.check_output(f"kill -SEGV {process}")
    _wait(member, "test $(cat /run/tried | wc -l) = 7")
    assert _wait(member, f"curl -fsS http://{_OWN}:9200/") == "it serves"
    assert member.check_output("systemctl show -P MainPID mariadb") != process
    assert _cluster(member) == cluster
    # It had been stopped with the server, and its own starts were given up.
    _wait(member, "systemctl --quiet is-active fleet-accounts.service")
    assert member.check_output("systemctl --failed --no-legend --plain") == ""
    _drop_out(member, "mariadb")

    # Whoever stops it has it stopped: one that is to be started again is "activating".
    member.check_output("systemctl stop mariadb")
    assert member.check_output("systemctl show -P ActiveState mariadb") == "inactive"
    # It is the only one of its fleet, and goes on where it was.
    member.check_output("systemctl start mariadb")
    assert _wait(member, f"curl -fsS http://{_OWN}:9200/") == "it serves"
    assert _cluster(member) == cluster


@pytest.mark.database
def test_a_first_start_that_fails_still_begins_the_cluster(member: "testinfra.host.Host") -> None:
    """As on a machine that was just made, of three: what it is told for its first start, it is told for the
    next, too, and for none after it has been in a cluster."""
    lists = (
        "cp -p /etc/fleet/machines /root/machines && echo 'database away 10.0.2.99' >> /etc/fleet/machines"
    )
    new = "rm /var/lib/fleet/joined /var/lib/mysql/grastate.dat"
    member.check_output(f"systemctl stop mariadb && {new} && {lists}")
    _drop_in(member, "mariadb", _FAILS.format(1))
    assert member.run("systemctl start mariadb").rc
    assert _wait(member, f"curl -fsS http://{_OWN}:9200/") == "it serves"
    _wait(member, "systemctl --quiet is-active fleet-accounts.service")
    _drop_out(member, "mariadb")
    assert "new-cluster" in member.file("/run/fleet-mariadb").content_string
    assert member.file("/var/lib/fleet/joined").exists

    # Its data was given up, as a node's that differs from the others': they have it.
    member.check_output("systemctl stop mariadb && rm /var/lib/mysql/grastate.dat")
    assert member.run("systemctl start mariadb").rc
    _wait(member, "test $(systemctl show -P NRestarts mariadb) -gt 1")
    assert "No other database is there to be joined yet" in member.check_output("journalctl -u mariadb -n 50")
    assert member.check_output("systemctl --failed --no-legend --plain") == ""
    member.check_output("galera_new_cluster")
    assert _wait(member, f"curl -fsS http://{_OWN}:9200/") == "it serves"
    member.check_output("mv /root/machines /etc/fleet/machines")
    assert member.service("fleet-rejoin.timer").is_running
    member.check_output("systemctl start fleet-rejoin.service")


@pytest.mark.balancer
def test_a_balancer_tells_whether_it_reaches_an_application(member: "testinfra.host.Host") -> None:
    """It is to get no shared address: it reaches none."""
    _wait(member, "curl -sS -o /dev/null http://127.0.0.1/")
    code = member.check_output("curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1/balancer")
    assert code == "503"
    assert member.file("/etc/fleet/site.pem").mode == 0o600
    assert member.service("fleet-certificate.timer").is_enabled


@pytest.mark.app
@pytest.mark.database
@pytest.mark.balancer
def test_it_is_told_of_machines_that_came_later(lab: Lab, member: "testinfra.host.Host") -> None:
    """As README.txt of a fleet says, while it runs: after all else, for it changes the machine."""
    kind = lab.image.facts.target
    fleet, vault = _fleet(kind, more=(*_LATER, _ANOTHER)), Vault(lab.work)
    vault.complete(fleet)
    text = userdata.of_machine(fleet, fleet.find(kind), vault.known)
    coded = base64.b64encode(text.encode()).decode()
    member.check_output(f"echo {coded} | base64 -d > /run/told")
    # An application's machine then waits for its database, which is out of reach.
    waits = "--no-block" if kind == "app" else "--wait"
    member.check_output(f"systemd-run --quiet {waits} sh -c 'fleet-machine --told < /run/told'")
    wanted = {
        "database": ("/etc/mysql/mariadb.conf.d/90-fleet.cnf", f"gcomm://{_OWN},10.0.2.101,10.0.2.102"),
        "app": ("/etc/haproxy/haproxy.cfg", "server more2 10.0.2.102:3306 check port 9200 backup"),
        "balancer": ("/etc/haproxy/haproxy.cfg", "server another 10.0.2.103:443 check ssl verify required"),
    }
    path, line = wanted[kind]
    _wait(member, f'grep -qF "{line}" {path}')
    if kind == "database":
        assert "10.0.2.103" in member.check_output("ufw status")
    assert member.check_output("systemctl --failed --no-legend --plain") == ""
    assert not member.file("/run/fleet-told.yaml").exists
