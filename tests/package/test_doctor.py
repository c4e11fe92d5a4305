"""Each of the doctor's findings, made on a real machine.

What status, doctor and a visitor then say is what docs/doctor.md says.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nspawn import Kept, Machine, wait_until
from sites import BACKUPS, ENV

from builder.core import paths
from microblog.host.database import memory

PAGE = paths.ROOT / "docs/doctor.md"
TLS = "/etc/microblog/tls"
LOGS = "/var/log/microblog"
SUPERVISOR = "/etc/supervisor/supervisord.conf"
# MariaDB's, or MySQL's.
CNF = "$(ls -d /etc/mysql/mariadb.conf.d /etc/mysql/mysql.conf.d 2> /dev/null | head -1)"
DOCTOR = "/usr/lib/python3/dist-packages/microblog/host/health/checks"
# The network outside, in which the visitor is.
OUTSIDE = """
ip netns add outside
ip link add cable type veth peer name plug netns outside
ip address add 10.98.0.1/24 dev cable
ip link set cable up
ip netns exec outside ip address add 10.98.0.2/24 dev plug
ip netns exec outside ip link set plug up
"""
IMPOSTOR = """
import http.server, os, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"This is another")
class Server(socketserver.UnixStreamServer):
    def get_request(self):
        return super().get_request()[0], ("x", 0)
path = "/run/microblog/socket/gunicorn.sock"
if os.path.exists(path):
    os.unlink(path)
server = Server(path, Handler)
os.chmod(path, 0o666)
server.serve_forever()
"""
# An authority's, as far as this machine can tell.
AUTHORITY = f"""
cd /root
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=authority \
    -keyout ca.key -out ca.crt 2> /dev/null
openssl req -new -key {TLS}/key.pem -subj /CN=testhost 2> /dev/null \
    | openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 -out {TLS}/cert.pem 2> /dev/null
mkdir -p /etc/letsencrypt/live/microblog
"""
# As after a balancer, but for the time that has passed.
BALANCED = """
for n in $(seq 1 2000); do
    echo "203.0.113.9 - - [x] \\"GET / HTTP/1.1\\" 200 5 \\"-\\" \\"browser $((n % 7)) of some sort\\""
