"""A machine that is told to end: balancers hear of it first."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time

import flask_migrate
import pytest
from app_client import SECRET_KEY

from microblog import draining


def wait_until(ready):
    ends = time.monotonic() + 300
    while not ready():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.once
def test_who_is_here_is_served_and_balancers_are_told(make_app, tmp_path, short_path):
    url = f"sqlite:///{tmp_path}/drained.db"
    with make_app(database_url=url).app_context():
        flask_migrate.upgrade()
    address = short_path / "socket"
    environ = {
        **os.environ,
        **{"SECRET_KEY": SECRET_KEY, "DATABASE_URL": url, "BIND": f"unix:{address}", "WEB_CONCURRENCY": "2"},
        **{"MICROBLOG_ENV_FILE": os.devnull, "DRAIN_SECONDS": "30"},
    }
    command = [sys.executable, "-m", "gunicorn", "--config", "python:microblog.gunicorn_config"]

    def ask(path):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(os.fspath(address))
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "microblog:create_app()"], env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: ask("/readyz") == 200)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: ask("/readyz") == 503)
        # Each of its processes knows.
        assert {ask("/readyz") for _ in range(20)} == {503}
        assert {ask(path) for path in ("/login", "/healthz")} == {200}
        # Who cannot wait says so once more.
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 0
        assert ask("/login") == 0
    finally:
        process.kill()
        process.wait()


def test_it_ends_in_the_end(monkeypatch):
    obeyed = []
    monkeypatch.setattr(draining, "_FLAG", bytearray(1))
    was = signal.signal(signal.SIGTERM, lambda number, _frame: obeyed.append(number))
    try:
        draining.before_the_end(0)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: obeyed)
        assert not draining.is_on()
        obeyed.clear()
        draining.before_the_end(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(draining.is_on)
        wait_until(lambda: obeyed)
    finally:
        signal.signal(signal.SIGTERM, was)
