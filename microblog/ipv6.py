"""Whether this machine has IPv6."""

import socket


def available() -> bool:
    """Whether this kernel has it: it may be told not to (``ipv6.disable=1``)."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
