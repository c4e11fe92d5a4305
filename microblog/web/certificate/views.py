"""The page, the authority's certificate to download, and the picture that proves trust."""

import plistlib
import uuid

from flask import Blueprint, Response, abort, current_app, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer

from microblog import own_authority
from microblog.database import db
from microblog.models import site
from microblog.own_authority import Authority
from microblog.web.hosts import bare
from microblog.web.security import CONTENT_SECURITY_POLICY

blueprint = Blueprint("certificate", __name__)

_SALT = "certificate seen"
_SECONDS = 3600
# A green circle with a tick: nothing of it needs to be read.
_TICK = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48" width="48" height="48">'
    '<circle cx="24" cy="24" r="22" fill="#1a7f4b"/>'
    '<path d="M13 25l8 8 15-17" fill="none" stroke="#fff" stroke-width="5"/></svg>'
)


@blueprint.get("/certificate")
def page() -> ResponseReturnValue:
    """What it means to trust it, how that is done, and whether this device does."""
    authority = _authority()
    secure = f"https://{_name(authority)}"
    # By HTTPS, a browser that was told to go on in spite of a warning would show the picture, too.
    check = (
        ""
        if request.is_secure
        else secure + url_for("certificate.seen", token=_signer().dumps(authority.mark))
    )
    response = make_response(
        render_template("certificate/page.html", authority=authority, secure=secure, check=check)
    )
    if check:
        policy = CONTENT_SECURITY_POLICY.replace("img-src 'self'", f"img-src 'self' {secure}")
        response.headers["Content-Security-Policy"] = policy
    return response


@blueprint.get("/certificate/microblog.crt")
def download() -> ResponseReturnValue:
    """As Android, Windows, macOS and browsers take it (RFC 5280's DER)."""
    return _file(_authority().der, "application/x-x509-ca-cert", "microblog.crt")


@blueprint.get("/certificate/microblog.mobileconfig")
def profile() -> ResponseReturnValue:
    """As iOS takes it (Apple, Configuration Profile Reference, com.apple.security.root)."""
    authority = _authority()
    name = authority.names[0]
    own, inner = (
        str(uuid.uuid5(uuid.NAMESPACE_URL, f"{what} {authority.sha256}")) for what in ("profile", "root")
    )
    root = {
        **{"PayloadType": "com.apple.security.root", "PayloadVersion": 1, "PayloadUUID": inner},
        **{"PayloadIdentifier": f"microblog.{name}.root", "PayloadDisplayName": name},
        **{"PayloadCertificateFileName": "microblog.crt", "PayloadContent": authority.der},
    }
    whole = {
        **{"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadUUID": own},
        **{"PayloadIdentifier": f"microblog.{name}", "PayloadDisplayName": f"{name} (Microblog)"},
        "PayloadContent": [root],
    }
    return _file(plistlib.dumps(whole), "application/x-apple-aspen-config", "microblog.mobileconfig")


@blueprint.get("/certificate/seen/<token>.svg")
def seen(token: str) -> ResponseReturnValue:
    """A picture on the page that came by plain HTTP: who gets it by HTTPS trusts the certificate."""
    authority = _authority()
    try:
        mark = _signer().loads(token, max_age=_SECONDS)
    except BadSignature:
        abort(404)
    if not request.is_secure or mark != authority.mark:
        abort(404)
    if not site.is_trusted(mark):
        site.note_trusted(mark)
        db.session.commit()
        current_app.logger.info("a device trusts the site's own authority: %s", request.remote_addr)
    response = Response(_TICK, mimetype="image/svg+xml")
    # To a browser, the page by plain HTTP is another site's.
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


def _authority() -> Authority:
    """The site's own; where another's certificate is in use, there is nothing to be told."""
    return own_authority.read() or abort(404)


def _name(authority: Authority) -> str:
    """The name that the visitor came by, if it may be certified; else the first."""
    host = bare(request.host)
    return host if host in authority.names else authority.names[0]


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.secret_key), salt=_SALT)


def _file(data: bytes, kind: str, name: str) -> Response:
    response = Response(data, mimetype=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
