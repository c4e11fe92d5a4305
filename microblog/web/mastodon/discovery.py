"""What programs ask about a site before they know what it speaks: NodeInfo (https://nodeinfo.diaspora.software/),
and WebFinger (RFC 7033), for who writes a name as ``name@site``."""

from flask import abort, jsonify
from flask.typing import ResponseReturnValue

import microblog
from microblog.models import audience
from microblog.models.people import person_named
from microblog.models.site import OPEN, registration
from microblog.web import site_looks
from microblog.web.api import sent
from microblog.web.mastodon.accounts import local_name
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.entities import picture
from microblog.web.mastodon.site import address, domain

_SCHEMA = "http://nodeinfo.diaspora.software/ns/schema/2.0"


@blueprint.get("/.well-known/nodeinfo")
def where_node_info_is() -> ResponseReturnValue:
    return {"links": [{"rel": _SCHEMA, "href": f"{address()}/nodeinfo/2.0"}]}


@blueprint.get("/nodeinfo/2.0")
def node_info() -> ResponseReturnValue:
    answer = jsonify(
        version="2.0",
        software={"name": "microblog", "version": microblog.__version__},
        # No server talks to others here.
        protocols=[],
        services={"inbound": [], "outbound": []},
        openRegistrations=registration().mode == OPEN,
        # Nobody counts a million rows for it.
        usage={"users": {}},
        metadata={"nodeName": site_looks.site_name()},
    )
    answer.content_type = f'application/json; profile="{_SCHEMA}#"'
    return answer


@blueprint.get("/.well-known/webfinger")
def web_finger() -> ResponseReturnValue:
    """Where somebody's page is, as far as a visitor may see it: nothing is told of what is for members."""
    kind, _colon, name = sent.text("resource").partition(":")
    audience.reads(None)
    name = local_name(name) if kind == "acct" and site_looks.is_public() else ""
    row = person_named(name) if name else None
    if row is None or audience.strangers([row.id]):
        abort(404)
    page = f"{address()}/user/{row.username}"
    answer = jsonify(
        subject=f"acct:{row.username}@{domain()}",
        aliases=[page],
        links=[
            {"rel": "http://webfinger.net/rel/profile-page", "type": "text/html", "href": page},
            {"rel": "http://webfinger.net/rel/avatar", "type": "image/png", "href": picture(row.username)},
        ],
    )
    answer.content_type = "application/jrd+json"
    return answer
