"""Signals that come amid what is not to be left half-way."""

import signal
import threading
from types import FrameType


def outlast(*numbers: signal.Signals) -> None:
    """From here on, these do not end this process; nor does a terminal that goes end what it starts then.

    A handler and not SIG_IGN: that would stay with every program that is started, supervisor and, by it, the
    application among them.
    """
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            signal.signal(number, _nothing)


def apart() -> bool:
    """Whether a program is to be started in a session of its own: out of the terminal's reach, as we are."""
    return signal.getsignal(signal.SIGHUP) is _nothing


def _nothing(number: int, frame: "FrameType | None") -> None:
    pass
