"""OAuth 2 (RFC 6749, RFC 7636, RFC 8414): programs register, somebody lets them in, they fetch a token.

Written here, not taken from a library: Authlib as Ubuntu 22.04 has it (0.15) does not load with Flask 2.3 and
newer, from 1.0 on it is another interface, and it comes with two libraries of cryptography; what these grants
need is a few comparisons of digests.
"""

import base64
import binascii
import re
from datetime import timedelta, timezone
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, logout_user

from microblog.database import db, utc_now
from microblog.models import applications, sessions
from microblog.models.post import clean_body
from microblog.web import limits
from microblog.web.api import access, sent
from microblog.web.api.errors import Refused
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.site import address
from microblog.web.security import CONTENT_SECURITY_POLICY

# The page where somebody lets a program in: for people, with a log-in and a form's token.
page = Blueprint("oauth", __name__)

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
# What turns the direction in which a text around it is read.
_TURNING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*\Z")
# Of what a browser would run, or read from its own disk.
_NO_SCHEMES = {"javascript", "data", "vbscript", "file", "blob", "about", "view-source"}
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_APP_LIFETIME = timedelta(days=30)
_NOT_CLIENT = (
    "Client authentication failed due to unknown client, no client authentication included, or unsupported"
    " authentication method."
)
_NO_SCOPE = "The requested scope is invalid, unknown, or malformed."


def is_address(uri: str) -> bool:
    """Whether a program may be told its code there (RFC 6749, 3.1.2)."""
    if uri == OUT_OF_BAND:
        return True
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    if not uri.isascii() or not uri.isprintable() or re.search(r"[\s\\<>\"'`;,]", uri) or parts.fragment:
        return False
    if not _SCHEME.match(parts.scheme.lower()) or parts.scheme.lower() in _NO_SCHEMES:
        return False
    return (
        bool(parts.netloc) if parts.scheme.lower() in ("http", "https") else len(uri) > len(parts.scheme) + 1
    )


def application(client: Any) -> dict[str, Any]:
    uris = client.redirect_uris.split("\n")
    return {
        "id": str(client.id),
        "name": client.name,
        "website": client.website or None,
        "scopes": client.scopes.split(),
        "redirect_uris": uris,
        "redirect_uri": client.redirect_uris,
        "vapid_key": "",
    }


@blueprint.post("/api/v1/apps")
def create_app() -> ResponseReturnValue:
    # Who is asked to let it in reads a sentence with it, all of it in the order in which it is written.
    name = " ".join(_TURNING.sub("", clean_body(sent.text("client_name"))).split())
    uris = [uri for text in sent.texts("redirect_uris") for uri in text.split()]
    scopes = applications.scopes(sent.text("scopes") or "read")
    website = sent.text("website")
    if not name or len(name) > applications.NAME_MAX:
        raise Refused(
            422, "Validation failed: Application name can't be blank, or longer than 100 characters"
        )
    if not uris or not all(map(is_address, uris)) or len("\n".join(uris)) > applications.URI_MAX:
        raise Refused(422, "Validation failed: Redirect URI must be an absolute URI.")
    if scopes is None:
        raise Refused(422, "Validation failed: Scopes doesn't match configured on the server.")
    if website and (
        len(website) > applications.WEBSITE_MAX or not website.startswith(("https://", "http://"))
    ):
        raise Refused(422, "Validation failed: Website must be a valid URI")
    limits.check(limits.visitor(limits.PROGRAMS), limits.PROGRAMS_ALL.key())
    client, secret = applications.register(name, uris, scopes, website)
    db.session.commit()
    secrets = {"client_id": client.client_id, "client_secret": secret, "client_secret_expires_at": 0}
    return {**application(client), **secrets}


@blueprint.get("/api/v1/apps/verify_credentials")
def verify_app() -> ResponseReturnValue:
    caller = access.any_caller()
    client = applications.client_of(caller.client) if caller.client is not None else None
    if client is None:
        raise Refused(403, "This token was given to no program")
    return application(client)


