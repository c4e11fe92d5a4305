"""Servers with a life of their own: what is somebody else's stays theirs, and comes back."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

from nspawn import Answer, Kept, Machine, add_admin, install, link, try_install, wait_until
from sites import BACKUPS, ENV, FORGET, SQLITE, Writer, fill, look, posts, switch_to
from test_commands import DIRECTORY, PEBBLE, START_PEBBLE

from builder.core import paths

OWN_DEFAULT = """
server { listen 80 default_server; listen [::]:80 default_server; server_name _; root /var/www/own; }
"""
OTHERS = """
server { listen 80; server_name _; root /var/www/other; }
"""
NAMED = """
server { listen 80; server_name other.example TESTHOST.local; root /var/www/named; }
"""
AT_ANOTHER_PORT = """
server { listen 8080; listen [::]:8080; server_name social.example; location / { root /var/www/other; } }
"""
SITES = """
for name in own other named; do
    mkdir -p /var/www/$name && echo "This is $name" > /var/www/$name/index.html
done
"""
AVAILABLE = "/etc/nginx/sites-available/microblog"


def begin_anew(server: Machine) -> None:
    """A server on which the package has never been set up, but whose packages are there."""
    server.run("sh", "-c", FORGET)
    server.run("sh", "-ec", SITES)


def page(server: Machine, host: str, scheme: str = "http") -> str:
    return server.get(f"{scheme}://127.0.0.1/", "-H", f"Host: {host}").body


def doctor(server: Machine) -> dict[str, dict[str, str]]:
    """Its findings by their ids."""
    return {
        finding["id"]: finding
        for finding in json.loads(server.run("microblog", "doctor", "--json", check=False))
    }


def visitors(server: Machine) -> str:
    """What the status says of them."""
    said = json.loads(server.run("microblog", "status", "--json", check=False))
    text: str = said["visitors"]["text"]
    return text


# debconf puts its questions into a file for an editor: this one keeps them, and answers none.
EDITOR = """#!/bin/sh
cat "$1" >> /root/asked
"""
ASK = """
cp -a /var/cache/debconf /root/debconf; : > /root/asked
EDITOR=/root/editor debconf --frontend=editor --priority=$0 --owner=microblog \
    /var/lib/dpkg/info/microblog.config configure
