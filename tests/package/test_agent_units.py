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
# An administrator in a browser, through nginx.
BROWSE = """
import html, io, re, ssl, sys, tarfile, time
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPSHandler, Request, build_opener

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
opener = build_opener(HTTPCookieProcessor(CookieJar()), HTTPSHandler(context=context))
SITE = "https://localhost"


def hidden(page):
    found = re.findall(r'<input[^>]*type="hidden"[^>]*>', page)
    pairs = [re.search(r'name="([^"]*)".*?value="([^"]*)"', one).groups() for one in found]
    return {name: html.unescape(value) for name, value in pairs}


def send(path, data, **headers):
    return opener.open(Request(SITE + path, data, {"Referer": SITE + path, **headers}), timeout=120)


def get(path):
    return opener.open(SITE + path, timeout=120).read().decode()


def press(path, page, **fields):
    token = hidden(get(page))["csrf_token"]
    answer = send(path, urlencode({"csrf_token": token, **fields}).encode()).read()
    if b'name="own_password"' in answer:
        kept = {**hidden(answer.decode()), "own_password": "correct horse alice"}
        answer = send(path, urlencode(kept).encode()).read()
    return answer


def ended():
    while True:
        try:
            page = get("/machine/job")
            if 'name="password"' in page:
                # After a restore, everybody logs in anew.
                press(*["/login"] * 2, username="alice", password="correct horse alice")
            elif 'http-equiv="refresh"' not in page:
                return page
        except (HTTPError, OSError):
            pass  # the site is away
        time.sleep(0.2)


press("/login", "/login", username="alice", password="correct horse alice")
assert "Machine" in get("/machine")
press("/machine/do/backup", "/machine/power")
assert "It is done." in ended()
name = re.search(r"microblog-\\d{8}T\\d{6}Z-manual.tar.gz", get("/machine/backups"))[0]
given = press("/machine/backups/download", "/machine/backups", name=name)
assert "config/microblog.env" in tarfile.open(fileobj=io.BytesIO(given)).getnames()

token = hidden(get("/machine/power"))["csrf_token"]
headers = {"Accept": "application/json", "X-CSRFToken": token, "Content-Type": "application/octet-stream"}
for data in (bytes(600_000), given):
    form = urlencode({"size": len(data), "mark": str(len(data)), "csrf_token": token}).encode()
    send("/machine/backups/upload/begin", form, Accept="application/json")
    for start in range(0, len(data), 512 * 1024):
        part = data[start : start + 512 * 1024]
        send(f"/machine/backups/upload/piece?offset={start}", part, **headers)
press("/machine/backups/restore", "/machine/backups", name="")
assert "It is done." in ended()
print("all of it")
"""


def python(machine: Machine, code: str, *arguments: str, user: str = "microblog") -> str:
    said = machine.run(
        *("runuser", "-u", user, "--", "env", "-C", "/", "python3", "-", *arguments), stdin=code, check=False
    )
    return said.strip()


def ask(machine: Machine, verb: str, by: str = "microblog", **given: Any) -> Any:
    """:param by: a user of the system's.
    :return: the answer, or the error's text.
    """
    said = json.loads(python(machine, ASK, verb, json.dumps(given), user=by).splitlines()[-1])
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
        assert "does not answer: Permission denied" in ask(machine, "job", by=user)
    # Were the file open to all, the kernel's word would count.
    machine.run("chmod", "666", "/run/microblog-agent/socket")
    assert "the machine's agent" in ask(machine, "job", by="www-data")
    machine.run("chmod", "600", "/run/microblog-agent/socket")
    assert ask(machine, "job", by="root") is None
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
    wait_until(
        "it is seen", lambda: name in machine.run("cat", "/run/microblog-agent/seen.json", check=False)
    )
    assert re.findall('"verb": "backup", "what": "(.*?)"', machine.run("cat", AUDIT)) == ["begun", "done"]


def test_one_job_at_a_time_and_it_outlives_the_agent(machine: Machine) -> None:
    begun = held_up(machine)
    assert ask(machine, "backup") == "another job goes on"
    # Its main process alone: what is left of others as they end can be signalled to nobody.
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "microblog-agent.service")
    assert ask(machine, "job")["state"] == "running"
    # As an upgrade of the package does.
    old = machine.run("systemctl", "show", "--property=MainPID", "microblog-agent")
    machine.run("systemctl", "restart", "microblog-agent.socket")
    assert ask(machine, "job")["state"] == "running"
    assert machine.run("systemctl", "show", "--property=MainPID", "microblog-agent") != old
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


def test_an_administrator_does_all_of_it_in_a_browser(machine: Machine) -> None:
    machine.run("microblog", "user", "promote", "alice")
    before = look(machine)
    said = machine.run("python3", "-c", BROWSE, check=False)
    assert said.strip() == "all of it", said[-3000:]
    # But for when she was here last.
    assert look(machine).splitlines()[1:] == before.splitlines()[1:]
    assert '"by": "alice", "verb": "restore", "what": "done"' in machine.run("cat", AUDIT)