done >> /var/log/nginx/microblog.access.log
"""
DEFER = f"""
sed -i 's/^_DEFERRED_SECONDS = .*/_DEFERRED_SECONDS = -1/' {DOCTOR}/mail.py
postconf -e relayhost=[127.0.0.1]:9 smtpd_milters=inet:127.0.0.1:8891 milter_default_action=accept
postfix reload
echo hello | sendmail -f root@testhost somebody@elsewhere.example
until postqueue -j | grep -q '"queue_name": "deferred"'; do sleep 0.1; done
"""
# Backups that go to a second place, where neither the last one nor the drill has come to its end.
PLACE = "/etc/microblog/elsewhere"
WHERE = '{"address": "/mnt/there", "secrets": {}, "shown": false}'
FAILED = json.dumps(
    {"failed": {step: {"first": 1, "when": 1, "message": "no", "hint": "mend"} for step in ("send", "drill")}}
)
KEEP = f"cp {ENV} /root/kept.env"
BACK = f"cat /root/kept.env > {ENV}"
COPY = f"rm -rf /root/tls && cp -a {TLS} /root/tls"
COPIED = f"cp -a /root/tls/. {TLS}/"
RESTART = "supervisorctl restart microblog"


def setting(text: str) -> tuple[str, str]:
    """Settings of which the running application does not know yet."""
    return f"{KEEP}; printf '%s\\n' {shlex.quote(text)} >> {ENV}", BACK


def code(text: str) -> str:
    return f"python3 -c {shlex.quote(text)}"


# What a visitor notices, one by one: how it is made, and mended; what else the doctor then says.
SEEN: dict[str, tuple[str, str, set[str]]] = {
    "unit.down": ("systemctl stop nginx", "systemctl start nginx", {"visitors.elsewhere"}),
    "port.taken": (
        "systemctl stop nginx && systemd-run --unit=other --working-directory=/usr/share/doc"
        " python3 -m http.server 80 && until ss -Hltn | grep -q ':80 '; do sleep 0.1; done",
        "systemctl stop other && systemctl start nginx",
        {"unit.down", "visitors.elsewhere"},
    ),
    "firewall.closed": (
        "apt-get install --yes --no-install-recommends ufw && ufw allow 22 && ufw --force enable",
        "ufw --force disable",
        set(),
    ),
    "maintenance": ("touch /run/microblog/maintenance", "rm /run/microblog/maintenance", set()),
    "database.down": ("systemctl stop mysql", "systemctl start mysql", {"application.down"}),
    "application.down": ("supervisorctl stop microblog", "supervisorctl start microblog", set()),
    "application.impostor": (
        f"supervisorctl stop microblog && systemd-run --unit=impostor {code(IMPOSTOR)}"
        " && until test -S /run/microblog/socket/gunicorn.sock; do sleep 0.1; done",
        "systemctl stop impostor && rm -f /run/microblog/socket/gunicorn.sock"
        " && supervisorctl start microblog",
        set(),
    ),
    "site.by_hand": (
        "rm /etc/supervisor/conf.d/microblog.conf && printf '[program:microblog]\ncommand=/bin/sleep 9d\n'"
        " > /etc/supervisor/conf.d/microblog.conf && supervisorctl update",
        "rm /etc/supervisor/conf.d/microblog.conf; supervisorctl update; microblog setup --enable",
        {"application.down"},
    ),
    "site.off": (
        "rm /etc/supervisor/conf.d/microblog.conf && supervisorctl update",
        "microblog setup --enable",
        set(),
    ),
    "nginx.unlinked": (
        "rm /etc/nginx/sites-enabled/* && nginx -s reload && "
        + code("from microblog.host.site import nginx; nginx.switch_on()")
        + " && while ss -Hltn | grep -q ':443 '; do sleep 0.1; done",
        "microblog setup",
        {"visitors.elsewhere"},
    ),
    "visitors.elsewhere": (
        f"{KEEP}; echo HOST_NAMES=other.example >> {ENV} && mkdir -p /var/www/other"
        " && echo 'This is other' > /var/www/other/login"
        " && echo 'server { listen 80 default_server; server_name other.example testhost;"
        " root /var/www/other; }' > /etc/nginx/conf.d/other.conf && nginx -s reload",
        f"{BACK}; rm /etc/nginx/conf.d/other.conf && nginx -s reload",
        {"certificate.names"},
    ),
    "visitors.nobody": (
        "systemctl stop nginx && mv /usr/sbin/nginx /usr/sbin/nginx.away",
        "mv /usr/sbin/nginx.away /usr/sbin/nginx && systemctl start nginx",
        set(),
    ),
}


BROKEN = "/run/systemd/system/microblog-backup.service.d"


def group(*items: tuple[str, str, str]) -> dict[str, tuple[str, str]]:
    return {name: (make, mend) for name, make, mend in items}


# What a visitor does not notice, many at a time: what is found of one hides no other.
UNSEEN: tuple[dict[str, tuple[str, str]], ...] = (
    group(
        (
            "disk.full",
            f"mount -t tmpfs -o size=1m tmpfs {LOGS} && ! head -c 2m /dev/zero > {LOGS}/x",
            f"umount {LOGS}",
        ),
        (
            "clock",
            f"touch -d 2099-01-01 {DOCTOR}/../../../__init__.py",
            f"touch {DOCTOR}/../../../__init__.py",
        ),
        ("permissions", f"chmod 644 {ENV}", f"chmod 640 {ENV}"),
        ("unit.masked", "systemctl mask --runtime nginx", "systemctl unmask --runtime nginx"),
        (
            "setup.failed",
            "systemd-run --wait --unit=microblog-setup-later /bin/false || true",
            "systemctl reset-failed microblog-setup-later",
        ),
        (
            "unit.failed",
            f"mkdir -p {BROKEN} && printf '[Service]\\nExecStartPre=/bin/false\\n' > {BROKEN}/x.conf"
            " && systemctl daemon-reload && ! systemctl start microblog-backup",
            f"rm -r {BROKEN}; systemctl daemon-reload; systemctl reset-failed microblog-backup",
        ),
        (
            "package.unfinished",
            "sed -i '/^Package: microblog$/,/^$/s/^Status: .*/Status: install ok half-configured/'"
            " /var/lib/dpkg/status",
            "sed -i '/^Package: microblog$/,/^$/s/^Status: .*/Status: install ok installed/'"
            " /var/lib/dpkg/status",
        ),
        (
            "memory.size",
            f"printf %s {shlex.quote(memory.settings(460))} > {CNF}/zz-microblog-memory.cnf",
            f"rm {CNF}/zz-microblog-memory.cnf",
        ),
        ("settings.unknown", *setting("HOST_NAME=x")),
        (
            "database.schema",
            "mariadb microblog -e \"UPDATE alembic_version SET version_num = '0003'\"",
            "mariadb microblog -e \"UPDATE alembic_version SET version_num = 'HEAD'\"",
        ),
        ("application.older", "touch /run/microblog/restart", "rm /run/microblog/restart"),
        ("nginx.refuses", "echo bad > /etc/nginx/conf.d/x.conf", "rm /etc/nginx/conf.d/x.conf"),
        ("visitors.page", f"chmod 700 {DOCTOR}/../../../static", f"chmod 755 {DOCTOR}/../../../static"),
        ("certificate.pair", f"{COPY}; openssl genpkey -algorithm ed25519 -out {TLS}/key.pem", COPIED),
        ("backup.timer", "systemctl stop microblog-backup.timer", "systemctl start microblog-backup.timer"),
        (
            "backup.old",
            f"microblog backup && touch -d '3 days ago' {BACKUPS}/*.tar.gz",
            f"rm {BACKUPS}/*.tar.gz; microblog backup",
        ),
        (
            "backup.damaged",
            f"truncate --size=-100 {BACKUPS}/*.tar.gz && touch -d '3 days ago' {BACKUPS}/*.tar.gz",
            "true",
        ),
        ("backup.unfinished", f"mkdir {BACKUPS}/restoring", f"rmdir {BACKUPS}/restoring"),
        # Nothing that the doctor looks at is a folder where a file should be: it cannot look, and says so.
        ("signatures.unseen", "mkdir /etc/opendkim-microblog.conf", "rmdir /etc/opendkim-microblog.conf"),
        ("mail.sender", "echo MAIL_FROM=noreply@testhost >> " + ENV, "true"),
        ("mail.down", f"printf 'MAIL_SERVER=127.0.0.1\\nMAIL_PORT=9\\n' >> {ENV}", "true"),
        # Last: newer MariaDBs keep there what a backup sorts.
        ("disk.readonly", "mount -t tmpfs -o ro tmpfs /tmp", "umount /tmp"),
    ),
    group(
        (
            "disk.inodes",
            f"install -d -m 700 {BACKUPS} && mv {BACKUPS} /root/backups && mkdir -m 700 {BACKUPS}"
            f" && mount -t tmpfs -o nr_inodes=21,mode=700 tmpfs {BACKUPS} && touch $(seq -f {BACKUPS}/%g 20)",
            f"umount {BACKUPS} && rmdir {BACKUPS} && mv /root/backups {BACKUPS}",
        ),
        (
            "application.unsupervised",
            f"sed -i.kept 's|^serverurl=.*|serverurl=unix:///run/elsewhere.sock|' {SUPERVISOR}",
            f"mv {SUPERVISOR}.kept {SUPERVISOR}",
        ),
        ("proxies.count", *setting("TRUSTED_PROXIES=0")),
        (
            "nginx.listens",
            "echo 'server { listen [::]:80 ipv6only=off; server_name x.example; }'"
            " > /etc/nginx/conf.d/x.conf",
            "rm /etc/nginx/conf.d/x.conf",
        ),
        ("visitors.one_address", BALANCED, ": > /var/log/nginx/microblog.access.log"),
        (
            "certificate.end",
            f"{COPY}; openssl x509 -in {TLS}/cert.pem -signkey {TLS}/key.pem -days 3 -out /root/short.pem"
            f" 2> /dev/null && cp /root/short.pem {TLS}/cert.pem",
            COPIED,
        ),
        (
            "certificate.insisted",
            f"touch -d '10 days ago' {TLS}/trusted",
            f"rm {TLS}/trusted",
        ),
        (
            "settings.unclosed",
            f"printf '%s\\n' \"MAIL_PASSWORD='x\\\\'\" \"ADMINS='x@y.example'\" >> {ENV}",
            "true",
        ),
    ),
    group(
        (
            "backup.place",
            f"install -d -m 700 {BACKUPS} && mv {BACKUPS} /root/backups && ln -s /nowhere {BACKUPS}",
            f"rm {BACKUPS} && mv /root/backups {BACKUPS}",
        ),
        (
            "names.unanswered",
            f"{KEEP}; echo HOST_NAMES=social.example,testhost >> {ENV} && {RESTART}"
            " && ip address add 8.8.4.4/32 dev lo && echo 198.51.100.7 social.example >> /etc/hosts",
            f"{BACK}; ip address del 8.8.4.4/32 dev lo; sed -i /social.example/d /etc/hosts; {RESTART}",
        ),
        ("certificate.names", "true", "true"),
        ("certificate.timer", f"{COPY}; {AUTHORITY}", f"{COPIED}; rm -r /etc/letsencrypt"),
    ),
    group(
        (
            "names.elsewhere",
            f"{KEEP}; echo HOST_NAMES=social.example,testhost >> {ENV} && {RESTART}"
            " && echo 10.98.0.2 social.example >> /etc/hosts"
            " && systemd-run --unit=elsewhere ip netns exec outside python3 -m http.server 80"
            " && until curl -s -o /dev/null http://10.98.0.2/; do sleep 0.1; done",
            f"{BACK}; systemctl stop elsewhere; sed -i /social.example/d /etc/hosts; {RESTART}",
        ),
        ("certificate.names", "true", "true"),
    ),
    group(
        (
            "backup.elsewhere",
            f"microblog backup; mkdir -m 700 {PLACE}; echo x > {PLACE}/key;"
            f" echo {shlex.quote(WHERE)} > {PLACE}/where.json;"
            f" echo {shlex.quote(FAILED)} > {BACKUPS}/.journal.json",
            f"rm -r {PLACE} {BACKUPS}/.journal.json",
        ),
        ("backup.drill", "true", "true"),
        ("backup.sheet", "true", "true"),
        (
            "restore.room",
            "mount -t tmpfs -o size=30m tmpfs /var/lib/mysql",
            "umount /var/lib/mysql",
        ),
        (
            "mail.links",
            f"{KEEP}; printf 'MAIL_SERVER=localhost\\nMAIL_FROM=noreply@one.example\\n' >> {ENV}",
            BACK,
        ),
        (
            "mail.unsigned",
            "printf 'Domain two.example\\n' > /etc/opendkim-microblog.conf",
            "rm /etc/opendkim-microblog.conf",
        ),
        ("mail.signer", "true", "true"),
        (
            "mail.deferred",
            DEFER,
            "postconf -X relayhost smtpd_milters milter_default_action; postfix reload; postsuper -d ALL",
        ),
    ),
)
# Where these are made instead.
ELSEWHERE = {
    "visitors.neighbour": "test_neighbours.py",
    "mail.login": "test_doctor_units.py",
    "settings.unusable": "test_doctor.py",
}


@dataclass(frozen=True)
class Row:
    """A line of the page's table."""

    status: set[str]
    what: str
    severity: str
    visitor: str