rm -r /var/cache/debconf; mv /root/debconf /var/cache/debconf
"""


def asked(server: Machine, priority: str) -> dict[str, str]:
    """Which of the package's questions somebody is asked who wants those of a priority, and what is then
    answered who only goes on."""
    server.run("sh", "-ec", ASK, priority)
    return dict(re.findall(r'(?m)^microblog/([a-z-]+)="(.*)"$', server.run("cat", "/root/asked")))


def test_a_default_site_that_is_somebodys_stays(server: Machine) -> None:
    begin_anew(server)
    (server.root / "root/editor").write_text(EDITOR)
    (server.root / "root/editor").chmod(0o755)
    default = server.root / "etc/nginx/sites-enabled/default"
    # nginx's own is no question for who asks for few, whichever way its link is written.
    for target in ("/etc/nginx/sites-available/default", "../sites-available/default"):
        default.unlink()
        default.symlink_to(target)
        assert asked(server, "high") == {}
    few = asked(server, "medium")
    assert few["nginx-default-site"] == "yes"
    assert "nginx-own-site" not in few
    # Pages of somebody's in its folder, or a site in its place, are asked about; "keep" is the answer.
    page_of_somebody = server.root / "var/www/html/about.html"
    page_of_somebody.touch()
    assert asked(server, "high") == {"nginx-own-site": "no"}
    page_of_somebody.unlink()
    default.unlink()
    default.write_text(OWN_DEFAULT)
    assert asked(server, "high") == {"nginx-own-site": "no"}
    assert asked(server, "critical") == {}
    server.run("dpkg-reconfigure", "--frontend=noninteractive", "--priority=high", "microblog")
    assert "NGINX_OWN_SITE=keep" in server.run("cat", "/etc/microblog/setup.conf")
    server.run("microblog", "setup")
    assert default.read_text() == OWN_DEFAULT
    for host in ("127.0.0.1", "anybody.example"):
        assert "This is own" in page(server, host)
    # And the site has its own names.
    assert server.get("https://testhost/healthz", "--resolve", "testhost:443:127.0.0.1").status == 200
    assert visitors(server) == "see it at https://testhost/"
    assert "Nothing is wrong" in server.run("microblog", "doctor")
    server.run("apt-get", "remove", "--yes", "microblog")
    assert default.read_text() == OWN_DEFAULT
    assert "This is own" in page(server, "testhost")


def test_a_default_site_that_was_given_away_comes_back(server: Machine) -> None:
    begin_anew(server)
    default = server.root / "etc/nginx/sites-enabled/default"
    default.unlink()
    default.write_text(OWN_DEFAULT)
    server.run("sh", "-c", "echo NGINX_OWN_SITE=replace >> /etc/microblog/setup.conf")
    said = server.run("microblog", "setup")
    assert "The site /etc/nginx/sites-enabled/default is put aside" in said
    assert "This is own" not in page(server, "127.0.0.1")
    server.run("apt-get", "remove", "--yes", "microblog")
    assert default.read_text() == OWN_DEFAULT
    assert "This is own" in page(server, "127.0.0.1")


def test_pages_in_nginxs_own_folder_are_somebodys(server: Machine) -> None:
    begin_anew(server)
    (server.root / "var/www/html/index.html").write_text("This is ours\n")
    server.run("microblog", "setup")
    assert "This is ours" in page(server, "127.0.0.1")
    assert server.run("ls", "/etc/nginx/sites-enabled").split() == ["default", "zz-microblog"]


def test_other_sites_are_not_shadowed(server: Machine) -> None:
    begin_anew(server)
    sites = server.root / "etc/nginx/sites-enabled"
    (sites / "default").unlink()
    (sites / "mysite").write_text(OTHERS)
    (sites / "named").write_text(NAMED)
    # One that has our name, where nobody takes it for ours.
    (sites / "service").write_text(AT_ANOTHER_PORT)
    server.run("microblog", "setup")
    # Whom no name leads elsewhere, came to the only other site before, and does now.
    assert "This is other" in page(server, "127.0.0.1")
    # A name that another site has is left to it, though the machine has it too.
    assert "This is named" in page(server, "testhost.local")
    assert "conflicting server name" not in server.run("nginx", "-t")
    assert (
        server.get("http://127.0.0.1/x", "-H", "Host: testhost").headers["location"] == "https://testhost/x"
    )

    # Changes of HOST_NAMES are followed.
    server.run("sh", "-c", f"echo HOST_NAMES=social.example,other.example >> {ENV}")
    said = server.run("microblog", "setup")
    assert "Another site of nginx's has other.example already: it keeps that" in said
    assert "This is named" in page(server, "other.example")
    answer = server.get("http://127.0.0.1/x", "-H", "Host: social.example")
    assert answer.headers["location"] == "https://social.example/x"
    # The first name is what visitors are told: when another site has that, they do not see ours.
    server.run("sed", "-i", "s/^HOST_NAMES=.*/HOST_NAMES=other.example/", ENV)
    assert "But visitors do not see it: " in server.run("microblog", "setup")
    assert "not this site" in visitors(server)
    assert doctor(server)["visitors.elsewhere"]["severity"] == "error"


# One socket for IPv4 and IPv6, as many write it.
DUAL = """
server {
    listen [::]:80 ipv6only=off default_server; listen [::]:443 ssl ipv6only=off default_server;
    server_name own.example; root /var/www/own;
    ssl_certificate /root/cert.pem; ssl_certificate_key /root/key.pem;
}
"""
# An address of its own, as hosting panels do; the machine's others are another program's.
AT_AN_ADDRESS = "server { listen 10.1.2.3:80; server_name shop.example; root /var/www/other; }\n"
UNIT = "[Service]\n{}\n[Install]\nWantedBy=multi-user.target\n"
ADDRESSES = "[Unit]\nBefore=nginx.service\n" + UNIT.format(
    "Type=oneshot\nExecStart=/bin/sh -c 'ip address add 10.1.2.3 dev lo; ip address add 10.1.2.4 dev lo'"
)
# One that has the ports, or an address, and is slow to come up at a boot.
HAPROXY = """
defaults
    mode http
    timeout client 9s
    timeout connect 9s
    timeout server 9s
frontend theirs
    bind 10.1.2.4:80
    bind :::443 v4v6
    http-request return status 200 content-type text/plain string "This is HAProxy"
"""
PASSED_ON = """
defaults
    mode http
    timeout client 9s
    timeout connect 9s
    timeout server 9s
frontend theirs
    bind :::443 v4v6 ssl crt /root/both.pem
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    default_backend site
backend site
    server one 10.1.2.3:80
