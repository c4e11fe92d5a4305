"""What only root can do, and is offered here where somebody does it: to put a backup in the place of what
is here, to get a certificate, to send backups elsewhere.

Whoever talks to root's service makes itself known: ``app.extensions["microblog.machine_pages"]`` is a
function that takes nothing and gives the addresses of its pages, by name (``restore``, ``https``,
``backups``); none while the service cannot be reached. The page that restores asks :func:`may_restore`.
"""

from collections.abc import Callable, Mapping

from flask import current_app
from flask_login import current_user

from microblog.web.first_run import gate

PAGES = "microblog.machine_pages"


def page(name: str) -> str | None:
    """The address of one of its pages; None where there is nobody to do that."""
    pages: Callable[[], Mapping[str, str]] | None = current_app.extensions.get(PAGES)
    return pages().get(name) if pages else None


def may_restore() -> bool:
    """Whether this visitor may put a backup in the place of the site: the owner of a new one, with the code,
    or an administrator."""
    if gate.is_new():
        return gate.has_proof()
    return bool(current_user.is_authenticated and current_user.is_admin)
