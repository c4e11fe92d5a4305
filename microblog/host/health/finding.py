"""One thing that is wrong with a machine, as the doctor tells it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from microblog.config import Config


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    :ivar id: stays the same from one version to the next.
    :ivar severity: ``error``: visitors or data suffer; ``warning``: they will; ``note``: look at it.
    """

    id: str
    severity: str
    what: str
    why: str
    remedy: str


# Each looks at one kind of trouble; the plain ones need no settings, which may be what is wrong.
Check = Callable[[Config], Iterator[Finding]]
Plain = Callable[[], Iterator[Finding]]