"""
LATE = "[Unit]\nAfter=nginx.service\n"
OWN_PAIR = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=own.example"
    " -keyout /root/key.pem -out /root/cert.pem 2> /dev/null"
)


def restarted(server: Machine) -> None:
    """A reload keeps the sockets that there are; a start has to get them all."""
    server.run("systemctl", "restart", "nginx")
    wait_until("the site answers", lambda: "see it" in visitors(server))


def test_nginx_starts_again_beside_sites_that_listen_otherwise(server: Machine) -> None:
    begin_anew(server)
    sites, units = server.root / "etc/nginx/sites-enabled", server.root / "etc/systemd/system"
    (sites / "default").unlink()
    (sites / "dual").write_text(DUAL)
    server.run("sh", "-ec", f"{OWN_PAIR}; systemctl restart nginx; microblog setup")
    restarted(server)
    for address in ("127.0.0.1", "[::1]"):
        assert "This is own" in server.get(f"http://{address}/").body
        assert "This is own" in server.get(f"https://{address}/").body
        answer = server.get("https://testhost/healthz", "--resolve", f"testhost:443:{address}")
        assert answer.status == 200
    assert "Nothing is wrong" in server.run("microblog", "doctor")

    # Another comes, with an address of its own; port 80 of the rest, and 443, are other programs'.
    (sites / "dual").unlink()
    assert doctor(server).keys() == {"nginx.listens"}
    (sites / "shop").write_text(AT_AN_ADDRESS)
    (units / "address.service").write_text(ADDRESSES)
    server.run("sh", "-ec", "systemctl stop nginx; systemctl enable --now address")
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "haproxy")
    (server.root / "etc/haproxy/haproxy.cfg").write_text(HAPROXY)
    (units / "haproxy.service.d").mkdir()
    (units / "haproxy.service.d/late.conf").write_text(LATE)
    server.run("systemctl", "restart", "haproxy")
    in_front = ("http://10.1.2.4/", "http://[::1]:443/")

    def others_serve() -> bool:
        return all("This is HAProxy" in server.get(url).body for url in in_front)

    wait_until("they serve", others_serve)
    said = server.run("microblog", "setup", check=False)
    assert "Nginx listens for the site as its other sites do: listen 10.1.2.3:80;" in said, said
    for again in (lambda: None, server.reboot):
        again()
        wait_until("they serve", others_serve)
        assert server.run("systemctl", "is-active", "nginx").strip() == "active"
        assert "This is other" in server.get("http://10.1.2.3/", "-H", "Host: anybody.example").body
        answer = server.get("http://10.1.2.3/x", "-H", "Host: testhost")
        assert answer.headers["location"] == "https://testhost/x"

    # Then it passes the site on, too, from an address that is told as a balancer's (docs/package.md).
    (server.root / "etc/haproxy/haproxy.cfg").write_text(PASSED_ON)
    server.run("sh", "-ec", "cat /root/cert.pem /root/key.pem > /root/both.pem; systemctl restart haproxy")
    server.run("sh", "-c", f"echo PROXY_NETWORKS=10.1.2.3 >> {ENV}; rm /etc/nginx/sites-enabled/shop")
    server.run("systemctl", "stop", "nginx")
    # Who has 443 alone is no reason to leave nginx stopped.
    server.run("microblog", "setup")
    assert server.run("systemctl", "is-enabled", "nginx").strip() == "enabled"
    wait_until("visitors see it", lambda: visitors(server) == "see it at https://testhost/")
    assert server.get("https://testhost/first-run", "--resolve", "testhost:443:10.1.2.3").status == 200
    assert doctor(server) == {}


def test_nginx_follows_where_the_application_listens(server: Machine) -> None:
    server.run("sh", "-c", f"echo BIND=127.0.0.1:8001 >> {ENV}")
    said = server.run("microblog", "setup")
    assert "Nginx passes visitors on to 127.0.0.1:8001" in said
    assert server.answers()
    assert visitors(server).startswith("see it at ")
    assert "Nothing is wrong" in server.run("microblog", "doctor")
    assert server.run("microblog", "setup") == "Nothing was missing\n"
    server.reboot()
    wait_until("the site answers", server.answers)

    # A program of somebody's in the application's place is recognised.
    server.run("supervisorctl", "stop", "microblog")
    server.run(
        *("systemd-run", "--unit=impostor", "--uid=nobody", "python3", "-m", "http.server"),
        *("--bind", "127.0.0.1", "8001"),
    )
    wait_until("it listens", lambda: server.get("http://127.0.0.1:8001/").status)
    assert "another program answers at 127.0.0.1:8001" in server.run("microblog", "status", check=False)
    assert "not this site" in visitors(server)
    assert doctor(server)["application.impostor"]["severity"] == "error"
    server.run("systemctl", "stop", "impostor")

    server.run("sed", "-i", "/^BIND=/d", ENV)
    server.run("microblog", "setup")
    assert server.answers()
    assert ":8001" not in server.run("ss", "-Hltn")


def test_a_site_of_nginx_that_was_kept_from_an_older_version_is_served(server: Machine) -> None:
    server.run(
        *(
            "sed",
            "-i",
            "-e",
            "s|proxy_pass .*|proxy_pass http://127.0.0.1:8000;|",
            "-e",
            "/^map .scheme/,/^}/d",
        ),
        AVAILABLE,
    )
    said = server.run("microblog", "setup")
    assert "BIND=127.0.0.1:8000 is set for it" in said
    server.run("nginx", "-s", "reload")
    wait_until("the site answers", server.answers)
    assert server.run("microblog", "setup") == "Nothing was missing\n"


def test_links_that_were_taken_away_stay_away(server: Machine) -> None:
    server.run("rm", "/etc/nginx/sites-enabled/microblog", "/etc/supervisor/conf.d/microblog.conf")
    server.run("supervisorctl", "update")
    server.run("systemctl", "reload", "nginx")
    server.reboot()
    assert "The site is switched off" in server.run("microblog", "setup")
    for path in ("nginx/sites-enabled", "supervisor/conf.d"):
        assert "microblog" not in server.run("ls", f"/etc/{path}")
    assert server.run("pgrep", "gunicorn", check=False) == ""
    assert "switched off" in visitors(server)
    assert doctor(server)["site.off"]["remedy"].startswith("microblog setup --enable")
    server.run("microblog", "setup", "--enable")
    assert server.answers()
    assert "Nothing is wrong" in server.run("microblog", "doctor")


def test_an_apache_keeps_its_port_and_can_pass_a_name_on(server: Machine, deb: Path) -> None:
    server.run("apt-get", "purge", "--yes", "microblog")
    server.run("systemctl", "stop", "nginx")
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "apache2")
    install(server, deb)
    said = server.run("microblog", "setup")
    assert said.count("Port 80 is apache2's, which keeps it: nginx is not started.") == 1, said
    assert "Apache2" in server.get("http://localhost/").body
    assert doctor(server).keys() == {"visitors.neighbour"}
    # As docs/package.md says.
    site = """
