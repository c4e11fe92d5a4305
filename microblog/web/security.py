"""What browsers are told to keep, and to keep away from."""

from datetime import timedelta
from urllib.parse import urlsplit

from flask import Flask, Response, request

from microblog.config import Config

# Everything comes from the site itself, and nothing inline; Bootstrap's stylesheet has
# small pictures as data: URLs.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self' data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
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

    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Referrer-Policy", "same-origin")
        if config.https and request.is_secure:
            headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY)
        # Pages are for one reader, and must not come back by the Back button after log-out.
        headers.setdefault("Cache-Control", "no-store")
        return response


def safe_path(target: str | None) -> str | None:
    """``target`` if it is a path on this site, else None: for redirects to where a visitor came from."""
    if not target or not target.startswith("/") or not target.isprintable():
        return None
    # Browsers take //host and /\host for another site.
    if target.startswith("//") or "\\" in target:
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc else target
