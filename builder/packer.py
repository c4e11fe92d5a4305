"""Run Packer through packer.py, and read its machine-readable stream."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from builder import paths
from builder.command import output, program
from builder.errors import BuildError

_HOW_TO_GET = (
    "apt-get install packer; where the distribution has none, take HashiCorp's: "
    "https://developer.hashicorp.com/packer/install"
)
_ESCAPES = {"%!(PACKER_COMMA)": ",", "\\n": "\n", "\\r": ""}


@dataclass(frozen=True)
class Line:
    """One line of ``packer -machine-readable``: ``timestamp,target,type,data...``."""

    kind: str
    data: list[str]

    @property
    def text(self) -> str:
        """What a person would have read; empty for other kinds than ``ui``."""
        return self.data[-1] if self.kind == "ui" and self.data else ""


def parse(line: str) -> Line | None:
    """A line of the stream; None for anything else that got into it.

    Commas and line ends in the data are escaped (Packer: "Machine-Readable Output").
    """
    fields = line.rstrip("\n").split(",")
    if len(fields) < 3 or not fields[0].isdigit():
        return None
    for mark, meant in _ESCAPES.items():
        fields = [field.replace(mark, meant) for field in fields]
    return Line(kind=fields[2], data=fields[3:])


def render(template: str, **values: object) -> str:
    """The text of a template under packer/ (Jinja2)."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.PACKER),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701
    )
    return environment.get_template(template).render(**values)


def find() -> str:
    """The path of Packer.

    :raises BuildError: there is none.
    """
    try:
        return program("packer", "packer", optional=True)
    except BuildError as error:
        raise BuildError(error.message, _HOW_TO_GET) from error


def version(executable: str) -> tuple[int, ...]:
    """Packer's version: ``(1, 6, 6)``."""
    printed = output([executable, "version"], hint=_HOW_TO_GET)
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", printed)
    if not match:
        raise BuildError(f"{executable} is not Packer: it says {printed.strip()[:80]!r}", _HOW_TO_GET)
    return tuple(int(part) for part in match.groups())


def call(
    executable: str,
    command: str,
    template: Path,
    options: Mapping[str, object],
    heard: Callable[[Line], None],
    log: Path,
) -> None:
    """Run one Packer command to its end.

    It runs in a session of its own, so that an interruption here becomes the one SIGTERM after
    which Packer removes its machine and its files; this returns when all of its processes ended.

    :param options: what packer.py makes flags of: ``{"var_file": path}``.
    :param heard: called with each line of the stream.
    :param log: the stream is kept there.
    :raises BuildError: Packer fails; with the first error that it named.
    """
    request = {
        "executable": executable,
        "command": command,
        "template": str(template),
        "options": dict(options),
    }
    errors: list[str] = []
    with log.open("w") as kept:
        child = subprocess.Popen(
            [sys.executable, "-m", "builder.packer_session", json.dumps(request)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env={
                **os.environ,
                "CHECKPOINT_DISABLE": "1",
                "PACKER_CACHE_DIR": str(paths.cache_dir() / "packer"),
                # QEMU's own words are in Packer's debug log alone.
                "PACKER_LOG": "1",
                "PACKER_LOG_PATH": str(log.with_suffix(".debug.log")),
            },
        )
        assert child.stdout is not None  # noqa: S101
        try:
            for raw in child.stdout:
                kept.write(raw)
                kept.flush()
                line = parse(raw)
                if line is None:
                    continue
                if line.kind == "error" or line.data[:1] == ["error"]:
                    errors.append(line.text or line.data[-1])
                heard(line)
        except BaseException:
            _end(child)
            raise
        code = child.wait()
    if code != 0:
        said = next(
            (line.strip() for error in errors for line in error.splitlines() if line.strip()), f"exit {code}"
        )
        raise BuildError(f"packer {command} failed: {said}", f"The whole log: {log}")


def _end(child: "subprocess.Popen[str]") -> None:
    """SIGTERM to the session, then wait until its last process has closed the stream."""
    os.killpg(child.pid, signal.SIGTERM)
    assert child.stdout is not None  # noqa: S101
    drain = threading.Thread(target=child.stdout.read, daemon=True)
    drain.start()
    drain.join(timeout=60)
    if drain.is_alive():
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
