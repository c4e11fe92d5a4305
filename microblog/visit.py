"""A visit to a site: the address told, the name as a visitor types it."""

import http.client
import secrets
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from microblog import proof

PORTS = {"https": 443, "http": 80}


@contextmanager
def connect(scheme: str, address: str, name: str, seconds: float) -> Iterator[socket.socket]:
    """A connection to an address, encrypted for a name if the scheme is https.

    Who answers is proven otherwise; whether browsers like the certificate is another question.

    :param seconds: how long each step may take.
    :raises OSError: nobody answers so.
    """
    with socket.create_connection((address, PORTS[scheme]), timeout=seconds) as plain:
        if scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain, server_hostname=name) as wrapped:
                yield wrapped
        else:
            yield plain


def request(
    opened: socket.socket, name: str, path: str, headers: Mapping[str, str] | None = None
) -> http.client.HTTPResponse:
    """Ask for a path by a site's name, and for nothing more over this connection.

    :raises OSError, http.client.HTTPException: that is not answered.
    """
    connection = http.client.HTTPConnection(name)
    connection.sock = opened
    connection.request("GET", path, headers={"Connection": "close", **(headers or {})})
    return connection.getresponse()


def ask(opened: socket.socket, name: str, path: str, key: str) -> tuple[http.client.HTTPResponse, bool]:
    """Likewise, for a path that proves who answers.

    :param key: the site's secret key.
    :return: the answer, and whether this site has given it.
    """
    question = secrets.token_hex(16)
    response = request(opened, name, path, {proof.HEADER: question})
    return response, proof.holds(key, question, response.headers.get(proof.HEADER, ""))


def leads_here(name: str, address: str, key: str, seconds: float) -> bool | None:
    """Whether who goes to an address by a name comes to this site: by way of a balancer, a router, a CDN.

    :param key: the site's secret key.
    :return: None where nobody answers.
    """
    found: bool | None = None
    for scheme in PORTS:
        with suppress(OSError, http.client.HTTPException), connect(scheme, address, name, seconds) as opened:
            if ask(opened, name, "/healthz", key)[1]:
                return True
            found = False
    return found
