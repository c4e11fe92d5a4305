"""What keeps packets from this machine: ufw, firewalld, or somebody's rules of iptables or nftables.

ufw and firewalld, too, have the kernel do it: its rules are read, and where those leave it open whether a
port is let in, it is taken to be.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from microblog import names
from microblog.host.machine import iptables, nftables, services
from microblog.host.machine.packets import Packet

_LINKS = Path("/sys/class/net")
# That no rule names; two of them, as all those below or above 1024 may be let in.
_UNNAMED = (9, 61001)


def ufw_on() -> bool:
    """Whether ufw keeps out what nobody has let in."""
    said = services.run("ufw", "status", "verbose").stdout
    return "Status: active" in said and "allow (incoming)" not in said


def firewalld() -> bool:
    """Whether it keeps out what nobody has let in."""
    return services.state("firewalld.service") == "active"


def dropping() -> str:
    """Whose rules drop a stranger's packets that none lets in; empty for nobody's."""
    for whose, links in _rules():
        for link in links:
            packets = [Packet(port, link, stranger=True) for port in _UNNAMED]
            if found := next(filter(None, map(whose, packets)), ""):
                return found
    return ""


def closed(wanted: set[int]) -> dict[int, str]:
    """Which of these ports nobody comes to from outside, and by whose rules."""
    found: dict[int, str] = {}
    for whose, links in _rules():
        for port in wanted - set(found):
            dropped = [whose(Packet(port, link)) for link in links]
            if all(dropped):
                found[port] = dropped[0]
    return found


def _rules() -> Iterator[tuple[Callable[[Packet], str], list[str]]]:
    """What tells whose rules are certain to drop a packet, empty for nobody's; and the links to ask for."""
    said = services.answer("iptables", "-S")

    # To ask takes a while.
    owner = cache(lambda: "ufw" if ufw_on() else "firewalld" if firewalld() else "iptables")

    def of_iptables(packet: Packet) -> str:
        return owner() if iptables.drops(said, packet) else ""

    yield of_iptables, _links(iptables.links(said))
    listed = services.answer("nft", "list", "ruleset")

    def of_nftables(packet: Packet) -> str:
        table = nftables.drops(listed, packet)
        return table and ("firewalld" if table == "firewalld" else "nftables")

    yield of_nftables, _links(nftables.links(listed))


def _links(named: set[str]) -> list[str]:
    """The interfaces by which somebody may come from outside: those that lead there, and others of which the
    rules speak, but for the bridges to this machine's own guests."""
    out = names.links_out()
    # Without any way to the internet, those of the networks that it is in.
    others = named if out else named | {link for link, _ in names.links()}
    apart = {link for link in others - {"lo"} if not (_LINKS / link / "bridge").exists()}
    return sorted(out | apart) or [""]
