"""HTTPS where nobody reaches port 80: of the machine's own authority, and by records in the DNS.

One machine, in this order, with a real authority (pebble) and a real name server (BIND) beside the site.
"""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from nspawn import Kept, Machine, wait_until
from sites import BACKUPS, ENV, fill
from test_agent_units import BROWSE, ask, ended
from test_commands import CERTIFICATE, DIRECTORY, PEBBLE, START_PEBBLE, wait_for_issuer

TLS = "/etc/microblog/tls"
RENEWAL = "/etc/letsencrypt/renewal/microblog.conf"
# As a device that trusts the authority alone.
TRUSTING = (
    f"curl --silent --fail --cacert {TLS}/authority.pem --resolve testhost.local:443:127.0.0.1"
    " --output /dev/null --write-out %{http_code} https://testhost.local"
)
ZONE = """
$TTL 1
@ IN SOA ns.home.example. root.home.example. 1 1 1 1 1
@ IN NS ns.home.example.
ns IN A 127.0.0.1
blog IN A 127.0.0.1
"""
NAMED = """
include "/etc/bind/tsig.key";
options {{ directory "/var/cache/bind"; listen-on port 5300 {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; }};
zone "home.example" {{ type primary; file "/var/cache/bind/home.example";
    update-policy {{ grant site. name _acme-challenge.blog.home.example. TXT; }}; }};
"""
START_NAMED = """
tsig-keygen -a hmac-sha256 site. > /etc/bind/tsig.key
chown bind /etc/bind/tsig.key; chmod 600 /etc/bind/tsig.key
cat > /etc/bind/named.conf
systemctl restart named
"""
CREDENTIALS = """
umask 077
secret=$(sed -n 's/.*secret "\\(.*\\)";/\\1/p' /etc/bind/tsig.key)
printf '%s\\n' "dns_rfc2136_server = 127.0.0.1" "dns_rfc2136_port = 5300" "dns_rfc2136_name = site." \
    "dns_rfc2136_secret = $secret" "dns_rfc2136_algorithm = HMAC-SHA256" > /root/dns.ini
printf %s "$secret"
"""


@pytest.fixture(scope="module")
def home(installed: Kept, new_machine: Callable[..., Machine]) -> Iterator[Machine]:
    """A machine whose visitors come by plain HTTP, as on a Pi."""
    machine = new_machine(installed.layers)
    wait_until("the site answers", machine.answers)
    fill(machine, "alice", 1)
    machine.run("sh", "-c", f"echo HTTPS=false >> {ENV}; microblog setup")
    yield machine
    machine.destroy()
    machine.delete()


def plain(home: Machine, path: str, name: str = "testhost.local") -> str:
    """What nginx answers by plain HTTP: the status, and where to."""
    answer = home.get(f"http://{name}{path}", "--resolve", f"{name}:80:127.0.0.1")
    return f"{answer.status} {answer.headers.get('location', '')}".strip()


def test_devices_trust_the_machines_own_authority(home: Machine) -> None:
    # nginx's old processes answer for a moment yet.
    wait_until("a device trusts it", lambda: home.run(*f"{TRUSTING}/login".split(), check=False) == "200")
    assert plain(home, "/login") == "200"
    page = home.get("http://testhost.local/certificate", "--resolve", "testhost.local:80:127.0.0.1").body
    shown = home.run("openssl", "x509", "-in", f"{TLS}/authority.pem", "-noout", "-fingerprint", "-sha256")
    fingerprint = shown.strip().partition("=")[2]
    assert fingerprint in page
    # What root says is what the page says.
    assert fingerprint in home.run("microblog", "status")
    assert fingerprint in home.run("microblog", "card", "greeting")
    path = re.search(r'src="https://testhost\.local(/certificate/seen/[^"]+)"', page)
    assert path
    assert home.run(*f"{TRUSTING}{path[1]}".split(), check=False) == "200"
    assert "trusted authority" in home.sql("SELECT name FROM microblog.settings")
    modes = home.run("sh", "-c", f"stat -c '%n %a %U' {TLS}/authority*.pem").split("\n")[:2]
    assert modes == [f"{TLS}/authority-key.pem 600 root", f"{TLS}/authority.pem 644 root"]
    home.run("runuser", "-u", "microblog", "--", "cat", f"{TLS}/authority-key.pem", check=False)
    assert home.code == 1
    assert home.run("microblog", "setup") == "Nothing was missing\n"


