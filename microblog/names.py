"""The names and addresses of this machine.

Asked of the kernel and /etc/hosts, never of a name server: at boot there may be none.
"""

import ipaddress
import itertools
import re
import socket
from pathlib import Path

# Where the name is that avahi has on the local network: another than the machine's where somebody
# had that first (RFC 6762, 9). Written by 'microblog card greeting'.
LOCAL = Path("/run/microblog/local-name")
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
    """Its addresses of both kinds, without the loopback's."""
    return list(dict.fromkeys([*_ipv4_addresses(), *_ipv6_addresses()]))


def is_public(name: str) -> bool:
    """Whether a name may be in the public DNS, as far as it tells itself."""
    return "." in name and not name.endswith((".local", ".localdomain", ".internal", ".lan", ".home.arpa"))


def is_global(address: str) -> bool:
    """Whether an address is one of the whole internet's."""
    return ipaddress.ip_address(address).is_global


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
        lines = Path("/proc/net/fib_trie").read_text().splitlines()
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
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return []
    fields = [line.split() for line in lines]
    return [str(ipaddress.IPv6Address(int(field[0], 16))) for field in fields if field[3] == "00"]
