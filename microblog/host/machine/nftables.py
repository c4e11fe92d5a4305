"""Rules as ``nft list ruleset`` lists them (nft(8))."""

import re
from collections.abc import Callable, Iterator

from microblog.host.machine import packets
from microblog.host.machine.packets import Packet, Rule

_VALUE = r'(?P<not>!= )?(?P<value>\{[^}]*\}|"[^"]*"|\S+)'
# What a rule asks of a packet: whether one of the values is its own.
_CONDITIONS: tuple[tuple[str, Callable[[Packet, list[str]], "bool | None"]], ...] = (
    (r"(?:meta )?iif(?:name)?", lambda packet, values: packets.is_link(packet.link, values)),
    (r"(?:tcp|th) dport", lambda packet, values: packets.is_port(packet.port, values)),
    (r"(?:meta l4proto|ip protocol)", lambda _, values: bool({"tcp", "6"} & set(values))),
    (
        "ct state",
        lambda _, values: True if "new" in values else None if {"untracked"} & set(values) else False,
    ),
    ("ct status", lambda _, values: False if values == ["dnat"] else None),
    (r"ip [sd]addr", lambda _, values: packets.may_be_address(values)),
    ("fib daddr type", lambda _, values: "local" in values),
    (r"(?:meta )?pkttype", lambda _, values: bool({"host", "unicast"} & set(values))),
    ("meta nfproto", lambda _, values: "ipv4" in values),
)
# A packet of another kind has no such field, whatever its value.
_OTHERS = re.compile(
    rf"\b(?:udp|udplite|icmp|icmpv6|igmp|sctp|dccp|esp|ah|comp|ip6|rt|frag|hbh) [a-z-]+ {_VALUE}"
)
# Of the beginning of a connection: in the words of older versions, and of newer ones.
_SYN = re.compile(r"\btcp flags (?:& \([^)]*\) (?P<how>[!=]=) syn\b(?! \|)|(?P<not>!= )?syn / [\w,]+)")
# What holds for who keeps within it.
_LIMIT = re.compile(r"\blimit rate (?!over )\S+(?: burst \d+ \w+)?")
_SAID = re.compile(
    r'\bcomment "[^"]*"|\bcounter(?: packets \d+ bytes \d+)?|# handle \d+'
    r'|\blog\b(?: prefix "[^"]*"| (?:level|flags(?: tcp| ip)?|group|snaplen|queue-threshold) [\w,]+)*'
)
_VERDICT = re.compile(
    r"(?:^|\s)(?P<kind>accept|drop|reject|return|queue|synproxy|(?:jump|goto) \S+)(?:\s.*)?$"
)
_MAP = re.compile(r"(?P<asked>.*?)\bvmap (?P<map>\{[^}]*\}|@\S+)")
_ENDS = {"reject": "drop", "queue": "accept", "synproxy": "accept"}


# A set, of ports, interfaces or protocols, that has a name. One of addresses may be long, and tells nothing.
_SET = re.compile(
    r"(?m)^\s*set (?P<name>\S+) \{\n"
    r"\s*(?:type (?:inet_service|inet_proto|ifname)|typeof (?:tcp|th|meta) \S+)\n"
    r"(?:(?!\s*(?:elements|\})).*\n)*\s*elements = (?P<values>\{[^}]*\})"
)


def links(said: str) -> set[str]:
    """The interfaces that rules for what comes in name."""
    found = re.findall(r'\biif(?:name)? (?:!= |vmap )?(\{[^}]*\}|"[^"]*"|\S+)', "".join(_tables(said)))
    return {name.rstrip("*") for text in found for name in re.findall(r'"([^"]+)"', text)}


def drops(said: str, packet: Packet) -> str:
    """The table that is certain not to let a packet in; empty where there is none."""
    for table, chains, first, policy in _inputs(said):
        rules = {name: [rule for line in lines for rule in _rules(line, packet)] for name, lines in chains}
        if packets.ends(rules, first, policy) == {"drop"}:
            return table
    return ""


def _tables(said: str) -> Iterator[str]:
    """Each, from its family on, with the values of sets in the place of their names."""
    # A long set goes on in the next line.
    for text in re.split(r"(?m)^table ", re.sub(r",\n\s+", ", ", said))[1:]:
        known = {found["name"]: found["values"] for found in _SET.finditer(text)}
        yield re.sub(r"@([\w.-]+)", lambda found, known=known: known.get(found[1], found[0]), text)


def _inputs(said: str) -> Iterator[tuple[str, list[tuple[str, list[str]]], str, str]]:
    """Where IPv4 comes in: the table, the lines of its chains, the chain that it begins with, its policy."""
    for text in _tables(said):
        family, table = text.split()[:2]
        if family not in ("ip", "inet"):
            continue
        bodies = re.findall(r"(?ms)^\s*chain (\S+) \{\n(.*?)^\s*\}", text)
        chains = [
            (name, [line.strip() for line in body.splitlines() if " hook " not in line])
            for name, body in bodies
        ]
        for name, body in bodies:
            if hook := re.search(r"hook input .*", body):
                yield table, chains, name, "drop" if "policy drop" in hook[0] else "accept"


def _rules(line: str, packet: Packet) -> Iterator[Rule]:
    """A line is a rule; one with a map is one for each key."""
    text = _SAID.sub("", line)
    if found := _MAP.search(text):
        if found["map"].startswith("@"):
            yield packets.every([None], packet), "accept"
        for entry in _values(found["map"]):
            key, _, verdict = entry.rpartition(" : ")
            if verdict != "continue":
                yield _holds(f"{found['asked']}{key}", packet), verdict
    elif found := _VERDICT.search(text):
        yield _holds(text[: found.start()], packet), _ENDS.get(found["kind"], found["kind"])


def _holds(text: str, packet: Packet) -> "bool | None":
    # Several fields at once, as one.
    if " . " in text:
        return packets.every([None], packet)
    if packet.stranger:
        text = _LIMIT.sub("", text)
    conditions: list[bool | None] = []
    for found in _SYN.finditer(text):
        conditions.append(found["how"] != "!=" and not found["not"])
    text = _SYN.sub("", text)
    for asked, judge in _CONDITIONS:
        pattern = re.compile(rf"(?<![\w-]){asked} {_VALUE}")
        for found in pattern.finditer(text):
            values = _values(found["value"])
            # A set that has a name, or a comparison, is not read.
            holds = None if values[0][:1] in "@$&|^<>=" else judge(packet, values)
            conditions.append(packets.opposite(holds) if found["not"] else holds)
        text = pattern.sub("", text)
    if _OTHERS.search(text):
        conditions.append(False)
    # What is not read may be so or not.
    if _OTHERS.sub("", text).strip():
        conditions.append(None)
    return packets.every(conditions, packet)


def _values(text: str) -> list[str]:
    return [part.strip().strip('"') for part in text.strip("{} ").split(",")]
