"""Whom a firewall lets in, read from the kernel's rules: each as its own program has listed it."""

import subprocess
from pathlib import Path

import pytest

from microblog import names
from microblog.host.machine import firewall, iptables, nftables
from microblog.host.machine.packets import Packet

# As ufw 0.36 and firewalld 1.3 have made them.
LISTED = Path(__file__).parent / "firewalls"
UFW = (LISTED / "ufw.txt").read_text()
FIREWALLD = (LISTED / "firewalld.txt").read_text()


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that comes to the internet by eth0, and has guests on docker0."""
    (tmp_path / "docker0/bridge").mkdir(parents=True)
    monkeypatch.setattr(firewall, "_LINKS", tmp_path)
    monkeypatch.setattr(firewall.names, "links_out", lambda: {"eth0"})
    monkeypatch.setattr(firewall, "ufw_on", lambda: False)
    monkeypatch.setattr(firewall, "firewalld", lambda: False)
    return tmp_path


def lets_in(monkeypatch: pytest.MonkeyPatch, *, iptables: str = "", nft: str = "") -> set[int]:
    """The web's ports, as far as anybody comes there."""
    told = {"iptables": iptables, "nft": nft}
    monkeypatch.setattr(firewall.services, "answer", lambda *command: told[command[0]])
    return {80, 443} - set(firewall.closed({80, 443}))


IPTABLES = """-P INPUT DROP
-P FORWARD ACCEPT
-P OUTPUT ACCEPT
-N more
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment "-j ACCEPT" -j ACCEPT
-A INPUT -p udp -m udp --dport 80 -j ACCEPT
-A INPUT -j more
-A INPUT -p tcp -m tcp --dport 80 -j DROP
-A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT
-A OUTPUT -j ACCEPT
"""


@pytest.mark.parametrize(
    ("rule", "opened"),
    [
        ("", set()),
        ("-p tcp -m multiport --dports 80,8000:8010 -j ACCEPT", {80}),
        ("-p tcp -m tcp --dport 443 -j ACCEPT", {443}),
        ("-p tcp -m tcp ! --dport 3306 -j ACCEPT", {80, 443}),
        ("-m conntrack --ctstate NEW -j ACCEPT", {80, 443}),
        ("-s 10.0.0.0/8 -j ACCEPT", {80, 443}),
        ("-i eth1 -j ACCEPT", {80, 443}),
        ("-p tcp -m set --match-set web dst -j ACCEPT", {80, 443}),
        # As CSF writes them, who negates.
        ("! -i lo -p tcp -m conntrack --ctstate NEW -m tcp --dport 80 -j ACCEPT", {80}),
        ("-m conntrack ! --ctstate INVALID -j ACCEPT", {80, 443}),
        ("! -p udp -j ACCEPT", {80, 443}),
        ("! -s 127.0.0.0/8 -p tcp -m tcp --dport 443 -j ACCEPT", {443}),
        ("! -i eth0 -j ACCEPT", set()),
        ("! -p tcp -j ACCEPT", set()),
        ("-m conntrack ! --ctstate NEW -j ACCEPT", set()),
        # By where it comes to, or from, as far as that is known.
        ("-i eth+ -j ACCEPT", {80, 443}),
        ("-i docker0 -j ACCEPT", set()),
        ("-d 127.0.0.0/8 -j ACCEPT", set()),
        ("-m addrtype --dst-type LOCAL -j ACCEPT", {80, 443}),
        ("-m addrtype --dst-type MULTICAST,BROADCAST -j ACCEPT", set()),
        ("-m pkttype --pkt-type broadcast -j ACCEPT", set()),
        # The beginning of a connection, and not.
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT", {80, 443}),
        ("-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK -j ACCEPT", set()),
        ("-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT", set()),
        # Whom another program lets in.
        ("-p tcp -j NFQUEUE --queue-num 0", {80, 443}),
        ("-p tcp -m tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY --mss 1460", {80}),
        # What ends nobody's way.
        ('-j LOG --log-prefix "-j ACCEPT "', set()),
        ("-g nowhere", set()),
        ("-j RETURN", set()),
    ],
)
def test_whom_iptables_lets_in(monkeypatch: pytest.MonkeyPatch, rule: str, opened: set[int]) -> None:
    said = IPTABLES + (f"-A more {rule}\n" if rule else "")
    assert lets_in(monkeypatch, iptables=said) == opened
    assert not iptables.drops(said, Packet(22, "eth0"))
    assert "iptables" in (firewall.dropping(), *firewall.closed({80, 443}).values()) or opened == {80, 443}


