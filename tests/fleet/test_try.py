"""``./build.py fleet try``: a fleet to look at, that ends with what started it and leaves nothing."""

import http.client
import os
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import galera
import pytest

from builder.core.paths import ROOT

_COMMAND = (
    "import signal, build; build._listen()\n"
    "from builder.dev import fleet\ntry:\n fleet.show()\nexcept KeyboardInterrupt:\n build._interrupted()"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where all of it is. A socket's path may have some 100 characters."""
    path = Path(tempfile.mkdtemp(prefix="mb-"))
    # The databases are somebody else's processes.
    path.chmod(0o755)
    yield path
    path.rmdir()


def begin(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND], env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def leavings(process: "subprocess.Popen[str]", folder: Path) -> list[str]:
    """What is still there of it: processes, mounts, networks and files."""
    found = [str(path) for path in folder.iterdir()]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [text for text in [path.read_text().replace("\0", " ")] if str(folder) in text]
    for names in (Path("/run/netns"), Path("/sys/class/net")):
        found += [str(path) for path in names.glob(f"mb{process.pid}*")]
    return found


def test_a_fleet_to_look_at(folder: Path) -> None:
    process = begin(folder)
    try:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().strip()).netloc
        # Its authority is its own.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(address, timeout=60, context=context)
        connection.request("GET", "/login")
        assert connection.getresponse().status == 200
        connection.close()
        assert leavings(process, folder)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert process.returncode == 0
    assert not leavings(process, folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "its terminal is closed"])
def test_one_that_is_ended_while_it_starts(folder: Path, number: int) -> None:
    process = begin(folder)
    galera.wait_until("a node begins", lambda: bool([*folder.glob("*/1/log")] or process.poll()))
    process.send_signal(number)
    # Who is impatient changes nothing.
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode == 130
    assert not leavings(process, folder)
