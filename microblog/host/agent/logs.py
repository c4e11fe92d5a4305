"""The last lines of a log, with secrets taken out."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from microblog.errors import HostError
from microblog.host.machine import layout, services
from microblog.host.site import secrets

AUDIT = layout.LOGS / "agent.log"
_BYTES = 256 * 1024


def _file(path: Path) -> Callable[[int], str]:
    return lambda _: tail(path)


def _unit(*units: str) -> Callable[[int], str]:
    def read(lines: int) -> str:
        if not services.booted():
            raise HostError("without systemd there is no journal", "its programs write to their output")
        wanted = [word for unit in units for word in ("--unit", unit)]
        return services.run(
            *("journalctl", "--no-pager", "--quiet", "--output=short-iso", f"--lines={lines}", *wanted)
        ).stdout

    return read


SOURCES: dict[str, Callable[[int], str]] = {
    "application": _file(layout.LOGS / "gunicorn.log"),
    "web": _file(Path("/var/log/nginx/microblog.error.log")),
    "setup": _unit("microblog-setup.service", "microblog-setup-later.service"),
    "backup": _unit("microblog-backup.service"),
    "agent": lambda _: tail(AUDIT),
    "job": _unit("microblog-job.service"),
}


# What the application writes, or has written; there is no word of root's in it that was not cleaned before.
_OTHERS = ("application", "web", "agent")


def last(log: str, lines: int) -> str:
    """The last lines of one of :data:`SOURCES`."""
    clean = secrets.clean_of_settings if log in _OTHERS else secrets.clean
    return "\n".join(clean(SOURCES[log](lines)).splitlines()[-lines:])


def tail(path: Path) -> str:
    """The end of a file; of a regular one, with no other name, that no link leads to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise HostError(f"{path} is no plain file")
        file.seek(max(0, status.st_size - _BYTES))
        data = file.read(_BYTES)
    if status.st_size > _BYTES:
        # The rest of a line whose begin is not here: a secret could not be told from it.
        data = data.partition(b"\n")[2]
    return data.decode(errors="replace")
