"""TCP ports on loopback for servers that are about to start."""

import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

from builder.core.errors import BuildError

LOOPBACK = "127.0.0.1"
# Below it are the services that people know by number.
_LOWEST, _HIGHEST = 10_000, 65_535
_TRIES = 1000
_given: set[int] = set()


def free_port(address: str = LOOPBACK) -> int:
    """A port that nobody listens on, another with each call.

    Not one of those the kernel gives out by itself: what it is for may start later, or again.

    :raises BuildError: none is to be found.
    """
    end = _kernels()
    if end <= _LOWEST:  # All are the kernel's.
        end = _HIGHEST + 1
    for _ in range(_TRIES):
        port = _LOWEST + secrets.randbelow(end - _LOWEST)
        if port not in _given and _problem(address, port) is None:
            _given.add(port)
            return port
    raise BuildError(f"no port on {address} is free", "See who has them with: ss -ltnp")


def _kernels() -> int:
    """The first of the ports from which the kernel serves connections that name none (ip(7))."""
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def require_free(ports: Mapping[str, int]) -> None:
    """See that the ports can be had; nobody else is given them.

    :param ports: by the option that named each.
    :raises BuildError: somebody listens on one already, or two options name the same.
    """
    seen: dict[int, str] = {}
    for option, port in ports.items():
        if port in seen:
            raise BuildError(f"{seen[port]} and {option} are both {port}", "Choose another for one of them")
        seen[port] = option
        if problem := _problem(LOOPBACK, port):
            raise BuildError(
                f"port {port} on {LOOPBACK} can't be used: {problem}", f"Choose another with {option}"
            )
        _given.add(port)


def _problem(address: str, port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return str(error.strerror)
    return None
