"""``microblog https``, ``mail`` and ``harden``: with a real authority, real mail and a real sshd."""

import json
import re
import shutil

import name_server
import pytest
from nspawn import Machine, add_admin, wait_until
from sites import ENV

PEBBLE = {
    "pebble": {
        "listenAddress": "127.0.0.1:14000",
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": "/root/acme/cert.pem",
        "privateKey": "/root/acme/key.pem",
        "httpPort": 80,
        "tlsPort": 443,
    }
}
# Nobody's, and so without an MX of its own.
DOMAIN = "two.example"
DIRECTORY = "https://localhost:14000/dir"
CERTIFICATE = "/etc/microblog/tls/cert.pem"
KEY = "/etc/microblog/tls/key.pem"
START_PEBBLE = """
mkdir /root/acme && cd /root/acme && cat > config.json
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2> /dev/null
cp cert.pem /usr/local/share/ca-certificates/acme.crt && update-ca-certificates > /dev/null
systemd-run --quiet --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=0 \
    pebble -config /root/acme/config.json -strict=false
"""


@pytest.fixture
def authority(server: Machine) -> Machine:
    """The server, with pebble beside it and names that lead to it."""
    hosts = "127.0.0.1 blog.example.org www.example.org xn--bcher-kva.example"
    server.run("sh", "-c", f"echo {hosts} >> /etc/hosts")
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "pebble")
    server.run("sh", "-ec", START_PEBBLE, stdin=json.dumps(PEBBLE))
    wait_until("pebble answers", lambda: server.get(DIRECTORY).status == 200)
    return server


def wait_for_issuer(machine: Machine, name: str) -> None:
    """Wait until visitors are shown a certificate that this name signed.

    nginx's old processes answer for a moment yet after "systemctl reload" is done.
    """
    shown = (
        "openssl s_client -connect localhost:443 -servername blog.example.org < /dev/null 2> /dev/null"
        " | openssl x509 -noout -issuer"
    )
    wait_until(
        f"nginx shows a certificate of {name}", lambda: name in machine.run("sh", "-c", shown, check=False)
    )


def test_an_authoritys_certificate_is_got_renewed_and_given_up(authority: Machine) -> None:
    own = authority.run("cat", CERTIFICATE)
    refused = authority.run("microblog", "https", "nowhere.example.org", "--server", DIRECTORY, check=False)
    assert authority.code == 1
    assert "microblog: no certificate: " in refused
    assert "Traceback" not in refused
    assert authority.run("cat", CERTIFICATE) == own

    # Under whatever umask, with whatever dots and letters.
    wanted = "Bücher.example BLOG.example.org. www.example.org"
    said = authority.run("sh", "-c", f"umask 077; microblog https {wanted} --server {DIRECTORY}")
    assert "Asking for a certificate for bücher.example, blog.example.org, www.example.org ..." in said
    assert "https://bücher.example has its certificate" in said
    wait_for_issuer(authority, "Pebble")
    assert "HOST_NAMES='xn--bcher-kva.example,blog.example.org,www.example.org'" in authority.run("cat", ENV)
    text = authority.run("openssl", "x509", "-in", CERTIFICATE, "-noout", "-text")
    for name in ("blog.example.org", "www.example.org", "xn--bcher-kva.example"):
        assert f"DNS:{name}" in text
        assert authority.get(f"https://{name}/login").status == 200
    # As it is read, and typed into a browser; and who comes by plain HTTP is sent there.
    assert authority.get("https://bücher.example/login").status == 200
    sent = authority.get("http://bücher.example/login")
    assert (sent.status, sent.headers["location"]) == (301, "https://xn--bcher-kva.example/login")
    said = authority.run("microblog", "status")
    assert "https://xn--bcher-kva.example/" in said
    status = json.loads(authority.run("microblog", "status", "--json"))
    assert not status["certificate"]["self_signed"]
    modes = authority.run("stat", "-c", "%a %U", "/etc/microblog/tls/key.pem", CERTIFICATE).split("\n")[:2]
    assert modes == ["600 root", "644 root"]

    # As certbot's timer does, when the time has come.
    first = authority.run("cat", CERTIFICATE)
    authority.run("systemctl", "is-enabled", "certbot.timer")
    authority.run("certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew")
    assert authority.run("cat", CERTIFICATE) != first
    wait_for_issuer(authority, "Pebble")
    # setup leaves an authority's certificate alone.
    assert authority.run("microblog", "setup") == "Nothing was missing\n"

    # Browsers are told to insist on HTTPS for minutes at first; later for longer, and then --off waits.
    told = authority.get("https://blog.example.org/login").headers["strict-transport-security"]
    assert told == "max-age=300"
    authority.run("touch", "-d", "10 days ago", "/etc/microblog/tls/trusted")
    authority.run("microblog", "setup", "--daily")
    wait_until(
        "browsers are told more",
        lambda: "604800"
        in authority.get("https://blog.example.org/login").headers["strict-transport-security"],
    )
    said = authority.run("microblog", "https", "--off")
    assert "In 7 days: microblog https --off again" in said
    wait_until(
        "browsers are told to forget",
        lambda: authority.get("https://blog.example.org/login").headers["strict-transport-security"]
        == "max-age=0",
    )
    authority.run("microblog", "https", "--off", "--now")
    wait_for_issuer(authority, "testhost")
    assert authority.run("cat", CERTIFICATE) == own
    assert "strict-transport-security" not in authority.get("https://blog.example.org/login").headers
    assert authority.run("certbot", "certificates").count("Certificate Name") == 0
    assert authority.answers()