def test_the_first_rule_that_holds_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    lets, drop = (
        "-A more -p tcp -m tcp --dport 80 -j ACCEPT\n",
        "-A more -p tcp -m tcp --dport 80 -j DROP\n",
    )
    assert lets_in(monkeypatch, iptables=IPTABLES + lets + drop) == {80}
    assert lets_in(monkeypatch, iptables=IPTABLES + drop + lets) == set()
    # One that keeps only some out, or some more than others, is no matter.
    for some in ("-s 203.0.113.9/32", "-m limit --limit 3/min", "-i eth1", "-m set --match-set bad src"):
        said = IPTABLES + f"-A more {some} -j DROP\n" + lets
        assert lets_in(monkeypatch, iptables=said) == {80}, some
    # To a chain that is gone to, nobody comes back.
    gone = IPTABLES + "-N other\n-A other -s 203.0.113.9/32 -j DROP\n-A more -g other\n" + lets
    assert lets_in(monkeypatch, iptables=gone) == set()
    jumped = gone.replace("-g other", "-j other")
    assert lets_in(monkeypatch, iptables=jumped) == {80}


OPEN = "-P INPUT ACCEPT\n-N LOGDROP\n-A LOGDROP -m limit --limit 5/min -j LOG\n-A LOGDROP -j DROP\n"


@pytest.mark.parametrize(
    ("rules", "whose"),
    [
        ("", ""),
        ("-A INPUT -j DROP", "iptables"),
        ("-A INPUT -j REJECT --reject-with icmp-port-unreachable", "iptables"),
        ("-A INPUT -i eth0 -j DROP", "iptables"),
        ("-A INPUT -i ens19 -j DROP", "iptables"),
        ("-A INPUT ! -i lo -j LOGDROP", "iptables"),
        ("-A INPUT -j LOGDROP", "iptables"),
        ("-A INPUT -g LOGDROP", "iptables"),
        ("-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j REJECT", "iptables"),
        ("-A INPUT -p tcp -m conntrack --ctstate NEW -j DROP", "iptables"),
        ("-A INPUT -p tcp -m multiport ! --dports 22,80,443 -j DROP", "iptables"),
        ("-A INPUT -p tcp -m tcp --dport 1:1023 -j DROP", "iptables"),
        ("-A INPUT -p tcp -m tcp --dport 1024:65535 -j ACCEPT\n-A INPUT -j DROP", "iptables"),
        # fail2ban's, Docker's, of a list of bad ones, of what is no beginning: nobody's firewall.
        ("-N f2b-sshd\n-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd\n-A f2b-sshd -j DROP", ""),
        ("-A INPUT -i docker0 -j DROP", ""),
        ("-A INPUT -m set --match-set bad src -j DROP", ""),
        ("-A INPUT -m conntrack --ctstate INVALID -j LOGDROP", ""),
        ("-A INPUT -s 100.64.0.0/10 ! -i tailscale0 -j DROP", ""),
        ("-A FORWARD -j DROP", ""),
        # Who is on a list is let in by any port, and nobody else; or, within a limit, everybody is.
        ("-A INPUT -s 10.0.0.0/8 -j ACCEPT\n-A INPUT -j DROP", "iptables"),
        ("-A INPUT -m set --match-set good src -j ACCEPT\n-A INPUT -j REJECT", "iptables"),
        ("-A INPUT ! -s 10.0.0.0/8 -i eth0 -m mac --mac-source 02:00:00:00:00:01 -j DROP", ""),
        ("-N flood\n-A INPUT -j flood\n-A flood -m limit --limit 9/sec -j RETURN\n-A flood -j DROP", ""),
        ("-A INPUT -m hashlimit --hashlimit-above 9/sec --hashlimit-name x -j DROP", ""),
        ("-A INPUT -p tcp -m connlimit --connlimit-above 9 --connlimit-mask 32 -j DROP", ""),
        ("-A INPUT -p tcp -m connlimit --connlimit-upto 9 -j ACCEPT\n-A INPUT -j DROP", ""),
        ("-A INPUT -p tcp -m recent --rcheck --name scan -j DROP", ""),
    ],
)
def test_what_is_somebodys_firewall(monkeypatch: pytest.MonkeyPatch, rules: str, whose: str) -> None:
    lets_in(monkeypatch, iptables=f"{OPEN}{rules}\n")
    assert firewall.dropping() == whose


