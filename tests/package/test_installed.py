"""What ``apt install ./microblog.deb`` leaves behind, seen after a reboot."""

import json
import re
import subprocess
import sys
from pathlib import Path

from nspawn import Kept, Machine, wait_until

from builder.core.needs import Program

NEEDS = (Program("lintian", "lintian"),)

FINGERPRINT = (
    "cd /etc; find microblog nginx supervisor /var/lib/microblog -printf '%p %m %u %g %T@ %l\\n' | sort;"
    "find microblog nginx supervisor /var/lib/microblog -type f -exec sha256sum {} + | sort"
)


def test_install_says_each_thing_once(installed: Kept) -> None:
    for line in (
        "This Microblog is new: open https://",
        "Wrote SECRET_KEY, DATABASE_URL, TRUSTED_PROXIES, CLAIM_CODE to /etc/microblog/microblog.env",
        "Made a certificate for this machine",
        "Made the database microblog",
        "Nginx's default site is put aside",
        "The site is set up",
    ):
        assert installed.output.count(line) == 1, installed.output


def test_login_page_through_nginx(site: Machine) -> None:
    page = site.get("https://localhost/login")
    assert page.status == 200
    assert 'name="password"' in page.body
    assert page.protocol == "HTTP/2"
    assert page.headers["server"] == "nginx"


def test_http_redirects_to_https(site: Machine) -> None:
    for address in ("127.0.0.1", "[::1]"):
        answer = site.get(f"http://{address}/explore?page=2")
        assert (answer.status, answer.headers["location"]) == (301, f"https://{address}/explore?page=2")


def test_a_visitor_may_end_the_name_with_a_dot(site: Machine) -> None:
    """As who means the whole name, and no search domain, writes it; forms are taken, too."""
    host = ("--header", "Host: testhost.")
    answer = site.get("http://localhost/explore?page=2", *host)
    assert (answer.status, answer.headers["location"]) == (301, "https://testhost/explore?page=2")
    cookies = ("--cookie", "/tmp/jar", "--cookie-jar", "/tmp/jar")
    page = site.get("https://localhost/login", *host, *cookies)
    assert page.status == 200
    form = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.body)
    assert form
    sent = f"csrf_token={form[1]}&username=nobody&password=wrong+horse"
    cookies += ("--referer", "https://testhost./login", "--data", sent)
    answer = site.get("https://localhost/login", *host, *cookies)
    assert answer.status == 200
    assert "Wrong username or password." in answer.body


def test_static_files_come_from_disk_for_30_days(site: Machine) -> None:
    answer = site.get("https://localhost/static/microblog.css")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "max-age=2592000"
    assert site.get("https://localhost/static/../config.py", "--path-as-is").status in (400, 404)


def test_only_nginx_faces_the_network(site: Machine) -> None:
    listening = site.run("ss", "-Hltn").split("\n")
    addresses = {line.split()[3] for line in listening if line}
    outside = {address for address in addresses if not address.startswith(("127.", "[::1]"))}
    assert outside - {"0.0.0.0:25", "[::]:25"} == {"0.0.0.0:80", "0.0.0.0:443", "[::]:80", "[::]:443"}
    assert not any(address.endswith(":8000") for address in addresses)
    assert site.run("stat", "-c", "%a %U:%G", "/run/microblog/socket").strip() == "710 microblog:www-data"


def test_only_root_nginx_and_the_application_reach_its_socket(site: Machine) -> None:
    ask = ("curl", "-s", "--unix-socket", "/run/microblog/socket/gunicorn.sock", "http://localhost/healthz")
    for user, code in (("nobody", 7), ("www-data", 0), ("microblog", 0), ("root", 0)):
        site.run("runuser", "-u", user, "--", *ask, check=False)
        assert site.code == code, user


def test_forwarded_headers_of_clients_do_not_reach_the_application(site: Machine) -> None:
    answer = site.get(
        "https://localhost/login", "-H", "X-Forwarded-Host: evil.example", "-H", "X-Forwarded-Proto: http"
    )
    assert answer.status == 200
    assert "evil.example" not in answer.body + str(answer.headers)
    redirect = site.get("https://localhost/explore", "-H", "X-Forwarded-Host: evil.example")
    assert "evil.example" not in str(redirect.headers)