# An administrator's certificate, of an authority of their own.
THEIRS = f"""
cd /root && openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=theirs -keyout ca.key -out ca.crt
openssl req -newkey rsa:2048 -nodes -subj /CN=testhost -keyout own.key -out own.csr
openssl x509 -req -in own.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 -out own.pem
cp own.pem {CERTIFICATE} && cp own.key {KEY} && chgrp ssl-cert {KEY} 2> /dev/null || chgrp adm {KEY}
chmod 640 {KEY} && chmod 444 {CERTIFICATE} && systemctl reload nginx
"""
LOOK = f"stat -c '%a %U:%G' {CERTIFICATE} {KEY}; sha256sum {CERTIFICATE} {KEY}"


def test_a_site_by_plain_http_goes_to_https_with_a_certificate_and_back(authority: Machine) -> None:
    """A Pi's, once it has a name in the DNS; whose administrator has put a certificate of their own there."""

    def answers(status: int, name: str = "blog.example.org") -> bool:
        return authority.get(f"http://{name}/login").status == status

    authority.run("sh", "-c", f"echo HTTPS=false >> {ENV}; microblog setup")
    wait_until("it is served by plain HTTP", lambda: answers(200, "localhost"))
    own = authority.run("cat", CERTIFICATE)
    authority.run("microblog", "https", "blog.example.org", "--server", DIRECTORY)
    wait_for_issuer(authority, "Pebble")
    wait_until("visitors go on to HTTPS", lambda: answers(301))
    assert "__host-session" in authority.get("https://blog.example.org/login").headers["set-cookie"]
    authority.run("microblog", "https", "--off", "--now")
    wait_until("it is served by plain HTTP again", lambda: answers(200, "localhost"))
    assert "__host-session" not in authority.get("http://localhost/login").headers["set-cookie"]
    assert authority.run("grep", "-c", "^HTTPS=false$", ENV).strip() == "1"
    # By its name at home, with its own authority: the next day, too.
    assert "HOST_NAMES" not in authority.run("cat", ENV)
    assert authority.run("microblog", "setup", "--daily") == ""
    assert authority.run("cat", CERTIFICATE) == own
    name = "testhost.local"
    trusting = ("curl", "--silent", "--fail", "--cacert", "/etc/microblog/tls/authority.pem")
    trusting += ("--resolve", f"{name}:443:127.0.0.1", "--output", "/dev/null", f"https://{name}/login")

    def trusted() -> bool:
        authority.run(*trusting, check=False)
        return authority.code == 0

    wait_until("devices trust it again", trusted)

    authority.run("sh", "-ec", THEIRS)
    wait_for_issuer(authority, "theirs")
    theirs = authority.run("sh", "-c", LOOK)
    # Set in nginx's site, it is what visitors see: then nothing is asked for that nobody would.
    site = "/etc/nginx/sites-available/microblog"
    authority.run("cp", site, "/root/site")
    authority.run("sed", "-i", "-E", f's|{CERTIFICATE}|/root/own.pem|; s|{KEY}|"/root/own.key"|', site)
    for command in (("blog.example.org", "--server", DIRECTORY), ("--own",)):
        said = authority.run("microblog", "https", *command, check=False)
        assert authority.code == 1
        assert f"the site's certificate is somebody's own: {site} names /root/own.pem" in said
    # Its end is what the doctor looks at.
    assert "certificate.end" not in authority.run("microblog", "doctor", "--json", check=False)
    short = "openssl x509 -in own.pem -signkey own.key -days 3 -out short.pem && mv short.pem own.pem"
    authority.run("sh", "-ec", f"cd /root && cp own.pem long.pem && {short}")
    assert "certificate.end" in authority.run("microblog", "doctor", "--json", check=False)
    assert not json.loads(authority.run("microblog", "status", "--json", check=False))["certificate"]["ok"]
    authority.run("cp", "/root/site", site)
    assert authority.run("sh", "-c", LOOK) == theirs

    authority.run("microblog", "https", "blog.example.org", "--server", DIRECTORY)
    wait_for_issuer(authority, "Pebble")
    authority.run("microblog", "https", "--off", "--now")
    wait_until("it is served by plain HTTP again", lambda: answers(200, "localhost"))
    wait_for_issuer(authority, "theirs")
    assert authority.run("sh", "-c", LOOK) == theirs
    assert "__host-session" not in authority.get("http://localhost/login").headers["set-cookie"]


@pytest.mark.parametrize(
    "words", [("a_b.example",), ("*.example.org",), ("blog",), (), ("x.example", "--server")]
)
def test_https_refuses_what_cannot_be(site: Machine, words: tuple[str, ...]) -> None:
    said = site.run("microblog", "https", *words, check=False)
    assert site.code in (1, 2)
    assert "Traceback" not in said


# Of each private kind, one.
LOCAL = (
    *("10.1.2.3/8", "172.17.0.1/16", "192.168.1.9/24", "100.64.0.1/10", "169.254.7.7/16"),
    *("fd12:3456::1/64", "fe80::7/64"),
)


