"""``microblog agent``: takes one request a connection, from the application's user alone.

systemd listens, and starts this when somebody comes; after some minutes without anybody it ends. Each
connection is a process of its own: one that breaks, hangs or is slow keeps no other from being answered.
"""

import json
import os
import signal
import socket
import socketserver
import struct
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO, cast

from microblog import protocol
from microblog.errors import HostError
from microblog.host.agent import jobs, logs, verbs
from microblog.host.agent.arguments import Refused, noted
from microblog.host.machine import layout, privileges
from microblog.host.site import secrets

_IDLE_SECONDS = 300
_CONNECTIONS = 12
# Between two bytes of a request, and for all of it: a download of gigabytes to a phone takes its time.
_SILENCE_SECONDS = 30
_WHOLE_SECONDS = 3600
_CREDENTIALS = struct.Struct("3i")
_BY_MAX = 64


class _Handler(socketserver.StreamRequestHandler):
    timeout = _SILENCE_SECONDS

    def handle(self) -> None:
        # The process is this connection's own.
        signal.alarm(_WHOLE_SECONDS)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError, socket.timeout):
            answer(cast(BinaryIO, self.rfile), cast(BinaryIO, self.wfile))


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    timeout = _IDLE_SECONDS
    max_children = _CONNECTIONS
    # Where it listens itself (tests); systemd has its own.
    request_queue_size = 64
    block_on_close = True
    idle = False

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether it is root or the application's user who asks (unix(7), SO_PEERCRED)."""
        _, uid, _ = _CREDENTIALS.unpack(
            request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if uid in allowed():
            return True
        note("", "", "refused", f"user {uid} may not ask", kept=False)
        return False

    def handle_timeout(self) -> None:
        super().handle_timeout()
        self.idle = not self.active_children


def allowed() -> set[int]:
    """The users who may ask."""
    return {0, layout.user_ids()[0]}


def serve() -> None:
    """Answer until nobody comes any more.

    :raises HostError: not started by systemd's socket.
    """
    privileges.require_root("be the agent", "systemctl start microblog-agent.socket")
    # sd_listen_fds(3): the first is number 3.
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise HostError(
            "the agent is started by its socket",
            "systemctl start microblog-agent.socket, where there is systemd",
        )
    os.umask(0o022)
    with _Server("", _Handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = socket.socket(fileno=3)
        while not server.idle:
            server.handle_request()


def run_job() -> None:
    """The unit of jobs: do what was asked for, and have the agent look at what came of it."""
    privileges.require_root("run a job", "the administrators' pages ask for one")
    os.umask(0o022)
    jobs.run(verbs.do, note)
    with suppress(protocol.Away):
        protocol.tell("look", "a job", {"fresh": True})


def answer(source: BinaryIO, target: BinaryIO) -> None:
    """One request and its answer."""
    verb = by = ""
    try:
        line = source.readline(protocol.LINE_MAX)
        if not line:
            return
        if not line.endswith(b"\n"):
            raise Refused(f"a request is one line of at most {protocol.LINE_MAX} bytes")
        verb, by, given = _read(line)
        entry, found = verbs.checked(verb, given)
        if entry.kind == verbs.GIVE:
            note(by, verb, "begun", found, kept=True)
            _give(entry, found, target)
            return
        _tell(target, {"answer": _do(entry, verb, by, found, source)})
    except HostError as error:
        note(by, str(verb)[:40], "refused", error.message, kept=False)
        said = {"error": error.message, "hint": error.hint}
        # What is refused is told in the words of who asked, who could try there which are a secret.
        _tell(target, said if isinstance(error, Refused) else secrets.cleaned(said))
    except OSError as error:
        if isinstance(error, (BrokenPipeError, ConnectionResetError, TimeoutError)):
            raise
        _tell(target, {"error": f"{error.filename or 'this machine'}: {error.strerror}", "hint": ""})
    except Exception:
        traceback.print_exc()
        _tell(target, {"error": "the agent has failed at that", "hint": "journalctl -u microblog-agent"})


def _read(line: bytes) -> tuple[str, str, Any]:
    try:
        request = json.loads(line)
    # Brackets by the thousand are too deep for it.
    except (ValueError, RecursionError):
        raise Refused("the request is no JSON") from None
    if not isinstance(request, dict) or not set(request) <= {"verb", "by", "with"}:
        raise Refused("a request has verb, by and with, and nothing else")
    by = request.get("by")
    if not isinstance(by, str) or not by.isprintable() or not 0 < len(by) <= _BY_MAX:
        raise Refused("it is not said who asks")
    return request.get("verb", ""), by, request.get("with", {})


def _do(entry: verbs.Verb, verb: str, by: str, found: dict[str, Any], source: BinaryIO) -> Any:
    if entry.kind == verbs.ASK:
        return entry.work(**found)
    if entry.kind == verbs.TAKE:
        return entry.work(source, **found)
    if entry.kind == verbs.JOB:
        done = jobs.start(verb, by, found)
        note(by, verb, "begun", noted(entry.takes, found))
        return done
    done = entry.work(**found)
    note(by, verb, "done", noted(entry.takes, found))
    return done


def _give(entry: verbs.Verb, found: dict[str, Any], target: BinaryIO) -> None:
    stream = protocol.Chunks(target)
    # Before the first byte, what is wrong can be said; later, the stream has no end.
    entry.before(**found)
    _tell(target, {"answer": True})
    entry.work(stream, **found)
    stream.end()


def _tell(target: BinaryIO, said: Mapping[str, Any]) -> None:
    target.write(json.dumps(said).encode() + b"\n")
    target.flush()


def note(by: str, verb: str, what: str, detail: object = "", *, kept: bool = True) -> None:
    """A line for the audit log, which the application's user can neither read nor write.

    :param by: whom the application names: its word, not ours.
    :param kept: in the file, too, which is never cut; else in the journal alone, which forgets.
    """
    told = {"by": by, "verb": verb, "what": what, "detail": detail}
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {json.dumps(told)[:2000]}\n"
    print(line, end="", file=sys.stderr, flush=True)
    if kept:
        with suppress(OSError):
            descriptor = os.open(logs.AUDIT, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o640)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