def test_settings_are_taken_over(machine: Machine) -> None:
    job = ended(machine, ask(machine, "settings", values={"SITE_NAME": "Ada's \\' place"}))
    assert job["state"] == "done", job
    assert "Ada&#39;s \\&#39; place" in machine.get("https://localhost/login").body
    before = machine.run("cat", ENV)
    job = ended(machine, ask(machine, "settings", values={"HOST_NAMES": "a/b"}))
    assert (job["state"], "host name" in job["error"]) == ("failed", True), job
    assert machine.run("cat", ENV) == before


def test_what_an_update_would_change_is_told(machine: Machine) -> None:
    told = ask(machine, "updates")
    assert told["changes"] == []
    assert set(told["automatic"]) == {"security", "site"}
    # No repository here has anything newer, or none is reached: the job says so, and changes nothing.
    job = ended(machine, ask(machine, "update"))
    assert "Nothing to update" in job["lines"] or "lists" in job["error"], job


def test_mail_through_a_relay_and_back(machine: Machine) -> None:
    before = machine.run("postconf", "-n")
    given = {"host": "mail.example.org", "user": "ada", "password": "hunter22", "domain": "example.org"}
    job = ended(machine, ask(machine, "mail-relay", **given))
    assert job["state"] == "done", job
    assert "[mail.example.org]:587" in machine.run("postconf", "-h", "relayhost")
    # The port of a test is the site's own.
    job = ended(machine, ask(machine, "mail-test", to="not@an.example"))
    assert job["state"] == "failed"
    assert job["error"]
    job = ended(machine, ask(machine, "mail-off"))
    assert job["state"] == "done", job
    assert machine.run("postconf", "-n") == before
    machine.run("grep", "-rl", "hunter22", "/var/log/microblog", "/var/lib/microblog-agent", check=False)
    assert machine.code == 1
    assert "hunter22" not in machine.run("journalctl", "--no-pager")


def test_logs_hold_no_secret(machine: Machine) -> None:
    secret = machine.run("sed", "-n", "s/^SECRET_KEY=//p", ENV).strip()
    machine.run("sh", "-c", f"echo 'key {secret}' >> /var/log/microblog/gunicorn.log")
    for log in ("application", "web", "setup", "backup", "agent", "job"):
        said = ask(machine, "log", log=log, lines=50)
        assert secret not in said
        assert said or log in ("web", "backup"), log


# A backup whose settings and rows somebody has written themselves.
HOSTILE = """
import io, sys
from pathlib import Path
from microblog.host.backups import archive

source = Path("/var/lib/microblog/download")
with source.open("rb") as file, Path("/var/lib/microblog/hostile").open("wb") as target:
    writer = archive.Writer(target)
    for name, data in archive.members(file):
        if name == archive.MANIFEST:
            facts = archive.read_manifest(data)
        elif name == "config/microblog.env":
            writer.add(name, data + sys.argv[1].encode())
        else:
            writer.add(name, data)
    writer.add("../../etc/cron.d/x", b"* * * * * root touch /hostile\\n")
    writer.add("/etc/cron.d/y", b"* * * * * root touch /hostile\\n")
    writer.close({key: value for key, value in facts.items() if key not in ("format", "members")})
"""
WISHES = """
DATABASE_URL=sqlite:////etc/shadow
BIND=unix:/run/elsewhere.sock
GUNICORN_CMD_ARGS=--config=/var/lib/microblog/x.py
PYTHONPATH=/var/lib/microblog
LD_PRELOAD=/var/lib/microblog/x.so
PATH=/var/lib/microblog
"""


def test_a_hostile_backup_is_no_way_to_root(machine: Machine) -> None:
    url = machine.run("grep", "^DATABASE_URL=", ENV)
    for name in ("python3", "openssl", "x.py"):
        path = f"/var/lib/microblog/{name}"
        machine.run("sh", "-c", f"printf '#!/bin/sh\\ntouch /hostile\\n' > {path}; chmod 755 {path}")
    python(machine, DOWNLOAD, ended(machine, ask(machine, "backup"))["answer"]["backup"])
    python(machine, HOSTILE, WISHES)
    python(machine, UPLOAD, "/var/lib/microblog/hostile")
    job = ended(machine, ask(machine, "restore", backup=""))
    assert job["state"] == "done", job
    wait_until("the site answers", machine.answers)
    machine.run("ls", "/hostile", "/etc/cron.d/x", "/etc/cron.d/y", check=False)
    assert machine.code != 0
    assert machine.run("grep", "^DATABASE_URL=", ENV) == url
    assert "BIND" not in machine.run("cat", ENV)
    for pid in machine.run("supervisorctl", "pid", "microblog").split():
        assert "/var/lib/microblog/x" not in machine.run("cat", f"/proc/{pid}/environ")


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
    "cat /etc/microblog/elsewhere/key",
    "touch /etc/microblog/elsewhere/x",
    "microblog agent",
    "microblog agent --job",
    "systemctl start microblog-job.service",
    "systemctl restart nginx",
)


def test_what_the_applications_user_cannot_do(machine: Machine) -> None:
    before = machine.run("cat", AUDIT)
    keys = "/etc/microblog/elsewhere"
    machine.run("sh", "-c", f"umask 077; mkdir -p {keys}; touch {keys}/key")
    for attack in ATTACKS:
        machine.run("runuser", "-u", "microblog", "--", "sh", "-c", attack, check=False)
        assert machine.code != 0, attack
    assert machine.run("cat", AUDIT) == before
    machine.run("rm", "-r", "/etc/microblog/elsewhere")
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
