"""The agent on a server: who may ask, jobs that outlive it, what the application's user can do with it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from nspawn import Kept, Machine, wait_until
from sites import BACKUPS, ENV, fill, look

AUDIT = "/var/log/microblog/agent.log"
# As the pages ask.
ASK = """
import json, sys
from microblog import protocol
from microblog.errors import HostError

verb, given = sys.argv[1], json.loads(sys.argv[2])
try:
    print(json.dumps({"answer": protocol.ask(verb, "ada", given)}))
except HostError as error:
    print(json.dumps({"error": error.message}))
"""
UPLOAD = """
import sys
from pathlib import Path
from microblog import protocol

data = Path(sys.argv[1]).read_bytes()
state = protocol.ask("upload-begin", "ada", {"size": len(data), "mark": "one"})
while state["have"] < len(data):
    part = data[state["have"] : state["have"] + 100_000]
    given = {"offset": state["have"], "length": len(part)}
    state = protocol.ask("upload-piece", "ada", given, part)
    if len(sys.argv) > 2:
        break
print(state["have"])
"""
DOWNLOAD = """
import sys
from pathlib import Path
from microblog import protocol

Path("/var/lib/microblog/download").write_bytes(
    b"".join(protocol.fetch("download", "ada", {"name": sys.argv[1]}))
)
"""


def python(machine: Machine, code: str, *arguments: str, user: str = "microblog") -> str:
    said = machine.run(
        *("runuser", "-u", user, "--", "env", "-C", "/", "python3", "-", *arguments), stdin=code, check=False
    )
    return said.strip()


def ask(machine: Machine, verb: str, user: str = "microblog", **given: Any) -> Any:
    """:return: the answer, or the error's text."""
    said = json.loads(python(machine, ASK, verb, json.dumps(given), user=user).splitlines()[-1])
    return said.get("answer", said.get("error"))


def ended(machine: Machine, begun: dict[str, Any]) -> dict[str, Any]:
    """A job, when it is over."""

    def over() -> "dict[str, Any] | None":
        job = ask(machine, "job")
        assert job["id"] == begun["id"]
        return job if job["state"] != "running" else None

    return wait_until(f"the job ends: {begun['verb']}", over) or {}


def held_up(machine: Machine) -> dict[str, Any]:
    """A job that waits for somebody who changes the machine, until the unit ``holder`` is stopped."""
    lock = "/run/microblog/setup.lock"
    machine.run("systemd-run", "--unit=holder", "flock", lock, "sleep", "infinity")
    wait_until("it is held", lambda: machine.run("flock", "-n", lock, "true", check=False) or machine.code)
    begun: dict[str, Any] = ask(machine, "setup")
    wait_until("it waits", lambda: any("Waiting" in line for line in ask(machine, "job")["lines"]))
    return begun


@pytest.fixture(scope="module")
def machine(installed: Kept, new_machine: Callable[..., Machine]) -> Iterator[Machine]:
    """A server for all that follows, in this order."""
    machine = new_machine(installed.layers)
    wait_until("the site answers", machine.answers)
    fill(machine, "alice", 3)
    yield machine
    machine.destroy()
    machine.delete()


def test_only_the_applications_user_may_ask(machine: Machine) -> None:
    assert machine.run("stat", "-c", "%a %U", "/run/microblog-agent/socket").strip() == "600 microblog"
    assert ask(machine, "job") is None
    for user in ("www-data", "nobody"):
        assert "does not answer: Permission denied" in ask(machine, "job", user=user)
    # Were the file open to all, the kernel's word would count.
    machine.run("chmod", "666", "/run/microblog-agent/socket")
    assert "the machine's agent" in ask(machine, "job", user="www-data")
    machine.run("chmod", "600", "/run/microblog-agent/socket")
    assert ask(machine, "job", user="root") is None
    assert "may not ask" in machine.run("journalctl", "-u", "microblog-agent", "-o", "cat")


def test_what_status_and_doctor_see(machine: Machine) -> None:
    seen = ask(machine, "look", fresh=True)
    said = json.loads(machine.run("microblog", "status", "--json"))
    assert seen["facts"]["database"] == said["database"]
    assert seen["findings"] == json.loads(machine.run("microblog", "doctor", "--json"))
    path = "/run/microblog-agent/seen.json"
    assert machine.run("stat", "-c", "%a %U:%G", path).strip() == "640 root:microblog"
    assert json.loads(machine.run("runuser", "-u", "microblog", "--", "cat", path)) == seen


def test_a_backup_is_a_job(machine: Machine) -> None:
    job = ended(machine, ask(machine, "backup"))
    assert (job["state"], job["by"]) == ("done", "ada"), job
    assert ask(machine, "backups")[0]["name"] == job["answer"]["backup"]
    assert machine.run("stat", "-c", "%a %U", f"{BACKUPS}/{job['answer']['backup']}").strip() == "600 root"
    # What came of it is seen without being asked for.
    name = job["answer"]["backup"]
    wait_until("it is seen", lambda: name in machine.run("cat", "/run/microblog-agent/seen.json"))
    assert re.findall('"verb": "backup", "what": "(.*?)"', machine.run("cat", AUDIT)) == ["begun", "done"]


