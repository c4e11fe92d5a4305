"""Backups in a second place, on machines: sent, drilled, told when they fail, and restored on another one."""

import json
import re
from collections.abc import Callable

import pytest
from nspawn import Kept, Machine, link, wait_until
from sites import BACKUPS, ENV, SQLITE, fill, look, switch_to

REPOSITORY = "/srv/repository"
DAMAGE = f"""
for pack in $(find {REPOSITORY}/data -type f); do
    chmod 600 $pack
    printf XXXX | dd of=$pack bs=1 seek=40 conv=notrunc status=none
done
rm -rf /var/cache/microblog
"""
# Mail to root stays on the machine.
TELL = f"""
printf 'MAIL_SERVER=localhost\\nADMINS=root@localhost\\n' >> {ENV}
"""


def key_of(machine: Machine) -> str:
    """The nine words that the recovery sheet has."""
    said = machine.run("microblog", "backup", "--sheet", "/root/sheet.html")
    assert "print it, and delete the file" in said
    assert "no QR code" not in said
    assert machine.run("stat", "-c", "%a %U", "/root/sheet.html").strip() == "600 root"
    page = machine.run("cat", "/root/sheet.html")
    assert "<svg" in page
    words = re.findall(r"<li>([a-z]{5})</li>", page)
    assert len(words) == 9
    return "-".join(words)


def fact(machine: Machine, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(machine.run("microblog", "status", "--json", check=False))[name]
    return found


def mails(machine: Machine) -> int:
    return int(
        machine.run("sh", "-c", "grep -c '^Subject: .*backups need you' /var/mail/root || true").strip()
    )


def test_a_backup_is_sent_drilled_and_brought_back_by_its_key(server: Machine) -> None:
    fill(server, "alice", 30)
    before = look(server)
    said = server.run("microblog", "backup", "--to", REPOSITORY)
    assert f"Sent to {REPOSITORY}: " in said
    # Not on a terminal: a log is no place for a key.
    key = key_of(server)
    assert key not in said
    for folder in ("/var/log", "/run/log"):
        assert server.run("grep", "-rlas", key, folder, check=False) == ""
    assert server.run("find", "/etc/microblog/elsewhere", "-perm", "/077") == ""

    # The first night drills it, too; the site goes on, and nothing of it stays.
    server.run("sh", "-c", TELL)
    server.run("systemctl", "start", "microblog-backup.service")
    night = server.run("journalctl", "--no-pager", "-u", "microblog-backup")
    assert "were restored beside the site, and compared" in night
    assert "microblog_re" not in server.sql("SHOW DATABASES")
    assert fact(server, "drill")["ok"]
    assert fact(server, "elsewhere")["place"] == REPOSITORY
    assert server.answers()
    assert not server.run("sh", "-c", f"ls -A {BACKUPS} | grep partial || true")

    # Damaged: said, and in the status.
    server.run("sh", "-ec", DAMAGE)
    said = server.run("microblog", "backup", "--drill", check=False)
    assert server.code == 1
    assert f"the repository at {REPOSITORY} is damaged" in said
    assert len([line for line in said.splitlines() if not line.startswith("Fetching")]) == 2, said
    server.run("microblog", "status", check=False)
    assert server.code == 1
    assert not fact(server, "drill")["ok"]
    # And where the place has gone altogether: each night is a failure, of sending and of trying.
    server.run("mv", REPOSITORY, f"{REPOSITORY}.gone")
    local = server.run("ls", BACKUPS).split()
    for _ in range(2):
        server.run("systemctl", "start", "microblog-backup.service", check=False)
        assert server.code == 1
    # Mailed once; the local backups stay.
    wait_until("an administrator has mail", lambda: mails(server))
    server.run("sh", "-c", "until [ -z \"$(postqueue -p | grep '^[A-F0-9]')\" ]; do sleep 0.1; done")
    assert mails(server) == 1
    assert set(local) < set(server.run("ls", BACKUPS).split())

    # Begun anew elsewhere, and brought back as on a new machine: by address and words alone.
    server.run("microblog", "backup", "--to", f"{REPOSITORY}.new")
    key = key_of(server)
    server.run("microblog", "backup", "--off")
    switch_to(server, SQLITE)
    fill(server, "bob", 3)
    command = ("microblog", "restore", "--from", f"{REPOSITORY}.new")
    said = server.run(*command, stdin="lusab babad\n", check=False)
    assert (server.code, "has 9 words, not 2" in said) == (1, True)
    said = server.run(*command, stdin=f"{key.upper().replace('-', ' ')}\n")
    assert f"Restored {REPOSITORY}.new, 20" in said
    assert server.answers()
    assert look(server) == before
    (line,) = server.run(*command, "--list", stdin=f"{key}\n").splitlines()
    assert line.endswith(" testhost")


@pytest.mark.thorough
def test_the_site_comes_back_on_another_machine_without_the_first(
    server: Machine, installed: Kept, new_machine: Callable[..., Machine]
) -> None:
    """By SSH; of another name, with the other kind of database."""
    fill(server, "alice", 30)
    before = look(server)
    other = new_machine(installed.layers)
    other.run("hostname", "other")
    other.run("apt-get", "install", "--yes", "--no-install-recommends", "openssh-server")
    _, address = link(server, other)
    place = f"sftp://root@{address}//srv/repository"
    other.run("ip", "address", "add", f"{address}/32", "dev", "lo")

    def let_in(machine: Machine, *command: str, stdin: str = "") -> None:
        said = machine.run(*command, stdin=stdin, check=False)
        assert machine.code == 1
        (line,) = re.findall("(?m)ssh-ed25519 .*$", said)
        other.run("sh", "-c", "mkdir -p -m 700 ~/.ssh && cat >> ~/.ssh/authorized_keys", stdin=f"{line}\n")

    let_in(server, "microblog", "backup", "--to", place)
    server.run("microblog", "backup", "--to", place)
    key = key_of(server)
    server.destroy()

    switch_to(other, SQLITE)
    let_in(other, "microblog", "restore", "--from", place, stdin=f"{key}\n")
    said = other.run("microblog", "restore", "--from", place, stdin=f"{key}\n")
    assert "Loading " in said
    assert look(other) == before
    assert other.answers()
    # It goes on with the same repository, and its backups there are good.
    other.run("microblog", "backup", "--to", place, stdin=f"{key}\n")
    assert "were restored beside the site, and compared" in other.run("microblog", "backup", "--drill")
