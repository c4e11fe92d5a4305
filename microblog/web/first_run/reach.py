"""Whether a name leads to this site: seen before a certificate's authority is asked, which lets nobody try
often."""

import socket

from flask import current_app

from microblog import names, visit
from microblog.config import HOST_NAME
from microblog.i18n import _

_SECONDS = 5


def problem(name: str) -> str:
    """What is in the way; empty if nothing is.

    :param name: as somebody has typed it.
    """
    if ":" in name or "[" in name or not HOST_NAME.fullmatch(name) or not names.is_public(name):
        return _("This is no name of the internet, as blog.example.org is one.")
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return _(
            "No name server knows %(name)s yet. After it is registered, that may take an hour.", name=name
        )
    # One that leads elsewhere is enough to fail: the authority may ask there.
    strange = [address for address in sorted(found) if not _is_here(address, name)]
    if not strange:
        return ""
    return _(
        "%(name)s leads to %(address)s, and there it is not this site that answers.",
        name=name,
        address=strange[0],
    )


def _is_here(address: str, name: str) -> bool:
    if address in names.machine_addresses():
        return True
    # Behind a router or a provider's translation of addresses, the site itself says so. Nobody is asked who
    # is not in the internet.
    return names.is_global(address) and bool(
        visit.leads_here(name, address, str(current_app.secret_key), _SECONDS)
    )
