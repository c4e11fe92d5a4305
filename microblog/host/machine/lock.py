"""One command at a time may change the machine."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from microblog.errors import HostError
from microblog.host.machine import layout

_LOCK = layout.RUN / "setup.lock"
_held = False


def held() -> bool:
    """Whether this process has it."""
    return _held


def free() -> bool:
    """Whether no command is changing the machine at this moment."""
    try:
        with _LOCK.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


@contextmanager
def sole(say: Callable[[str], None]) -> Iterator[None]:
    """Wait for another one to end; the kernel lets go of the lock of one that was killed.

    :raises HostError: in place of the operating system's errors.
    """
    global _held
    try:
        layout.RUN.mkdir(mode=0o755, exist_ok=True)
        with _LOCK.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Waiting for another 'microblog setup' to end ...")
                fcntl.flock(lock, fcntl.LOCK_EX)
            _held = True
            try:
                yield
            finally:
                _held = False
    except OSError as error:
        raise HostError(
            f"{error.filename or 'this machine'}: {error.strerror}", "mend that; then: microblog setup"
        ) from error
