"""Where nginx listens for the site: at the web's ports, in the way in which its other sites do.

A socket is all sites' of its address and port: one who listens otherwise than the others changes what is
theirs, or keeps nginx from its next start (ngx_http_core_module, listen).
"""

import ipaddress
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

# nginx's own, before which HTTP/2 is an option of the socket, and of all who share it.
_HTTP2 = (1, 25, 1)
_PLAIN, _TLS = 80, 443
# All addresses, of IPv4 and of IPv6.
ALL = frozenset({"", "::"})


@dataclass(frozen=True)
class Listen:
    """One of nginx's: ``address`` is empty for all of IPv4, and ``::`` for all of IPv6."""

    address: str
    port: int
    options: frozenset[str]


def read(text: str) -> Iterator[Listen]:
    """What a configuration, without comments, listens at; names and Unix sockets are left out."""
    for found in re.findall(r"(?<![\w$])listen\s+([^;{}]+);", text):
        where, *options = found.split()
        host, _, port = where.rpartition(":")
        if where.endswith("]") or (not host and not port.isdigit()):
            host, port = where, str(_PLAIN)
        host = host.strip("[]")
        if host in ("", "*", "0.0.0.0"):  # noqa: S104
            host = ""
        else:
            try:
                host = str(ipaddress.ip_address(host))
            except ValueError:
                continue
        if port.isdigit():
            yield Listen(host, int(port), frozenset(options))


def files(
    before: str, after: str, *, ipv6: bool, version: tuple[int, ...], left: Collection[int] = ()
) -> dict[str, str]:
    """What the site includes, by its files' names: of each kind for IPv4 and IPv6.

    :param before: the configuration of the sites that nginx reads before this one; without comments.
    :param after: of those that it reads later.
    :param ipv6: whether there is any.
    :param version: nginx's.
    :param left: ports that another program has, at one address or at all.
    """
    others = [one for one in (*read(before), *read(after)) if not one.options & {"quic", "udp"}]
    # At an address of its own a site is asked before all that listen at every address. Not where ours,
    # being read first, would answer there what no name claims.
    kept = {(one.address, one.port) for one in read(before)}
    kept |= {(one.address, one.port) for one in others if "default_server" in one.options}
    found: dict[str, list[str]] = {}
    for kind, port in (("plain", _PLAIN), ("tls", _TLS)):
        there = [one for one in others if one.port == port]
        addresses = [
            address
            for address in dict.fromkeys(one.address for one in there)
            if (address, port) in kept and _visited(address, there, tls=kind == "tls")
        ]
        # Who names addresses may have left the others to another program, which would not start any more.
        if not addresses or any(one.address in ALL for one in there):
            # One socket for both: another for IPv4 would find its port taken.
            both = ipv6 and any(one.address == "::" and "ipv6only=off" in one.options for one in there)
            addresses = [*([] if both else [""]), "::", *addresses]
            if port in left:
                addresses = []
        lines = {
            address: _line(address, port, there, version)
            for address in addresses
            if ipv6 or ":" not in address
        }
        found[f"{kind}4"] = [line for address, line in lines.items() if ":" not in address]
        found[f"{kind}6"] = [line for address, line in lines.items() if ":" in address]
        if kind == "tls" and version >= _HTTP2 and lines:
            (found["tls4"] or found["tls6"]).append("http2 on;")
    if not any(found.values()):
        # Without any, nginx would take port 80.
        found["plain4"] = ["listen unix:/run/microblog/nginx.sock;"]
    return {f"nginx-{name}.conf": "".join(f"{line}\n" for line in lines) for name, lines in found.items()}


def _visited(address: str, there: list[Listen], *, tls: bool) -> bool:
    """Whether visitors come to other sites' own address as they would to ours."""
    if address in ALL or ipaddress.ip_address(address).is_loopback:
        return False
    mine = [one for one in there if one.address == address]
    return any("ssl" in one.options for one in mine) == tls and not any(
        "proxy_protocol" in one.options for one in mine
    )


def _line(address: str, port: int, there: list[Listen], version: tuple[int, ...]) -> str:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}" if address else str(port)
    if port == _PLAIN:
        return f"listen {where};"
    # It would be theirs, too.
    sharing = [one for one in there if one.address == address]
    if version < _HTTP2 and (not sharing or any("http2" in one.options for one in sharing)):
        return f"listen {where} ssl http2;"
    return f"listen {where} ssl;"
