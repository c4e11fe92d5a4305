"""What the administrators' pages and the agent agree on.

The pages run as the application's user and send one line of JSON to a Unix socket::

    {"verb": "restore", "by": "ada", "with": {"backup": "microblog-20260101T000000Z-manual.tar.gz"}}

and get one back, ``{"answer": ...}`` or ``{"error": ..., "hint": ...}``. What is longer than a line
follows it: of a piece of an upload, its bytes; of a download, chunks with their lengths before them,
the last of length 0, so that one that was cut short is not taken for whole.
"""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from microblog.errors import HostError

FOLDER = Path("/run/microblog-agent")
SOCKET = FOLDER / "socket"
# What the agent has seen when it last looked: read by pages that must not wait.
SEEN = FOLDER / "seen.json"
LINE_MAX = 16 * 1024
# Of an upload; nginx takes requests of up to 1 MiB.
PIECE_MAX = 512 * 1024
# Providers of DNS whose account a page may be told of, and what certbot's plugins want to know of each. Not
# among them: who wants a file, which could name others and have them read.
DNS_FIELDS: dict[str, tuple[str, ...]] = {
    "cloudflare": ("api_token",),
    "desec": ("token",),
    "digitalocean": ("token",),
    "dnsimple": ("token",),
    "gandi": ("api_key",),
    "gehirn": ("api_token", "api_secret"),
    "infomaniak": ("token",),
    "linode": ("key",),
    "ovh": ("endpoint", "application_key", "application_secret", "consumer_key"),
    "rfc2136": ("server", "port", "name", "secret", "algorithm"),
    "sakuracloud": ("api_token", "api_secret"),
}
# Seconds for a record to be seen everywhere, in which no other job is done.
DNS_WAIT_MAX = 600
_LENGTH = struct.Struct("!I")
CHUNK_MAX = 2**20


class Chunks:
    """Writes a stream of unknown length, for :func:`chunks` to read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        for start in range(0, len(data), CHUNK_MAX):
            part = data[start : start + CHUNK_MAX]
            self._file.write(_LENGTH.pack(len(part)) + part)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def end(self) -> None:
        """Say that it is whole."""
        self._file.write(_LENGTH.pack(0))
        self._file.flush()


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """What :class:`Chunks` has written.

    :raises EOFError: it ends before its end was said.
    """
    while True:
        head = file.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise EOFError("the stream was cut short")
        (length,) = _LENGTH.unpack(head)
        if not length:
            return
        part = file.read(length)
        if len(part) < length:
            raise EOFError("the stream was cut short")
        yield part


class Away(HostError):
    """Nobody answers: there is no agent here."""


def ask(
    verb: str, by: str, given: "dict[str, Any] | None" = None, data: bytes = b"", seconds: float = 60
) -> Any:
    """What the agent answers.

    :param by: who asks, for the audit log.
    :param given: the verb's arguments.
    :param data: of a piece.
    :raises Away: there is no agent, or it does not answer in time.
    :raises HostError: as the agent has it.
    """
    with _asked(verb, by, given, data, seconds) as file:
        return _answer(file)


def tell(verb: str, by: str, given: "dict[str, Any] | None" = None) -> None:
    """Have something done, and do not wait for it.

    :raises Away: there is no agent.
    """
    with _asked(verb, by, given, b"", 5):
        pass


def fetch(verb: str, by: str, given: "dict[str, Any] | None" = None, seconds: float = 60) -> Iterator[bytes]:
    """What the agent gives, in chunks; the first comes when it is known that it can be given.

    :raises HostError: it cannot be.
    :raises EOFError: it is not whole.
    """
    with _asked(verb, by, given, b"", seconds) as file:
        _answer(file)
        yield b""
        yield from chunks(file)


@contextmanager
def _asked(
    verb: str, by: str, given: "dict[str, Any] | None", data: bytes, seconds: float
) -> Iterator[BinaryIO]:
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(seconds)
    try:
        opened.connect(str(SOCKET))
        line = json.dumps({"verb": verb, "by": by, "with": given or {}}).encode() + b"\n"
        # Who refuses a piece does not read it, and has said why.
        with suppress(BrokenPipeError):
            opened.sendall(line + data)
        with opened.makefile("rb") as file:
            yield file
    except OSError as error:
        raise Away(f"the machine's agent does not answer: {error.strerror or 'it takes too long'}") from None
    finally:
        opened.close()


def _answer(file: BinaryIO) -> Any:
    try:
        said = json.loads(file.readline())
    except ValueError:
        raise Away("the machine's agent has hung up") from None
    if "error" in said:
        raise HostError(said["error"], said.get("hint", ""))
    return said["answer"]
