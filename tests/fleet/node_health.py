"""Says by HTTP whether this database node serves: 200, or 503 and why not.

It is part of the cluster, has caught up, and its disk has room: one that is full takes nothing that the
others send, and leaves the cluster, or stops.

    node_health.py --socket PATH --data PATH [--bind ADDRESS] [--port 9200]
"""

import argparse
import os
import socketserver
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pymysql

# Of the data's disk, in bytes: what a minute of a busy site writes, and much of what is left of a small one.
ROOM = 64 * 2**20
SECONDS = 1
WANTED = {"wsrep_ready": "ON", "wsrep_cluster_status": "Primary", "wsrep_local_state": "4"}


def problem(socket: str, data: str, room: int = ROOM) -> str:
    """Why this node is not to be asked; empty where it is."""
    status = os.statvfs(data)
    if status.f_bavail * status.f_frsize < room:
        return "its disk is full"
    try:
        connection = pymysql.connect(
            unix_socket=socket, user="root", connect_timeout=SECONDS, read_timeout=SECONDS
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'wsrep_%'")
            found = {str(name): str(value) for name, value in cursor.fetchall()}
            cursor.execute("SELECT @@global.read_only, @@global.wsrep_desync")
            held = cursor.fetchone() or ()
    except (pymysql.err.MySQLError, OSError) as error:
        return str(error.args[-1]) if error.args else type(error).__name__
    wrong = [f"{name} is {found.get(name)}" for name, value in WANTED.items() if found.get(name) != value]
    return ", ".join([*wrong, *(["it is held back"] if any(map(int, held)) else [])])


class Handler(BaseHTTPRequestHandler):
    socket, data = "/run/mysqld/mysqld.sock", "/var/lib/mysql"
    timeout = 5

    def do_GET(self) -> None:
        """Answer."""
        text = problem(self.socket, self.data)
        body = f"{text or 'it serves'}\n".encode()
        self.send_response(503 if text else 200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_OPTIONS = do_GET

    def log_message(self, *_: object) -> None:
        """Asked twice a second by each balancer."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Without a look for this machine's name, which may take a resolver's patience."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--socket", default=Handler.socket, help="the server's")
    parser.add_argument("--data", default=Handler.data, help="the folder of its data")
    parser.add_argument("--bind", default="0.0.0.0", help="the address to listen at")  # noqa: S104
    parser.add_argument("--port", default=9200, type=int)
    asked = parser.parse_args()
    Handler.socket, Handler.data = asked.socket, asked.data
    Server((asked.bind, asked.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
