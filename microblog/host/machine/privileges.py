"""Work done as the application's user."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from microblog.errors import HostError
from microblog.host.machine import layout

T = TypeVar("T")


def require_root(what: str, how: str) -> None:
    """:raises HostError: somebody else than root is at it.

    :param what: is being done, as in "only root can WHAT".
    :param how: the command that does it.
    """
    if os.geteuid() != 0:
        raise HostError(f"only root can {what}", how)


def drop() -> None:
    """Become the application's user, for good.

    :raises HostError: if there is no such user.
    """
    uid, gid = layout.user_ids()
    os.initgroups(layout.USER, gid)
    os.setgid(gid)
    os.setuid(uid)
    os.umask(0o027)
    os.environ.update(HOME=str(layout.STATE), USER=layout.USER, LOGNAME=layout.USER)
    os.chdir(layout.STATE)


@contextmanager
def as_owner(path: "Path | None") -> Iterator[None]:
    """Whatever is done within is done as the owner of a file; with None, as who is at it.

    :raises OSError: there is no such file.
    """
    if path is None or os.geteuid() != 0:
        yield
        return
    status = path.stat()
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


# Begins a line that is told while the work goes on.
_TOLD = "\x1e"


def tell(text: str) -> None:
    """From within :func:`call`: say a line of how far the work is, now."""
    os.write(1, f"{_TOLD}{text}\n".encode())


def call(work: Callable[[], str], hear: Callable[[str], None] | None = None) -> tuple[bool, str]:
    """Run a function as the application's user, in a child process.

    A fork, not a new Python: on a slow machine each start of one takes seconds.

    :param hear: is given what the work tells meanwhile (:func:`tell`).
    :return: whether it returned, and what; if it raised, the traceback.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            # What the work prints (Alembic's log) belongs to its result.
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            try:
                drop()
                answer = work()
                code = 0
            except BaseException:
                answer = traceback.format_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(writer, b"\0")
            with os.fdopen(writer, "wb", closefd=False) as pipe:
                pipe.write(answer.encode())
        finally:
            os._exit(code)
    os.close(writer)
    kept: list[bytes] = []
    with os.fdopen(reader, "rb") as pipe:
        for line in pipe:
            if hear and line.startswith(_TOLD.encode()):
                hear(line.decode(errors="replace").strip(f"{_TOLD}\n"))
            else:
                kept.append(line)
    said = b"".join(kept).decode(errors="replace")
    _, status = os.waitpid(child, 0)
    printed, _, answer = said.rpartition("\0")
    done = os.waitstatus_to_exitcode(status) == 0
    return done, answer if done else f"{printed}{answer}"


def ask(what: str, work: Callable[[], T], hear: Callable[[str], None] | None = None) -> T:
    """Like :func:`call`, for work whose answer JSON can hold and whose errors are to be told.

    :param what: what is being done, for the message of an error nobody foresaw.
    :param hear: as for :func:`call`.
    :raises HostError: as raised by the work, or made of what it raised.
    """

    def told() -> str:
        try:
            return json.dumps({"answer": work()})
        except HostError as error:
            return json.dumps({"error": [error.message, error.hint]})
        except Exception as error:
            # SQLAlchemy's own text adds the statement, which may hold anything.
            cause = getattr(error, "orig", None) or error
            detail = str(cause.args[-1]) if cause.args else type(cause).__name__
            return json.dumps({"error": [f"{what}: {detail.splitlines()[0][:300]}", ""]})

    done, text = call(told, hear)
    if not done:
        last = text.strip().splitlines()[-1:] or ["it was killed"]
        raise HostError(f"{what}: {last[0]}")
    reply = json.loads(text)
    if "error" in reply:
        raise HostError(*reply["error"])
    answer: T = reply["answer"]
    return answer