def test_mail_arrives_with_a_signature_that_verifies(server: Machine) -> None:
    # Nobody outside knows a name without a dot.
    assert "'testhost' is no domain that others know" in server.run(
        "microblog", "mail", "--domain", "testhost", check=False
    )
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "opendkim", "opendkim-tools")
    fresh = server.run("postconf", "-n")
    said = server.run("microblog", "mail", "--domain", "one.example")
    said = server.run("microblog", "mail", "--domain", DOMAIN)
    records = [line.strip() for line in said.splitlines() if " TXT " in line]
    assert len(records) == 3
    assert records[0] == f'{DOMAIN}. TXT "v=spf1 a mx -all"'
    assert "behind NAT" in said
    assert records[2].startswith(f'_dmarc.{DOMAIN}. TXT "v=DMARC1; ')
    # Addresses that the internet does not know are none of SPF's.
    records_of = ("microblog", "mail", "--records", "--domain", DOMAIN)
    addresses = ("ip address add {0} dev lo;" * len(LOCAL)).replace("{0}", "%s") % LOCAL
    server.run("sh", "-ec", addresses)
    said = server.run(*records_of)
    assert records[0] in said
    assert "behind NAT" in said
    server.run("sh", "-ec", "ip address add 93.184.215.14/32 dev lo; ip address add 2606:2800::1/128 dev lo")
    said = server.run(*records_of)
    assert f'{DOMAIN}. TXT "v=spf1 a mx ip4:93.184.215.14 ip6:2606:2800::1 -all"' in said
    assert "NAT" not in said
    server.run("ip", "address", "del", "93.184.215.14/32", "dev", "lo")
    assert "behind NAT" in server.run(*records_of)
    server.run("sh", "-c", addresses.replace(" add ", " del ") + "ip address del 2606:2800::1/128 dev lo")
    # The sender goes with the domain that is signed.
    assert f"MAIL_FROM=noreply@{DOMAIN}" in server.run("cat", ENV)
    assert server.run("postconf", "-h", "smtp_helo_name").strip() == DOMAIN
    assert server.run("microblog", "mail", "--test", "root@testhost").startswith(
        "Sent a test to root@testhost: taken by local (delivered to mailbox)"
    )
    message = wait_until(
        "the message arrives",
        lambda: server.run("cat", "/var/mail/root", check=False)
        if server.run("sh", "-c", "test -s /var/mail/root && echo yes", check=False)
        else "",
    )
    assert f"From: noreply@{DOMAIN}" in message
    assert "DKIM-Signature: v=1; a=rsa-sha256;" in message
    # The published key, judged by opendkim's own verifier.
    name, _, value = records[1].partition(". TXT ")
    key = "".join(re.findall(r'"([^"]*)"', value))
    assert name == f"microblog._domainkey.{DOMAIN}"
    server.run("sh", "-c", "sed '1{/^From /d}' /var/mail/root > /root/message")
    server.run("sh", "-c", "cat > /root/keys", stdin=f"microblog._domainkey.{DOMAIN} {key}\n")
    server.run("sh", "-c", "cat > /root/verify.conf", stdin="Mode v\nTestPublicKeys /root/keys\nSyslog no\n")
    verify = ("opendkim", "-x", "/root/verify.conf", "-v", "-v", "-t", "/root/message")
    assert f"verification (s=microblog, d={DOMAIN}, 2048-bit key) succeeded" in server.run(*verify)
    server.run("sed", "-i", "s/This is how/That is how/", "/root/message")
    assert "signature verification failed" in server.run(*verify, check=False)
    # With what ends somebody's mails by one request, which must be signed (RFC 8058, 4).
    digest = (
        f"From: noreply@{DOMAIN}\nTo: root@testhost\nSubject: Unread\n"
        f"List-Unsubscribe: <https://{DOMAIN}/unsubscribe/secret>\n"
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\n\nSomebody likes your post.\n"
    )
    server.run("sh", "-c", ": > /var/mail/root")
    server.run("sendmail", "-f", f"noreply@{DOMAIN}", "root@testhost", stdin=digest)
    wait_until(
        "the digest arrives",
        lambda: server.run("sh", "-c", "test -s /var/mail/root && echo yes", check=False),
    )
    server.run("sh", "-c", "sed '1{/^From /d}' /var/mail/root > /root/message")
    assert "succeeded" in server.run(*verify)
    for change in ("s/secret/other/", "s/=One-Click/=One-Touch/"):
        server.run("sh", "-c", f"cp -p /root/message /root/kept; sed -i '{change}' /root/message")
        assert "signature verification failed" in server.run(*verify, check=False), change
        server.run("mv", "/root/kept", "/root/message")
    # Nobody else may use it.
    assert "127.0.0.1:25" in server.run("ss", "-Hltn")
    assert "0.0.0.0:25" not in server.run("ss", "-Hltn")

    # Through a relay, with a password that nobody else reads.
    server.run("microblog", "mail", "--relay", "smtp.example.net:465", "--user", "me", stdin="p w\n")
    assert "[smtp.example.net]:465" in server.run("postconf", "relayhost")
    assert server.run("stat", "-c", "%a", "/etc/postfix/microblog-relay").strip() == "600"
    assert "encrypt" in server.run("postconf", "smtp_tls_security_level")
    # A test that nobody takes is not called sent.
    server.run("postconf", "-e", "relayhost=[127.0.0.1]:9", "smtp_sasl_auth_enable=no")
    server.run("postfix", "reload")
    said = server.run("microblog", "mail", "--test", "somebody@elsewhere.example", check=False)
    assert server.code == 1
    assert "nobody has taken the test yet: " in said
    assert "Connection refused" in said

    # And back: all but what somebody has set since.
    said = server.run("microblog", "mail", "--off")
    assert "relayhost was changed since: it stays as it is" in said
    server.run("postconf", "-X", "relayhost", "smtp_sasl_auth_enable")
    after = server.run("postconf", "-n")
    assert set(after.split("\n")) - set(fresh.split("\n")) == set(), after
    assert (
        server.run(
            "find", "/etc/postfix", "/etc/opendkim-microblog.conf", "-name", "*microblog*", check=False
        ).count("/etc/postfix")
        == 0
    )
    assert "MAIL_SERVER" not in server.run("cat", ENV)


