"""The processes of this machine, as far as this user may see them (proc(5))."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One of them."""

    pid: int
    arguments: list[str]
    environment: list[bytes]
    """NAME=VALUE; empty where it is somebody else's."""


def all_of() -> Iterator[Process]:
    """All; one that ends meanwhile is left out."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (place / "cmdline").read_bytes().split(b"\0")[:-1]
            environment: list[bytes] = []
            with contextlib.suppress(PermissionError):
                environment = (place / "environ").read_bytes().split(b"\0")[:-1]
            yield Process(int(place.name), [one.decode(errors="replace") for one in arguments], environment)
