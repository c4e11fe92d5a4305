"""systemd's view of the services around the site."""

import subprocess
from pathlib import Path

from microblog.errors import HostError


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, in plain English; its output is for the caller to judge."""
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


def start(unit: str) -> None:
    """Start a unit that does not run.

    :raises HostError: if it cannot be started.
    """
    if state(unit) in ("active", "unknown"):
        return
    done = run("systemctl", "start", unit)
    if done.returncode:
        raise HostError(f"{unit} does not start", f"journalctl -u {unit} says why; then: microblog setup")
