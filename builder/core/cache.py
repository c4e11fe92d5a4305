"""Results that are kept: named by the hash of their inputs, written whole or not at all."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builder.core.errors import BuildError
from builder.core.progress import say

_CHUNK = 1 << 20
_HALF_MADE_SECONDS = 86400


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    return sum_file(path, "sha256")


def sum_file(path: Path, kind: str) -> str:
    """As :func:`sha256_file`, of another kind that hashlib has."""
    digest = hashlib.new(kind)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest(*parts: Any) -> str:
    """A hash of values that can be written as JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def write_bytes(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file so that its name never shows half of it, whoever else writes it.

    :param mode: its permissions; those of any new file if none.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        if mode is not None:
            part.chmod(mode)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """As :func:`write_bytes`, text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people and programs, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=False) + "\n")


_MORE_SPACE = "Free some space there, or point MICROBLOG_CACHE to a larger disk"


def need_space(directory: Path, size: int, what: str, hint: str = _MORE_SPACE) -> None:
    """:raises BuildError: fewer than ``size`` bytes are free where ``directory`` is."""
    free = shutil.disk_usage(directory).free
    if free < size:
        raise BuildError(
            f"{what} needs {size / 1e9:.1f} GB in {directory}, {free / 1e9:.1f} GB are free",
            hint,
        )


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """A directory for half-done work, gone at the end whatever happens.

    What an earlier run left behind when it was killed outright is removed first: a lock
    that nobody holds marks it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for mark in directory.glob("work-*/lock"):
        with mark.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(mark.parent, ignore_errors=True)
    for half_made in directory.glob("work-*"):
        # Killed before it had its lock.
        if not (half_made / "lock").exists() and half_made.stat().st_mtime < time.time() - _HALF_MADE_SECONDS:
            shutil.rmtree(half_made, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="work-", dir=directory))
    # It gets its name when it is locked: another process takes one that is not for a dead one's.
    lock = (work / "lock.new").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (work / "lock.new").rename(work / "lock")
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.close()


@contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Let one process at a time do a thing; the others wait and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Waiting for another build.py that is {what}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
