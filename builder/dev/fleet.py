"""A small fleet on this machine, to look at: the one in which the tests pull plugs."""

import importlib
import signal
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from builder.core.needs import Folder
from builder.core.progress import say, step

_FOLDER = Folder("tests/fleet")


def show() -> None:
    """Start it, print its address, and go on until this is interrupted."""
    # Its modules find each other there, as pytest lets them.
    sys.path.insert(0, str(_FOLDER.path))
    fleets: Any = importlib.import_module("fleets")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="microblog-fleet-")))
        with step("Starting three databases and two applications", "Started the fleet"):
            fleet = stack.enter_context(fleets.started(folder))
        print(f"http://{fleet.site}/", flush=True)
        say(f"Log in as {fleets.NAMES[0]} or {fleets.NAMES[1]}, with the password {fleets.PASSWORD}")
        for node in fleet.nodes:
            say(f"Database {node.number}: process {node.process.pid}, {node.place.address}:{node.port}")
        for number, app in enumerate(fleet.apps, 1):
            say(f"Application {number}: process {app.process.pid}, http://{app.address}/")
        for number, one in enumerate(fleet.balancers, 1):
            pids = " and ".join(str(process.pid) for process in one.processes)
            say(f"Balancer {number}: processes {pids}, http://{one.place.address}/")
        say("Kill or freeze what you like; Ctrl-C ends it all")
        with suppress(KeyboardInterrupt):
            signal.pause()
