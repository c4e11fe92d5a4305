"""supervisor: the program's link, and the program itself."""

import http.client
import os
import time
from collections.abc import Callable
from pathlib import Path

from microblog.errors import HostError
from microblog.host.machine import files, layout, services

UNIT = "supervisor.service"
_PROGRAM = layout.ETC / "supervisor.conf"
_LINK = Path("/etc/supervisor/conf.d/microblog.conf")
_LOG = layout.LOGS / "gunicorn.log"
_ANSWER_SECONDS = 300
_LOOK_EVERY_SECONDS = 5.0
# One that answers that it is not well may still be connecting to its database.
_UNWELL_SECONDS = 30


def ensure() -> bool:
    """Make the program known to supervisor.

    :return: whether it was not.
    """
    if os.path.lexists(_LINK):
        return False
    files.link(_LINK, _PROGRAM)
    return True


def program_state() -> str:
    """``RUNNING``, ``STOPPED``, ``FATAL`` ... as supervisor calls it; ``UNKNOWN`` if it does not know."""
    words = services.run("supervisorctl", "status", layout.USER).stdout.split()
    return words[1] if len(words) > 1 and words[0] == layout.USER else "UNKNOWN"


def apply() -> None:
    """Have the program run.

    :raises HostError: if supervisor, or the program, does not start.
    """
    if services.start(UNIT):
        services.wait_for(lambda: services.run("supervisorctl", "pid").returncode == 0)
    if program_state() in ("RUNNING", "STARTING"):
        return
    services.run("supervisorctl", "update", layout.USER)
    if program_state() in ("RUNNING", "STARTING"):
        return
    done = services.run("supervisorctl", "start", layout.USER)
    if done.returncode and program_state() != "RUNNING":
        raise _failed()


def stop() -> None:
    """Have the program end, where supervisor runs; it lets requests under way finish first."""
    if Path("/run/supervisor.sock").exists():
        services.run("supervisorctl", "stop", layout.USER)


def restart() -> None:
    """Have the program begin anew, with the settings as they are now.

    :raises HostError: if it does not start.
    """
    stop()
    apply()


def disable() -> None:
    """Have the program end and stay so, across boots too, until :func:`ensure`."""
    stop()
    _LINK.unlink(missing_ok=True)
    if Path("/run/supervisor.sock").exists():
        services.run("supervisorctl", "update", layout.USER)


def wait_for_answer(say: Callable[[str], None]) -> None:
    """Wait until the application answers and reaches its database.

    :raises HostError: if it gives up, or does not answer in time.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    look = time.monotonic() + _LOOK_EVERY_SECONDS
    unwell_since = 0.0
    waiting = False
    while (code := _health()) != http.client.OK:
        if not waiting:
            say("Waiting for the application to answer ...")
            waiting = True
        now = time.monotonic()
        if now > look:
            look = now + _LOOK_EVERY_SECONDS
            if program_state() == "FATAL":
                raise _failed()
        if not code:
            unwell_since = 0.0
        elif now - (unwell_since := unwell_since or now) > _UNWELL_SECONDS:
            raise HostError(
                f"the application is not well: it answers {code}", f"see {_LOG}; then: microblog setup"
            )
        if now > deadline:
            raise _failed()
        time.sleep(0.1)


def answers() -> bool:
    """Whether the application answers, and its database answers it."""
    return _health() == http.client.OK


def _health() -> int:
    """The status of its health check; 0 where nobody answers."""
    connection = http.client.HTTPConnection(*layout.app_address(), timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _failed() -> HostError:
    return HostError("the application does not start", f"see {_LOG}; then: microblog setup")
