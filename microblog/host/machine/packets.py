"""Whether a new visitor's packet gets through a chain of rules: asked one by one, and the first that holds
counts, as the kernel does it. What is not known of the packet, such as who sends it, leaves both ways open.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# Whether it holds for the packet, None where that is not known; and then: ``accept``, ``drop``, ``return``,
# ``jump CHAIN``, ``goto CHAIN``.
Rule = tuple["bool | None", str]


@dataclass(frozen=True)
class Packet:
    """The first of a connection by TCP and IPv4, to this machine.

    :ivar link: the interface by which it comes; empty for one that nobody names.
    :ivar stranger: whether it is of somebody who is on no list, and keeps within limits: what is not known
        does not hold for them. Else of anybody.
    """

    port: int
    link: str
    stranger: bool = False


def ends(chains: Mapping[str, Sequence[Rule]], first: str, policy: str) -> set[str]:
    """What may become of a packet: ``accept``, ``drop``, or, where that depends on more, both.

    :param policy: what becomes of one that no rule holds for.
    """
    known: dict[str, set[str]] = {}

    def walk(chain: str) -> set[str]:
        if chain not in known:
            # The kernel takes no chains that lead in circles.
            known[chain] = set()
            known[chain] = _walk(chain)
        return known[chain]

    def _walk(chain: str) -> set[str]:
        found = set[str]()
        for holds, verdict in chains.get(chain, ()):
            if holds is False:
                continue
            kind, _, target = verdict.partition(" ")
            there = walk(target) if target else {kind}
            # From a chain that was jumped to it comes back to the next rule.
            back = kind == "jump" and "return" in there
            found |= there - {"return"} if kind == "jump" else there
            if holds and not back:
                return found
        return found | {"return"}

    return {policy if end == "return" else end for end in walk(first)}


def every(conditions: Iterable["bool | None"], packet: Packet) -> "bool | None":
    """Whether all hold for a packet."""
    found = set(conditions)
    unknown = False if packet.stranger else None
    return False if False in found else unknown if None in found else True


def some(conditions: Iterable["bool | None"]) -> "bool | None":
    """Whether one of them holds."""
    found = set(conditions)
    return True if True in found else None if None in found else False


def opposite(holds: "bool | None") -> "bool | None":
    return None if holds is None else not holds


def is_port(port: int, words: Iterable[str]) -> "bool | None":
    """:param words: ports, or spans of them as ``8000:8100`` or ``8000-8100``; others are not known."""
    return some(_in_span(port, *word.replace("-", ":").partition(":")) for word in words)


def _in_span(port: int, first: str, colon: str, last: str) -> "bool | None":
    if not first.isdigit() or not (last or first).isdigit():
        return None
    return int(first) <= port <= int(last or first)


def is_link(link: str, words: Iterable[str]) -> bool:
    """:param words: interfaces; one may end with ``+`` or ``*``, for all that begin so."""
    return any(link.startswith(word[:-1]) if word.endswith(("+", "*")) else link == word for word in words)


def may_be_address(words: Iterable[str]) -> "bool | None":
    """Whether a visitor's packet has one of these for its sender or its receiver."""
    return some(map(_may_be, words))


def _may_be(word: str) -> "bool | None":
    try:
        network = ipaddress.ip_network(word, strict=False)
    except ValueError:
        return None
    if not network.prefixlen:
        return True
    return False if network.is_loopback or network.is_multicast else None
