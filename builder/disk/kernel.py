"""Which of several kernels is the newest."""

import re
from collections.abc import Iterable

PREFIX = "vmlinuz-"


def newest(names: Iterable[str]) -> str | None:
    """Of the names of files the kernel's of the newest version; None where there is no kernel.

    By its numbers: 6.12.57 is newer than 6.12.9, and what follows a ~ is older than what has none
    (deb-version(7)).
    """
    kernels = [name for name in names if name.startswith(PREFIX)]
    return max(kernels, key=_version, default=None)


def _version(name: str) -> list[tuple[int, int, str]]:
    """Parts that compare as versions do: ~, then the end, then words, then numbers."""
    parts = re.findall(r"~|\d+|[^\d~]+", name.removeprefix(PREFIX))
    kinds = [
        (0, 0, "") if part == "~" else (3, int(part), "") if part.isdigit() else (2, 0, part)
        for part in parts
    ]
    return [*kinds, (1, 0, "")]