def rows() -> dict[str, Row]:
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if match := re.fullmatch(r"`([a-z._]+)` (.+)", cells[2] if len(cells) == 5 else ""):
            found[match[1]] = Row(set(filter(None, cells[1].split(", "))), match[2], cells[3], cells[4])
    return found


ROWS = rows()


def test_every_finding_is_made_and_told() -> None:
    known: set[str] = set()
    for path in (paths.ROOT / "microblog/host/health").rglob("*.py"):
        known |= set(re.findall(r'Finding\(\s*"([a-z._]+)"', path.read_text()))
    made = {*SEEN, *(name for one in UNSEEN for name in one), *ELSEWHERE} - {"signatures.unseen"}
    assert made == known
    assert set(ROWS) == known
    for name, file in ELSEWHERE.items():
        assert f'"{name}"' in Path(__file__).with_name(file).read_text()


@pytest.fixture(scope="module")
def patient(installed: Kept, new_machine: Callable[..., Machine]) -> Iterator[Machine]:
    """A server that all that follows happens to, and from which it is taken back."""
    machine = new_machine(installed.layers)
    machine.run("sh", "-ec", OUTSIDE)
    wait_until("the site answers", machine.answers)
    assert "Nothing is wrong" in machine.run("microblog", "doctor")
    yield machine
    machine.destroy()
    machine.delete()


