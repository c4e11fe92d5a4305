"""Rules as ``iptables -S`` lists them (iptables(8), iptables-extensions(8))."""

import re
import shlex
from collections.abc import Iterator

from microblog.host.machine import packets
from microblog.host.machine.packets import Packet, Rule

# What ends a packet's way; other targets let it go on. Who is asked in a queue may let it in.
_ENDS = {
    **dict.fromkeys(("ACCEPT", "QUEUE", "NFQUEUE", "SYNPROXY"), "accept"),
    **dict.fromkeys(("DROP", "REJECT", "TARPIT"), "drop"),
    "RETURN": "return",
}
# Matches that say nothing by themselves: their options do.
_PLAIN = {"tcp", "comment", "multiport", "conntrack", "state", "addrtype", "pkttype"}
# What holds for who keeps within them.
_LIMIT = re.compile(r"(?:-m )?(?:--)?(?:limit|hashlimit|connlimit)(?!-above)(?:-\S+)?")


def links(said: str) -> set[str]:
    """The interfaces that rules for what comes in name."""
    return {name.rstrip("+") for name in re.findall(r"(?m)^-A .*? -i (\S+)", said)}


def drops(said: str, packet: Packet) -> str:
    """The table that is certain not to let a packet in; empty where there is none."""
    names = {"INPUT", *re.findall(r"(?m)^-N (\S+)", said)}
    chains: dict[str, list[Rule]] = {}
    for chain, text in re.findall(r"(?m)^-A (\S+)(.*)$", said):
        if rule := _rule(text, names, packet):
            chains.setdefault(chain, []).append(rule)
    policy = "drop" if re.search(r"(?m)^-P INPUT DROP", said) else "accept"
    return "filter" if packets.ends(chains, "INPUT", policy) == {"drop"} else ""


def _rule(text: str, chains: set[str], packet: Packet) -> "Rule | None":
    conditions: list[bool | None] = []
    for negated, option, values in _options(text):
        if option in ("-j", "-g"):
            how = "goto" if option == "-g" else "jump"
            verdict = f"{how} {values[0]}" if values[0] in chains else _ENDS.get(values[0])
            return (packets.every(conditions, packet), verdict) if verdict else None
        if option == "--comment" or (option == "-m" and values[0] in _PLAIN):
            continue
        if packet.stranger and _LIMIT.fullmatch(f"-m {values[0]}" if option == "-m" else option):
            continue
        holds = _holds(option, values, packet)
        conditions.append(packets.opposite(holds) if negated else holds)
    return None


def _options(text: str) -> Iterator[tuple[bool, str, list[str]]]:
    """Each with its values, and whether it is negated; what the target is told is left out."""
    words = shlex.split(text)
    while words:
        negated = words[0] == "!"
        option, *words = words[negated:]
        # A comment may begin as an option does.
        count = 1 if option == "--comment" else 0
        while count < len(words) and words[count] != "!" and not words[count].startswith("-"):
            count += 1
        yield negated, option, words[:count]
        words = words[count:]


def _holds(option: str, values: list[str], packet: Packet) -> "bool | None":
    listed = values[0].split(",") if values else []
    match option:
        case "-i":
            return packets.is_link(packet.link, listed)
        case "-s" | "-d":
            return packets.may_be_address(listed)
        case "-p":
            return listed[0] in ("tcp", "all")
        case "--dport" | "--dports":
            return packets.is_port(packet.port, listed)
        case "--ctstate" | "--state":
            return True if "NEW" in listed else None if "UNTRACKED" in listed else False
        case "--tcp-flags":
            return {"SYN"} & set(listed) == set(values[1].split(",")) - {"NONE"}
        case "--dst-type":
            return "LOCAL" in listed
        case "--pkt-type":
            return "unicast" in listed
    return None
