"""The first process of a container inherits every orphan in it, and is to wait for each when it ends.

Else their remains stay, and who watches for an end never sees it: Debian 13's fakeroot sends its
daemon SIGTERM until there is none.
"""

import os
import signal
import sys


def stand_aside() -> None:
    """Where this is the first process (pid 1): go on as a child of it.

    The first one waits for whatever ends, hands on what it is told by signals, and ends as the child does.
    """
    if os.getpid() != 1:
        return
    child = os.fork()
    if child == 0:
        return
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(child, number))
    if sys.stdin.isatty():
        # Ctrl-C reaches both by itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