def test_visitors_are_sent_to_https_and_back(home: Machine) -> None:
    home.run("microblog", "https", "--redirect")
    wait_until("they are sent there", lambda: plain(home, "/x") == "302 https://testhost.local/x")
    # Not to what the certificate cannot be for.
    assert plain(home, "/x", "127.0.0.1") == "302 https://testhost.local/x"
    # What shows a device how to trust it comes by plain HTTP.
    assert plain(home, "/certificate") == "200"
    assert plain(home, "/static/microblog.css") == "200"
    answer = home.get("https://testhost.local/login", "--resolve", "testhost.local:443:127.0.0.1")
    assert "__host-session" in answer.headers["set-cookie"]
    # Nothing that a browser would remember after the way back.
    assert "strict-transport-security" not in answer.headers
    assert home.run("microblog", "setup") == "Nothing was missing\n"
    assert "visitors" not in home.run("microblog", "doctor", check=False)
    home.run("microblog", "https", "--no-redirect")
    wait_until("they come by plain HTTP", lambda: plain(home, "/login") == "200")
    assert home.run("grep", "-c", "^HTTPS=false$", ENV).strip() == "1"


@pytest.mark.thorough
def test_devices_go_on_trusting_it_after_a_restore(home: Machine) -> None:
    before = home.run("cat", f"{TLS}/authority.pem", f"{TLS}/authority-key.pem")
    home.run("microblog", "backup", "--output", "/root/b.tar.gz")
    home.run("sh", "-c", f"rm {TLS}/*.pem; microblog setup")
    assert home.run("cat", f"{TLS}/authority.pem", f"{TLS}/authority-key.pem") != before
    home.run("microblog", "restore", "/root/b.tar.gz")
    home.run("microblog", "setup")
    assert home.run("cat", f"{TLS}/authority.pem", f"{TLS}/authority-key.pem") == before
    wait_until("a device trusts it", lambda: home.run(*f"{TRUSTING}/login".split(), check=False) == "200")
    # Forgotten, another is made; of one for another machine's name, nothing is taken over.
    home.run("microblog", "https", "--off")
    other = home.run("cat", f"{TLS}/authority.pem")
    assert other not in before
    home.run("hostnamectl", "set-hostname", "attic")
    said = home.run("microblog", "restore", "/root/b.tar.gz")
    assert "not for this machine's names" in said
    home.run("microblog", "setup")
    assert home.run("cat", f"{TLS}/authority.pem") not in before
    home.run("hostnamectl", "set-hostname", "testhost")
    home.run("sh", "-c", f"microblog setup; rm {BACKUPS}/*")


@pytest.fixture(scope="module")
def authority(home: Machine) -> Machine:
    """pebble, which asks BIND for every name."""
    home.run("sh", "-c", "echo 127.0.0.1 blog.home.example >> /etc/hosts")
    home.run(
        *("apt-get", "install", "--yes", "--no-install-recommends", "pebble", "bind9", "certbot"),
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )
    (home.root / "var/cache/bind/home.example").write_text(ZONE)
    home.run("chown", "bind:", "/var/cache/bind/home.example")
    home.run("sh", "-ec", START_NAMED, stdin=NAMED.format())
    start = START_PEBBLE.replace("-strict=false", "-strict=false -dnsserver 127.0.0.1:5300")
    home.run("sh", "-ec", start, stdin=json.dumps(PEBBLE))
    wait_until("pebble answers", lambda: home.get(DIRECTORY).status == 200)
    return home