def diagnose(machine: Machine) -> dict[str, dict[str, str]]:
    said = machine.run("microblog", "doctor", "--json", check=False)
    # The settings' reader complains of what it cannot read.
    found = json.loads(said.splitlines()[-1])
    assert machine.code == any(finding["severity"] != "note" for finding in found)
    return {finding["id"]: finding for finding in found}


def diagnosed(machine: Machine, wanted: set[str]) -> dict[str, dict[str, str]]:
    """What the doctor finds, this alone in the end: an application that has much to do is late for it."""
    found: dict[str, dict[str, str]] = {}

    def agrees() -> bool:
        found.clear()
        found.update(diagnose(machine))
        print("found:", *found)
        return set(found) == wanted

    wait_until(f"the doctor finds {wanted}", agrees, 120)
    return found


def status(machine: Machine) -> set[str]:
    """In which of its lines the status says that something is wrong."""
    said = json.loads(machine.run("microblog", "status", "--json", check=False).splitlines()[-1])
    return {name for name, fact in said.items() if isinstance(fact, dict) and not fact["ok"]}


def visitor(machine: Machine) -> str:
    """What one sees who comes from outside and tries to log in."""
    jar = "/root/jar"

    def ask(url: str, *options: str) -> str:
        ports = [word for port in ("80", "443") for word in ("--resolve", f"testhost:{port}:10.98.0.1")]
        command = ("ip", "netns", "exec", "outside", "curl", "-skL", "--max-time", "10", *ports)
        return machine.run(*command, "-b", jar, "-c", jar, "-w", "%{http_code}", *options, url, check=False)

    page = ask("http://testhost/login")
    if token := re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page):
        fields = {"csrf_token": token[1], "username": "nobody_here", "password": "none"}
        words = [word for name, value in fields.items() for word in ("--data-urlencode", f"{name}={value}")]
        page = ask("https://testhost/login", *words, "-H", "Referer: https://testhost/login")
        # 429: somebody has tried that often.
        if 'name="password"' in page or page.endswith("429"):
            return "the site"
    seen = {"maintenance": "maintenance", "is starting": "starting"}
    if page == "000":
        return "nothing"
    return next(
        (meaning for word, meaning in seen.items() if word in page),
        "an error" if token else "another's answer",
    )