# Log-ins of one who calls itself another address each time.
GUESS = r"""
ask() { curl -sk -c /tmp/guess -b /tmp/guess "$@" https://localhost/login; }
token=$(ask | sed -n 's/.*name="csrf_token"[^>]*value="\([^"]*\)".*/\1/p' | head -1)
for n in $(seq 1 11); do
    ask -o /dev/null -w '%{http_code}\n' -H "X-Forwarded-For: 203.0.113.$n" -H "X-Real-IP: 203.0.113.$n" \
        -H "Forwarded: for=203.0.113.$n" -H 'Referer: https://localhost/login' \
        --data-urlencode "csrf_token=$token" -d "username=nobody_guesses&password=wrong+horse"
done
"""


def test_a_local_process_is_one_visitor_whatever_it_says(site: Machine) -> None:
    """Through nginx; nobody but root, nginx and the application reaches the socket behind it."""
    said = site.run("runuser", "-u", "nobody", "--", "bash", "-c", GUESS).split()
    assert said == ["200"] * 10 + ["429"]
    assert "203.0.113." not in site.run("cat", "/var/log/nginx/microblog.access.log")


def test_database_is_utf8mb4_and_the_user_reaches_nothing_else(site: Machine) -> None:
    charset = "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata"
    assert site.sql(f"{charset} WHERE schema_name='microblog'").split() == ["utf8mb4", "utf8mb4_bin"]
    tables = site.sql(
        "SELECT DISTINCT table_collation FROM information_schema.tables WHERE table_schema='microblog'"
    )
    assert set(tables.split()) <= {"utf8mb4_bin"}, tables
    seen = site.sql("SHOW DATABASES", user="microblog").split()
    # MySQL shows everybody this one too, empty.
    assert sorted({*seen} - {"performance_schema"}) == ["information_schema", "microblog"]
    refused = site.sql("SELECT * FROM mysql.user", user="microblog", check=False)
    assert "denied" in refused
    # Nobody else gets in as that user.
    assert "denied" in site.run(
        "runuser", "-u", "www-data", "--", "mariadb", "-u", "microblog", "-e", "SELECT 1", check=False
    )


def test_modes_and_owners(site: Machine) -> None:
    said = site.run(
        "sh",
        "-c",
        "stat -c '%n %a %U:%G' /etc/microblog /etc/microblog/microblog.env /etc/microblog/tls"
        " /etc/microblog/tls/*.pem /var/lib/microblog /var/log/microblog",
    )
    assert said.split("\n")[:-1] == [
        "/etc/microblog 750 root:microblog",
        "/etc/microblog/microblog.env 640 root:microblog",
        "/etc/microblog/tls 750 root:microblog",
        "/etc/microblog/tls/cert.pem 644 root:root",
        "/etc/microblog/tls/key.pem 600 root:root",
        "/var/lib/microblog 750 microblog:microblog",
        "/var/log/microblog 750 root:adm",
    ]
    writable = site.run(*["find", "/", "-xdev", "-user", "microblog", "-not", "-path", "/proc/*"])
    assert all(line.startswith("/var/lib/microblog") for line in writable.split()), writable


def test_the_application_is_nobody(site: Machine) -> None:
    shell = site.run("getent", "passwd", "microblog").strip().split(":")
    assert shell[5:] == ["/var/lib/microblog", "/usr/sbin/nologin"]
    assert int(shell[2]) < 1000
    first = site.run("supervisorctl", "pid", "microblog").strip()
    users = set(site.run("ps", "-o", "user=", "--pid", first, "--ppid", first).split())
    assert users == {"microblog"}


def test_certificate_is_the_machines_own(site: Machine) -> None:
    text = site.run("openssl", "x509", "-in", "/etc/microblog/tls/cert.pem", "-noout", "-text")
    assert "DNS:testhost, DNS:testhost.local, DNS:localhost" in text
    for name in ("DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1", "prime256v1"):
        assert name in text
    assert not site.get("https://localhost/healthz", "--tlsv1.1", "--tls-max", "1.1").status