# As nft(8) lists it.
NFT = """table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept
		ct state vmap { invalid : drop, established : accept, related : accept }
		meta l4proto ipv6-icmp accept
		tcp dport 22 accept
		udp dport 80 accept
		jump more
	}

	chain more {
RULE	}

	chain output {
		type filter hook output priority filter; policy accept;
		accept
	}
}
"""


@pytest.mark.parametrize(
    ("rule", "opened"),
    [
        ("", set()),
        ("tcp dport { 80, 8000-8010 } ct state new accept", {80}),
        ("tcp dport { 22, 25,\n\t\t\t 443 } counter packets 0 bytes 0 accept", {443}),
        ("tcp dport != 3306 accept", {80, 443}),
        ("tcp dport @web accept", {80, 443}),
        ("tcp dport vmap { 80 : accept }", {80}),
        ("ct state new accept", {80, 443}),
        ('iifname "eth1" accept', {80, 443}),
        ("ip saddr 10.0.0.0/8 accept", {80, 443}),
        ("tcp dport 80 drop", set()),
        # By what it is not.
        ("ct state != invalid accept", {80, 443}),
        ('iifname != "lo" tcp dport 80 accept', {80}),
        (
            'tcp dport 80 log prefix "I drop " flags all accept\n\t\ttcp dport 443 log prefix "or " drop'
            "\n\t\taccept",
            {80},
        ),
        ("meta l4proto != udp accept", {80, 443}),
        ("meta l4proto { tcp, udp } th dport 443 accept", {443}),
        ("ct state established,related accept", set()),
        # Of other kinds, or to other ends.
        ("ip6 saddr 2001:db8::/32 tcp dport 80 accept", set()),
        ("icmp type echo-request limit rate 5/second accept", set()),
        ("udp dport { 53, 443 } accept", set()),
        ("ct status dnat accept", set()),
        ('iifname "docker0" accept', set()),
        ("fib daddr type { broadcast, multicast } accept", set()),
        ("meta nfproto ipv6 accept", set()),
        ("tcp flags syn / fin,syn,rst,ack tcp dport 80 accept", {80}),
        ("tcp flags & (fin | syn | rst | ack) == syn tcp dport 80 accept", {80}),
        ("tcp flags & (fin | syn | rst | ack) != syn ct state new accept", set()),
        # What is not read may be so.
        ('iifname . tcp dport { "eth0" . 80 } accept', {80, 443}),
        ("iifname @outside tcp dport 80 accept", {80}),
        ("tcp dport >= 443 accept", {80, 443}),
        ("tcp dport vmap @services", {80, 443}),
        ("queue flags bypass to 0", {80, 443}),
        # The first that holds counts, whoever comes; what is said to a log is no rule.
        ("tcp dport 80 drop\n\t\taccept", {443}),
        ("ip saddr @bad drop\n\t\ttcp dport 80 accept", {80}),
        ('log prefix "I accept " level info flags tcp sequence,options group 2\n\t\tcomment "accept"', set()),
        ('tcp dport vmap { 80 : goto closed, 443 : accept }\n\t\taccept comment "x"', {443}),
    ],
)
def test_whom_nftables_lets_in(monkeypatch: pytest.MonkeyPatch, rule: str, opened: set[int]) -> None:
    said = NFT.replace("RULE", f"\t\t{rule}\n" if rule else "")
    assert lets_in(monkeypatch, nft=said) == opened
    assert not nftables.drops(said, Packet(22, "eth0"))
    # Tables that keep nothing out, or visitors by IPv6 alone, are no matter; one may reject at its end.
    allowing = said.replace("policy drop", "policy accept")
    for other in (allowing, said.replace("inet filter", "ip6 filter")):
        lets_in(monkeypatch, nft=other)
        assert firewall.dropping() == ""
    rejecting = allowing.replace("jump more\n", "jump more\n\t\treject with icmpx admin-prohibited\n")
    assert lets_in(monkeypatch, nft=rejecting) == opened
    for keeps_out in (said, rejecting, allowing.replace("jump more\n", 'jump more\n\t\tiif "eth0" drop\n')):
        lets_in(monkeypatch, nft=keeps_out)
        everybody = not nftables.drops(keeps_out, Packet(9, "eth0"))
        assert everybody or firewall.dropping() == "nftables"


