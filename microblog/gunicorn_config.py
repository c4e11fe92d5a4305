"""How gunicorn serves the application; supervisor names this module on its command line.

``WEB_CONCURRENCY`` (workers), ``WEB_THREADS`` (threads of each), ``DRAIN_SECONDS`` and ``BIND``, in
the environment file or the environment, overrule what is found here.
https://docs.gunicorn.org/en/stable/settings.html
"""

import ctypes
import gc
import importlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from sqlalchemy.orm import configure_mappers

from microblog import beginning, detection, draining, i18n, ipv6, renewing
from microblog.config import ENV_FILE, SOCKET
from microblog.database import db

# What a worker adds beside the preloaded application it shares, and its share
# of the database server, in MiB.
_WORKER_MIB = 160
_MOST_WORKERS = 8
# In malloc.h; see mallopt(3).
_M_ARENA_MAX = -8


def _settings() -> dict[str, str]:
    path = Path(os.environ.get("MICROBLOG_ENV_FILE") or ENV_FILE)
    try:
        values = dotenv_values(path, interpolate=False) if path.exists() else {}
    except OSError:
        # The application says so in better words.
        values = {}
    return {**{name: value or "" for name, value in values.items()}, **os.environ}


def worker_count(cores: int, memory_mib: float) -> int:
    """Workers for a machine: one a core and one more, as long as they fit into a third of its memory.

    Each has threads that wait for the database; with two a core, the machine is slower by a twentieth.
    """
    return max(1, min(cores + 1, int(memory_mib / 3 / _WORKER_MIB * 2), _MOST_WORKERS))


def _positive(value: str) -> int:
    return int(value) if value.isascii() and value.isdigit() else 0


_environment = _settings()
_memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20


def _addresses(wanted: str) -> list[str]:
    """A list, for gunicorn takes a text with commas for one address; without IPv6, those that need none."""
    found = [address.strip() for address in wanted.split(",") if address.strip()]
    if not ipv6.available():
        found = [address for address in found if not address.startswith("[")] or found
    return found


bind = _addresses(_environment.get("BIND") or f"unix:{SOCKET}")
workers = _positive(_environment.get("WEB_CONCURRENCY", "")) or worker_count(
    len(os.sched_getaffinity(0)), _memory_mib
)
worker_class = "gthread"
threads = _positive(_environment.get("WEB_THREADS", "")) or 4
# So many wait with each worker, and so many before the door. Who comes then is told so at once, by nginx's
# own page. Each who waits takes a connection from those that nginx has for visitors, Debian's 768 for a
# process: of more, too few are left, and visitors are cut off. A burst of 200 has room, with one worker too.
worker_connections = 32
backlog = 256
# Loaded once, before the workers fork: they share its memory.
preload_app = True
# The workers' sign of life; on a disk, a slow write would count as a dead worker.
worker_tmp_dir = "/dev/shm"  # noqa: S108
timeout = 60
graceful_timeout = 20
# How long balancers have to notice that this machine ends. Supervisor gives it all not much longer.
_DRAIN_MOST = 30
# nginx keeps the access log; errors go to supervisor's.
accesslog = None
errorlog = "-"


def when_ready(server: Any) -> None:
    """Let the workers, which fork next, share what they would else each make for themselves."""
    app = server.app.wsgi()
    for name in app.jinja_env.list_templates(extensions=["html"]):
        app.jinja_env.get_template(name)
    # What each would load when it first meets a language: of its readers, and of what is written.
    for code in i18n.LANGUAGES:
        i18n.catalog(code)
    detection.load()
    # And with the first row that is read, and the first QR code.
    configure_mappers()
    with suppress(ImportError):
        importlib.import_module("segno")
    # What a first page loads and compiles. It has asked the database; two who share a connection take each
    # other's answers.
    app.config["WARMING_UP"] = True
    app.test_client().get("/login")
    app.config["WARMING_UP"] = False
    # Who comes meanwhile is let in when there are tables.
    beginning.wait()
    with app.app_context():
        db.engine.dispose()
    # glibc gives each thread heaps of its own, in each worker; one serves threads that take turns.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    draining.before_the_end(min(_positive(_environment.get("DRAIN_SECONDS", "")), _DRAIN_MOST))
    renewing.at_hangup(server)
    # A collection would write to every object it looks at, and so copy its page.
    gc.collect()
    gc.freeze()


post_worker_init = renewing.see_all_out
on_exit = renewing.begin_anew