# Comments between, lines that go on, and a setting twice, of which the last counts.
BY_HAND = """
# Theirs
mydestination = $myhostname,
    # of a customer
    theirs.example
    localhost
relayhost =
    [smart.example]
"""
WRITTEN = """
find /etc/postfix /etc/systemd/system -printf '%p %m %u:%g %l\\n' | sort
find /etc/postfix /etc/systemd/system -type f -exec sha256sum {} + | sort
postconf -n 2> /dev/null; systemctl is-enabled opendkim; systemctl is-active opendkim; true
"""


def test_a_mail_server_of_somebody_is_left_alone(server: Machine) -> None:
    server.run("postconf", "-e", "relayhost=[smart.example]", "virtual_alias_domains=theirs.example")
    before = server.run("postconf", "-n")
    said = server.run("microblog", "mail", "--domain", DOMAIN, check=False)
    assert server.code == 1
    assert "postfix is somebody's mail server already: relayhost, virtual_alias_domains are set" in said
    assert server.run("postconf", "-n") == before
    assert "Would refuse without --force" in server.run("microblog", "mail", "--dry-run", "--domain", DOMAIN)

    # With --force it is changed, and works; and comes back as it was written, by whatever hand.
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "opendkim", "opendkim-tools")
    server.run("systemctl", "disable", "--now", "opendkim")
    server.run("sh", "-c", "cat >> /etc/postfix/main.cf", stdin=BY_HAND)
    before = server.run("sh", "-c", WRITTEN)
    server.run("microblog", "mail", "--force", "--domain", DOMAIN)
    assert server.run("sh", "-c", "postconf -h relayhost 2> /dev/null").strip() == ""
    assert "smart.example" not in server.run("cat", "/etc/postfix/main.cf")
    said = server.run("microblog", "mail", "--test", "root@localhost")
    assert said.startswith("Sent a test to root@localhost: taken by local (")
    wait_until("it is signed", lambda: f"d={DOMAIN};" in server.run("cat", "/var/mail/root", check=False))
    server.run("microblog", "mail", "--off")
    assert server.run("sh", "-c", WRITTEN) == before

    server.run("apt-get", "install", "--yes", "--no-install-recommends", "exim4-daemon-light")
    said = server.run("microblog", "mail", "--domain", DOMAIN, check=False)
    assert server.code == 1
    assert "this machine's mail server is exim4-daemon-light: postfix would take its place" in said
    assert "installed" in server.run("dpkg-query", "-W", "-f", "${Status}", "exim4-daemon-light")

    # Where there was no mail server, there is none afterwards that the network comes to.
    server.run("sh", "-ec", "apt-get purge --yes 'exim4*' postfix; rm -rf /etc/postfix")
    assert ":25 " not in server.run("ss", "-Hltn")
    server.run("microblog", "mail", "--domain", DOMAIN)
    assert "127.0.0.1:25 " in server.run("ss", "-Hltn")
    assert server.run("systemctl", "is-enabled", "postfix").strip() == "enabled"
    server.run("microblog", "mail", "--off")
    assert ":25 " not in server.run("ss", "-Hltn")
    assert server.run("systemctl", "is-enabled", "postfix", check=False).strip() == "disabled"
    # But for one that has been made somebody's since.
    server.run("microblog", "mail", "--domain", DOMAIN)
    server.run("postconf", "-e", "virtual_alias_domains=theirs.example")
    server.run("microblog", "mail", "--off")
    assert "0.0.0.0:25 " in server.run("ss", "-Hltn")
    assert server.run("systemctl", "is-enabled", "postfix").strip() == "enabled"


# Who takes mail at the address that the name server gives, and keeps it.
SINK = "smtp-sink -u nobody -d /tmp/taken.%M 127.0.0.2:25 100"