@pytest.mark.parametrize(
    ("rules", "whose"),
    [
        ('iif "eth0" drop', "nftables"),
        ('iifname != "lo" jump logdrop', "nftables"),
        ("goto logdrop", "nftables"),
        ('iifname vmap { "lo" : accept, "eth0" : jump logdrop }', "nftables"),
        ("tcp flags syn / fin,syn,rst,ack reject with tcp reset", "nftables"),
        ("tcp dport != { 22, 80 } drop", "nftables"),
        ("ip saddr 10.0.0.0/8 accept\n\t\tdrop", "nftables"),
        ("tcp dport @web accept\n\t\tip saddr @good accept\n\t\tdrop", "nftables"),
        ("limit rate 9/second burst 5 packets accept\n\t\tdrop", ""),
        ("limit rate over 9/second drop", ""),
        ("ct state invalid drop", ""),
        ("ip saddr @bad drop", ""),
        ("tcp dport 3306 drop", ""),
        ('iifname "docker0" drop', ""),
    ],
)
def test_what_is_somebodys_nftables_firewall(monkeypatch: pytest.MonkeyPatch, rules: str, whose: str) -> None:
    said = (
        'table ip mine {\n\tchain logdrop {\n\t\tlimit rate 5/minute log prefix "x "\n\t\tdrop\n\t}\n'
        f"\tchain in {{\n\t\ttype filter hook input priority 0; policy accept;\n\t\t{rules}\n\t}}\n}}\n"
    )
    lets_in(monkeypatch, nft=said)
    assert firewall.dropping() == whose


# As nft(8) lists them.
SETS = """	set web {
		type inet_service
		flags interval
		comment "elements = { 1 }"
		elements = { 25, 80 comment "the web",
				8000-8010 }
	}

	set outside {
		type ifname
		elements = { "eth1" }
	}

	set good {
		type ipv4_addr
		elements = { 192.0.2.1 }
	}

"""


def test_sets_that_have_a_name_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the rule's own table."""
    for rule, opened in (
        ("tcp dport @web accept", {80}),
        ("tcp dport != @web accept", {443}),
        ("iifname @outside tcp dport 443 accept", {443}),
        ("iifname != @outside tcp dport @web accept", {80}),
        ("ip saddr @good accept", {80, 443}),
        ("tcp dport @webs accept", {80, 443}),
    ):
        said = NFT.replace("RULE", f"\t\t{rule}\n").replace("inet filter {\n", "inet filter {\n" + SETS)
        assert lets_in(monkeypatch, nft=said) == opened, rule
        assert firewall.dropping() == ("" if "!= @web" in rule else "nftables"), rule
    other = NFT.replace("RULE", "\t\ttcp dport @web accept\n")
    assert lets_in(monkeypatch, nft=f"table ip other {{\n{SETS}}}\n{other}") == {80, 443}


