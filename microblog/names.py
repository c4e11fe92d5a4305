"""The names and addresses of this machine.

Asked of the kernel and /etc/hosts, never of a name server: at boot there may be none. Read from /proc, not
from ip(8): the application asks while it serves, as a user who starts no programs, and small containers have
no ip.
"""

import ipaddress
import itertools
import re
import socket
import struct
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Where the name is that avahi has on the local network: another than the machine's where somebody
# had that first (RFC 6762, 9). Written by 'microblog card greeting'.
LOCAL = Path("/run/microblog/local-name")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Two root name servers, as examples of what is outside: nothing is sent to them.
_OUTSIDE = ((socket.AF_INET, "198.41.0.4"), (socket.AF_INET6, "2001:503:ba3e::2:30"))
_IPV4, _IPV6 = Path("/proc/net/fib_trie"), Path("/proc/net/if_inet6")
# Flags of a route.
_UP, _REJECT, _LOCAL = 0x1, 0x200, 0x80000000
_LOCAL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.local")


def machine_names() -> list[str]:
    """Its host name, the full names of /etc/hosts, the short one, and that on the local network."""
    host = socket.gethostname().rstrip(".").lower() or "localhost"
    short = host.partition(".")[0]
    found = [host, *_canonical_names(short), short, local_name()]
    return [name for name in dict.fromkeys(found) if name != "localhost"]


def local_name() -> str:
    """The name by which the local network finds it: ``NAME.local``."""
    try:
        found = LOCAL.read_text(encoding="utf-8", errors="replace").strip().lower()
    except OSError:
        found = ""
    if _LOCAL_NAME.fullmatch(found):
        return found
    return f"{socket.gethostname().partition('.')[0].lower() or 'localhost'}.local"


def machine_addresses() -> list[str]:
    """Its addresses of both kinds, without the loopback's: of each kind that first by which it reaches the
    internet, before those of bridges to its own guests."""
    first = outward_addresses()
    found = dict.fromkeys([*_ipv4_addresses(), *_ipv6_addresses()])
    return sorted(found, key=lambda address: (":" in address, address not in first))


def outward_addresses() -> list[str]:
    """Its own address of each kind by which it reaches the internet, as the kernel chooses it."""
    found = []
    for family, outside in _OUTSIDE:
        # Of a datagram socket that is connected the kernel looks for the way, and sends nothing.
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((outside, 53))
            found.append(str(asking.getsockname()[0]))
    return found


def links_out() -> set[str]:
    """The interfaces through which it reaches the internet by IPv4."""
    return {link for link, network, _ in _routes() if network.version == 4 and not network.prefixlen}


def links() -> list[tuple[str, Network]]:
    """The networks that it is in itself, each with the name of its interface: no router is between it and
    their other machines."""
    return [(link, network) for link, network, router in _routes() if router is None and network.prefixlen]


def routers() -> set[Address]:
    """The machines through which it reaches all others."""
    return {router for _, _, router in _routes() if router is not None}


def ascii_name(name: str) -> str:
    """A name as certificates and the DNS have it: small letters, no last dot, others than ASCII encoded.

    As browsers do it (UTS 46): ß and final ς are letters of their own, which Python's codec (IDNA 2003)
    takes for others, and so for somebody else's name.
    """
    name = name.strip().lower().rstrip(".。．｡")
    try:
        return ".".join(map(_ascii_label, re.split("[.。．｡]", name)))
    except UnicodeError:
        return name


def _ascii_label(label: str) -> str:
    if {"ß", "ς"} & {*label}:
        return "xn--" + unicodedata.normalize("NFKC", label).encode("punycode").decode()
    return label.encode("idna").decode()


def is_public(name: str) -> bool:
    """Whether a name may be in the public DNS, as far as it tells itself."""
    return "." in name and not name.endswith((".local", ".localdomain", ".internal", ".lan", ".home.arpa"))


def is_global(address: str) -> bool:
    """Whether an address is one of the whole internet's."""
    return ipaddress.ip_address(address).is_global


def is_address(host: str) -> bool:
    """Whether it is no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine's own programs reach it there.

    :param host: a name or an address, perhaps in brackets or with a zone, as ss(8) and BIND have them.
    """
    host = host.strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _routes() -> Iterator[tuple[str, Network, "Address | None"]]:
    """The kernel's ways that are up, without the loopback's: interface, network, and the router if there
    is one (proc(5), route and ipv6_route; include/uapi/linux/route.h and ipv6_route.h)."""
    for field in _table("/proc/net/route")[1:]:
        link, (network, router, flags), mask = field[0], (int(text, 16) for text in field[1:4]), field[7]
        # In the machine's own order of bytes.
        base, gateway, bits = (struct.pack("=I", number) for number in (network, router, int(mask, 16)))
        length = f"{int.from_bytes(bits, 'big'):b}".count("1")
        if flags & _UP and link != "lo":
            yield (
                link,
                ipaddress.IPv4Network((base, length), strict=False),
                ipaddress.IPv4Address(gateway) if router else None,
            )
    for field in _table("/proc/net/ipv6_route"):
        network, length, router = int(field[0], 16), int(field[1], 16), int(field[4], 16)
        flags, link = int(field[8], 16), field[9]
        wide = ipaddress.IPv6Network((network, length), strict=False)
        if flags & _UP and not flags & (_LOCAL | _REJECT) and link != "lo" and not wide.is_multicast:
            yield link, wide, ipaddress.IPv6Address(router) if router else None


def _table(path: str) -> list[list[str]]:
    try:
        return [line.split() for line in Path(path).read_text().splitlines() if line.strip()]
    except OSError:
        return []


def _canonical_names(short: str) -> list[str]:
    """The full names that /etc/hosts gives the machine's own."""
    try:
        lines = Path("/etc/hosts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        names = line.partition("#")[0].split()[1:]
        if short in (name.partition(".")[0] for name in names):
            found += [name for name in names if name != "localhost"]
    return found


def _ipv4_addresses() -> list[str]:
    """Local addresses, from the routing table (proc(5), fib_trie)."""
    try:
        lines = _IPV4.read_text().splitlines()
    except OSError:
        return []
    found = []
    for address, kind in itertools.pairwise(lines):
        if "/32 host LOCAL" in kind and "|--" in address:
            value = address.split("|--")[1].strip()
            if not ipaddress.ip_address(value).is_loopback:
                found.append(value)
    return found


def _ipv6_addresses() -> list[str]:
    """Addresses of global scope (proc(5), if_inet6: address, index, prefix, scope, flags, name)."""
    try:
        lines = _IPV6.read_text().splitlines()
    except OSError:
        return []
    fields = [line.split() for line in lines]
    return [str(ipaddress.IPv6Address(int(field[0], 16))) for field in fields if field[3] == "00"]
