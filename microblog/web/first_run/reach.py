"""Whether a name leads to this site: seen before a certificate's authority is asked, which lets nobody try
often."""

import http.client
import secrets
import socket
import ssl

from flask import current_app

from microblog import names, proof
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
    return names.is_global(address) and any(_answers(address, name, port) for port in (80, 443))


def _answers(address: str, name: str, port: int) -> bool:
    question = secrets.token_hex(16)
    try:
        with socket.create_connection((address, port), timeout=_SECONDS) as plain:
            connection = http.client.HTTPConnection(name)
            connection.sock = _wrapped(plain, name) if port == 443 else plain
            connection.request("GET", "/healthz", headers={proof.HEADER: question, "Connection": "close"})
            said = connection.getresponse().headers.get(proof.HEADER, "")
    except (OSError, http.client.HTTPException):
        return False
    return proof.holds(str(current_app.secret_key), question, said)


def _wrapped(plain: socket.socket, name: str) -> socket.socket:
    """Who answers is proven by the site's key; there is no certificate for that name yet."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)