def agree(found: dict[str, dict[str, str]], name: str) -> None:
    """The finding is the page's."""
    row = ROWS[name]
    assert found[name]["severity"] == row.severity
    assert re.fullmatch(re.escape(row.what).replace("…", ".+"), found[name]["what"]), found[name]
    assert found[name]["why"]
    assert found[name]["remedy"]


def is_well(machine: Machine) -> None:
    wait_until("the site answers", machine.answers)
    wait_until("the program runs", lambda: "RUNNING" in machine.run("supervisorctl", "status", check=False))
    assert "Nothing is wrong" in machine.run("microblog", "doctor", check=False)


@pytest.mark.parametrize("name", SEEN)
def test_what_a_visitor_notices(patient: Machine, name: str) -> None:
    make, mend, also = SEEN[name]
    try:
        patient.run("sh", "-ec", make)
        found = diagnosed(patient, {name, *also})
        agree(found, name)
        assert visitor(patient) == ROWS[name].visitor
        assert status(patient) == ROWS[name].status
    finally:
        patient.run("sh", "-c", mend, check=False)
    is_well(patient)


@pytest.mark.parametrize("cases", UNSEEN, ids=lambda cases: next(iter(cases)))
def test_what_a_visitor_does_not_notice(patient: Machine, cases: dict[str, tuple[str, str]]) -> None:
    head = patient.sql("SELECT version_num FROM microblog.alembic_version").strip()
    made = []
    try:
        for make, mend in cases.values():
            made.append(mend)
            patient.run("sh", "-ec", make)
        found = diagnose(patient)
        assert set(found) == set(cases), found
        for name in set(cases) & set(ROWS):
            agree(found, name)
            assert ROWS[name].visitor == "the site"
        if "settings.unknown" in found:
            assert found["settings.unknown"]["remedy"] == "is it HOST_NAMES?"
        assert visitor(patient) == "the site"
        assert status(patient) == set().union(*(ROWS[name].status for name in set(cases) & set(ROWS)))
    finally:
        for mend in reversed(made):
            patient.run("sh", "-c", mend.replace("HEAD", head), check=False)
    is_well(patient)


