"""Stands between the application and its database, and loses what it is told to."""

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path


class Proxy:
    """On a Unix socket, in front of another one.

    :ivar refuse: how many of the next connections end before they begin.
    :ivar lose: what the client says that makes the connection end, once.
    :ivar before: whether it ends before the server has heard that, else when the server has answered it.
    """

    def __init__(self, path: Path, server: Path) -> None:
        self.path, self.server = path, server
        self.refuse = self.refused = 0
        self.lose, self.before = b"", False
        self.lost = 0
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                self.refuse -= 1
                self.refused += 1
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(os.fspath(self.server))
            link = _Link(self, client, server)
            for work in (link.up, link.down):
                threading.Thread(target=work, daemon=True).start()

    def meets(self, said: bytes) -> bool:
        """Whether this is what it loses."""
        with self._lock:
            if not self.lose or self.lose not in said:
                return False
            self.lose = b""
            self.lost += 1
            return True


class _Link:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.drops = False

    def up(self) -> None:
        with suppress(OSError):
            while said := self.client.recv(65536):
                if self.proxy.meets(said):
                    if self.proxy.before:
                        break
                    self.drops = True
                self.server.sendall(said)
        self.end(self.server)
        if self.proxy.before:
            self.end(self.client)

    def down(self) -> None:
        with suppress(OSError):
            while said := self.server.recv(65536):
                if self.drops:
                    break
                self.client.sendall(said)
        self.end(self.client)
        self.end(self.server)

    def end(self, one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
