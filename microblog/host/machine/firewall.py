"""What keeps packets from this machine: ufw, firewalld, or somebody's rules of iptables or nftables.

Only their own words are read. Where those leave it open whether a port is let in, it is taken to be.
"""

import re
from collections.abc import Iterator

from microblog.host.machine import services

_EVERY = frozenset(range(1, 65536))
# The end of a chain that lets nothing else in.
_IPTABLES_DROPS = re.compile(r"(?m)^-P INPUT DROP|^-A INPUT -j (?:DROP|REJECT)\b")
_NFT_DROPS = re.compile(r"policy drop;|\n\s+(?:counter packets \d+ bytes \d+ )?(?:drop|reject\b.*)\s*\Z")
# A rule with one of these lets nobody new in: the loopback's, answers, other protocols.
_IPTABLES_NARROW = re.compile(r" -i lo | -s 127\.| -p (?!tcp)|--(?:ct)?state (?!\S*NEW)")
_NFT_NARROW = re.compile(
    r'\biif(?:name)? "?lo\b|\bct state (?!.*\bnew\b)|\bsaddr 127\.'
    r"|\b(?:icmp|icmpv6|ipv6-icmp|igmp|udp|esp|vrrp)\b"
)
# What firewalld's names of services stand for, of those that are a web site's.
_SERVICES = {"http": 80, "https": 443}


def ufw_open() -> "set[int] | None":
    """The ports that ufw lets somebody come to; None where it keeps nothing out."""
    said = services.run("ufw", "status", "verbose").stdout
    if "Status: active" not in said or "allow (incoming)" in said:
        return None
    found: set[int] = set()
    # To what: an address, or Anywhere, and ports; either may be missing. Then a profile, or an interface.
    for to in re.findall(r"(?m)^(\S.*?) +(?:ALLOW|LIMIT)", said):
        ports = [word for word in to.split() if re.fullmatch(r"[\d,:]+(/\w+)?", word)]
        if not ports and "/udp" not in to:
            return set(_EVERY)
        for word in ports:
            if not word.endswith("/udp"):
                found |= _ports(word.partition("/")[0])
    return found


def firewalld() -> bool:
    """Whether it keeps out what nobody has let in."""
    return services.state("firewalld.service") == "active"


def dropping() -> str:
    """Whose rules drop packets that none lets in, of programs that have only rules; empty for nobody's."""
    return _dropping()[0]


def _dropping() -> tuple[str, str]:
    """Whose, and the rules as that program lists them."""
    rules = services.answer("iptables", "-S")
    if _IPTABLES_DROPS.search(rules):
        return "iptables", rules
    rules = services.answer("nft", "list", "ruleset")
    return ("nftables", rules) if any(_nft_input(rules)) else ("", "")


def closed(wanted: set[int]) -> tuple[str, set[int]]:
    """Which of these ports nobody comes to from outside, and by whose rules."""
    if (told := ufw_open()) is not None:
        return "ufw", wanted - told
    if firewalld():
        return "firewalld", wanted - firewalld_open(services.answer("firewall-cmd", "--list-all-zones"))
    whose, rules = _dropping()
    if not whose:
        return "", set()
    return whose, wanted - (iptables_open if whose == "iptables" else nft_open)(rules)


def firewalld_open(said: str) -> set[int]:
    """:param said: all zones, as firewall-cmd(1) lists them; of those in use one is enough."""
    found: set[int] = set()
    for zone in re.split(r"\n\s*\n", said):
        fields = dict(re.findall(r"(?m)^\s+([a-z -]+): *(.*)$", zone))
        if "(active" not in zone.partition("\n")[0]:
            continue
        # What is written richly is not read.
        if fields.get("target") == "ACCEPT" or "accept" in zone.partition("rich rules:")[2]:
            return set(_EVERY)
        found.update(_SERVICES[name] for name in fields.get("services", "").split() if name in _SERVICES)
        for one in fields.get("ports", "").split():
            ports, _, kind = one.partition("/")
            if kind == "tcp":
                found |= _ports(ports.replace("-", ":"))
    return found


def iptables_open(said: str) -> set[int]:
    """:param said: rules as ``iptables -S`` lists them."""
    chains: dict[str, list[str]] = {}
    for chain, rule in re.findall(r"(?m)^-A (\S+)(.*)$", said):
        chains.setdefault(chain, []).append(f"{rule} ")
    found: set[int] = set()
    for rule in _reached(chains, "INPUT", r" -[jg] (\S+)"):
        if " -j ACCEPT " not in rule or _IPTABLES_NARROW.search(rule):
            continue
        named = re.search(r"(! )?--dports? (\S+)", rule)
        # What is not to be let in there lets all others in.
        if not named or named[1]:
            return set(_EVERY)
        found |= _ports(named[2])
    return found


def nft_open(said: str) -> set[int]:
    """:param said: the rule set, as nft(8) lists it."""
    found: set[int] = set()
    for chains, first in _nft_input(said):
        for rule in _reached(chains, first, r"\b(?:jump|goto) (\S+)"):
            named = re.search(r"\b(?:tcp|th) dport (\{[^}]*\}|\S+)", rule)
            if not re.search(r"\baccept\b", rule) or (_NFT_NARROW.search(rule) and not named):
                continue
            if not named or named[1].startswith(("@", "!", "vmap")):
                return set(_EVERY)
            found |= _ports(re.sub(r"[{}\s]", "", named[1]).replace("-", ":"))
    return found


def _nft_input(said: str) -> Iterator[tuple[dict[str, list[str]], str]]:
    """The tables that drop what comes in by IPv4: their chains' rules, and the chain with which it begins."""
    # A long set goes on in the next line.
    for table in re.split(r"(?m)^table ", re.sub(r",\n\s+", ", ", said))[1:]:
        bodies = dict(re.findall(r"(?ms)^\s*chain (\S+) \{\n(.*?)^\s*\}", table))
        rules = {
            name: [line for line in body.splitlines() if " hook " not in line]
            for name, body in bodies.items()
        }
        for name, body in bodies.items():
            if "hook input" in body and _NFT_DROPS.search(body) and not table.startswith("ip6 "):
                yield rules, name


def _reached(chains: dict[str, list[str]], first: str, leads: str) -> list[str]:
    """The rules of a chain, and of those that it leads to."""
    known, found = [first], list[str]()
    for chain in known:
        found += chains.get(chain, [])
        for rule in chains.get(chain, []):
            known += [name for name in re.findall(leads, rule) if name in chains and name not in known]
    return found


def _ports(text: str) -> set[int]:
    """``80,443,8000:8100``; what is no port by its number may be any."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition(":")
        if not first.isdigit() or not (last or first).isdigit():
            return set(_EVERY)
        found.update(range(int(first), int(last or first) + 1))
    return found