<VirtualHost *:80>
    ServerName testhost
    ProxyPreserveHost On
    ProxyPass / unix:/run/microblog/socket/gunicorn.sock|http://localhost/
</VirtualHost>
"""
    (server.root / "etc/apache2/sites-available/social.conf").write_text(site)
    server.run("a2enmod", "--quiet", "proxy_http")
    server.run("a2ensite", "--quiet", "social")
    server.run("systemctl", "restart", "apache2")
    assert visitors(server) == "see it at http://testhost/"
    assert "Nothing is wrong" in server.run("microblog", "doctor")
    # Neither races for the port at the next boot.
    server.reboot()
    assert server.run("systemctl", "is-active", "apache2", "nginx", check=False).split() == [
        "active",
        "inactive",
    ]
    wait_until("visitors see it", lambda: "see it" in visitors(server))


DUMP = "mysqldump --skip-dump-date --no-tablespaces {} 2> /dev/null | sha256sum"
THEIRS = "CREATE TABLE {0}.theirs (x INT); INSERT INTO {0}.theirs VALUES (1), (2)"


def refused(server: Machine, *command: str) -> str:
    said = server.run("microblog", *command, check=False)
    assert server.code == 1, said
    assert "Traceback" not in said
    return said


def test_a_database_of_somebody_else_is_refused_untouched(server: Machine) -> None:
    begin_anew(server)
    server.sql("CREATE DATABASE microblog;" + THEIRS.format("microblog"))
    dump = ("sh", "-c", DUMP.format("microblog"))
    before = server.run(*dump)
    said = refused(server, "setup")
    assert "microblog: the database microblog is somebody else's: it has 1 tables (theirs ...)" in said
    assert "nothing was changed" in said
    assert server.run(*dump) == before
    assert "microblog" not in server.sql("SELECT user FROM mysql.user; SELECT db FROM mysql.db")
    assert "somebody else's" in server.run("microblog", "status", check=False)
    assert "database.down" in doctor(server)

    # A deployment by hand, by the tutorial: another program's schema.
    server.sql(
        "CREATE TABLE microblog.alembic_version (version_num VARCHAR(32));"
        "INSERT INTO microblog.alembic_version VALUES ('37f06a334dbf')"
    )
    said = refused(server, "setup")
    assert "the database is another program's (its schema is at 37f06a334dbf)" in said
    # And a user of our name who is somebody else's.
    server.sql(
        "DROP DATABASE microblog; DROP USER IF EXISTS microblog@localhost;"
        "CREATE USER microblog@localhost IDENTIFIED BY 'theirs'"
    )
    assert "a user microblog of somebody else's, with a password" in refused(server, "setup")
    assert "microblog" not in server.sql("SHOW DATABASES")

    # With SQLite, too.
    path = "/var/lib/microblog/theirs.db"
    server.run(
        *("runuser", "-u", "microblog", "--", "python3", "-c"),
        f"import sqlite3; sqlite3.connect({path!r}).execute('CREATE TABLE theirs (x)')",
    )
    server.run("sed", "-i", f"s|^DATABASE_URL=.*|DATABASE_URL=sqlite:///{path}|", ENV)
    before = server.run("sha256sum", path)
    assert f"the database {path} is somebody else's" in refused(server, "setup")
    assert server.run("sha256sum", path) == before


def test_databases_beside_ours_outlive_a_restore(server: Machine) -> None:
    fill(server, "alice", 3)
    server.run("microblog", "backup", "--output", "/root/b.tar.gz")
    before = look(server)
    for name in ("microblog_restored", "microblog_replaced", "microblog_microblog_restored"):
        server.sql(f"CREATE DATABASE {name};" + THEIRS.format(name))
    said = refused(server, "restore", "/root/b.tar.gz")
    assert "the database microblog_microblog_restored is somebody else's" in said
    assert server.answers()
    server.sql("DROP DATABASE microblog_microblog_restored")
    server.run("microblog", "restore", "/root/b.tar.gz")
    assert look(server) == before
    for name in ("microblog_restored", "microblog_replaced"):
        assert server.sql(f"SELECT COUNT(*) FROM {name}.theirs").strip() == "2"  # noqa: S608


# In a terminal, which goes as soon as the site is away.
HANG_UP = """
import os, pty, sys, time
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while not os.path.exists("/run/microblog/maintenance"):
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    time.sleep(0.01)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
# One that a signal reaches at a moment of its own.
SIGNALLED = """
import os, sys
from microblog.cli import main
from microblog.host.backups import restore

name, number = sys.argv[1], int(sys.argv[2])
done = getattr(restore, name)


def hit(*given):
    os.kill(os.getpid(), number)
    return done(*given)


setattr(restore, name, hit)
sys.argv = ["microblog", "restore", "/root/b.tar.gz"]
main()
"""
SUPERVISOR = "/etc/supervisor/supervisord.conf"
SOCKET = "s|^{0}.*|{0}/run/elsewhere.sock|"


