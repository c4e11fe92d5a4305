"""What debconf asks, and servers that are not as expected: each works, or says one clear line."""

from pathlib import Path

from nspawn import Machine, install, wait_until
from sites import BACKUPS, ENV, fill

from microblog.host.database import memory

ELSEWHERE = "mysql+pymysql://else:p%27w@127.0.0.1/elsewhere"
# One sign that is joined of four.
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
PRESEED = f"""
microblog microblog/purge-database boolean true
microblog microblog/site-name string Bob's "place" {FAMILY}
microblog microblog/host-names string social.example,testhost,localhost
microblog microblog/admin-email string root@localhost
microblog microblog/database select elsewhere
microblog microblog/database-url password {ELSEWHERE}
"""
SHOWN = "openssl s_client -connect localhost:443 < /dev/null 2> /dev/null | openssl x509 -noout"
MADE = """
find / -xdev -name *microblog* -not -path /proc/* -not -path /var/cache/*
-not -path /var/log/journal/* -not -path /root/* -not -path /sys/*
"""


def test_purge_leaves_nothing_when_told_and_answers_are_taken_over(server: Machine, deb: Path) -> None:
    fill(server, "alice", 1)
    server.run("microblog", "backup")
    server.run(
        "sh", "-c", "mariadb-dump microblog > /root/people.sql || mysqldump microblog > /root/people.sql"
    )
    server.run("debconf-set-selections", stdin=PRESEED)
    server.run("apt-get", "purge", "--yes", "microblog", env={"DEBIAN_FRONTEND": "noninteractive"})
    assert server.run(*MADE.split()) == ""
    assert "microblog" not in server.sql(
        "SHOW DATABASES; SELECT user FROM mysql.user; SELECT db FROM mysql.db"
    )
    assert server.run("getent", "passwd", "microblog", check=False) == ""

    server.sql(
        "CREATE DATABASE elsewhere CHARACTER SET utf8mb4;"
        "CREATE USER 'else'@'127.0.0.1' IDENTIFIED BY 'p\\'w';"
        "GRANT ALL ON elsewhere.* TO 'else'@'127.0.0.1'"
    )
    # One that has people: with the answers it is all that there is to be set up.
    server.run("sh", "-c", "mariadb elsewhere < /root/people.sql")
    server.sql("DELETE FROM elsewhere.settings WHERE name = 'claimed'")
    # purging has forgotten the answers
    server.run("debconf-set-selections", stdin=PRESEED)
    install(server, deb)
    assert server.answers()
    for path in ("", "login", "register", "first-run"):
        page = server.get(f"https://localhost/{path}")
        assert "/first-run" not in page.headers.get("location", ""), path
        assert "This Microblog is new" not in page.body
    assert f"Bob&#39;s &#34;place&#34; {FAMILY}" in server.get("https://localhost/login").body
    settings = server.run("cat", ENV)
    assert "HOST_NAMES='social.example,testhost,localhost'" in settings
    assert "ADMINS=root@localhost" in settings
    assert "users" in server.sql("SHOW TABLES IN elsewhere")
    # The password is where it is needed and nowhere else.
    assert server.run("grep", "-rl", "p%27w", "/var/cache/debconf", "/etc", check=False).split() == [ENV]

    # What is changed in the file since counts, at upgrades and when asked again.
    server.run("sed", "-i", "s/^ADMINS=.*/ADMINS=alice@example.com/", ENV)
    install(server, deb, "--reinstall")
    server.run("dpkg-reconfigure", "--frontend=noninteractive", "microblog")
    assert server.run("cat", ENV) == settings.replace("root@localhost", "alice@example.com")
    assert server.answers()


def refused(server: Machine, deb: Path, message: str) -> None:
    """Assert that an install ends in one clear line and the way out, and can be completed later."""
    server.run("cp", "/root/microblog.deb", "/root/again.deb")
    said = server.run("dpkg", "-i", "/root/again.deb", check=False, env={"DEBIAN_FRONTEND": "noninteractive"})
    assert server.code == 1, said
    assert said.count(f"microblog: {message}") == 1, said
    assert "Traceback" not in said


