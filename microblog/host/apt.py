"""Packages of the distribution that a command needs."""

import os
import subprocess
from collections.abc import Callable

from microblog.errors import HostError


def ensure(say: Callable[[str], None], *packages: str) -> None:
    """Install those that are missing.

    :raises HostError: if apt cannot.
    """
    missing = [name for name in packages if not installed(name)]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    say(f"Installing {' '.join(missing)} ...")
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if line.startswith("E:")] or [
            "it does not say why"
        ]
        raise HostError(f"apt cannot install {' '.join(missing)}: {errors[0]}", f"run: {' '.join(command)}")


def installed(name: str) -> bool:
    """Whether dpkg has the package, whole."""
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Status}", name],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout == "installed"