def test_a_restore_that_comes_to_nothing_leaves_the_site_up(server: Machine) -> None:
    fill(server, "alice", 3)
    server.run("microblog", "backup", "--output", "/root/b.tar.gz")
    # What is there cannot be kept: there is no room for it.
    server.run("sh", "-c", f"install -d -m 700 {BACKUPS} && mount -t tmpfs -o size=1m tmpfs {BACKUPS}")
    said = refused(server, "restore", "/root/b.tar.gz")
    assert "what is there could not be backed up" in said
    wait_until("the site answers", server.answers)
    server.run("umount", BACKUPS)
    # Nobody reads on what it says, or the terminal goes: it is done all the same.
    fill(server, "bob", 1)
    server.run("bash", "-c", "microblog restore /root/b.tar.gz | head -1")
    wait_until("the site answers", server.answers)
    assert "bob" not in look(server)
    fill(server, "bob", 1)
    assert server.run("python3", "-", "microblog", "restore", "/root/b.tar.gz", stdin=HANG_UP) == "0\n"
    assert server.answers()
    assert "bob" not in look(server)
    # It is told to end: before there is no way back, nothing is changed; later, it is done.
    fill(server, "bob", 1)
    for number in (signal.SIGINT, signal.SIGTERM):
        server.run("python3", "-", "_keep_present", str(int(number)), check=False, stdin=SIGNALLED)
        assert server.code == 1
        wait_until("the site answers", server.answers)
        assert "bob" in look(server)
        assert not (server.root / BACKUPS[1:] / "restoring").exists()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        server.run("python3", "-", "finish", str(int(number)), stdin=SIGNALLED)
        assert server.answers()
        assert "bob" not in look(server)
        fill(server, "bob", 1)
    assert "Nothing is wrong" in server.run("microblog", "doctor", check=False)


def test_nothing_is_restored_under_an_application_that_runs(server: Machine) -> None:
    """Posts would go into a file that is deleted."""
    switch_to(server, SQLITE)
    fill(server, "writer", 3)
    server.run("microblog", "backup", "--output", "/root/b.tar.gz")
    # supervisor cannot be asked, and the program goes on.
    server.run("sed", "-i.kept", SOCKET.format("serverurl=unix://"), SUPERVISOR)
    fill(server, "carol", 1)
    said = refused(server, "restore", "/root/b.tar.gz")
    assert "the application still runs (process " in said
    assert "carol" in look(server)
    assert server.answers()
    assert write(server, "round1") <= posts(server)

    # Where supervisor itself is there, too, the program is stopped, and begins anew on what is restored.
    server.run("sed", "-i", SOCKET.format("file="), SUPERVISOR)
    server.run("systemctl", "restart", "supervisor")
    wait_until("the site answers", server.answers)
    assert not (server.root / "run/supervisor.sock").exists()
    before = server.run("supervisorctl", "pid", "microblog")
    server.run("microblog", "restore", "/root/b.tar.gz")
    assert server.run("supervisorctl", "pid", "microblog") != before
    assert "carol" not in look(server)
    assert write(server, "round2") <= posts(server)
    held = server.run("sh", "-c", "ls -l /proc/[0-9]*/fd 2> /dev/null | grep microblog.db || true")
    assert "(deleted)" not in held
    # And a removal ends it there.
    server.run("apt-get", "remove", "--yes", "microblog")
    assert server.run("pgrep", "-u", "microblog", check=False) == ""


