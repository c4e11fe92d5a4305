"""A machine's disk: small, so that it can be filled, and in memory, so that this is quick."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

from whole import whole

from builder.core.command import program
from builder.core.needs import Program

NEEDS = (Program("mount", "mount"),)
_MIB = 600


def small(folder: Path, stack: ExitStack) -> None:
    """Give a folder a disk of its own, until the end."""
    options = ["-t", "tmpfs", "-o", f"size={_MIB}m,mode=755"]
    with whole():
        subprocess.run([program("mount", "mount"), *options, "microblog", folder], check=True)
        stack.callback(subprocess.run, ["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Take all that is free. :return: the file to delete."""
    path = folder / "filled"
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path