def test_setup_again_changes_nothing(site: Machine) -> None:
    before = site.run("sh", "-c", FINGERPRINT)
    pids = site.run("supervisorctl", "pid", "microblog")
    assert site.run("microblog", "setup") == "Nothing was missing\n"
    assert site.run("sh", "-c", FINGERPRINT) == before
    assert site.run("supervisorctl", "pid", "microblog") == pids
    unit = site.run("systemctl", "show", "microblog-setup", "--property=Result,ActiveState")
    assert set(unit.split()) == {"Result=success", "ActiveState=active"}


def test_killed_gunicorn_returns(site: Machine) -> None:
    old = site.run("supervisorctl", "pid", "microblog").strip()
    workers = set(site.run("pgrep", "--parent", old).split())
    site.run("kill", "-KILL", old)

    def anew() -> bool:
        # Its workers, orphaned, answer for a moment longer: they do not count.
        running = set(site.run("pgrep", "gunicorn", check=False).split())
        return bool(running) and not running & {old, *workers} and site.answers()

    wait_until("a new gunicorn answers", anew)
    wait_until(
        "supervisor trusts it",
        lambda: "RUNNING" in site.run("supervisorctl", "status", "microblog", check=False),
    )


def test_a_page_while_the_application_starts(site: Machine) -> None:
    site.run("supervisorctl", "stop", "microblog")
    try:
        page = site.get("https://localhost/")
        assert (page.status, page.headers["retry-after"]) == (503, "5")
        assert "starting" in page.body
    finally:
        site.run("supervisorctl", "start", "microblog")
    wait_until("it answers again", site.answers)


def test_flask_commands_run_as_the_application_user(site: Machine) -> None:
    code = "import os; print('uid', os.getuid(), os.environ['HOME'])"
    uid = site.run("id", "-u", "microblog").strip()
    assert f"uid {uid} /var/lib/microblog" in site.run("microblog", "shell", stdin=code)
    assert "/login" in site.run("microblog", "routes")
    help_text = site.run("microblog", "--help")
    for command in ("setup", "status", "db", "routes", "shell"):
        assert re.search(rf"^  {command} ", help_text, re.MULTILINE), help_text


def test_one_line_for_those_without_rights(site: Machine) -> None:
    said = site.run("runuser", "-u", "nobody", "--", "microblog", "routes", check=False)
    assert site.code == 1
    assert said.splitlines() == [
        "microblog: /etc/microblog/microblog.env may not be read by this user",
        "  run this as root",
    ]
    assert "only root can set the machine up" in site.run(
        "runuser", "-u", "nobody", "microblog", "setup", check=False
    )


def test_status(site: Machine) -> None:
    def status() -> dict[str, str]:
        lines = site.run("microblog", "status", check=False).splitlines()
        return dict(re.split(r":\s+", line, maxsplit=1) for line in lines)

    # Another test may just have killed it.
    wait_until("the application has started", lambda: status()["application"] != "starting")
    said = status()
    assert said["database"] == "MySQL, microblog on localhost"
    assert (said["application"], said["supervisor"], said["nginx"]) == ("running", "active", "active")
    assert said["certificate"].startswith("until ")
    assert said["visitors"] == "see it at https://testhost/"


def test_gixy_finds_nothing_that_was_not_weighed(site: Machine, tmp_path: Path) -> None:
    dump = tmp_path / "nginx.conf"
    dump.write_text(site.run("sh", "-c", "nginx -T 2> /dev/null"))
    gixy = Path(sys.executable).with_name("gixy")
    done = subprocess.run([gixy, "--format=json", dump], capture_output=True, text=True)
    # Debian's own nginx.conf is Debian's.
    found = {issue["plugin"] for issue in json.loads(done.stdout) if issue["file"].endswith("/microblog")}
    # A certificate nobody knows must not be remembered as the only way in (HSTS); the application knows
    # its names (HOST_NAMES), whatever Host says; and where it is, is an address, never a name to resolve.
    assert found == {"hsts_header", "host_spoofing", "missing_resolver"}, done.stdout


def test_lintian(deb: Path) -> None:
    command = ["lintian", "--fail-on=error,warning", "--tag-display-limit=0", "--allow-root", str(deb)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
