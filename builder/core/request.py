"""What was asked for on the command line, for whoever along the way it concerns."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """How images are to be made."""

    insist: str | None = None
    """The base to bake on; else the first of the definition's that can be had."""
    given: Path | None = None
    """The file of that base as its publisher offers it, instead of a download; it is checked all the same."""
    accelerator: str = "auto"
    """``auto``, ``kvm`` or ``tcg``."""
    fresh: bool = False
    """Repeat every step, whatever is in the cache."""
    checked: bool = True
    """Boot what is made, and run its tests."""
    thorough: bool = False
    """With the drills that are too long for every day."""
    keep_failed: bool = False
    """Leave the machine, or the chroot, of what failed as it is, for somebody to look at."""
    overlay: Path | None = None
    """A directory whose files are laid into the image."""
    sources: str = ""
    """The file for /etc/apt/sources.list.d/ of a repository that machines update from; empty: none."""
    packages: tuple[str, ...] = ()
    """Installed beside the definition's."""
    snapshot: str = ""
    """A day, as 20260131: packages are taken as the archive had them then; of today if empty."""


USUAL = Request()