def write(server: Machine, name: str) -> set[str]:
    """What a visitor has written, and the site has taken."""
    with Writer(server, name) as writer:
        wait_until("it is written", lambda: len(writer.lines()) > 2)
    return set(writer.lines())


def test_purging_keeps_posts_whatever_their_file_is_called(server: Machine) -> None:
    switch_to(server, "sqlite:////var/lib/microblog/blog.sqlite")
    fill(server, "alice", 3)
    server.run("apt-get", "purge", "--yes", "microblog")
    # With its log, where that was not yet played into it.
    kept = list((server.root / "var/lib/microblog").glob("blog.sqlite*"))
    assert any(b"alice 2" in path.read_bytes() for path in kept), kept


# A network on which nobody answers, from the boot on.
SILENT = "[Unit]\nDefaultDependencies=no\nBefore=microblog-setup.service\n" + UNIT.format(
    "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'ip link add silent type veth peer name nobody;"
    " ip address add 10.77.0.1/24 dev silent; ip link set nobody up; ip link set silent up;"
    " ip neighbour add 10.77.0.9 lladdr 02:00:00:00:00:09 dev silent nud permanent'"
)


def test_a_database_elsewhere_that_is_down_holds_no_site_back(server: Machine) -> None:
    url = server.run("sed", "-n", "s/^DATABASE_URL=//p", ENV).strip().strip("'")
    # A machine that says nothing at all: who asks is not even refused.
    server.run("sed", "-i", "s|^DATABASE_URL=.*|DATABASE_URL=mysql+pymysql://u:p@10.77.0.9/n|", ENV)
    units = server.root / "etc/systemd/system"
    (units / "silent.service").write_text(SILENT)
    (server.root / "etc/nginx/sites-enabled/named").write_text(NAMED)
    server.run("sh", "-ec", f"systemctl enable --quiet silent; {SITES}")
    server.reboot()
    # While it is still being waited for, in the background, the other site is there, and a page of ours.
    assert "This is named" in page(server, "other.example")
    assert server.run("systemctl", "is-active", "nginx").strip() == "active"
    assert server.get("https://localhost/").status == 503
    unit = server.run("systemctl", "is-active", "microblog-setup-later", check=False).strip()
    assert unit == "active"
    # nginx was held back for one try of the database, and not for all that are made in the background.
    said = server.run("journalctl", "--no-pager", "--boot", "--output=cat", "--unit=microblog-setup")
    assert "it is tried again in the background" in said
    server.run("systemctl", "stop", "microblog-setup-later")
    server.run("sed", "-i", f"s|^DATABASE_URL=.*|DATABASE_URL='{url}'|", ENV)
    server.run("microblog", "setup")
    assert server.answers()


def test_no_log_has_the_secret_of_a_link(server: Machine) -> None:
    server.run("supervisorctl", "stop", "microblog")
    for path in ("reset", "join"):
        assert server.get(f"https://localhost/{path}/SECRETTOKEN").status == 503
    assert server.get("https://localhost/explore").status == 503
    logs = server.run("sh", "-c", "cat /var/log/nginx/*.log")
    assert "/explore" in logs
    assert "SECRETTOKEN" not in logs
    # And a link to nowhere in the place of the backups is told in two lines.
    server.run("sh", "-c", f"rmdir {BACKUPS} 2> /dev/null; ln -s /nowhere {BACKUPS}")
    assert len(refused(server, "backup").splitlines()) == 2
    server.run("microblog", "backup", "--output", "/root/b.tar.gz")
    said = refused(server, "restore", "/root/b.tar.gz")
    assert "what is there could not be backed up" in said
    server.run("rm", BACKUPS)
    server.run("supervisorctl", "start", "microblog")
    wait_until("the site answers", server.answers)


def test_a_person_called_microblog_is_no_user_of_ours(server: Machine, deb: Path) -> None:
    server.run("apt-get", "purge", "--yes", "microblog")
    # Nor a service's, as of a deployment by hand.
    for options, home in (((), "/home/microblog"), (("--system", "--home-dir", "/srv/own"), "/srv/own")):
        server.run("useradd", "--create-home", *options, "microblog")
        said = try_install(server, deb)
        assert server.code != 0
        assert "there is a user microblog already (uid " in said
        assert f"{home}), who is somebody else's" in said
        assert server.run("stat", "-c", "%U", home).strip() == "microblog"
        server.run("userdel", "microblog")


