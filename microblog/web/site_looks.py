"""What the site is called and what it speaks: by its settings file, or as its administrators have set it.

Each process asks the database now and then, before a request, so that no page need: an error's page, above
all, which may be one of a database that does not answer.
"""

import threading
import time
from contextlib import suppress

from flask import Flask, current_app, request
from sqlalchemy.exc import SQLAlchemyError

from microblog.config import Config
from microblog.models import site
from microblog.web import hosts

# Seconds in which every process has seen a change.
EVERY = 3.0
_KEY = "microblog.looks"


class _Looks:
    """What is known of them here.

    :ivar fixed: the name that the settings file gives; empty if it gives none.
    """

    def __init__(self, config: Config) -> None:
        self.fixed = config.site_name if config.site_name != Config.site_name else ""
        self.now = site.Looks()
        self._due = 0.0
        self._lock = threading.Lock()

    def refresh(self) -> None:
        if time.monotonic() < self._due:
            return
        with self._lock:
            now = time.monotonic()
            if now < self._due:
                return
            self._due = now + EVERY
        # Where it does not answer, what the page itself asks for fails likewise, and is told.
        with suppress(SQLAlchemyError):
            self.now = site.looks()

    def forget(self) -> None:
        self._due = 0.0


def init_app(app: Flask, config: Config) -> None:
    app.extensions[_KEY] = looks = _Looks(config)
    app.jinja_env.globals.update(site_name=site_name, site_is_public=is_public)

    @app.before_request
    def refresh() -> None:
        if request.endpoint not in hosts.NO_PAGES:
            looks.refresh()


def site_name() -> str:
    """The name visitors see."""
    looks = _here()
    return looks.fixed or looks.now.name or Config.site_name


def fixed_name() -> str:
    """The name, if the settings file gives it: then it is set nowhere else."""
    return _here().fixed


def site_language() -> str:
    """The language for whom no better one is known; empty where none is set."""
    return _here().now.language


def is_public() -> bool:
    """Whether who is no member may read."""
    return _here().now.public


def change(new: site.Looks) -> None:
    """Set them; the caller commits, and then calls :func:`forget`."""
    site.set_looks(new)


def forget() -> None:
    """See at the next request what was set."""
    _here().forget()


def _here() -> _Looks:
    looks: _Looks = current_app.extensions[_KEY]
    return looks