@pytest.mark.thorough
def test_a_record_in_the_dns_is_enough(authority: Machine) -> None:
    secret = authority.run("sh", "-ec", CREDENTIALS)
    command = ["microblog", "https", "blog.home.example", "--server", DIRECTORY, "--dns", "rfc2136"]
    command += ["--dns-wait", "0"]
    own = authority.run("cat", CERTIFICATE)
    refused = authority.run(*command, check=False)
    assert "is not known" in refused
    assert "chmod 600" in refused
    authority.run("chmod", "644", "/root/dns.ini")
    assert "is open to others" in authority.run(*command, "--credentials", "/root/dns.ini", check=False)
    # A key that the server does not know: nothing of it stays.
    authority.run(
        "sh", "-c", "sed 's/= site/= other/' /root/dns.ini > /root/wrong.ini; chmod 600 /root/*.ini"
    )
    refused = authority.run(*command, "--credentials", "/root/wrong.ini", check=False)
    assert "Installing python3-certbot-dns-rfc2136" in refused
    assert "microblog: no certificate: " in refused
    assert "rfc2136 must let the account change records of blog.home.example" in refused
    assert "Traceback" not in refused
    authority.run("test", "-e", "/etc/microblog/dns/rfc2136.ini", check=False)
    assert authority.code == 1
    assert authority.run("cat", CERTIFICATE) == own

    authority.run(*command, "--credentials", "/root/dns.ini")
    authority.run("rm", "/root/dns.ini", "/root/wrong.ini")
    wait_for_issuer(authority, "Pebble")
    modes = authority.run("stat", "-c", "%a %U", "/etc/microblog/dns", "/etc/microblog/dns/rfc2136.ini")
    assert modes.split("\n")[:2] == ["700 root", "600 root"]
    # The machine's own authority is of no use any more.
    assert authority.get("https://blog.home.example/certificate").status == 404

    # As certbot's timer does.
    assert "authenticator = dns-rfc2136" in authority.run("cat", RENEWAL)
    first = authority.run("cat", CERTIFICATE)
    authority.run("certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew")
    assert authority.run("cat", CERTIFICATE) != first
    wait_for_issuer(authority, "Pebble")
    # The secret is where it belongs, and nowhere else.
    found = authority.run("grep", "-rlF", secret, "/var/log", "/etc", "/run", "/root", "/tmp", check=False)
    assert set(found.split()) == {"/etc/bind/tsig.key", "/etc/microblog/dns/rfc2136.ini"}
    assert secret not in authority.run("journalctl", "--no-pager")
    # With bad credentials later, the good ones go on renewing.
    authority.run("sh", "-c", "umask 077; echo dns_rfc2136_name = x > /root/bad.ini")
    authority.run(
        *command[:2], "other.home.example", *command[3:], "--credentials", "/root/bad.ini", check=False
    )
    assert authority.code == 1
    assert secret in authority.run("cat", "/etc/microblog/dns/rfc2136.ini")


GET_ONE = 'press("/machine/name", "/machine/name", domains="blog.home.example")'


def test_an_administrator_gets_a_certificate_in_a_browser(authority: Machine) -> None:
    """From the button to nginx, with a real authority: the default one of this machine's certbot."""
    authority.run("microblog", "https", "--off", "--now")
    authority.run("test", "-e", "/etc/microblog/dns/rfc2136.ini", check=False)
    assert authority.code == 1
    authority.run("sh", "-c", f"echo server = {DIRECTORY} >> /etc/letsencrypt/cli.ini")
    authority.run("microblog", "user", "promote", "alice")
    begin = BROWSE.index('press("/login"')
    steps = BROWSE[:begin].replace('"https://localhost"', '"http://localhost"')
    login = 'press("/login", "/login", username="alice", password="correct horse alice")\n'
    said = authority.run("python3", "-c", steps + login + GET_ONE, check=False)
    assert "Traceback" not in said, said[-2000:]
    job = ended(authority, ask(authority, "job"))
    assert job["state"] == "done", job
    wait_for_issuer(authority, "Pebble")
    assert "DNS:blog.home.example" in authority.run("openssl", "x509", "-in", CERTIFICATE, "-noout", "-text")
    assert '"verb": "https", "what": "done"' in authority.run("cat", "/var/log/microblog/agent.log")
    # By a file on port 80 now; what renewed the other one is gone.
    assert "authenticator = webroot" in authority.run("cat", RENEWAL)
    wait_until(
        "visitors go on to HTTPS", lambda: plain(authority, "/", "blog.home.example").startswith("301 ")
    )
