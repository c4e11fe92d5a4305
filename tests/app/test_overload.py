"""More visitors at once than a machine can serve."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The application, with a page that takes until it is let go.
_APP = """
import os, time
from microblog import create_app

def made():
    app = create_app()

    @app.get("/slow")
    def slow():
        while not os.path.exists(os.environ["LET_GO"]):
            time.sleep(0.05)
        return "at last"

    return app
"""
# More than any configuration lets wait.
_VISITORS = 2_000


@pytest.fixture
def slow_site(tmp_path, short_path):
    """gunicorn with the package's own settings, but one worker: its socket, and the file that lets it go."""
    (tmp_path / "slow.py").write_text(_APP)
    path, let_go = short_path / "socket", tmp_path / "let-go"
    environment = {
        **os.environ,
        **{"PYTHONPATH": f"{ROOT}:{tmp_path}", "MICROBLOG_ENV_FILE": os.devnull, "SECRET_KEY": "x" * 32},
        **{"DATABASE_URL": f"sqlite:///{tmp_path}/slow.db", "WEB_CONCURRENCY": "1", "LET_GO": str(let_go)},
        **{"BIND": f"unix:{path}"},
    }
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--config",
        "python:microblog.gunicorn_config",
        "slow:made()",
    ]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    try:
        for line in process.stderr:
            if b"Booting worker" in line:
                break
        yield path, let_go
    finally:
        let_go.touch()
        process.terminate()
        process.stderr.read()
        process.wait()


def test_who_comes_when_too_many_wait_is_told_so_at_once(slow_site):
    """nginx's own words for it: that the application cannot be reached. All others are answered."""
    path, let_go = slow_site
    visitors = []
    try:
        for _ in range(_VISITORS):
            visitor = socket.socket(socket.AF_UNIX)
            visitor.setblocking(False)
            try:
                visitor.connect(str(path))
            except BlockingIOError:
                visitor.close()
                break
            visitor.sendall(b"GET /slow HTTP/1.0\r\nHost: localhost\r\n\r\n")
            visitors.append(visitor)
        # Enough for a burst of 200, and few enough to leave some of 768 connections: each takes two.
        assert 200 < len(visitors) < 330
        let_go.touch()
        for visitor in visitors:
            visitor.settimeout(300)
            assert b" 200 OK" in visitor.recv(20)
    finally:
        for visitor in visitors:
            visitor.close()
