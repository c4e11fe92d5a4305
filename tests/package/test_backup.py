"""Backup and restore on a server: both kinds of database, damage, interruptions, little room."""

import json
import re
import shutil
from collections.abc import Callable

from nspawn import Kept, Machine, wait_until
from sites import BACKUPS, ENV, SQLITE, fill, look, python, switch_to


def test_a_backup_moves_between_databases_and_machines(server: Machine) -> None:
    fill(server, "alice", 30)
    mysql_url = server.run("sed", "-n", "s/^DATABASE_URL=//p", ENV).strip().strip("'")
    secret = server.run("grep", "^SECRET_KEY=", ENV)
    before = look(server)
    facts = json.loads(server.run("microblog", "backup", "--output", "/root/b.tar.gz", "--json"))
    assert (facts["database"], facts["rows"]["posts"]) == ("mysql", 30)
    assert server.run("stat", "-c", "%a %U", "/root/b.tar.gz").strip() == "600 root"
    certificate = server.run("cat", "/etc/microblog/tls/cert.pem")

    # To another kind of database, on a machine with secrets of its own.
    server.run("sed", "-i", "s/^SECRET_KEY=.*/SECRET_KEY=" + "0" * 64 + "/", ENV)
    switch_to(server, SQLITE)
    fill(server, "bob", 3)
    said = server.run("microblog", "restore", "/root/b.tar.gz")
    assert "All log-ins have ended" in said
    assert "suspended since are good again" in said
    assert server.answers(), said
    assert look(server) == before
    assert server.run("grep", "^SECRET_KEY=", ENV) == secret
    assert "sqlite" in server.run("grep", "^DATABASE_URL=", ENV)
    assert server.run("cat", "/etc/microblog/tls/cert.pem") == certificate
    assert server.run("stat", "-c", "%a %U:%G", "/var/lib/microblog/microblog.db", ENV).split("\n")[:2] == [
        "640 microblog:microblog",
        "640 root:microblog",
    ]

    # And back; what was there in between is in the backup that the restore made of it.
    server.run("microblog", "backup", "--output", "/root/c.tar.gz")
    switch_to(server, mysql_url)
    server.sql("DELETE FROM microblog.posts; CREATE TABLE microblog.theirs (x INT)")
    server.run("microblog", "restore", "/root/c.tar.gz")
    assert look(server) == before
    tables = server.sql("SHOW TABLES IN microblog").split()
    assert "theirs" in tables
    assert "microblog_re" not in server.sql("SHOW DATABASES; SELECT db FROM mysql.db")
    kept = server.run("sh", "-c", f"ls {BACKUPS}/*-restore.tar.gz").split()
    assert len(kept) == 2
    server.run("microblog", "restore", kept[0])
    assert "bob 2" in look(server)
    assert server.run("ls", "-A", BACKUPS).split() == server.run("ls", BACKUPS).split()


# As versions before 0.2 let anybody write it, on SQLite.
NOTHING_TO_SEE = """
import sqlalchemy as sa
from microblog import create_app
from microblog.database import db

with create_app().app_context():
    db.session.execute(sa.text(
        "INSERT INTO posts (author_id, body, created_at)"
        " SELECT id, '\\u200b', '2026-01-01 00:00:00.000000' FROM users"
    ))
    db.session.execute(sa.text("UPDATE users SET posts_count = posts_count + 1"))
    db.session.commit()
"""


def test_a_post_that_the_other_database_refuses_does_not_bar_the_way_back(server: Machine) -> None:
    mysql_url = server.run("sed", "-n", "s/^DATABASE_URL=//p", ENV).strip().strip("'")
    switch_to(server, SQLITE)
    fill(server, "alice", 3)
    before = look(server)
    python(server, NOTHING_TO_SEE)
    server.run("microblog", "backup", "--output", "/root/b.tar.gz")
    switch_to(server, mysql_url)
    said = server.run("microblog", "restore", "/root/b.tar.gz")
    assert re.search(
        r"Left out, as this database does not take them: posts id 4: .*ck_posts_body_length", said
    ), said
    assert look(server) == before


def test_what_cannot_be_restored_changes_nothing(server: Machine) -> None:
    fill(server, "alice", 3)
    before = look(server)
    server.run("microblog", "backup", "--output", "/root/b.tar.gz")
    server.run("sh", "-c", "head -c -100 /root/b.tar.gz > /root/short.tar.gz")
    newer = server.run(
        "sh",
        "-c",
        'cd /root && mkdir n && cd n && tar xzf ../b.tar.gz && sed -i \'s/"00[0-9][0-9]"/"9999"/\''
        " manifest.json && tar czf ../newer.tar.gz config database manifest.json",
    )
    assert newer == ""
    refusals = {
        "/root/nowhere.tar.gz": "No such file",
        "/etc/passwd": "the backup cannot be used",
        "/root/short.tar.gz": "the backup cannot be used",
        "/root/newer.tar.gz": "the backup was made by version",
        "/root": "Is a directory",
    }
    for path, message in refusals.items():
        for option in ((), ("--check",)):
            said = server.run("microblog", "restore", path, *option, check=False)
            assert server.code == 1, path
            assert message in said, (path, said)
            assert "Traceback" not in said
            assert len(said.splitlines()) == 2, said
    assert server.run("microblog", "restore", "--check", "/root/b.tar.gz").startswith("/root/b.tar.gz: ")
    server.run("runuser", "-u", "nobody", "--", "microblog", "backup", check=False)
    assert server.code == 1
    assert look(server) == before
    assert server.answers()