def test_firewalld_is_asked_for_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets in 80, some to 8443, and by a rich rule drops https, which a service lets in."""
    assert lets_in(monkeypatch, nft=FIREWALLD) == {80}
    closed = firewall.closed({22, 25, 80, 443, 8443})
    assert closed == {25: "firewalld", 443: "firewalld"}
    assert firewall.dropping() == "firewalld"
    # A zone that takes all, for whoever comes by another interface.
    trusting = FIREWALLD.replace(
        'iifname "eth0" goto filter_IN_public',
        'iifname "eth1" accept\n\t\tiifname "eth0" goto filter_IN_public',
    )
    assert lets_in(monkeypatch, nft=trusting) == {80, 443}


@pytest.mark.parametrize(
    ("rules", "opened"),
    [
        # ufw allow proto tcp from any to any port 80,443
        (["-p tcp -m multiport --dports 80,443 -j ACCEPT"], {80, 443}),
        # ufw allow in on eth0 from 10.0.0.0/8 to any port 80 proto tcp
        (["-s 10.0.0.0/8 -i eth0 -p tcp -m tcp --dport 80 -j ACCEPT"], {80}),
        # ufw limit to 10.0.0.5 port 443 proto tcp
        (
            [
                "-d 10.0.0.5/32 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -m recent --set"
                " --name DEFAULT --mask 255.255.255.255 --rsource",
                "-d 10.0.0.5/32 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -m recent --update"
                " --seconds 30 --hitcount 6 --name DEFAULT --mask 255.255.255.255 --rsource"
                " -j ufw-user-limit",
                "-d 10.0.0.5/32 -p tcp -m tcp --dport 443 -j ufw-user-limit-accept",
            ],
            {443},
        ),
        # ufw allow from 10.0.0.0/8
        (["-s 10.0.0.0/8 -j ACCEPT"], {80, 443}),
        # ufw allow 80/udp
        (["-p udp -m udp --dport 80 -j ACCEPT"], set()),
        # ufw deny 80/tcp
        (["-p tcp -m tcp --dport 80 -j DROP"], set()),
        # ufw allow 8000:8080/tcp
        (["-p tcp -m multiport --dports 8000:8080 -j ACCEPT"], set()),
        # ufw allow in on lo to any port 80
        (
            ["-i lo -p tcp -m tcp --dport 80 -j ACCEPT", "-i lo -p udp -m udp --dport 80 -j ACCEPT"],
            set(),
        ),
        # ufw deny 443/tcp; ufw allow 443: the first one counts.
        (
            [
                "-p tcp -m tcp --dport 443 -j DROP",
                "-p tcp -m tcp --dport 443 -j ACCEPT",
                "-p udp -m udp --dport 443 -j ACCEPT",
            ],
            set(),
        ),
        # ufw deny from 203.0.113.9 to any port 80; ufw allow 80/tcp
        (
            [
                "-s 203.0.113.9/32 -p tcp -m tcp --dport 80 -j DROP",
                "-s 203.0.113.9/32 -p udp -m udp --dport 80 -j DROP",
                "-p tcp -m tcp --dport 80 -j ACCEPT",
            ],
            {80},
        ),
    ],
)
def test_whom_ufw_lets_in(monkeypatch: pytest.MonkeyPatch, rules: list[str], opened: set[int]) -> None:
    """What it lets out, or to others (``allow out``, ``route allow``), is in other chains."""
    monkeypatch.setattr(firewall, "ufw_on", lambda: True)
    assert "-A ufw-user-output -p tcp -m tcp --dport 80 -j ACCEPT" in UFW
    assert "-A ufw-user-forward -p tcp -m tcp --dport 80 -j ACCEPT" in UFW
    said = UFW + "".join(f"-A ufw-user-input {rule}\n" for rule in rules)
    assert lets_in(monkeypatch, iptables=said) == opened
    assert set(firewall.closed({80, 443}).values()) <= {"ufw"}


@pytest.mark.parametrize(
    ("said", "on"),
    [
        ("Status: active\nLogging: on (low)\nDefault: deny (incoming), allow (outgoing)\n", True),
        ("Status: active\nLogging: on (low)\nDefault: allow (incoming), allow (outgoing)\n", False),
        ("Status: inactive\n", False),
    ],
)
def test_whether_ufw_keeps_anybody_out(monkeypatch: pytest.MonkeyPatch, said: str, on: bool) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(
        firewall.services, "run", lambda *command: subprocess.CompletedProcess(command, 0, said)
    )
    assert firewall.ufw_on() is on


def test_without_a_way_to_the_internet_all_networks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bridges to its own guests but for."""
    monkeypatch.setattr(firewall.names, "links_out", set)
    monkeypatch.setattr(firewall.names, "links", lambda: [("eth0", None), ("docker0", None)])
    drop = "-P INPUT ACCEPT\n-A INPUT -i {} -j DROP\n"
    assert lets_in(monkeypatch, iptables=drop.format("eth7")) == {80, 443}
    assert lets_in(monkeypatch, iptables=drop.format("eth0")) == set()


def test_the_way_out_is_the_default_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """proc(5), route: by the kernel of a machine with Docker."""
    monkeypatch.undo()
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"
    rows = [
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0",
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0",
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
    ]
    tables = {"/proc/net/route": [line.split() for line in (head, *rows)]}
    monkeypatch.setattr(names, "_table", lambda path: tables.get(path, []))
    assert names.links_out() == {"eth0"}
    tables["/proc/net/route"].pop(1)
    assert names.links_out() == set()
