"""Archives as they were on a day: snapshot.debian.org and snapshot.ubuntu.com, all pockets of a release.

An address of an archive becomes the one of its state at a time (https://snapshot.debian.org,
https://snapshot.ubuntu.com); MICROBLOG_MIRRORS may lead it elsewhere.
"""

import re
from datetime import datetime, timezone

from builder.core.errors import BuildError
from builder.core.mirrors import mirrored

# An archive's address, and that of its snapshots.
_ARCHIVES = (
    (r"https?://(?:[\w.-]+\.)?debian\.org/debian-security/?", "https://snapshot.debian.org/archive/debian-security/{}/"),
    (r"https?://(?:[\w.-]+\.)?debian\.org/debian/?", "https://snapshot.debian.org/archive/debian/{}/"),
    (r"https?://(?:[\w.-]+\.)?ubuntu\.com/ubuntu(?:-ports)?/?", "https://snapshot.ubuntu.com/ubuntu/{}/"),
)  # fmt: skip
_ADDRESS = re.compile(r"https?://[^\s\]]+")
_DAY, _TIME = "20260131", "T120000Z"
_FORM = "%Y%m%dT%H%M%SZ"


def moment(text: str) -> str:
    """A day, as 20260131, or a time of it, as 20260131T120000Z, as the archives' addresses have it.

    :raises BuildError: it is neither, or it is to come.
    """
    found = f"{text}T000000Z" if len(text) == len(_DAY) else text
    try:
        # strptime(3) takes fewer digits, too.
        when = datetime.strptime(found, _FORM) if len(found) == len(_DAY + _TIME) else None
    except ValueError:
        when = None
    if when is None:
        raise BuildError(f"{text!r} is no day", "Write it as 20260131, or with the time as 20260131T120000Z")
    if when.replace(tzinfo=timezone.utc) > datetime.now(timezone.utc):
        raise BuildError(f"{text} is to come: no archive has that day", "Name a day that is over")
    return found


def address(url: str, when: str) -> str:
    """Where an archive's state at a time is.

    :raises BuildError: it has no snapshots.
    """
    for archive, snapshots in _ARCHIVES:
        if re.fullmatch(archive, url):
            return mirrored(snapshots.format(moment(when)))
    raise BuildError(f"there are no snapshots of {url}", "Leave out --snapshot, or bake on another base")


def sources(text: str, when: str) -> str:
    """Lines of a sources.list(5), or of a .sources file, with the addresses of a time."""
    lines = [
        line if line.lstrip().startswith("#") else _ADDRESS.sub(lambda found: address(found[0], when), line)
        for line in text.splitlines(keepends=True)
    ]
    return "".join(lines)
