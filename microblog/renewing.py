"""The application begins anew in its own place, with what an upgrade has brought; nobody is turned away.

gunicorn's own reload keeps what its first process has loaded, and with ``preload_app`` that is all of it. So
a SIGHUP ends that process as a SIGTERM does, requests under way first, but for its sockets: it then becomes a
new gunicorn, under the same number, with these (sd_listen_fds(3)). Who comes meanwhile waits in their queue.
"""

import fcntl
import os
import signal
import threading
from contextlib import suppress
from typing import Any

from microblog import draining

# How often this process has begun anew: so others see that it has (proc(5), environ).
COUNT = "MICROBLOG_RENEWED"
# Where sd_listen_fds(3) has the first of them; until then they are kept where nobody comes.
_FIRST, _APART = 3, 100
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# What nginx sends, it sends as soon as it is connected.
_SENT_SECONDS = 0.2
_kept: list[int] = []


def at_hangup(server: Any) -> None:
    """Have gunicorn's first process begin anew when it is told so by SIGHUP."""
    # It came so itself: its socket's file is still its own to take away in the end.
    server.systemd = False

    def hangup(_number: int, frame: Any) -> None:
        if _kept or draining.is_on():
            return
        for listener in server.LISTENERS:
            _kept.append(fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, _APART))
        # Whose socket is somebody else's, leaves its file where it is.
        server.systemd = True
        server.signal(signal.SIGTERM, frame)

    signal.signal(signal.SIGHUP, hangup)


def begin_anew(server: Any) -> None:
    """The first process has let go of everything: if it was told to begin anew, it does, else it ends."""
    if not _kept or draining.is_on() or set(server.SIG_QUEUE) & set(_ENDING):
        return
    environment = dict(server.cfg.env_orig)
    environment["LISTEN_PID"], environment["LISTEN_FDS"] = str(os.getpid()), str(len(_kept))
    environment[COUNT] = str(int(environment.get(COUNT) or 0) + 1)
    for number, kept in enumerate(_kept, _FIRST):
        os.dup2(kept, number)
    os.chdir(server.START_CTX["cwd"])
    os.execve(server.START_CTX[0], server.START_CTX["args"], environment)  # noqa: S606


def see_all_out(worker: Any) -> None:
    """Have a worker that is told to end serve those first whom it has let in.

    gunicorn from 21 on hangs up on who is connected and has not yet sent anything.
    """

    def leave(_number: int, _frame: Any) -> None:
        for listener in worker.sockets:
            with suppress(KeyError, ValueError):
                worker.poller.unregister(listener)
        timer = threading.Timer(_SENT_SECONDS, _end, (worker,))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, leave)


def _end(worker: Any) -> None:
    worker.alive = False
