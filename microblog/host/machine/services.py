"""The services around the site: systemd's, or, in a container without it, init scripts."""

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from microblog import names
from microblog.errors import HostError
from microblog.host.machine import signals

_PROGRAM = re.compile(r'\("([^"]+)",pid=')
_START_SECONDS = 60


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, in plain English; its output is for the caller to judge."""
    try:
        return _run(command)
    except FileNotFoundError:
        # 127, as a shell has it: the caller judges, and tells.
        return subprocess.CompletedProcess(command, 127, f"{command[0]}: not found\n")


def answer(*command: str) -> str:
    """What a program answers, without its complaints: postconf has some of a setting that is there twice."""
    try:
        return _run(command, subprocess.DEVNULL).stdout
    except FileNotFoundError:
        return ""


def _run(command: tuple[str, ...], complaints: int = subprocess.STDOUT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        # A unit's last words may be in any encoding.
        errors="replace",
        start_new_session=signals.apart(),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )


def wait_for(condition: Callable[[], bool], seconds: float = _START_SECONDS) -> bool:
    """Wait until a service that has just been started is ready, for which systemd does not wait.

    :return: whether it is, within this time.
    """
    deadline = time.monotonic() + seconds
    while not (ready := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return ready


def booted() -> bool:
    """Whether systemd runs this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def state(unit: str) -> str:
    """``active``, ``activating``, ``failed``, ``inactive`` ...; ``unknown`` without any script for it."""
    if not booted():
        if not Path("/etc/init.d", _script(unit)).exists():
            return "unknown"
        return "inactive" if control("status", unit).returncode else "active"
    return run("systemctl", "show", "--property=ActiveState", "--value", unit).stdout.strip() or "unknown"


def goes_on(unit: str) -> bool:
    """Whether a unit that does one thing has not come to its end."""
    return state(unit) in ("active", "activating", "reloading", "deactivating")


def masked(unit: str) -> bool:
    """Whether an administrator has forbidden a unit to start."""
    return run("systemctl", "show", "--property=LoadState", "--value", unit).stdout.strip() == "masked"


def control(action: str, unit: str) -> "subprocess.CompletedProcess[str]":
    """Start, stop, reload or restart a unit; without systemd, by its init script (service(8))."""
    if booted():
        return run("systemctl", action, unit)
    return run("service", _script(unit), action)


def _script(unit: str) -> str:
    return unit.removesuffix(".service")


def log_of(unit: str) -> str:
    """What shows why a unit does not start, for a hint."""
    return f"journalctl -u {unit} says why" if booted() else f"service {_script(unit)} start, and its log"


def listening() -> list[tuple[int, str]]:
    """The TCP ports that the network reaches, and the programs behind them."""
    found: set[tuple[int, str]] = set()
    for line in run("ss", "-Hltnp").stdout.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        address, _, port = fields[3].rpartition(":")
        if port.isdigit() and not names.is_loopback(address):
            programs = {name.split(":")[0] for name in _PROGRAM.findall(line)} or {"?"}
            found.update((int(port), program) for program in programs)
    return sorted(found)


def holders(port: int) -> set[str]:
    """The programs that listen on a TCP port, on any address."""
    return {program for _, program in places(port)}


def places(port: int) -> set[tuple[str, str]]:
    """Where programs listen on a TCP port: each address, empty for all of IPv4, and ``::`` for all of IPv6,
    and the program."""
    found: set[tuple[str, str]] = set()
    for line in run("ss", "-Hltnp").stdout.splitlines():
        fields = line.split()
        # ss(8): state, receive queue, send queue, local address, peer's, process.
        if len(fields) > 3 and fields[3].endswith(f":{port}"):
            address = fields[3].rpartition(":")[0].strip("[]").partition("%")[0]
            address = {"*": "::", "0.0.0.0": ""}.get(address, address)  # noqa: S104
            # Newer gunicorns add what each process is.
            found.update((address, name.split(":")[0]) for name in _PROGRAM.findall(line))
    return found


def start(unit: str) -> bool:
    """Start a unit that does not run.

    :return: whether it was started.
    :raises HostError: if it cannot be started.
    """
    if state(unit) in ("active", "unknown"):
        return False
    if masked(unit):
        raise HostError(f"{unit} is masked", f"systemctl unmask {unit}; then: microblog setup")
    if control("start", unit).returncode:
        raise HostError(f"{unit} does not start", f"{log_of(unit)}; then: microblog setup")
    return True
