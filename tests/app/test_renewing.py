"""A program that begins anew: it has what is new on the disk, and nobody is turned away meanwhile."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import flask_migrate
import pytest
from app_client import SECRET_KEY

from microblog import renewing

# A library that is upgraded.
LIBRARY = "VERSION = {}\n"
# What gunicorn serves: the application, and which version of the library it has, after a while.
SERVED = """
import time
import library
from microblog import create_app

def served():
    application = create_app()

    @application.get("/library")
    def version():
        time.sleep(0.3)
        return str(library.VERSION)

    return application
"""


def wait_until(ready):
    ends = time.monotonic() + 300
    while not (answer := ready()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return answer


def count(pid):
    lines = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return [line for line in lines if line.startswith(renewing.COUNT.encode())]


@pytest.mark.once
def test_nobody_is_turned_away(make_app, tmp_path, short_path):
    url = f"sqlite:///{tmp_path}/renewed.db"
    with make_app(database_url=url).app_context():
        flask_migrate.upgrade()
    address = short_path / "socket"
    (tmp_path / "library.py").write_text(LIBRARY.format(1))
    (tmp_path / "served.py").write_text(SERVED)
    environ = {
        **os.environ,
        **{"SECRET_KEY": SECRET_KEY, "DATABASE_URL": url, "BIND": f"unix:{address}", "WEB_CONCURRENCY": "2"},
        **{
            "MICROBLOG_ENV_FILE": os.devnull,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
        },
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    program = Path(sys.executable).with_name("gunicorn")
    command = [sys.executable, program, "--config", "python:microblog.gunicorn_config", "served:served()"]

    def ask(path):
        connection = http.client.HTTPConnection("localhost", timeout=300)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(os.fspath(address))
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        finally:
            connection.close()

    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    answers, asking = [], True

    def visit():
        while asking:
            answers.append(ask("/library"))

    visitors = [threading.Thread(target=visit) for _ in range(6)]
    try:
        wait_until(lambda: ask("/library") == "1")
        for visitor in visitors:
            visitor.start()
        for times, version in (1, "2"), (2, "3"):
            (tmp_path / "library.py").write_text(LIBRARY.format(version))
            process.send_signal(signal.SIGHUP)
            wait_until(lambda now=version: answers[-6:] == [now] * 6)
            assert count(process.pid) == [f"{renewing.COUNT}={times}".encode()]
        asking = False
        for visitor in visitors:
            visitor.join()
        assert set(answers) == {"1", "2", "3"}
        # Told to end, it ends, though it was told to begin anew a moment ago.
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) in (0, -signal.SIGTERM)
        assert ask("/library") not in answers
    finally:
        asking = False
        process.kill()
        process.wait()
