"""The site's own address, as programs know it."""

from flask import request

from microblog.web import hosts


def address() -> str:
    """Scheme and name, without a slash at the end: as who asks has called it, which was looked at before."""
    return f"{request.scheme}://{request.host}"


def domain() -> str:
    """Its name alone."""
    return hosts.without_port(request.host)
