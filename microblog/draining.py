"""Whether this machine's application is about to end: balancers are told so first, and send nobody more.

The processes that gunicorn forks share what its first one says here.
"""

import mmap
import os
import signal
import threading
from typing import Any

# Shared by all that are forked after this is imported.
_FLAG = mmap.mmap(-1, 1)


def begin() -> None:
    """Say from now on that this machine is to be left."""
    _FLAG[0] = 1


def is_on() -> bool:
    return bool(_FLAG[0])


def before_the_end(seconds: float) -> None:
    """Let a first SIGTERM begin this, and be obeyed only so many seconds later; a second one, at once.

    :param seconds: as long as balancers take to notice. 0: it is obeyed as it was.
    """
    obey: Any = signal.getsignal(signal.SIGTERM)
    if seconds <= 0 or not callable(obey):
        return

    def drain(number: int, frame: Any) -> None:
        if is_on():
            obey(number, frame)
            return
        begin()
        timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, drain)
