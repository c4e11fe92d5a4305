"""Packages of the distribution that a command needs."""

import os
import re
import subprocess
from collections.abc import Callable

from microblog.errors import HostError
from microblog.host.machine import lock, signals

_LOCK = "DPkg::Lock::Timeout=600"
# Ubuntu's needrestart would restart services, the site among them, or ask.
_QUIET = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}


def ensure(say: Callable[[str], None], *packages: str, may_remove: bool = False) -> None:
    """Install those that are missing; where apt does not find them, its lists are brought up to date first.

    Not with the lock held: a package's trigger may run 'microblog setup', which would wait for it.

    :param may_remove: take away what is there for them; else it is somebody's, and stays.
    :raises HostError: if apt cannot.
    """
    assert not lock.held(), "apt would wait for this process"  # noqa: S101
    missing = [name for name in packages if not installed(name)]
    if not missing:
        return
    # A new server's own updates hold the lock for some minutes.
    command = ["apt-get", "install", "--yes", "--no-install-recommends", "-o", _LOCK]
    command += [*([] if may_remove else ["--no-remove"]), *missing]
    say(f"Installing {' '.join(missing)} ...")
    done = _run(command)
    if done.returncode and not _removed(done.stdout):
        # An image has no lists, and those of a server that was long off are of no use.
        _run(["apt-get", "update", "-o", _LOCK])
        done = _run(command)
    if done.returncode:
        if going := _removed(done.stdout):
            raise HostError(
                f"to install {' '.join(missing)}, apt would remove {going}",
                "nothing was changed: decide between them, and install it yourself",
            )
        errors = [line for line in done.stdout.splitlines() if line.startswith("E:")] or [
            "it does not say why"
        ]
        raise HostError(f"apt cannot install {' '.join(missing)}: {errors[0]}", f"run: {' '.join(command)}")


def _removed(said: str) -> str:
    """What apt would remove."""
    going = re.search(r"(?m)^The following packages will be REMOVED:\n((?:^ .*\n)+)", said)
    return " ".join(going[1].split()) if going else ""


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=signals.apart(),
        env={**os.environ, **_QUIET, "LC_ALL": "C.UTF-8"},
    )


def installed(name: str) -> bool:
    """Whether dpkg has the package, whole."""
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Status}", name],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=signals.apart(),
    )
    return done.stdout == "installed"
