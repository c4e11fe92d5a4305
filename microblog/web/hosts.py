"""The names the site answers to, and the one it calls itself in mails.

A Host header is whatever a visitor's software sends. With a name that is not the site's,
somebody may be trying to have a link to their own server mailed out, or may have pointed a name
of theirs at a server on somebody's home network (DNS rebinding).
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, has_request_context, request, url_for
from werkzeug.exceptions import BadRequest

from microblog import names
from microblog.config import HOST_NAME, Config

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Load balancers and supervisors call the server by whatever they know it by.
EXEMPT = {"health.healthz", "health.readyz", "metrics.metrics"}
# What is the same whoever owns the site, and whatever it is called.
NO_PAGES = {"static", *EXEMPT}
_LAST_STOP = re.compile(r"(?<=[A-Za-z0-9])\.(?=(?::[0-9]{1,5})?\Z)")


class WellFormedHost:
    """Turn away what is no host name at all: Flask could not even make it an error page."""

    def __init__(self, app: "WSGIApplication") -> None:
        self.app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # HTTP/1.0 knows no Host header.
        if "HTTP_HOST" in environ and not bare(environ["HTTP_HOST"]):
            start_response("400 Bad Request", [("Content-Type", "text/plain"), ("Cache-Control", "no-store")])
            return [b"The Host header names no host.\n"]
        return self.app(environ, start_response)


class UnknownHost(BadRequest):
    """A name that is not the site's."""


class Hosts:
    """Which names those are.

    With HOST_NAMES set: these and the loopback's. Without: this machine's own names, names
    under .local and any address, none of which belongs to somebody else in the public DNS.
    """

    def __init__(self, config: Config) -> None:
        self.configured = config.host_names
        self._proxies = config.trusted_proxies
        self.scheme = "https" if config.https else "http"
        self._accepted = {bare(name) for name in config.host_names} or set(names.machine_names())

    def accepts(self, host: str) -> bool:
        name = bare(host)
        if name in self._accepted or name == "localhost":
            return True
        address = _address(name)
        if self.configured:
            # avahi may have given the machine another name than the one that was configured.
            return (address is not None and address.is_loopback) or name == names.local_name()
        return address is not None or (name.endswith(".local") and len(name) <= 253)

    def for_links(self, host: str) -> str:
        """The name for a link in a mail.

        The first configured one; else the one the visitor used, if it is this machine's own
        name or address, and not one that merely sounds harmless; else the machine's own name.
        """
        if self.configured:
            return self.configured[0]
        if bare(host) in names.machine_names() or bare(host) in names.machine_addresses():
            return host if self._is_own_port(host) else without_port(host)
        own = names.machine_names()
        return next((name for name in own if "." in name), own[0])

    def _is_own_port(self, host: str) -> bool:
        """Whether a visitor came by this port, without a proxy: another may be somebody else's."""
        port = request.environ.get("SERVER_PORT")
        return not self._proxies and bool(request.remote_addr) and host.endswith(f":{port}")


def init_app(app: Flask, config: Config) -> None:
    app.wsgi_app = WellFormedHost(app.wsgi_app)  # type: ignore[method-assign]
    hosts = app.extensions["microblog.hosts"] = Hosts(config)

    @app.before_request
    def check_host() -> None:
        if request.endpoint not in EXEMPT and not hosts.accepts(request.host):
            app.logger.warning("refused a request for the host %r", request.host[:253])
            raise UnknownHost


def external_url(endpoint: str, **values: Any) -> str:
    """A page's whole address, for a mail."""
    return base_url() + url_for(endpoint, **values)


def base_url() -> str:
    """The site's address for a mail, less a path: also where no visitor has asked for it."""
    hosts: Hosts = current_app.extensions["microblog.hosts"]
    return f"{hosts.scheme}://{hosts.for_links(request.host if has_request_context() else '')}"


def bare(host: str) -> str:
    """A host without its port and brackets, in lower case; empty if it is none.

    Looked at as a whole: in ``192.0.2.1:80@evil.example``, the host is the last part. The full stop that
    ends a whole name in the DNS is none of it.
    """
    host = _LAST_STOP.sub("", host)
    if not HOST_NAME.fullmatch(host):
        return ""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def without_port(host: str) -> str:
    """A host with its brackets, if it has any."""
    name = bare(host)
    return f"[{name}]" if ":" in name else name


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
