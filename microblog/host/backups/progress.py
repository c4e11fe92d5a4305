"""How far a long transfer is: bytes, time, and what is left of it."""

import time
from collections.abc import Callable

_EVERY_SECONDS = 5.0


class Progress:
    """Says a line now and then; a short transfer says none.

    :param what: is being done, for the line's beginning.
    :param total: in bytes; 0 where that is not known.
    """

    def __init__(self, what: str, total: int, say: Callable[[str], None]) -> None:
        self._what, self._total, self._say = what, total, say
        self.done = 0
        self._began = self._said = time.monotonic()

    def add(self, count: int) -> None:
        """So many bytes more are done."""
        self.done += count
        now = time.monotonic()
        if now - self._said >= _EVERY_SECONDS:
            self._said = now
            self._say(line(self._what, self.done, self._total, now - self._began))

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began


def line(what: str, done: int, total: int, seconds: float) -> str:
    """As in ``Sending: 12 of 48 MiB, 25 %, for 10 s, about 30 s left``."""
    if not total:
        return f"{what}: {done / 2**20:.0f} MiB, for {span(seconds)}"
    done = min(done, total)
    left = f", about {span(seconds * (total - done) / done)} left" if done else ""
    return (
        f"{what}: {done / 2**20:.0f} of {total / 2**20:.0f} MiB, {100 * done // total} %,"
        f" for {span(seconds)}{left}"
    )


def span(seconds: float) -> str:
    """A time as people say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
