"""What takes long: one job at a time, in a unit of its own, its progress and result kept.

The unit (microblog-job.service) outlives the agent, the browser and an upgrade of the package; that there
is only one of it is systemd's doing. The last job is kept until the next one: ``job.json``, root's alone.
"""

import fcntl
import json
import os
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from microblog.errors import HostError
from microblog.host.machine import files, services
from microblog.host.site.secrets import clean

STATE = Path("/var/lib/microblog-agent")
RUN = Path("/run/microblog-agent-job")
UNIT = "microblog-job.service"
_END_SECONDS = 10
_LINES = 200
_LINE = 500
_ERROR = 2000

# id, verb, by, state (running, done, failed, interrupted), lines, answer, error, hint, began, ended.
Job = dict[str, Any]


def start(verb: str, by: str, arguments: Mapping[str, Any]) -> Job:
    """Begin a job, whose arguments are checked.

    :raises HostError: another one goes on, or systemd does not start it.
    """
    # Of two who begin at once, one comes second.
    with sole("lock"):
        # One that has said its end may take a moment to end.
        goes_on = busy() and _read().get("state") == "running"
        if goes_on or not services.wait_for(lambda: not busy(), _END_SECONDS):
            raise HostError("another job goes on", "wait for its end")
        job: Job = {"id": secrets.token_hex(8), "verb": verb, "by": by, "state": "running", "lines": []}
        job.update(answer=None, error="", hint="", began=time.time(), ended=None)
        RUN.mkdir(mode=0o700, exist_ok=True)
        _save(job)
        # They may hold a password: in memory, and deleted when the job has read them.
        files.write(
            _request(), json.dumps({"job": job, "with": dict(arguments)}), 0o600, os.getuid(), os.getgid()
        )
        if services.run("systemctl", "start", UNIT).returncode:
            _request().unlink(missing_ok=True)
            error = HostError(f"{UNIT} does not start", services.log_of(UNIT))
            _save(
                {**job, "state": "failed", "error": error.message, "hint": error.hint, "ended": time.time()}
            )
            raise error
    return job


def busy() -> bool:
    """Whether a job goes on."""
    return services.goes_on(UNIT)


def last() -> "Job | None":
    """The job that goes on, or the last one."""
    job = _read()
    if job.get("state") == "running" and not busy():
        # It may have ended since it was read.
        job = _read()
        if job.get("state") == "running":
            # By a power cut, say; the next boot's setup completes what was past its point of no return.
            job.update(state="interrupted")
    return job or None


def run(
    work: "Callable[[str, Mapping[str, Any], Callable[[str], None]], Any]", note: Callable[..., None]
) -> None:
    """The unit's own part: do what was asked for.

    :param work: does a verb with its arguments, and is given what to tell its progress to.
    :param note: writes the end down, in the audit log.
    """
    request = json.loads(_request().read_text(encoding="utf-8"))
    _request().unlink()
    job: Job = request["job"]

    def say(text: str) -> None:
        print(text, flush=True)
        # Before it is cut: of half a secret nobody knows that it is one.
        job["lines"] = [*job["lines"], clean(text)[:_LINE]][-_LINES:]
        # The disk may be full; the work goes on.
        with suppress(OSError):
            _save(job)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    state = "failed"
    try:
        job["answer"] = work(job["verb"], request["with"], say)
        state = "done"
    except HostError as error:
        job.update(error=error.message, hint=error.hint)
    except SystemExit:
        job.update(error="it was stopped", hint="microblog setup completes what it has begun")
    except Exception as error:
        traceback.print_exc()
        job.update(error=f"{type(error).__name__}: {clean(str(error))[:200]}", hint=services.log_of(UNIT))
    job.update({name: clean(job[name])[:_ERROR] for name in ("error", "hint")})
    job.update(state=state, ended=time.time())
    with suppress(OSError):
        _save(job)
    note(job["by"], job["verb"], state, job["error"])


def _request() -> Path:
    return RUN / "request.json"


def _save(job: Job) -> None:
    STATE.mkdir(mode=0o700, exist_ok=True)
    files.write(STATE / "job.json", json.dumps(job), 0o600, os.getuid(), os.getgid())


def _read() -> Job:
    """The last job as it was written down, empty without one."""
    try:
        return load(STATE / "job.json")
    except (OSError, ValueError):
        return {}


def load(path: Path) -> dict[str, Any]:
    """What a file of JSON holds; no link is followed.

    :raises OSError, ValueError: it is not there, or is none.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


@contextmanager
def sole(name: str) -> Iterator[None]:
    """Wait for whoever has this lock, a file in the agent's folder, and have it."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(STATE / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
