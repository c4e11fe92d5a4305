"""What there is not here, answered as a server does that has none of it: programs then hide it."""

from flask import Response, jsonify
from flask.typing import ResponseReturnValue

from microblog.web.api import access, sent
from microblog.web.api.errors import Refused
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.entities import NO_HEADER
from microblog.web.people.avatars import FOR_PROGRAMS
from microblog.web.people.drawing import png

# One pixel that is not seen.
_NO_PICTURE = png([b"\0"], [(0, 0, 0)], opacity=b"\0")
# Addresses of lists in which there is nothing, and what one needs to be told that; None: no token.
_EMPTY = {
    "/api/v1/custom_emojis": None,
    "/api/v1/trends": None,
    "/api/v1/trends/tags": None,
    "/api/v1/trends/statuses": None,
    "/api/v1/trends/links": None,
    "/api/v1/directory": None,
    "/api/v1/instance/rules": None,
    "/api/v1/instance/peers": None,
    "/api/v1/instance/activity": None,
    "/api/v1/instance/domain_blocks": None,
    "/api/v1/announcements": "read",
    "/api/v1/filters": "read:filters",
    "/api/v2/filters": "read:filters",
    "/api/v1/lists": "read:lists",
    "/api/v1/follow_requests": "read:follows",
    "/api/v1/followed_tags": "read:follows",
    "/api/v1/endorsements": "read:accounts",
    "/api/v1/featured_tags": "read:accounts",
    "/api/v1/featured_tags/suggestions": "read:accounts",
    "/api/v1/suggestions": "read:accounts",
    "/api/v2/suggestions": "read:accounts",
    "/api/v1/domain_blocks": "read:blocks",
    "/api/v1/scheduled_statuses": "read:statuses",
    "/api/v1/notifications/requests": "read:notifications",
}
# Likewise, of an account.
_EMPTY_OF = {"lists": "read:lists", "featured_tags": None, "identity_proofs": None, "endorsements": None}


def _answer(scope: str | None) -> ResponseReturnValue:
    if scope is not None:
        access.any_caller(scope)
    return jsonify([])


for _number, (_path, _scope) in enumerate(_EMPTY.items()):
    blueprint.add_url_rule(_path, f"empty_{_number}", lambda scope=_scope: _answer(scope))
for _name, _scope in _EMPTY_OF.items():
    blueprint.add_url_rule(
        f"/api/v1/accounts/<int:number>/{_name}",
        f"empty_{_name}",
        lambda number, scope=_scope: _answer(scope),
    )


@blueprint.get(NO_HEADER)
def no_header() -> ResponseReturnValue:
    return Response(_NO_PICTURE, mimetype="image/png", headers=FOR_PROGRAMS)


@blueprint.get("/api/v1/instance/extended_description")
def extended_description() -> ResponseReturnValue:
    return {"updated_at": "2020-01-01T00:00:00.000Z", "content": ""}


@blueprint.get("/api/v1/instance/translation_languages")
def translation_languages() -> ResponseReturnValue:
    return {}


@blueprint.get("/api/v1/accounts/familiar_followers")
def familiar_followers() -> ResponseReturnValue:
    access.reader("read:follows")
    numbers = [number for text in sent.texts("id") if (number := sent.as_number(text))]
    return jsonify([{"id": str(number), "accounts": []} for number in numbers])


@blueprint.get("/api/v2/notifications/policy")
def notification_policy() -> ResponseReturnValue:
    access.reader("read:notifications")
    kinds = ("not_following", "not_followers", "new_accounts", "private_mentions", "limited_accounts")
    summary = {"pending_requests_count": 0, "pending_notifications_count": 0}
    return {**{f"for_{kind}": "accept" for kind in kinds}, "summary": summary}


@blueprint.post("/api/v1/media")
@blueprint.post("/api/v2/media")
def upload() -> ResponseReturnValue:
    access.reader("write:media")
    raise Refused(422, "This site takes no pictures, sounds or videos")