def test_one_job_at_a_time_and_it_outlives_the_agent(machine: Machine) -> None:
    begun = held_up(machine)
    assert ask(machine, "backup") == "another job goes on"
    machine.run("systemctl", "kill", "--signal=KILL", "microblog-agent.service")
    assert ask(machine, "job")["state"] == "running"
    machine.run("systemctl", "stop", "holder")
    job = ended(machine, begun)
    assert job["state"] == "done", job


def test_an_upload_is_restored(machine: Machine) -> None:
    before = look(machine)
    name = ask(machine, "backups")[0]["name"]
    python(machine, DOWNLOAD, name)
    download = "/var/lib/microblog/download"
    listed = machine.run("tar", "tzf", download)
    assert "config/microblog.env" in listed
    assert "tls" not in listed
    key = machine.run("cat", "/etc/microblog/tls/key.pem")
    fill(machine, "bob", 2)
    # Interrupted, and begun again.
    assert int(python(machine, UPLOAD, download, "once")) > 0
    size = int(machine.run("stat", "-c", "%s", download))
    assert int(python(machine, UPLOAD, download)) == size
    job = ended(machine, ask(machine, "restore", backup=""))
    assert job["state"] == "done", job
    assert machine.answers()
    assert look(machine) == before
    assert any("What was there is kept" in line for line in job["lines"])
    assert machine.run("cat", "/etc/microblog/tls/key.pem") == key
    assert ask(machine, "upload") is None
    (kept,) = [one["name"] for one in ask(machine, "backups") if one["kind"] == "restore"]
    assert ask(machine, "delete-backup", name=kept) is None
    assert kept not in machine.run("ls", BACKUPS)


def test_settings_are_taken_over(machine: Machine) -> None:
    job = ended(machine, ask(machine, "settings", values={"SITE_NAME": "Ada's \\' place"}))
    assert job["state"] == "done", job
    assert "Ada&#39;s \\&#39; place" in machine.get("https://localhost/login").body
    before = machine.run("cat", ENV)
    job = ended(machine, ask(machine, "settings", values={"HOST_NAMES": "a/b"}))
    assert (job["state"], "host name" in job["error"]) == ("failed", True), job
    assert machine.run("cat", ENV) == before


def test_logs_hold_no_secret(machine: Machine) -> None:
    secret = machine.run("sed", "-n", "s/^SECRET_KEY=//p", ENV).strip()
    machine.run("sh", "-c", f"echo 'key {secret}' >> /var/log/microblog/gunicorn.log")
    for log in ("application", "web", "setup", "backup", "agent", "job"):
        said = ask(machine, "log", log=log, lines=50)
        assert secret not in said
        assert said or log in ("web", "backup"), log


# What somebody tries who runs as the application's user.
ATTACKS = (
    f"echo x >> {AUDIT}",
    f"cat {AUDIT}",
    f"rm {AUDIT}",
    "ls /var/lib/microblog-agent",
    "touch /var/lib/microblog-agent/spool/x",
    "echo x > /run/microblog-agent/seen.json",
    "rm /run/microblog-agent/socket",
    "touch /run/microblog-agent/x",
    "ls /run/microblog-agent-job",
    f"ls {BACKUPS}",
    "cat /etc/microblog/tls/key.pem",
    "microblog agent",
    "microblog agent --job",
    "systemctl start microblog-job.service",
    "systemctl restart nginx",
)


def test_what_the_applications_user_cannot_do(machine: Machine) -> None:
    before = machine.run("cat", AUDIT)
    for attack in ATTACKS:
        machine.run("runuser", "-u", "microblog", "--", "sh", "-c", attack, check=False)
        assert machine.code != 0, attack
    assert machine.run("cat", AUDIT) == before
    assert ask(machine, "job")["state"] in ("done", "failed")


def test_a_power_cut_ends_a_job_and_says_so(machine: Machine) -> None:
    begun = held_up(machine)
    machine.kill()
    machine.boot()
    wait_until("the site answers", machine.answers)
    job = ask(machine, "job")
    assert (job["id"], job["state"]) == (begun["id"], "interrupted")
    assert ended(machine, ask(machine, "restart"))["state"] == "done"


def test_the_machine_is_switched_off(machine: Machine) -> None:
    job = ended(machine, ask(machine, "poweroff"))
    assert job["state"] == "done", job
    assert machine.process is not None
    wait_until("it is off", lambda: machine.process is not None and machine.process.poll() is not None)
    machine.boot()
    assert ask(machine, "job")["verb"] == "poweroff"
