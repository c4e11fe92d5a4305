"""What browsers are told to keep, and to keep away from."""

import ipaddress
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, has_request_context, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from microblog import names
from microblog.config import Config

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Everything comes from the site itself, and nothing inline; Bootstrap's stylesheet has
# small pictures as data: URLs.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# What a page of short texts has no use for.
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in ("camera", "geolocation", "microphone", "payment", "usb", "browsing-topics")
)
# Where pictures come from, if the site's owner wants that.
GRAVATAR = "https://www.gravatar.com"
# A year, the least that counts as lasting. Browsers ignore it with a certificate they do not trust.
STRICT_TRANSPORT_SECURITY = "max-age=31536000"


def init_app(app: Flask, config: Config) -> None:
    # A __Host- cookie can be set neither over plain HTTP nor by a neighbouring subdomain
    # (RFC 6265bis, 4.1.3.2).
    prefix = "__Host-" if config.https else ""
    app.config.update(
        SESSION_COOKIE_NAME=f"{prefix}session",
        SESSION_COOKIE_SECURE=config.https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        REMEMBER_COOKIE_NAME=f"{prefix}remember",
        REMEMBER_COOKIE_SECURE=config.https,
        REMEMBER_COOKIE_HTTPONLY=True,
        REMEMBER_COOKIE_SAMESITE="Lax",
        REMEMBER_COOKIE_DURATION=timedelta(days=90),
        # A form left open over lunch still works: the token lasts as long as the session.
        WTF_CSRF_TIME_LIMIT=None,
        # No check of the Referer, which some browsers do not send: it guards against cookies
        # set from outside, and __Host- does that.
        WTF_CSRF_SSL_STRICT=False,
    )

    policy = CONTENT_SECURITY_POLICY
    if config.gravatar:
        policy = policy.replace("img-src 'self' data:", f"img-src 'self' data: {GRAVATAR}")

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", policy)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if config.https and request.is_secure:
            headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY)
        # Pages are for one reader, and must not come back by the Back button after log-out.
        headers.setdefault("Cache-Control", "no-store")
        return response


class ProxiesOnly:
    """Believe X-Forwarded-For and -Proto from the site's own proxies, and from nobody else.

    :param app: the WSGI application.
    """

    def __init__(self, app: "WSGIApplication", config: Config) -> None:
        self.direct = app
        hops = config.trusted_proxies
        self.proxied = ProxyFix(app, x_for=hops, x_proto=hops, x_host=0)
        trusted = config.proxy_networks
        listens = [address.rpartition(":")[0] for address in config.bind.split(",")]
        # With a balancer named, nginx is in front all the same: who else would come by the loopback?
        if config.bind and all(map(names.is_loopback, listens)):
            trusted += Config.proxy_networks
        self.networks = [ipaddress.ip_network(network) for network in trusted]

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        app = self.proxied if self.is_proxy(environ.get("REMOTE_ADDR", "")) else self.direct
        return app(environ, start_response)

    def is_proxy(self, peer: str) -> bool:
        # The other end of a Unix socket has no address.
        if not peer:
            return True
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def safe_path(target: str | None) -> str | None:
    """``target`` if it is a path on this site, and no button's alone, else None: for redirects to where a
    visitor came from."""
    if not target or not target.startswith("/") or not target.isprintable():
        return None
    # Browsers take //host and /\host for another site.
    if target.startswith("//") or "\\" in target:
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc or _is_buttons(parts.path) else target


def _is_buttons(path: str) -> bool:
    """Whether only forms are sent there: an answer to one may be a page, and that has buttons, too."""
    adapter = current_app.create_url_adapter(request) if has_request_context() else None
    try:
        if adapter is not None:
            adapter.match(path, method="GET")
    except MethodNotAllowed:
        return True
    except HTTPException:
        # It is nowhere, or another one's.
        pass
    return False


def path_without(target: str | None, gone: str) -> str | None:
    """Likewise, unless that is what is gone by now, or below it.

    :param gone: a path.
    """
    path = safe_path(target)
    there = path and urlsplit(path).path.rstrip("/")
    return None if there and f"{there}/".startswith(f"{gone}/") else path
