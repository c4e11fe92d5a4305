"""The first process of a container inherits every orphan in it, and is to wait for each when it ends.

Else their remains stay, and who watches for an end never sees it: Debian 13's fakeroot sends its
daemon SIGTERM until there is none.
"""

import os
import signal
import sys

_HANDED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def stand_aside() -> None:
    """Where this is the first process (pid 1): go on as a child of it.

    The first one waits for whatever ends, hands on what it is told by signals, and ends as the child does.
    """
    if os.getpid() != 1:
        return
    # None of these is lost, whenever it comes: they are blocked, and fetched one by one.
    waited_for = {*_HANDED_ON, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waited_for)
        return
    # One that is ignored, as SIGCHLD is by itself, would not be fetched.
    for each in waited_for:
        signal.signal(each, lambda *_: None)
    while True:
        number = signal.sigwait(waited_for)
        if number == signal.SIGCHLD:
            _wait_for_those_that_ended(child)
        # A terminal's Ctrl-C reaches both by itself.
        elif number != signal.SIGINT or not sys.stdin.isatty():
            os.kill(child, number)


def _wait_for_those_that_ended(child: int) -> None:
    """Wait for every process that has ended; end as the child did, if it is one of them."""
    ended = -1
    while ended:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
