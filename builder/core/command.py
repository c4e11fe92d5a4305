"""Run other programs: as lists, their output in a log, their failure as one line."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.core.errors import BuildError
from builder.core.needs import Program

_CLEAN_UP_SECONDS = 120.0


def program(name: str, package: str, optional: bool = False) -> str:
    """The full path of a program. To call this is to declare the need (:mod:`builder.core.needs`).

    :param package: the Debian package that has it.
    :param optional: some distributions have no such package.
    :raises BuildError: it is not installed; the hint names the package.
    """
    return Program(name, package, optional).path


def run(
    args: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    hint: str = "",
    cwd: Path | None = None,
    good: Sequence[int] = (0,),
) -> None:
    """Run a program to its end, output appended to a log.

    :param good: the exit codes that mean success.
    :raises BuildError: it exits otherwise. The message has the last line it printed, the hint the log's path.
    """
    with log.open("ab") as out:
        out.write(f"$ {' '.join(str(arg).partition(chr(10))[0] for arg in args)}\n".encode())
        out.flush()
        code = subprocess.run(
            [str(arg) for arg in args],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            cwd=cwd,
            check=False,
        ).returncode
    if code not in good:
        raise BuildError(
            f"{Path(args[0]).name} failed (exit {code}): {last_line(log)}", hint or f"The whole log: {log}"
        )


def attend(
    args: Sequence[str | Path], *, env: Mapping[str, str] | None = None, stdout: int | None = None
) -> int:
    """Run a program that prints for people; when this one is interrupted, let it clean up before going on.

    (subprocess.run would kill it outright, and leave the machines that it started alone.)

    :param stdout: the file descriptor to print to, if not this program's.
    :return: its exit code.
    """
    process = subprocess.Popen(
        [str(arg) for arg in args],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        return process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(_CLEAN_UP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise


def output(args: Sequence[str | Path], *, env: Mapping[str, str] | None = None, hint: str = "") -> str:
    """Run a program and return what it printed on stdout.

    :raises BuildError: it exits non-zero; the message has the last line of its stderr.
    """
    done = subprocess.run(
        [str(arg) for arg in args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise BuildError(f"{Path(args[0]).name} failed: {lines[-1]}", hint)
    return done.stdout


def last_line(log: Path) -> str:
    """The last line of a log that says something; the first one marked as an error goes before it."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[-40:]]
    lines = [line for line in lines if line and not line.startswith("$ ")]
    errors = [line for line in lines if line.startswith(("E:", "error:", "Error:"))]
    return [*errors[:1], *lines[-1:], "it printed nothing"][0][:300]