def test_a_site_of_nginx_in_the_place_of_ours_is_named_and_not_touched(server: Machine, deb: Path) -> None:
    server.run("apt-get", "purge", "--yes", "microblog")
    text = "server { listen 8088; root /var/www/html; }\n"
    (server.root / AVAILABLE[1:]).write_text(text)
    said = try_install(server, deb)
    assert server.code != 0
    assert f"microblog: {AVAILABLE} is somebody else's: a deployment by hand has this name." in said
    assert (server.root / AVAILABLE[1:]).read_text() == text


# What a purge that is told to delete all may leave: nothing. (The copies that are made of passwd and group
# before each change are the system's.)
LISTING = """
find / -xdev -name '*microblog*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/tmp/*' \
    -not -path '/var/cache/*' -not -path '/var/log/journal/*' -not -path '/root/*'
find /etc/letsencrypt/live /etc/letsencrypt/renewal /etc/letsencrypt/archive -type f -not -name README
grep -rlsi -e s3cretword -e microblog /etc | grep -v '^/etc/[a-z]*-$'
true
"""


def test_purging_all_takes_back_what_https_mail_and_harden_have_changed(server: Machine) -> None:
    server.run(
        *("apt-get", "install", "--yes", "--no-install-recommends", "openssh-server", "openssh-client"),
        *("sudo", "pebble", "certbot", "opendkim", "opendkim-tools"),
    )
    add_admin(server)
    sshd, postfix = server.run("sshd", "-T"), server.run("postconf", "-n")
    server.run("sh", "-c", "echo 127.0.0.1 blog.example.org >> /etc/hosts")
    server.run("sh", "-ec", START_PEBBLE, stdin=json.dumps(PEBBLE))
    wait_until("pebble answers", lambda: server.get(DIRECTORY).status == 200)
    server.run("microblog", "https", "blog.example.org", "--server", DIRECTORY)
    assert server.run("ls", "/etc/letsencrypt/live").split()[-1] == "microblog"
    # Signed, and through a relay, with a password.
    server.run("microblog", "mail", "--domain", "x.example")
    relay = ("--relay", "smtp.example.net:465", "--user", "me", "--domain", "x.example")
    server.run("microblog", "mail", *relay, stdin="s3cretword\n")
    server.run("microblog", "harden", "--no-confirm")
    server.run("microblog", "backup")
    assert server.run("sshd", "-T") != sshd
    # Something of the administrator's, come since.
    server.run("postconf", "-e", "message_size_limit=20480000")
    server.run("ufw", "allow", "8080/tcp")

    # Removed alone, the site is gone, and the server goes on as it was set up: its mail goes by the relay,
    # and it lets in whom it did.
    by_now = [("sshd", "-T"), ("postconf", "-n"), ("ufw", "status")]
    before = [server.run(*command) for command in by_now]
    said = server.run("apt-get", "remove", "--yes", "microblog")
    assert "What 'microblog https' and 'microblog mail' and 'microblog harden' changed stays until" in said
    assert [server.run(*command) for command in by_now] == before
    assert "Welcome to nginx" in server.get("http://localhost/").body
    assert "microblog" not in server.run("supervisorctl", "status", check=False)
    server.run("sh", "-c", "echo hello | sendmail -f root@testhost root@localhost")
    wait_until("mail goes", lambda: "hello" in server.run("cat", "/var/mail/root", check=False))
    failed = server.run("systemctl", "--failed", "--plain", "--no-legend")
    assert not re.search("microblog|ssh|ufw|fail2ban|postfix", failed), failed

    server.run("debconf-set-selections", stdin="microblog microblog/purge-database boolean true\n")
    server.run("apt-get", "purge", "--yes", "microblog", env={"DEBIAN_FRONTEND": "noninteractive"})
    assert server.run("sshd", "-T") == sshd
    theirs = {"message_size_limit = 20480000"}
    assert {*server.run("postconf", "-n").split("\n")} == {*postfix.split("\n"), *theirs}
    assert "inactive" in server.run("ufw", "status")
    assert server.run("ufw", "show", "added").split("\n")[1:-1] == ["ufw allow 8080/tcp"]
    assert server.run("sh", "-c", LISTING) == ""
    assert "microblog" not in server.sql("SHOW DATABASES; SELECT user FROM mysql.user")


BALANCER = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend https
    bind 10.99.0.2:443 ssl crt /root/balancer.pem
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    default_backend site
backend site
    option httpchk GET /readyz
    http-check expect status 200
    server one 10.99.0.1:80 check port 443 check-ssl verify none
