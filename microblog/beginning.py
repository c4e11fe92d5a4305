"""A machine's first boot: who needs the tables waits until setup has made them.

Setup lets the web server and the application start meanwhile. It holds a lock as long as it makes the tables
of a new database; the kernel lets go of that of a setup that was killed.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path("/run/microblog/beginning.lock")


@contextmanager
def tables() -> Iterator[None]:
    """While they are made: what systemd starts after setup is started now."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready()
        yield


def wait() -> None:
    """Until there are tables, or nobody makes them."""
    try:
        with LOCK.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError:
        pass  # none were made since the boot


def ready() -> None:
    """Tell systemd that this unit has started, where it asks to be told (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        systemd.sendall(b"READY=1")
