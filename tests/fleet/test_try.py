"""``./build.py fleet try``: a fleet to look at, that ends with what started it."""

import http.client
import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

from builder.core.paths import ROOT


def test_a_fleet_to_look_at() -> None:
    command = [sys.executable, "-c", "from builder.dev import fleet; fleet.show()"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().strip()).netloc
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request("GET", "/login")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert process.returncode == 0
    # Nothing of it answers any more.
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/login")
        # With its network gone, whatever is on the way to such an address may answer.
        if connection.getresponse().status != 200:
            return
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()
    raise AssertionError("it still answers")
