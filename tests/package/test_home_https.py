"""HTTPS where nobody reaches port 80: of the machine's own authority, and by records in the DNS.

One machine, in this order, with a real authority (pebble) and a real name server (BIND) beside the site.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from nspawn import Kept, Machine, wait_until
from sites import BACKUPS, ENV, fill
from test_agent_units import BROWSE, ask, ended
from test_commands import CERTIFICATE, DIRECTORY, PEBBLE, START_PEBBLE, wait_for_issuer
from test_updates import mail_to_root, mails

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
options {{ directory "/var/cache/bind"; listen-on port 5300 {{ 127.0.0.1; 192.0.2.53; }};
    listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; }};
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
    # One that is no loopback's, which a page may name.
    home.run("ip", "address", "add", "192.0.2.53/32", "dev", "lo")
    (home.root / "var/cache/bind/home.example").write_text(ZONE)
    home.run("chown", "bind:", "/var/cache/bind/home.example")
    home.run("sh", "-ec", START_NAMED, stdin=NAMED.format())
    start = START_PEBBLE.replace("-strict=false", "-strict=false -dnsserver 127.0.0.1:5300")
    # It looks each time, whatever it has seen before.
    start = start.replace("--setenv", "--setenv=PEBBLE_AUTHZREUSE=0 --setenv", 1)
    home.run("sh", "-ec", start, stdin=json.dumps(PEBBLE))
    wait_until("pebble answers", lambda: home.get(DIRECTORY).status == 200)
    return home


@pytest.mark.thorough
def test_a_record_in_the_dns_is_enough(authority: Machine) -> None:
    secret = authority.run("sh", "-ec", CREDENTIALS)
    command = ["microblog", "https", "blog.home.example", "--server", DIRECTORY, "--dns", "rfc2136"]
    command += ["--dns-wait", "0"]
    # Its visitors are sent to HTTPS already.
    authority.run("microblog", "https", "--redirect")
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
    # By port 80 from now on: what opens the zone is of no use any more.
    authority.run("microblog", "https", "blog.home.example", "--server", DIRECTORY)
    assert "authenticator = webroot" in authority.run("cat", RENEWAL)
    found = authority.run("grep", "-rlF", secret, "/etc", "/var/lib", "/root", check=False)
    assert found.split() == ["/etc/bind/tsig.key"]
    # And back to what was there before: its own authority, for its name at home; on the next day, too.
    authority.run("microblog", "https", "--off", "--now")
    assert "HOST_NAMES" not in authority.run("cat", ENV)
    assert authority.run("microblog", "setup", "--daily") == ""
    assert authority.run("cat", CERTIFICATE) == own
    login = f"{TRUSTING}/login".split()
    wait_until("a device trusts it", lambda: authority.run(*login, check=False) == "200")
    authority.run("microblog", "https", "--no-redirect")


SERVER = f"server = {DIRECTORY}"
GET_ONE = 'press("/machine/name", "/machine/name", domains="blog.home.example")'


def test_an_administrator_gets_a_certificate_in_a_browser(authority: Machine) -> None:
    """From the button to nginx, with a real authority: the default one of this machine's certbot."""
    authority.run("microblog", "https", "--off", "--now")
    authority.run("test", "-e", "/etc/microblog/dns/rfc2136.ini", check=False)
    assert authority.code == 1
    authority.run("sh", "-c", f"echo {SERVER} >> /etc/letsencrypt/cli.ini")
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


