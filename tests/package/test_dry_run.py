"""``microblog setup --dry-run`` says what setup would do, and changes nothing."""

import re

from nspawn import Machine, wait_until
from sites import ENV, FORGET, SQLITE

# All that setup may change, with owners, modes and times; the rest of /etc too.
LOOK = """
find /etc /var/lib/microblog /var/backups /run/microblog /usr/share/microblog /var/www \
    -xdev -printf '%p %u %g %m %s %T@ %l\\n' 2> /dev/null | grep -v gunicorn.sock | sort
mariadb -N -e "SHOW DATABASES; SELECT user, plugin FROM mysql.user; SELECT user, db FROM mysql.db"
systemctl show --property=MainPID,ActiveState nginx supervisor mariadb
"""


def dry_run(machine: Machine) -> list[str]:
    """What it says; what it must not do is looked for."""
    before = machine.run("sh", "-c", LOOK)
    said = machine.run("microblog", "setup", "--dry-run").splitlines()
    after = machine.run("sh", "-c", LOOK)
    assert set(before.splitlines()) ^ set(after.splitlines()) == set()
    return said


def test_what_setup_would_do_is_said_and_not_done(server: Machine) -> None:
    server.run("microblog", "setup")
    assert dry_run(server) == ["Nothing would be done"]

    # Changes of the settings, and of what runs.
    server.run("sh", "-c", f"echo BIND=127.0.0.1:8001 >> {ENV}; echo HOST_NAMES=social.example >> {ENV}")
    server.run("systemctl", "stop", "nginx")
    assert dry_run(server) == [
        "Would make a certificate for this machine: /etc/microblog/tls/cert.pem",
        "Would see that nginx passes visitors on to 127.0.0.1:8001",
        *[line for line in dry_run(server) if "nginx knows the site as social.example, testhost" in line],
        "Would start the application anew, with the settings as they are now",
        "Would start nginx.service",
    ]
    server.run("sed", "-i", "/^BIND=/d; /^HOST_NAMES=/d", ENV)
    server.run("microblog", "setup")
    assert server.answers()

    # An older schema.
    head = server.sql("SELECT version_num FROM microblog.alembic_version").strip()
    server.sql("UPDATE microblog.alembic_version SET version_num = '0002'")
    assert (
        "Would back up, and bring the database's schema from 0002 to"
        f" {head}, with the site away for as long" in dry_run(server)
    )
    server.sql(f"UPDATE microblog.alembic_version SET version_num = '{head}'")  # noqa: S608

    # A machine on which nothing was set up yet, as it says and as it then goes.
    server.run("sh", "-c", FORGET)
    said = dry_run(server)
    assert (
        "Would write SECRET_KEY, DATABASE_URL, TRUSTED_PROXIES, CLAIM_CODE to /etc/microblog/microblog.env"
        in said
    )
    assert "Would put nginx's default site aside" in said
    assert "Would enable nginx's site microblog" in said
    assert "Would make the application known to supervisor" in said
    assert (
        "Would make the database where it is missing, and its schema (MySQL, microblog on localhost)" in said
    )
    assert "Would start the application" in said
    assert not any(re.search(r"[0-9a-f]{32}", line) for line in said)
    server.run("microblog", "setup")
    wait_until("the site answers", server.answers)
    assert dry_run(server) == ["Nothing would be done"]

    # A deployment by hand in its place.
    (server.root / "etc/supervisor/conf.d/microblog.conf").unlink()
    (server.root / "etc/supervisor/conf.d/microblog.conf").write_text(
        "[program:microblog]\ncommand=/bin/true\n"
    )
    assert dry_run(server)[0].startswith("A site deployed by hand has this one's place: ")
    server.run("rm", "/etc/supervisor/conf.d/microblog.conf")
    server.run("microblog", "setup", "--enable")

    # Where setup would stop.
    server.run("sh", "-c", f"echo TRUSTED_PROXIES=x >> {ENV}")
    assert dry_run(server)[-1].startswith("Would stop there: TRUSTED_PROXIES is 'x'")
    server.run("sed", "-i", "/^TRUSTED_PROXIES=x/d", ENV)
    server.run("sed", "-i", f"s|^DATABASE_URL=.*|DATABASE_URL={SQLITE}|", ENV)
    said = dry_run(server)
    assert any("its schema (SQLite, /var/lib/microblog/microblog.db)" in line for line in said)
    assert server.run(
        "runuser", "-u", "nobody", "--", "microblog", "setup", "--dry-run", check=False
    ).startswith("microblog: only root can see what setup would do")