# The database's own, small and full.
FULL = """
systemctl stop mysql
mv /var/lib/mysql /root/mysql
mkdir /var/lib/mysql
mount -t tmpfs -o size=$(du -sk --apparent-size /root/mysql | awk '{print $1 + 80000}')k tmpfs /var/lib/mysql
cp -a --sparse=never /root/mysql/. /var/lib/mysql
chown --reference /root/mysql /var/lib/mysql
chmod --reference /root/mysql /var/lib/mysql
systemctl start mysql
! head -c 1G /dev/zero > /var/lib/mysql/filler
"""
ROOM = """
systemctl stop mysql
umount /var/lib/mysql
rmdir /var/lib/mysql
mv /root/mysql /var/lib/mysql
systemctl start mysql
"""


def test_a_full_disk_of_the_database_server(patient: Machine) -> None:
    try:
        patient.run("microblog", "backup")
        patient.run("sh", "-ec", FULL)
        wait_until("the site answers", patient.answers)
        found = diagnosed(patient, {"disk.full", "restore.room"})
        assert found["disk.full"]["what"] == "The disk of /var/lib/mysql is full."
        agree(found, "restore.room")
        assert status(patient) == {"disk"}
        said = patient.run("microblog", "status", check=False)
        assert re.search(r"disk: +\d+ MiB of /var/lib/mysql free, \d %", said), said
        assert visitor(patient) == "the site"
        # And on, when there is room.
        patient.run("rm", "/var/lib/mysql/filler")
        is_well(patient)
    finally:
        patient.run("sh", "-c", ROOM, check=False)
    is_well(patient)


