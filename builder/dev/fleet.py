"""A small fleet on this machine, to look at: the one in which the tests pull plugs."""

import importlib
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from builder.core.errors import BuildError
from builder.core.needs import Folder
from builder.core.progress import say, step

_FOLDER = Folder("tests/fleet", "fleets")
_ENDS_IT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def show() -> None:
    """Start it, print its address, and go on until this is interrupted.

    :raises BuildError: it does not come up; nothing is left of it.
    """
    # Its modules find each other there, as pytest lets them.
    sys.path.insert(0, str(_FOLDER.path))
    fleets: Any = importlib.import_module(_FOLDER.module)
    for end in _ENDS_IT:
        if signal.getsignal(end) is not signal.SIG_IGN:
            signal.signal(end, _end)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="microblog-fleet-")))
        with step("Starting three databases and two applications", "Started the fleet") as now:
            try:
                fleet = stack.enter_context(fleets.started(folder, now.update))
            except (AssertionError, OSError, subprocess.CalledProcessError) as error:
                reason = str(error).splitlines()[0]
                hint = "It wants some 2 GiB of memory and 2 processors that are not busy"
                raise BuildError(f"the fleet does not come up: {reason}", hint) from error
        print(f"https://{fleet.site}/", flush=True)
        say("Browsers warn of its certificate: it is of the fleet's own authority")
        say(f"Log in as {fleets.NAMES[0]} or {fleets.NAMES[1]}, with the password {fleets.PASSWORD}")
        for node in fleet.nodes:
            say(f"Database {node.number}: process {node.process.pid}, {node.place.address}:{node.port}")
        for number, app in enumerate(fleet.apps, 1):
            say(f"Application {number}: process {app.process.pid}, https://{app.address}/")
        for number, one in enumerate(fleet.balancers, 1):
            pids = " and ".join(str(process.pid) for process in one.processes)
            say(f"Balancer {number}: processes {pids}, https://{one.place.address}/")
        say("Kill or freeze what you like; Ctrl-C ends it all")
        with suppress(KeyboardInterrupt):
            signal.pause()


def _end(number: int, _: FrameType | None) -> None:
    """Once: who is impatient must not end the tidying up."""
    for other in _ENDS_IT:
        signal.signal(other, signal.SIG_IGN)
    say("Ending it all")
    raise KeyboardInterrupt(number)
