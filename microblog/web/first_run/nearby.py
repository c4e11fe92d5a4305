"""Who sits beside a new machine at home: a visitor from its own private network, in its first hour.

On a Raspberry Pi alone (``CLAIM_NEARBY``), which may have no screen to show the code on. All that is not
seen to be so is taken not to be.
"""

import ipaddress
import math
import time
from pathlib import Path

from flask import request

from microblog import names
from microblog.web.first_run import gate

# Made by 'microblog setup' in the boot in which it makes the machine's secrets, and gone with it: when
# that was, in seconds of a clock that nobody sets (a Pi learns what time it is in this very hour).
FIRST_BOOT = Path("/run/microblog/first-boot")
SECONDS = 3600
# What nginx says of a request that no other proxy says to have passed on; see debian/nginx/microblog.
CAME = "X-Microblog-Came"
_DIRECTLY = "directly"
# RFC 1918; and RFC 3927, where a cable is the whole network.
_PRIVATE = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
)


def minutes_left() -> int:
    """For how many minutes more this visitor needs no code; 0: they need it."""
    if not (gate.state().nearby and _came_directly() and is_neighbour(request.remote_addr or "")):
        return 0
    return max(0, math.ceil(_seconds_left() / 60))


def _seconds_left() -> float:
    try:
        began = int(FIRST_BOOT.read_text())
    except (OSError, ValueError):
        return 0.0
    return began + SECONDS - time.clock_gettime(time.CLOCK_BOOTTIME)


def is_neighbour(text: str) -> bool:
    """Whether that is an address of a private network that this machine is in itself, and not the router's:
    behind that address may be anybody."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address in names.routers() or str(address) in names.machine_addresses():
        return False
    links = names.links()
    # A network of IPv6 is private by the one of IPv4 on the same cable: providers give homes public ones.
    private = {link for link, network in links if network.version == 4 and _is_private(network)}
    return any(link in private and address in network for link, network in links)


def _is_private(network: names.Network) -> bool:
    return any(
        network.subnet_of(private) for private in _PRIVATE if isinstance(network, ipaddress.IPv4Network)
    )


def _came_directly() -> bool:
    """Whether the visitor's machine itself has spoken to this machine's nginx, as far as headers tell."""
    before = request.environ.get("werkzeug.proxy_fix.orig", {})
    # From nginx, over the socket that no other program may enter.
    by_nginx = not before.get("REMOTE_ADDR", request.environ.get("REMOTE_ADDR"))
    return gate.state().one_proxy and by_nginx and request.headers.get(CAME) == _DIRECTLY