@page.route("/oauth/authorize", methods=["GET", "POST"])
def authorize() -> ResponseReturnValue:
    """Whether a program may act for who is logged in. Another one's parameters lead nowhere."""
    asked = request.args
    client = applications.find_client(asked.get("client_id", ""))
    uri = asked.get("redirect_uri", OUT_OF_BAND)
    known = client is not None and uri in client.redirect_uris.split("\n")
    scopes = applications.scopes(asked.get("scope") or "read", client.scopes) if known else None
    challenge, method = asked.get("code_challenge", ""), asked.get("code_challenge_method", "S256")
    # Anybody registers a program with any address: nobody is sent there who has not pressed a button, or the
    # site's name would lead anywhere (RFC 9700, 4.11.2).
    if (
        scopes is None
        or asked.get("response_type", "code") != "code"
        or (challenge and (method != "S256" or not _CHALLENGE.match(challenge)))
    ):
        return render_template("oauth/code.html", code=None), 400
    here = request.full_path.rstrip("?")
    if not current_user.is_authenticated:
        return redirect(url_for("auth.login", next=here))
    if request.method == "POST":
        if "other" in request.form:
            sessions.end(current_user.id, current_user.session_digest)
            db.session.commit()
            session.clear()
            logout_user()
            return redirect(url_for("auth.login", next=here))
        if "allow" not in request.form:
            return _back(
                uri, error="access_denied", error_description="The resource owner denied the request."
            )
        limits.check(limits.TOKENS.key(current_user.id))
        code = applications.allow(client, current_user.id, uri, scopes, challenge)
        db.session.commit()
        return _back(uri, code=code)
    verbs = {scope.partition(":")[0] for scope in scopes.split()}
    where = urlsplit(uri).netloc or f"{urlsplit(uri).scheme}:"
    body = render_template(
        "oauth/authorize.html", client=client, verbs=verbs, where="" if uri == OUT_OF_BAND else where
    )
    return _private(make_response(body), uri)


def _back(uri: str, **values: str) -> ResponseReturnValue:
    """Give a program its answer: where it said, or on a page, to be copied."""
    if uri == OUT_OF_BAND:
        body = render_template("oauth/code.html", code=values.get("code"))
        return _private(make_response(body, 200 if "code" in values else 400), uri)
    if "state" in request.args:
        values["state"] = request.args["state"]
    response = make_response("", 302)
    response.headers["Location"] = f"{uri}{'&' if '?' in uri else '?'}{urlencode(values, errors='replace')}"
    return _private(response, uri)


def _private(response: Response, uri: str) -> Response:
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    # The form's answer leads to the program, which browsers count as where the form is sent.
    if uri != OUT_OF_BAND:
        allowed = f"form-action 'self' {urlsplit(uri).scheme.lower()}:"
        policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", allowed)
        response.headers["Content-Security-Policy"] = policy
    return response


@blueprint.post("/oauth/token")
def give_token() -> ResponseReturnValue:
    limits.check(limits.visitor(limits.CODES))
    client = _client()
    kind = sent.text("grant_type")
    if kind == "client_credentials":
        scopes = applications.scopes(sent.text("scope") or "read", client.scopes)
        if scopes is None:
            raise Refused(400, _NO_SCOPE, "invalid_scope")
        token = applications.issue(None, client.id, scopes, _APP_LIFETIME)
    elif kind == "authorization_code":
        uri = sent.text("redirect_uri") or OUT_OF_BAND
        found = applications.redeem(client, sent.text("code"), uri, sent.text("code_verifier"))
        if found is None:
            # What ends with a code that comes twice, ends.
            db.session.commit()
            raise Refused(
                400,
                "The provided authorization grant is invalid, expired, revoked, does not match the"
                " redirection URI used in the authorization request, or was issued to another client.",
                "invalid_grant",
            )
        token, scopes = found
    else:
        text = "The authorization grant type is not supported by the authorization server."
        raise Refused(400, text, "unsupported_grant_type")
    db.session.commit()
    created = int(utc_now().replace(tzinfo=timezone.utc).timestamp())
    told = {"access_token": token, "token_type": "Bearer", "scope": scopes, "created_at": created}
    return told, 200, {"Cache-Control": "no-store"}


@blueprint.post("/oauth/revoke")
def revoke() -> ResponseReturnValue:
    client = _client()
    token = sent.text("token")
    if not token or not applications.revoke_secret(token, client.id):
        raise Refused(403, "You are not authorized to revoke this token", "unauthorized_client")
    db.session.commit()
    return {}


def _client() -> Any:
    """The program that asks: by a header (RFC 6749, 2.3.1), or in the form."""
    client_id, secret = sent.text("client_id"), sent.text("client_secret")
    kind, _space, told = request.headers.get("Authorization", "").strip().partition(" ")
    if kind.lower() == "basic":
        try:
            client_id, _colon, secret = base64.b64decode(told).decode().partition(":")
        except (binascii.Error, ValueError):
            client_id = ""
    client = applications.find_client(client_id, secret) if client_id and secret else None
    if client is None:
        raise Refused(401, _NOT_CLIENT, "invalid_client")
    return client


@blueprint.get("/.well-known/oauth-authorization-server")
def metadata() -> ResponseReturnValue:
    site = address()
    return {
        "issuer": f"{site}/",
        "service_documentation": "https://docs.joinmastodon.org/",
        "authorization_endpoint": f"{site}/oauth/authorize",
        "token_endpoint": f"{site}/oauth/token",
        "app_registration_endpoint": f"{site}/api/v1/apps",
        "revocation_endpoint": f"{site}/oauth/revoke",
        "scopes_supported": list(applications.SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
    }
