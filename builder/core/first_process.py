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
    # None is lost that comes before there is somebody to hand it to.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
        return
    for number in _HANDED_ON:
        signal.signal(number, lambda number, _: os.kill(child, number))
    if sys.stdin.isatty():
        # Ctrl-C reaches both by itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
