"""systemd's view of the services around the site."""

import re
import subprocess
from pathlib import Path

from microblog.errors import HostError

_PROGRAM = re.compile(r'\("([^"]+)",pid=')


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, in plain English; its output is for the caller to judge."""
    try:
        return _run(command)
    except FileNotFoundError:
        # 127, as a shell has it: the caller judges, and tells.
        return subprocess.CompletedProcess(command, 127, f"{command[0]}: not found\n")


def _run(command: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )


def state(unit: str) -> str:
    """``active``, ``activating``, ``failed``, ``inactive`` ...; ``unknown`` without systemd."""
    if not Path("/run/systemd/system").is_dir():
        return "unknown"
    return run("systemctl", "show", "--property=ActiveState", "--value", unit).stdout.strip() or "unknown"


def masked(unit: str) -> bool:
    """Whether an administrator has forbidden a unit to start."""
    return run("systemctl", "show", "--property=LoadState", "--value", unit).stdout.strip() == "masked"


def holders(port: int) -> set[str]:
    """The programs that listen on a TCP port, on any address."""
    found: set[str] = set()
    for line in run("ss", "-Hltnp").stdout.splitlines():
        fields = line.split()
        # ss(8): state, receive queue, send queue, local address, peer's, process.
        if len(fields) > 3 and fields[3].endswith(f":{port}"):
            found.update(_PROGRAM.findall(line))
    return found


def start(unit: str) -> None:
    """Start a unit that does not run.

    :raises HostError: if it cannot be started.
    """
    if state(unit) in ("active", "unknown"):
        return
    if masked(unit):
        raise HostError(f"{unit} is masked", f"systemctl unmask {unit}; then: microblog setup")
    done = run("systemctl", "start", unit)
    if done.returncode:
        raise HostError(f"{unit} does not start", f"journalctl -u {unit} says why; then: microblog setup")
