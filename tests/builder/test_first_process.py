"""build.py as the first process of a container."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from builder.core import paths

_AS_USER = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
# A process whose parent is gone, which ends; then whether it is still there.
_ORPHAN = """
    import os, time
    into, out = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.write(out, b"%d" % os.getpid())
            os._exit(0)
        os._exit(0)
    os.wait()
    orphan = int(os.read(into, 20))
    end = time.monotonic() + 60
    while os.path.exists(f"/proc/{orphan}") and time.monotonic() < end:
        time.sleep(0.05)
    print("gone" if not os.path.exists(f"/proc/{orphan}") else "there", os.getpid() == 1)
    raise SystemExit(7)
"""


@pytest.fixture
def container():
    """Start Python in a pid namespace of its own, where it is the first process."""
    started = []

    def start(script):
        process = subprocess.Popen(
            ["unshare", *_AS_USER, "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c",
             "from builder.core import first_process\nfirst_process.stand_aside()\n"
             + textwrap.dedent(script)],
            cwd=paths.ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_an_orphan_that_ends_is_gone_and_the_exit_code_is_kept(container):
    process = container(_ORPHAN)
    assert process.communicate()[0] == "gone False\n"
    assert process.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_handed_on(container, number):
    process = container(
        """
        import os, signal, time
        def end(number, _):
            os.write(1, b"heard %d\\n" % number)
            raise SystemExit(5)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, end)
        # A signal may not meet print().
        os.write(1, b"up\\n")
        while True:
            time.sleep(60)
        """
    )
    assert process.stdout.readline() == "up\n"
    # The first process of the namespace: unshare's child.
    (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(first), number)
    assert process.stdout.readline() == f"heard {number.value}\n"
    process.communicate()
    assert process.returncode == 5


def test_elsewhere_nothing_is_changed():
    script = (
        "import os; from builder.core import first_process; a = os.getpid(); first_process.stand_aside()\n"
    )
    code = f"{script}print(a == os.getpid())"
    done = subprocess.check_output([sys.executable, "-c", code], cwd=paths.ROOT, text=True)
    assert done == "True\n"
