"""HAProxy as a fleet has it: one before the application's machines, and one of each machine's own before the
databases, of which one is written to and the others stand by."""

import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from galera import Node, free_port

from builder.core.command import program
from builder.core.needs import Program

NEEDS = (Program("haproxy", "haproxy"),)

_DEFAULTS = """
global
    maxconn 1000
defaults
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 1s
    option redispatch
    retries 3
"""
# Order decides who is written to, on each machine the same. One that comes back has to be good for a while:
# it may not know yet that the others have gone on without it.
_DATABASES = """
listen databases
    mode tcp
    bind 127.0.0.1:{port}
    option httpchk GET /
    default-server inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions
{servers}
"""
_MACHINES = """
frontend web
    mode http
    bind 127.0.0.1:{port}
    # Where none is ready, those that live are asked all the same: they wait for the database with who asks.
    use_backend ready if {{ nbsrv(ready) gt 0 }}
    default_backend alive
backend ready
    mode http
    balance roundrobin
    option httpchk GET /readyz
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
    default-server inter 500ms fall 2 rise 1
{servers}
backend alive
    mode http
    balance roundrobin
    option httpchk GET /healthz
    default-server inter 500ms fall 2 rise 1
{servers}
"""


@contextmanager
def _haproxy(text: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="microblog-") as name:
        path = Path(name) / "haproxy.cfg"
        path.write_text(_DEFAULTS + text)
        with (Path(name) / "log").open("wb") as log:
            process = subprocess.Popen([program("haproxy", "haproxy"), "-f", path], stdout=log, stderr=log)
            try:
                yield
            finally:
                process.kill()
                process.wait()


@contextmanager
def databases(nodes: Sequence[Node], health: Sequence[int]) -> Iterator[int]:
    """A machine's own way to the databases.

    :param health: the ports at which each node's health is told.
    :return: the port to connect to.
    """
    port = free_port()
    lines = [
        f"    server db{node.number} 127.0.0.1:{node.port} check port {at}"
        + (" rise 10 on-marked-up shutdown-backup-sessions" if number == 0 else " backup")
        for number, (node, at) in enumerate(zip(nodes, health, strict=True))
    ]
    with _haproxy(_DATABASES.format(port=port, servers="\n".join(lines))):
        yield port


@contextmanager
def machines(ports: Sequence[int]) -> Iterator[str]:
    """:return: the site's address."""
    port = free_port()
    lines = [f"    server app{number} 127.0.0.1:{one} check" for number, one in enumerate(ports, 1)]
    with _haproxy(_MACHINES.format(port=port, servers="\n".join(lines))):
        yield f"127.0.0.1:{port}"


@contextmanager
def health(node: Node) -> Iterator[int]:
    """Tell whether a node serves: it is part of the cluster and has caught up. :return: the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if node.serves() else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