def test_obstacles_are_one_line_each(server: Machine, deb: Path) -> None:
    (server.root / "root/microblog.deb").write_bytes(deb.read_bytes())
    obstacles = {
        "supervisor.service is masked": (
            "systemctl mask --now supervisor",
            "systemctl unmask supervisor",
        ),
        "nginx.service is masked": ("systemctl mask --now nginx", "systemctl unmask nginx"),
        "nginx does not start: port 443 is taken by python3": (
            "systemctl stop nginx && systemd-run --unit=other python3 -m http.server 443"
            " && until ss -Hltn | grep -q :443; do sleep 0.1; done",
            "systemctl stop other",
        ),
        "no database server answers at /run/mysqld/mysqld.sock": (
            "systemctl stop mysql",
            "systemctl start mysql",
        ),
        "supervisor does not know the program microblog": (
            "sed -i 's|conf.d/[*].conf|conf.d/*.ini|' /etc/supervisor/supervisord.conf"
            " && systemctl restart supervisor",
            "sed -i 's|conf.d/[*].ini|conf.d/*.conf|' /etc/supervisor/supervisord.conf"
            " && systemctl restart supervisor",
        ),
        "SITE_NAME is not a name of at most 40 characters": (
            f"echo SITE_NAME={'x' * 41} >> {ENV}",
            f"sed -i /^SITE_NAME/d {ENV}",
        ),
        "/etc/microblog/tls: Read-only file system": (
            "rm -r /etc/microblog/tls && mount --bind /etc/microblog /etc/microblog"
            " && mount -o remount,bind,ro /etc/microblog",
            "umount /etc/microblog",
        ),
    }
    for message, (break_it, mend_it) in obstacles.items():
        server.run("sh", "-c", break_it)
        if "Read-only" in message:
            # dpkg itself needs to write there: the command alone.
            said = server.run("microblog", "setup", check=False)
            assert server.code == 1
            assert f"microblog: {message}" in said
            assert "Traceback" not in said
        else:
            refused(server, deb, message)
        server.run("sh", "-c", mend_it)
        server.run("dpkg", "--configure", "--pending", env={"DEBIAN_FRONTEND": "noninteractive"})
        server.run("microblog", "setup")
        wait_until("the site answers", server.answers)
    assert server.run("find", BACKUPS, "-name", "*upgrad*", check=False).count("upgrade") == 0


def test_a_new_name_reaches_mail_and_certificate(server: Machine) -> None:
    server.run("postconf", "-e", "mydestination=testhost, theirs.example, localhost")
    server.run("sh", "-c", "echo testhost > /etc/mailname")
    server.run("hostnamectl", "set-hostname", "renamed.example.org")
    assert "Mail goes by this machine's new name" in server.run("microblog", "setup")
    assert server.run("postconf", "-h", "mydestination").strip() == (
        "renamed.example.org, theirs.example, localhost"
    )
    assert server.run("cat", "/etc/mailname").strip() == "renamed.example.org"
    text = server.run("openssl", "x509", "-in", "/etc/microblog/tls/cert.pem", "-noout", "-text")
    assert "DNS:renamed.example.org" in text
    assert server.run("microblog", "setup") == "Nothing was missing\n"
    assert server.answers()


SHORT = """
openssl x509 -in /etc/microblog/tls/cert.pem -signkey /etc/microblog/tls/key.pem -days 10 \
    -extfile /root/names -out /root/cert.pem
cp /root/cert.pem /etc/microblog/tls/cert.pem
"""


def test_the_daily_timer_renews_the_machines_own_certificate(server: Machine) -> None:
    certificate = ("openssl", "x509", "-in", "/etc/microblog/tls/cert.pem", "-noout")
    names = server.run(*certificate, "-ext", "subjectAltName").splitlines()[1].strip()
    (server.root / "root/names").write_text(
        f"subjectAltName={names.replace('IP Address', 'IP').replace(', ', ',')}\n"
    )
    server.run("sh", "-ec", SHORT)
    server.run("systemctl", "reload", "nginx")
    month = ("-checkend", str(30 * 86400))
    server.run(*certificate, *month, check=False)
    assert server.code == 1
    server.run("systemctl", "start", "microblog-backup.service")
    server.run(*certificate, *month)
    # nginx shows it; its old processes answer for a moment yet.
    wait_until(
        "nginx shows the new one",
        lambda: "not expire" in server.run("sh", "-c", f"{SHOWN} -checkend {30 * 86400}", check=False),
    )
    # And it has the names that came since.
    server.run("sh", "-c", f"echo HOST_NAMES=social.example,testhost >> {ENV}")
    server.run("systemctl", "start", "microblog-backup.service")
    assert "DNS:social.example" in server.run(*certificate, "-ext", "subjectAltName")
    assert "microblog-backup.timer" in server.run("systemctl", "list-timers")


def test_the_database_server_takes_the_settings_of_a_small_machine(server: Machine) -> None:
    folders = ("mariadb.conf.d", "mysql.conf.d", "conf.d")
    folder = next(path for name in folders if (path := server.root / "etc/mysql" / name).is_dir())
    path = folder / "zz-microblog-memory.cnf"
    path.write_text(memory.settings(460))
    # What comes before it by its name does not overrule it.
    (folder / "60-theirs.cnf").write_text("[mysqld]\ninnodb_buffer_pool_size = 512M\n")
    server.run("systemctl", "restart", "mysql")
    assert int(server.sql("SELECT @@innodb_buffer_pool_size")) == 56 * 2**20
    assert server.sql("SELECT @@performance_schema").strip() == "0"
    wait_until("the site answers", server.answers)
    # A machine that has grown since gets its server's own size back; what somebody has edited stays.
    path.write_text(memory.settings(460) + "# mine\n")
    assert server.run("microblog", "setup").endswith("Nothing was missing\n")
    path.write_text(memory.settings(460))
    assert "with its own memory" in server.run("microblog", "setup")
    assert int(server.sql("SELECT @@innodb_buffer_pool_size")) == 512 * 2**20
    assert not path.exists()
    wait_until("the site answers", server.answers)