def test_a_full_disk_and_a_missing_database_are_one_line(server: Machine) -> None:
    server.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt")
    said = server.run("microblog", "backup", "--output", "/mnt/b.tar.gz", check=False)
    assert (server.code, len(said.splitlines())) == (1, 2), said
    assert "/mnt has 1 MiB free" in said
    assert server.run("ls", "-A", "/mnt") == ""
    server.run("systemctl", "stop", "mysql")
    said = server.run("microblog", "backup", check=False)
    assert (server.code, len(said.splitlines())) == (1, 2), said
    assert "Traceback" not in said
    assert server.run("ls", "-A", BACKUPS) == ""


def test_the_timer_backs_up_and_keeps_seven(server: Machine) -> None:
    assert server.run("systemctl", "is-enabled", "microblog-backup.timer").strip() == "enabled"
    assert server.run("systemctl", "is-active", "microblog-backup.timer").strip() == "active"
    server.run("mkdir", "-p", BACKUPS)
    for day in range(1, 9):
        server.run("touch", f"{BACKUPS}/microblog-2026010{day}T000000Z-daily.tar.gz")
    server.run("systemctl", "start", "microblog-backup.service")
    names = server.run("ls", BACKUPS).split()
    assert len(names) == 7
    assert names[0] == "microblog-20260103T000000Z-daily.tar.gz"
    server.run("microblog", "restore", "--check", f"{BACKUPS}/{names[-1]}")


CERTIFICATE = "/etc/microblog/tls/cert.pem"
# An authority of one's own, and certificates of it that end in $0 days.
SIGN = """
cd /root; exec 2> /dev/null
new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
[ -e ca.pem ] || openssl req -x509 $new -days 999 -subj /CN=Authority -keyout ca.key -out ca.pem
openssl req $new -subj /CN=testhost -keyout key.pem -out csr.pem
printf subjectAltName=DNS:social.example > names
openssl x509 -req -extfile names -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days "$0" -out cert.pem
install -m 600 key.pem /etc/microblog/tls/key.pem; install -m 644 cert.pem /etc/microblog/tls/cert.pem
"""


def test_a_certificate_that_ends_later_outlives_an_older_backups(server: Machine) -> None:
    server.run("sh", "-ec", SIGN, "20")
    server.run("microblog", "backup", "--output", "/root/old.tar.gz")
    server.run("sh", "-ec", SIGN, "80")
    newer = server.run("cat", "/etc/microblog/tls/cert.pem", "/etc/microblog/tls/key.pem")
    server.run("microblog", "backup", "--output", "/root/new.tar.gz")
    said = server.run("microblog", "restore", "/root/old.tar.gz")
    assert "The certificate that is here stays" in said
    assert server.run("cat", "/etc/microblog/tls/cert.pem", "/etc/microblog/tls/key.pem") == newer
    # On a machine with one of its own making, the backup's counts; and that nothing renews it is told.
    server.run("sh", "-c", "rm /etc/microblog/tls/*.pem; microblog setup")
    said = server.run("microblog", "restore", "/root/new.tar.gz")
    assert "Nothing renews the certificate on this machine" in said
    assert server.run("cat", "/etc/microblog/tls/cert.pem", "/etc/microblog/tls/key.pem") == newer


def test_on_another_machine_a_restore_says_what_to_change(
    server: Machine, installed: Kept, new_machine: Callable[..., Machine]
) -> None:
    """Its names turn visitors of the other machine away, and nothing renews its certificate there."""
    fill(server, "alice", 3)
    before = look(server)
    server.run("sh", "-ec", SIGN, "60")
    server.run("sh", "-c", f"echo HOST_NAMES=social.example,www.social.example >> {ENV}; microblog setup")
    server.run("microblog", "backup", "--output", "/root/b.tar.gz")
    # One that has ended by the time that it is needed.
    server.run("sh", "-ec", SIGN, "-1")
    server.run("microblog", "backup", "--output", "/root/ended.tar.gz")

    other = new_machine(installed.layers)
    wait_until("the site answers", other.answers)
    for name in ("b.tar.gz", "ended.tar.gz"):
        shutil.copyfile(server.root / "root" / name, other.root / "root" / name)
    said = other.run("microblog", "restore", "/root/ended.tar.gz")
    assert "The certificate in the backup has ended, and is left out: microblog https social.example" in said
    # It has one of its own, now for these names too.
    assert "Authority" not in other.run("openssl", "x509", "-in", CERTIFICATE, "-noout", "-issuer")
    other.run("sed", "-i", "/^HOST_NAMES/d", ENV)
    other.run("microblog", "setup")

    said = other.run("microblog", "restore", "/root/b.tar.gz")
    assert "The site answers to the names in the backup alone: social.example, www.social.example" in said
    assert f"To have it answer to testhost, set HOST_NAMES in {ENV}; then: microblog setup" in said
    assert "Nothing renews the certificate on this machine: microblog https social.example" in said
    assert look(other) == before

    def status(host: str) -> int:
        return other.get(f"https://{host}/login", "--resolve", f"{host}:443:127.0.0.1").status

    wait_until("it answers", lambda: status("social.example") == 200)
    assert status("testhost") == 400
    # As it says.
    other.run("sed", "-i", "s/^HOST_NAMES=.*/HOST_NAMES=testhost/", ENV)
    other.run("microblog", "setup")
    wait_until("it answers", lambda: status("testhost") == 200)
    assert status("social.example") == 400
    # Restored once more, here, with the same names: nothing needs to be said.
    other.run("microblog", "backup", "--output", "/root/own.tar.gz")
    assert "HOST_NAMES" not in other.run("microblog", "restore", "/root/own.tar.gz")
    other.destroy()
    other.delete()