def test_settings_that_cannot_be_used_hide_nothing_else(patient: Machine) -> None:
    try:
        patient.run("sh", "-ec", f"{setting('TRUSTED_PROXIES=x')[0]}; systemctl stop microblog-backup.timer")
        found = diagnosed(patient, {"settings.unusable", "backup.timer"})
        agree(found, "settings.unusable")
        assert visitor(patient) == "the site"
        assert "TRUSTED_PROXIES" in patient.run("microblog", "status", check=False)
        assert patient.code == 1
    finally:
        patient.run("sh", "-c", f"{BACK}; systemctl start microblog-backup.timer")
    is_well(patient)


# An administrator's own, of rules: the web is not among them.
RULES = """
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A INPUT -p icmp -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -j ACCEPT
iptables -A INPUT -p tcp -j REJECT --reject-with tcp-reset
iptables -A INPUT -j DROP
"""


def test_a_firewall_of_somebodys_own_rules_is_looked_at(patient: Machine) -> None:
    patient.run("apt-get", "install", "--yes", "--no-install-recommends", "iptables")
    try:
        patient.run("sh", "-ec", RULES)
        found = diagnosed(patient, {"firewall.closed"})
        agree(found, "firewall.closed")
        assert found["firewall.closed"]["why"] == "No rule of iptables lets anybody come there."
        assert visitor(patient) == ROWS["firewall.closed"].visitor
        patient.run("sh", "-ec", "iptables -I INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT")
        assert diagnose(patient) == {}
        assert visitor(patient) == "the site"
    finally:
        patient.run("iptables", "-F")
    is_well(patient)


# Whole firewalls: what loads each, and which of the web's ports a visitor then comes to.
FIREWALLS: dict[str, tuple[str, set[int]]] = {
    "as CSF negates": (
        "iptables -A INPUT ! -i lo -p tcp -m conntrack --ctstate NEW -m tcp --dport 80 -j ACCEPT\n"
        "iptables -A INPUT ! -i lo -p tcp -m conntrack --ctstate NEW -j REJECT --reject-with tcp-reset",
        {80},
    ),
    "by its interface": ("iptables -A INPUT -i cable -p tcp -j REJECT --reject-with tcp-reset", set()),
    "by another interface": ("iptables -A INPUT -i eth7 -p tcp -j REJECT --reject-with tcp-reset", {80, 443}),
    "through a chain that logs": (
        "iptables -N LOGDROP\niptables -A LOGDROP -m limit --limit 5/min -j LOG\n"
        "iptables -A LOGDROP -p tcp -j REJECT --reject-with tcp-reset\niptables -A LOGDROP -j DROP\n"
        "iptables -A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\niptables -A INPUT ! -i lo -j LOGDROP",
        {443},
    ),
    "the first that holds": (
        "iptables -A INPUT -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset\n"
        "iptables -A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT",
        {443},
    ),
}
CLOSED = "from microblog.host.machine import firewall; print(sorted(firewall.closed({80, 443})))"


def test_what_is_read_of_a_firewall_is_what_it_does(patient: Machine) -> None:
    patient.run("apt-get", "install", "--yes", "--no-install-recommends", "iptables")
    for what, (loads, opened) in FIREWALLS.items():
        try:
            patient.run("sh", "-ec", loads)
            for port in (80, 443):
                dial = ("ip", "netns", "exec", "outside", "curl", "-sk", "--max-time", "60")
                scheme = "https" if port == 443 else "http"
                patient.run(*dial, f"{scheme}://10.98.0.1/", check=False)
                # 7: refused.
                assert (patient.code != 7) == (port in opened), (what, port)
            told = patient.run("python3", "-c", CLOSED)
            assert told.strip() == str(sorted({80, 443} - opened)), what
        finally:
            patient.run("sh", "-c", "iptables -F; iptables -X")
    is_well(patient)
