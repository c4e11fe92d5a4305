"""The first boot: the application loads while its tables are made, and waits for them."""

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest

from microblog import beginning, detection, gunicorn_config, i18n
from microblog.host.database import kinds, schema
from microblog.host.machine import privileges

# Holds the lock until it is told to end.
_HOLD = """
import sys
from pathlib import Path
from microblog import beginning
beginning.LOCK = Path(sys.argv[1])
with beginning.tables():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path, monkeypatch):
    monkeypatch.setattr(beginning, "LOCK", tmp_path / "lock")
    return tmp_path / "lock"


@contextmanager
def held(lock, **environment):
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path), **environment},
    )
    with process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_nobody_waits_where_no_tables_are_made(lock):
    beginning.wait()
    lock.touch()
    beginning.wait()
    lock.chmod(0)
    beginning.wait()


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_who_needs_the_tables_waits_for_them(lock, how):
    with held(lock) as setup:
        waiting = threading.Thread(target=beginning.wait)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        if how == "ends":
            setup.stdin.close()
        else:
            setup.kill()
        waiting.join()


@pytest.mark.parametrize("abstract", [False, True], ids=["file", "abstract"])
def test_systemd_is_told_when_the_tables_are_begun(lock, short_path, abstract):
    """Where it asks; nobody else is."""
    beginning.ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        name = f"@microblog-{os.getpid()}" if abstract else str(short_path / "notify")
        systemd.bind(name.replace("@", "\0"))
        with held(lock, NOTIFY_SOCKET=name):
            assert systemd.recv(100) == b"READY=1"


def test_workers_come_when_there_are_tables(app, monkeypatch):
    """All is loaded by then."""
    done = []
    monkeypatch.setattr(beginning, "wait", lambda: done.append("waited"))
    monkeypatch.setattr(app.jinja_env, "get_template", done.append)
    monkeypatch.setattr(app, "test_client", lambda: SimpleNamespace(get=done.append))
    monkeypatch.setattr("gc.freeze", lambda: None)
    gunicorn_config.when_ready(SimpleNamespace(app=SimpleNamespace(wsgi=lambda: app)))
    assert done.index("waited") == len(done) - 1 > 1


def test_what_first_requests_need_is_loaded_once_for_all_workers(app, monkeypatch):
    """Each would else have it for itself: 7 MB for what languages are alone, at the first post."""
    monkeypatch.setattr("gc.freeze", lambda: None)
    monkeypatch.delitem(sys.modules, "segno", raising=False)
    done = []
    monkeypatch.setattr(gunicorn_config, "configure_mappers", lambda: done.append("mappers"))
    for kept in (detection._factory, i18n.catalog):
        kept.cache_clear()
    gunicorn_config.when_ready(SimpleNamespace(app=SimpleNamespace(wsgi=lambda: app)))
    loaded = detection._factory.cache_info().misses, i18n.catalog.cache_info().misses
    assert loaded == (1, len(i18n.LANGUAGES))
    assert done == ["mappers"]
    assert ("segno" in sys.modules) == (importlib.util.find_spec("segno") is not None)
    # As a worker does it then.
    detection.detect("Which language is this text in, if you please?")
    for code in i18n.LANGUAGES:
        i18n.catalog(code)
    assert (detection._factory.cache_info().misses, i18n.catalog.cache_info().misses) == loaded


@pytest.mark.parametrize("new", [True, False])
def test_only_a_new_database_lets_others_begin(tmp_path, monkeypatch, new):
    """One that is there may have to be backed up first, the application being stopped."""
    url, done = f"sqlite:///{tmp_path}/site.db", []

    def revisions(_self, _say, made, _wait):
        made.extend(["database"] if new else [])
        return set() if new else {"0001"}

    @contextmanager
    def begin():
        done.append("begun")
        yield
        done.append("over")

    monkeypatch.setattr(kinds.Sqlite, "revisions", revisions)
    monkeypatch.setattr(privileges, "call", lambda _work: (done.append("made"), (True, ""))[1])
    assert schema.ensure(url, lambda _: None, lambda *_: None, None, begin)
    assert done == (["begun", "made", "over"] if new else ["made"])
    assert schema.ensure.__defaults__[-1] is nullcontext


def test_migrations_need_no_pages(tmp_path, monkeypatch):
    """At a first boot they would take as long as all else of the application."""
    script = (
        "import sys; from microblog.host.database import schema; schema._upgrade();"
        "sys.exit(any(name.startswith('microblog.web') for name in sys.modules))"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        cwd=tmp_path,
        env={
            "PYTHONPATH": ":".join(sys.path),
            "MICROBLOG_ENV_FILE": str(tmp_path / "none"),
            "SECRET_KEY": "k" * 40,
            "DATABASE_URL": f"sqlite:///{tmp_path}/site.db",
        },
    )
    assert (tmp_path / "site.db").stat().st_size > 0