def test_mail_to_the_sites_own_domain_goes_to_its_mx(server: Machine) -> None:
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "opendkim", "opendkim-tools")
    # The machine is called as the site is, as most are; the domain's mailboxes are elsewhere.
    server.run("sh", "-ec", "echo 127.0.1.1 one.example testhost >> /etc/hosts; hostname one.example")
    server.run("postconf", "-e", "mydestination=one.example, testhost, localhost", "myhostname=one.example")
    shutil.copyfile(name_server.__file__, server.root / "root/name_server.py")
    records = {"one.example MX": ["10 mx.one.example"], "mx.one.example A": ["127.0.0.2"]}
    server.run(
        *("systemd-run", "--quiet", "--unit=names", "python3", "/root/name_server.py", "127.0.0.1", "53"),
        json.dumps(records),
    )
    (server.root / "etc/resolv.conf").unlink(missing_ok=True)
    (server.root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    wait_until(
        "the name server answers",
        lambda: "127.0.0.2" in server.run("getent", "hosts", "mx.one.example", check=False),
    )
    before = server.run("postconf", "-n") + server.run("cat", ENV)
    dry = server.run("microblog", "mail", "--domain", "one.example", "--dry-run")
    assert "Would set in postfix: mydestination = testhost, localhost" in dry
    assert server.run("postconf", "-n") + server.run("cat", ENV) == before
    server.run("microblog", "mail", "--domain", "one.example")

    # Nobody is there: that is no "sent".
    said = server.run("microblog", "mail", "--test", "susan@one.example", check=False)
    assert server.code == 1
    assert (
        "nobody has taken the test yet: connect to mx.one.example[127.0.0.2]:25: Connection refused" in said
    )
    server.run("systemd-run", "--quiet", "--unit=sink", *SINK.split())
    wait_until("it listens", lambda: "127.0.0.2:25" in server.run("ss", "-Hltn"))
    # Which leaves a server alone for minutes that has not answered.
    server.run("systemctl", "restart", "postfix")
    said = server.run("microblog", "mail", "--test", "susan@one.example")
    assert said.startswith("Sent a test to susan@one.example: taken by mx.one.example[127.0.0.2]:25 (")
    taken = server.run("sh", "-c", "cat /tmp/taken.*")
    assert "X-Rcpt-Args: <susan@one.example>" in taken
    assert "DKIM-Signature: v=1; a=rsa-sha256;" in taken
    # A relay gets it, too.
    server.run("microblog", "mail", "--domain", "one.example", "--relay", "127.0.0.2:25")
    said = server.run("microblog", "mail", "--test", "bob@one.example")
    assert said.startswith("Sent a test to bob@one.example: taken by 127.0.0.2[127.0.0.2]:25 (")
    assert "X-Rcpt-Args: <bob@one.example>" in server.run("sh", "-c", "cat /tmp/taken.*")
    # Where the MX is this machine, its mailboxes are here.
    server.run("microblog", "mail", "--off")
    assert "mydestination = one.example, testhost, localhost" in server.run("postconf", "mydestination")


HARDEN = "/usr/lib/python3/dist-packages/microblog/host/extras/harden.py"
# One that does not know a word of the file's, as Ubuntu 22.04's may not know a word of tomorrow's.
OLDER_SSHD = r"""
mv /usr/sbin/sshd /usr/sbin/sshd.real
printf '%s\n' '#!/bin/sh' 'new=$(grep -hs ^Kex /etc/ssh/sshd_config.d/00* /run/microblog/sshd*)' \
    '[ "$1" != -t ] || [ -z "$new" ] || { echo "line 7: Bad SSH2 KexAlgorithms"; exit 255; }' \
    'exec /usr/sbin/sshd.real "$@"' > /usr/sbin/sshd
chmod +x /usr/sbin/sshd
"""


def as_it_was(machine: Machine, before: str) -> bool:
    """Whether nothing is left of what harden does to a machine. :param before: what sshd said then."""
    left = machine.run(
        "find", "/etc/ssh", "/etc/apt", "/etc/fail2ban", "/etc/ufw", "-name", "*microblog*", check=False
    )
    return (
        machine.run("sshd", "-T") == before
        and "inactive" in machine.run("ufw", "status")
        and machine.run("ufw", "show", "added").split("\n")[1:-1] == ["ufw allow 80/tcp"]
        and not left
        and "microblog-harden-undo" not in machine.run("systemctl", "list-units", "--all")
    )


def test_harden_closes_and_gives_back_and_never_locks_out(server: Machine) -> None:
    server.run(
        "apt-get",
        "install",
        "--yes",
        "--no-install-recommends",
        "openssh-server",
        "openssh-client",
        "sudo",
        "ssh-audit",
    )
    before = server.run("sshd", "-T")
    refused = server.run("microblog", "harden", check=False)
    assert server.code == 1
    assert "nobody could log in any more" in refused
    assert server.run("sshd", "-T") == before

    add_admin(server)
    assert "NO" in server.run("microblog", "harden", "--check", check=False)
    assert server.code == 1
    assert server.run("sshd", "-T") == before
    audit = server.run("ssh-audit", "localhost", check=False)
    # What the administrator has allowed is theirs, and what is open else is told.
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "ufw")
    server.run("ufw", "allow", "80/tcp")
    server.run("systemd-run", "--unit=other", "python3", "-m", "http.server", "8080")
    wait_until("it listens", lambda: server.get("http://127.0.0.1:8080/").status)
    dry = server.run("microblog", "harden", "--dry-run")
    assert "The firewall closes to the network: " in dry
    assert "8080 (python3)" in dry
    assert server.run("sshd", "-T") == before
    server.run("systemctl", "stop", "other")
    # With nobody there to confirm, its own timer takes it back: all of it, and the timer too. It waits for
    # the command to end, however slow that is.
    server.run("sed", "-i", "s/^CONFIRM_MINUTES = 5$/CONFIRM_MINUTES = 0.05/", HARDEN)
    # What it looks at in the end is gone by then, perhaps.
    said = server.run("microblog", "harden", check=False)
    assert "Logging in stays possible, by key, for: ada" in said
    assert "In 0.05 minutes all of it is undone" in said
    pending = server.root / "etc/microblog/harden-pending"
    wait_until("nothing waits", lambda: not pending.exists())
    wait_until("all is as it was", lambda: as_it_was(server, before))
    server.run("sed", "-i", "s/^CONFIRM_MINUTES = 0.05$/CONFIRM_MINUTES = 5/", HARDEN)
    # Closed from a session: it is confirmed from another one alone, which shows that one still comes in.
    login = (
        "ssh",
        "-i",
        "/root/key",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "BatchMode=yes",
        "ada@localhost",
    )
    server.run("sh", "-c", "echo 'ada ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ada")
    # sshd begins anew to read its settings again.
    wait_until("sshd listens", lambda: ":22 " in server.run("ss", "-Hltn"))
    said = server.run(*login, "sudo microblog harden; sudo microblog harden --confirm", check=False)
    assert "this is the session in which the doors were closed" in said
    assert "microblog-harden-undo.timer" in server.run("systemctl", "list-timers")
    wait_until("sshd listens", lambda: ":22 " in server.run("ss", "-Hltn"))
    assert "Confirmed" in server.run(*login, "sudo microblog harden --confirm")
    server.run("rm", "/etc/sudoers.d/ada")
    assert "microblog-harden-undo.timer" not in server.run("systemctl", "list-timers")
    assert all(json.loads(server.run("microblog", "harden", "--check", "--json")).values())
    after = server.run("sshd", "-T").lower()
    for line in ("permitrootlogin no", "passwordauthentication no", "kbdinteractiveauthentication no"):
        assert line in after
    assert server.run(*login, "echo", "in").splitlines()[-1] == "in"
    server.run(*login[:-1], "root@localhost", "true", check=False)
    assert server.code != 0
    # Who has more keys than MaxAuthTries would be shut out; whoever set that, it was not this.
    assert "maxauthtries 6" in after
    better = server.run("ssh-audit", "localhost", check=False)
    print(
        f"ssh-audit: {audit.count('[fail]')} fails, {audit.count('[warn]')} warnings before;"
        f" {better.count('[fail]')} and {better.count('[warn]')} after"
    )
    assert better.count("[fail]") == 0, better
    rules = server.run("ufw", "status")
    assert "Status: active" in rules
    assert set(re.findall(r"^(\d+)/tcp +ALLOW", rules, re.MULTILINE)) == {"22", "80", "443"}
    assert server.answers()

    server.run("microblog", "harden", "--undo")
    wait_until("all is as it was", lambda: as_it_was(server, before))

    # Unconfirmed, it does not outlive a boot. Its timer is set where an undoing has failed before, too.
    server.run("systemd-run", "--wait", "--unit=microblog-harden-undo", "false", check=False)
    assert server.run("systemctl", "is-failed", "microblog-harden-undo").strip() == "failed"
    said = server.run("microblog", "harden")
    assert "In 5 minutes all of it is undone" in said
    assert "passwordauthentication no" in server.run("sshd", "-T").lower()
    server.reboot()
    wait_until("all is as it was", lambda: as_it_was(server, before))
    assert not pending.exists()

    # A line above the Include wins, so nothing is called done; and an older file of ours stays as it was,
    # there, and where sshd does not take the new one.
    ours = server.root / "etc/ssh/sshd_config.d/00-microblog.conf"
    refusals = (
        (
            "sed -i '1i PasswordAuthentication yes' /etc/ssh/sshd_config",
            "sed -i 1d /etc/ssh/sshd_config",
            "sshd keeps passwordauthentication yes: a line above the Include",
        ),
        # It sorts before ours, and sshd takes the first value.
        (
            "echo PasswordAuthentication yes > /etc/ssh/sshd_config.d/00-custom.conf",
            "rm /etc/ssh/sshd_config.d/00-custom.conf",
            "sshd keeps to a file of /etc/ssh/sshd_config.d that comes before 00-microblog.conf",
        ),
        (
            "mkdir /etc/ssh/aside; mv /etc/ssh/ssh_host_[re][sd]* /etc/ssh/aside",
            "mv /etc/ssh/aside/* /etc/ssh; rmdir /etc/ssh/aside",
            "nobody could log in any more: sshd has an ECDSA host key alone",
        ),
        (
            OLDER_SSHD,
            "mv /usr/sbin/sshd.real /usr/sbin/sshd",
            "sshd does not accept it: line 7: Bad SSH2 KexAlgorithms",
        ),
    )
    older = b"# Written by 'microblog harden'.\nPermitRootLogin no\n# \xc3\xbc\r\n"
    ours.write_bytes(older)
    for break_it, mend_it, message in refusals:
        server.run("sh", "-ec", break_it)
        said = server.run("microblog", "harden", "--no-confirm", check=False)
        assert server.code == 1
        assert message in said
        assert ours.read_bytes() == older
        assert "passwordauthentication yes" in server.run("sshd", "-T").lower()
        server.run("sh", "-ec", mend_it)
    server.run("microblog", "harden", "--undo")
    assert not ours.exists()

    # Each of these cannot come in, or cannot be root, though it looks so.
    keys, elsewhere = "/home/ada/.ssh/authorized_keys", "/etc/ssh/authorized_keys.d"
    shut_out = {
        "passwd --delete --quiet ada && passwd --lock --quiet ada": "usermod -p '$6$x$y' ada",
        "chmod g+w ~ada": "chmod g-w ~ada",
        f"sed -i 's/^/command=\"true\" /' {keys}": f"cp /root/key.pub {keys}",
        "echo DenyUsers ada > /etc/ssh/sshd_config.d/x.conf": "rm /etc/ssh/sshd_config.d/x.conf",
        "gpasswd -d ada sudo && echo 'ada ALL=(ALL) /bin/true' > /etc/sudoers.d/ada": (
            "adduser --quiet ada sudo && rm /etc/sudoers.d/ada"
        ),
        "usermod --expiredate 1 ada": "usermod --expiredate '' ada",
        f"sed -i 's/^/# /' {keys}": f"cp /root/key.pub {keys}",
    }
    for line in (
        *("AuthenticationMethods publickey,password", "PubkeyAuthentication no", "AllowUsers root"),
        *("DenyGroups sudo", "Match User ada\nForceCommand /bin/true"),
    ):
        shut_out[f"echo '{line}' > /etc/ssh/sshd_config.d/x.conf"] = "rm /etc/ssh/sshd_config.d/x.conf"
    for break_it, mend_it in shut_out.items():
        server.run("sh", "-ec", break_it)
        said = server.run("microblog", "harden", "--dry-run", check=False)
        assert "nobody could log in any more" in said, (break_it, said)
        server.run("sh", "-ec", mend_it)
    # Keys in another place count, as on the Raspberry Pi; and a port of sshd's own stays open.
    server.run(
        *(
            "sh",
            "-ec",
            f"mkdir -p {elsewhere} && mv {keys} {elsewhere}/ada",
        ),
    )
    (server.root / "etc/ssh/sshd_config.d/20-x.conf").write_text(
        "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u\nListenAddress 0.0.0.0:2222\n"
    )
    server.run("systemctl", "restart", "ssh")
    server.run("microblog", "harden", "--no-confirm")
    assert "2222/tcp" in server.run("ufw", "status")
    assert "2222" in server.run("cat", "/etc/fail2ban/jail.d/microblog.conf")

    # Unconfirmed, it does not outlive the package: nobody could confirm it any more, or take it back.
    server.run("microblog", "harden", "--undo")
    before = server.run("sshd", "-T")
    server.run("microblog", "harden")
    assert pending.exists()
    assert server.run("sshd", "-T") != before
    said = server.run("apt-get", "remove", "--yes", "microblog")
    assert "What 'microblog harden' did was not confirmed, and is undone" in said
    wait_until("all is as it was", lambda: as_it_was(server, before))