@pytest.mark.thorough
def test_an_administrator_gets_one_by_the_dns_in_a_browser(authority: Machine) -> None:
    """Behind a router; what opens the zone is root's alone from then on."""
    secret = authority.run("sh", "-ec", CREDENTIALS)
    authority.run("rm", "/root/dns.ini")
    authority.run("microblog", "user", "promote", "alice")
    known = f"grep -q ^server /etc/letsencrypt/cli.ini || echo {SERVER} >> /etc/letsencrypt/cli.ini"
    authority.run("sh", "-c", known)
    fields = {"server": "192.0.2.53", "port": "5300", "name": "site.", "wait": "0"}
    fields["algorithm"] = "HMAC-SHA256"
    steps = BROWSE[: BROWSE.index('press("/login"')]
    steps += 'press("/login", "/login", username="alice", password="correct horse alice")\n'

    def asked(secret: str) -> dict[str, Any]:
        """The job, when somebody has typed this and it is over. On no command line, which the journal has."""
        typed = {**fields, "domains": "blog.home.example", "secret": secret}
        said = authority.run(
            "python3", "-", stdin=f'{steps}press(*["/machine/name/dns/rfc2136"] * 2, **{typed})\n'
        )
        assert "Traceback" not in said, said[-2000:]
        return ended(authority, ask(authority, "job"))

    before = authority.run("cat", CERTIFICATE)
    wrong = "bm9ib2R5IGtub3dzIHRoaXMgc2VjcmV0IGhlcmU="
    job = asked(wrong)
    assert (job["verb"], job["state"]) == ("https-dns", "failed")
    assert "rfc2136 must let the account change records" in job["hint"]
    assert authority.run("cat", CERTIFICATE) == before
    places = ("/etc", "/var/log", "/var/lib/microblog", "/var/lib/microblog-agent", "/run", "/root", "/tmp")
    assert authority.run("grep", "-rlF", wrong, *places, check=False) == ""
    job = asked(secret)
    assert job["state"] == "done", job
    wait_for_issuer(authority, "Pebble")
    assert "authenticator = dns-rfc2136" in authority.run("cat", RENEWAL)
    found = authority.run("grep", "-rlF", secret, *places, check=False).split()
    assert set(found) == {"/etc/bind/tsig.key", "/etc/microblog/dns/rfc2136.ini"}
    assert secret not in authority.run("journalctl", "--no-pager")
    mode = authority.run("stat", "-c", "%a %U", "/etc/microblog/dns/rfc2136.ini")
    assert mode.strip() == "600 root"
    first = authority.run("cat", CERTIFICATE)
    authority.run("certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew")
    assert authority.run("cat", CERTIFICATE) != first


@pytest.mark.thorough
def test_a_renewal_that_fails_is_told_until_it_succeeds(authority: Machine) -> None:
    """By certbot's own timer's unit: with an authority that does not find the name, and one that is away."""
    authority.run("microblog", "https", "blog.home.example", "--server", DIRECTORY)
    mail_to_root(authority)
    # Due at once, and without the wait of up to eight minutes that certbot has for itself.
    authority.run("sed", "-i", "1i renew_before_expiry = 90 years", RENEWAL)
    authority.run("sh", "-c", "echo no-random-sleep-on-renew = true >> /etc/letsencrypt/cli.ini")

    def renew(well: bool) -> None:
        authority.run("systemctl", "start", "certbot.service", check=False)
        assert (authority.code == 0) is well, authority.run("journalctl", "--no-pager", "-u", "certbot")
        wait_until("it was heard", lambda: "microblog-failed" not in authority.run("systemctl", "list-jobs"))

    def told() -> int:
        """How often, by mail."""
        command = "until [ -z \"$(postqueue -p | grep '^[A-F0-9]')\" ]; do sleep 0.1; done"
        authority.run("sh", "-c", command)
        return mails(authority).count("[blog.home.example] certbot has failed")

    def found() -> list[dict[str, str]]:
        """What the pages have of it."""
        seen = ask(authority, "look", fresh=True)
        return [one for one in seen["findings"] if one["id"] == "unit.failed"]

    before = authority.run("cat", CERTIFICATE)
    renew(well=True)
    first = authority.run("cat", CERTIFICATE)
    assert first != before
    authority.run("systemctl", "stop", "named")
    renew(well=False)
    wait_until("it is told", lambda: told() == 1)
    renew(well=False)
    assert told() == 1
    (one,) = found()
    assert (one["what"], "was not renewed" in one["why"]) == ("certbot.service has failed.", True)
    for option in ((), ("--nagios",)):
        said = authority.run("microblog", "status", *option, check=False)
        assert (authority.code, "failed: certbot" in said) == (1, True), said
    # What was there is served still; when all is well again, nothing is told.
    assert authority.run("cat", CERTIFICATE) == first
    authority.run("systemctl", "start", "named")
    renew(well=True)
    assert authority.run("cat", CERTIFICATE) != first
    assert "none has failed" in authority.run("microblog", "status", check=False)
    assert not found()
    authority.run("systemctl", "stop", "pebble")
    renew(well=False)
    wait_until("it is told anew", lambda: told() == 2)
