"""What only root can do, and is offered here where somebody does it: to put a backup in the place of what
is here, to get a certificate, to send backups elsewhere.

Whoever talks to root's service makes itself known: ``app.extensions["microblog.machine_pages"]`` is a
function that takes nothing and gives the addresses of its pages, by name (``restore``, ``https``,
``backups``); none while the service cannot be reached. The page that restores, and what is below it, is
open to the owner of a new site as well; it asks :func:`microblog.web.first_run.gate.may_restore`.
"""

from collections.abc import Callable, Mapping

from flask import current_app

PAGES = "microblog.machine_pages"


def page(name: str) -> str | None:
    """The address of one of its pages, a path; None where there is nobody to do that."""
    pages: Callable[[], Mapping[str, str]] | None = current_app.extensions.get(PAGES)
    return pages().get(name) if pages else None


def is_below(path: str, name: str) -> bool:
    """Whether a path is that of one of its pages, or of a part of it."""
    top = page(name)
    return top is not None and (path == top or path.startswith(f"{top}/"))
