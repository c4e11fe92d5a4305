"""Progress on stderr: live lines on a terminal, plain lines with the time in a log."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_REDRAW_SECONDS = 0.5
_LOG_EVERY_SECONDS = 30.0
_BAR_CELLS = 24


def duration(seconds: float) -> str:
    """Seconds as people read them: ``7 s``, ``2 min 05 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def say(text: str) -> None:
    """Print one line of progress. Where nobody reads it any more, a closed terminal, nothing is printed."""
    with contextlib.suppress(OSError):
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", file=sys.stderr, flush=True)
        else:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


_detailed = False


def show_details() -> None:
    """Say from now on what only those want to know who look for a fault."""
    global _detailed
    _detailed = True


def detail(text: str) -> None:
    """As :func:`say`, if details are wanted."""
    if _detailed:
        say(text)


class Step:
    """A step under way: tell it what is being done and how far it has come."""

    def __init__(self, doing: str) -> None:
        self.doing = doing
        self.started = time.monotonic()
        self._detail = ""
        self._fraction: float | None = None
        self._logged = self.started
        self._over = threading.Event()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started

    def update(self, detail: str = "", fraction: float | None = None) -> None:
        """:param detail: what is being done now. :param fraction: 0 to 1 where the total is known."""
        with self._lock:
            self._detail, self._fraction = detail, fraction

    def _line(self) -> str:
        with self._lock:
            parts = [f"{self.doing} ({duration(self.seconds)})"]
            if self._fraction is not None:
                filled = round(min(max(self._fraction, 0.0), 1.0) * _BAR_CELLS)
                parts.append(f"[{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {self._fraction:4.0%}")
            if self._detail:
                parts.append(self._detail)
        return "  ".join(parts)

    def _tick(self) -> None:
        terminal = sys.stderr.isatty()
        while not self._over.wait(_REDRAW_SECONDS):
            if terminal:
                with contextlib.suppress(OSError):
                    print(f"\r\x1b[K{self._line()[:118]}", end="", file=sys.stderr, flush=True)
            elif time.monotonic() - self._logged >= _LOG_EVERY_SECONDS:
                self._logged = time.monotonic()
                say(self._line())


@contextmanager
def step(doing: str, done: str | Callable[[], str]) -> Iterator[Step]:
    """Announce a step, keep a line alive while it lasts, say how long it took.

    :param doing: ``Composing the base debian-12``.
    :param done: ``Composed the base debian-12``, or a function that returns it.
    """
    current = Step(doing)
    if not sys.stderr.isatty():
        say(f"{doing} ...")
    ticker = threading.Thread(target=current._tick, daemon=True)
    ticker.start()
    try:
        yield current
    except BaseException:
        current._over.set()
        ticker.join()
        say(f"{doing}: stopped after {duration(current.seconds)}")
        raise
    current._over.set()
    ticker.join()
    say(f"{done if isinstance(done, str) else done()} in {duration(current.seconds)}")