# A package that ufw's would drive out; Debian's own is not in the machines' caches.
PERSISTENT = """
mkdir -p /root/p/DEBIAN && printf 'Package: netfilter-persistent\\nVersion: 1\\nArchitecture: all\\n\
Maintainer: m <m@example.org>\\nDescription: d\\n' > /root/p/DEBIAN/control
dpkg-deb --build /root/p /root/p.deb > /dev/null && dpkg -i /root/p.deb > /dev/null
"""


def test_harden_beside_what_administrators_have_made(server: Machine) -> None:
    apt = ("apt-get", "install", "--yes", "--no-install-recommends")
    server.run(*apt, "openssh-server", "openssh-client", "sudo", "fail2ban", "python3-systemd", "iptables")
    add_admin(server)
    # As on a cloud's machines: in the group sudo, without a password, and NOPASSWD besides.
    server.run("sh", "-ec", "passwd -q -l ada; echo 'ada ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ada")
    config, keys = "/etc/ssh/sshd_config.d/x.conf", "/home/ada/.ssh/authorized_keys"
    dry = ("microblog", "harden", "--dry-run")

    # Another firewall is left alone, and nothing of it is taken away.
    server.run("sh", "-ec", PERSISTENT)
    said = server.run(*dry)
    assert "Logging in stays possible, by key, for: ada" in said
    assert "Left as it is: this machine's firewall is netfilter-persistent's" in said
    assert "ufw" not in said
    code = "from microblog.host.machine import apt; apt.ensure(print, 'ufw')"
    assert "apt would remove netfilter-persistent" in server.run("python3", "-c", code, check=False)
    assert "NO   firewall" in server.run("microblog", "harden", "--check", check=False)
    server.run("iptables", "-P", "INPUT", "DROP")
    assert "yes  firewall" in server.run("microblog", "harden", "--check", check=False)
    server.run("iptables", "-P", "INPUT", "ACCEPT")
    server.run("sh", "-ec", "dpkg --purge netfilter-persistent > /dev/null")
    server.run(*apt, "ufw")
    # Without a package: rules of somebody's own, whose end is in another chain, or at one interface.
    flush = "iptables -F; iptables -X"
    for rules in (
        "iptables -N LOGDROP; iptables -A LOGDROP -j LOG; iptables -A LOGDROP -j DROP;"
        " iptables -A INPUT ! -i lo -j LOGDROP",
        "iptables -A INPUT -i eth0 -j DROP",
    ):
        server.run("sh", "-ec", rules)
        said = server.run(*dry)
        server.run("sh", "-ec", flush)
        assert "Left as it is: this machine's firewall is iptables's" in said, rules
        assert "ufw" not in said, rules

    # What sshd has for some, from somewhere, or by a command, counts as it has it.
    lets_in = (
        "Match LocalPort 22\nX11Forwarding no",
        "Match Address 10.0.0.0/8\nAllowUsers root",
        "AuthorizedKeysFile none\nAuthorizedKeysCommandUser nobody\n"
        "AuthorizedKeysCommand /usr/bin/cat /srv/%u",
        "PubkeyAcceptedAlgorithms ssh-ed25519,rsa-sha2-512",
    )
    server.run("cp", "/root/key.pub", "/srv/ada")
    for text in lets_in:
        (server.root / config[1:]).write_text(f"{text}\n")
        assert "by key, for: ada" in server.run(*dry, check=False), text
    shut_out = {
        f"echo {line!r} > {config}": f"rm {config}"
        for line in ("UsePAM no", "PubkeyAcceptedAlgorithms rsa-sha2-512")
    }
    for line in ("Address 127.0.0.1\\nAllowUsers root", "User ada\\nChrootDirectory /srv"):
        shut_out[f"printf 'Match {line}\\n' > {config}"] = f"rm {config}"
    shut_out["chage -d 0 ada"] = "chage -d 20000 ada"
    shut_out["chage -d 20000 -M 30 ada"] = "chage -d 20000 -M -1 ada"
    shut_out[f"chown root: {keys} && chmod 600 {keys}"] = f"chown ada: {keys}"
    shut_out["touch /etc/nologin"] = "rm /etc/nologin"
    login = (
        "ssh",
        "-i",
        "/root/key",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "BatchMode=yes",
        "ada@127.0.0.1",
    )
    for break_it, mend_it in shut_out.items():
        server.run("sh", "-ec", break_it)
        said = server.run(*dry, check=False)
        assert re.search("nobody (could|but root can) log in", said), (break_it, said)
        # As it is.
        server.run("sh", "-c", "systemctl reset-failed ssh; systemctl restart ssh")
        assert "uid=0" not in server.run(*login, "sudo -n id", check=False), break_it
        server.run("sh", "-ec", mend_it)
    server.run("sh", "-c", "systemctl reset-failed ssh; systemctl restart ssh")
    assert "uid=0" in server.run(*login, "sudo -n id")

    # Rules of ufw's that are there, and its wish to let all in.
    rules = ("ufw limit 22/tcp", "ufw deny 80/tcp", "ufw allow out 443/tcp")
    server.run("sh", "-ec", f"{'; '.join(rules)}; ufw default allow incoming")
    (server.root / config[1:]).write_text("Match User bob\nPasswordAuthentication yes\n")
    before = server.run("ufw", "show", "added"), server.run("cat", "/etc/default/ufw")
    assert set(rules) < set(before[0].splitlines())
    said = server.run("microblog", "harden", "--no-confirm")
    assert f"Left as it is: {config} has for User bob: PasswordAuthentication yes" in said
    assert "Left as it is: a rule of ufw's keeps port 80 closed" in said
    assert set(rules) < set(server.run("ufw", "show", "added").splitlines())
    told = server.run("ufw", "status", "verbose")
    assert "Default: deny (incoming)" in told
    assert re.search(r"(?m)^443/tcp +ALLOW IN", told)
    server.run("ufw", "default", "allow", "incoming")
    assert "NO   firewall" in server.run("microblog", "harden", "--check", check=False)
    server.run("microblog", "harden", "--undo")
    assert (server.run("ufw", "show", "added"), server.run("cat", "/etc/default/ufw")) == before
    server.run("sh", "-ec", "ufw delete limit 22/tcp; ufw deny 22/tcp")
    said = server.run("microblog", "harden", "--no-confirm", check=False)
    assert server.code == 1
    assert "nobody could log in any more: a rule of ufw's closes SSH's port 22" in said
    # By a name, which only what it does then tells.
    server.run("sh", "-ec", "ufw delete deny 22/tcp; ufw deny OpenSSH")
    said = server.run("microblog", "harden", "--no-confirm", check=False)
    assert server.code == 1
    assert "nobody could log in any more: a rule of ufw's closes SSH's port 22" in said
    assert "Status: inactive" in server.run("ufw", "status")
    server.run("microblog", "harden", "--undo")
    server.run("sh", "-ec", "ufw delete deny OpenSSH; ufw delete allow out 443/tcp; ufw deny 22/tcp")

    # A jail that watches another port than sshd's shuts nobody out.
    server.run("sh", "-ec", f"ufw delete deny 22/tcp; touch /var/log/auth.log; echo Port 2222 > {config}")
    server.run("sh", "-c", "systemctl reset-failed ssh; systemctl restart ssh fail2ban")
    wait_until("its jail runs", lambda: "sshd" in server.run("fail2ban-client", "status", check=False))
    assert "NO   fail2ban" in server.run("microblog", "harden", "--check", check=False)
    server.run("microblog", "harden", "--no-confirm")
    assert "2222" in server.run("fail2ban-client", "get", "sshd", "action", "iptables-multiport", "port")
    assert "NO " not in server.run("microblog", "harden", "--check")
    # Where the administrator's own says where it is, that is told.
    (server.root / "etc/fail2ban/jail.local").write_text("[sshd]\nport = 22\n")
    server.run("systemctl", "restart", "fail2ban")
    wait_until("its jail runs", lambda: "sshd" in server.run("fail2ban-client", "status", check=False))
    said = server.run("microblog", "harden", "--no-confirm", check=False)
    assert server.code == 1
    assert "fail2ban's jail sshd leaves out port 2222: somebody's jail.local says where it is" in said