"""
# Log-ins through it from an address, with a password, until one is turned away or let in.
GUESS = r"""
ask() {
    curl -sk -c /tmp/jar -b /tmp/jar --interface "$0" -H 'Host: social.example' $MORE "$@" "https://$TO/login"
}
rm -f /tmp/jar
for n in $(seq 1 20); do
    token=$(ask | sed -n 's/.*name="csrf_token"[^>]*value="\([^"]*\)".*/\1/p' | head -1)
    code=$(ask -o /dev/null -w '%{http_code}' --data-urlencode "csrf_token=$token" -d "username=alice" \
        --data-urlencode "password=$1" -H 'Referer: https://social.example/login')
    case $code in 429|302) echo "$code after $n"; exit ;; esac
done
echo "never: $code"
"""


CLOUDFLARE = (
    "-H X-Forwarded-For:198.51.100.66,{0} -H CF-Connecting-IP:{0} -H X-Forwarded-Proto:https"
    " -H CF-Visitor:scheme=https -H CF-Ray:x"
)


def test_behind_a_balancer_each_visitor_is_one_of_their_own(
    server: Machine, installed: Kept, new_machine: Callable[..., Machine]
) -> None:
    balancer = new_machine(installed.layers)
    link(server, balancer)
    fill(server, "alice", 1)
    balancer.run("apt-get", "purge", "--yes", "microblog")
    balancer.run("apt-get", "install", "--yes", "--no-install-recommends", "haproxy")
    balancer.run("systemctl", "stop", "nginx")
    balancer.run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=x", "-keyout", "/root/balancer.key", "-out", "/root/balancer.crt"),
    )
    balancer.run("sh", "-c", "cat /root/balancer.crt /root/balancer.key > /root/balancer.pem")
    (balancer.root / "etc/haproxy/haproxy.cfg").write_text(BALANCER)
    # Two visitors.
    for address in ("10.99.0.3", "10.99.0.4"):
        balancer.run("ip", "address", "add", f"{address}/24", "dev", "cable")
    balancer.run("systemctl", "restart", "haproxy")
    server.run(
        "sh", "-c", f"echo PROXY_NETWORKS=10.99.0.2/32 >> {ENV}; echo HOST_NAMES=social.example >> {ENV}"
    )
    said = server.run("microblog", "setup")
    assert "Nginx believes proxies in 10.99.0.2/32" in said

    def ask(path: str) -> Answer:
        return balancer.get(
            f"https://10.99.0.2{path}", "--interface", "10.99.0.3", "-H", "Host: social.example"
        )

    # What came as https is not sent there again.
    wait_until("it answers through the balancer", lambda: ask("/login").status == 200)
    assert "__host-session" in str(ask("/login").headers).lower()
    # One who guesses is turned away; another, behind the same balancer, comes in.
    through = {"TO": "10.99.0.2", "MORE": ""}
    guessed = balancer.run("bash", "-c", GUESS, "10.99.0.3", "wrong", env=through)
    assert guessed.startswith("429 after "), guessed
    came_in = balancer.run("bash", "-c", GUESS, "10.99.0.4", "correct horse alice", env=through)
    assert came_in.startswith("302 after "), came_in
    # Nobody else is believed: asked by another address of the network, the word of a header is nothing.
    answer = balancer.get(
        "http://10.99.0.1/login",
        "--interface",
        "10.99.0.3",
        "-H",
        "X-Forwarded-Proto: https",
        "-H",
        "Host: social.example",
    )
    assert answer.status == 301
    assert "10.99.0.3" in server.run("cat", "/var/log/nginx/microblog.access.log")

    # Cloudflare, as docs/package.md has it: from one of its networks, with its headers, and with what a
    # visitor has written into one of them before.
    networks = re.search(r"PROXY_NETWORKS=(173\S+)", (paths.ROOT / "docs/package.md").read_text())
    assert networks
    server.run("sed", "-i", f"s|^PROXY_NETWORKS=.*|PROXY_NETWORKS={networks[1]}|", ENV)
    assert "2a06:98c0::/29" in server.run("microblog", "setup")
    balancer.run("ip", "address", "add", "173.245.48.9/20", "dev", "cable")
    server.run("ip", "route", "add", "173.245.48.0/20", "dev", "cable")
    for visitor, password, end in (
        ("203.0.113.7", "wrong", "429 after "),
        ("203.0.113.8", "correct horse alice", "302 after "),
    ):
        headers = CLOUDFLARE.format(visitor)
        told = balancer.run(
            *("bash", "-c", GUESS, "173.245.48.9", password), env={"TO": "10.99.0.1", "MORE": headers}
        )
        assert told.startswith(end), told
        assert f"{visitor} - - " in server.run("cat", "/var/log/nginx/microblog.access.log")
    # Who comes past it, and says the same, is who they are; as is the balancer of before.
    past = ("--interface", "10.99.0.4", *headers.split(), "-H", "Host: social.example")
    assert balancer.get("http://10.99.0.1/login", *past).status == 301
    assert "10.99.0.4 - - " in server.run("cat", "/var/log/nginx/microblog.access.log")
    balancer.destroy()
    balancer.delete()
