"""Apps for Mastodon as they log in and start for the first time: what each sends, and what it cannot do
without in the answers, as their sources have it (Tusky, Ice Cubes, Elk, Phanpy in 2025)."""

import base64
import hashlib
import re
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from app_client import Browser
from test_api import Script

from microblog.database import db
from microblog.models import User
from microblog.models.follow import follow
from microblog.models.post import add_post
from microblog.web import limits

VERIFIER = "v" * 56
# Where each wants its code, what it asks to be let do, how it sends what it sends, and whether with PKCE.
APPS = {
    "Tusky": ("tusky://com.keylesspalace.tusky/", "read write follow push", "data", False),
    "Ice Cubes": ("icecubesapp://", "read write follow push", "query_string", False),
    "Elk": (
        "https://elk.zone/api/localhost/oauth/https%3A%2F%2Felk.zone",
        "read write follow push",
        "json",
        False,
    ),
    "Phanpy": ("https://phanpy.social/", "read write follow push", "data", True),
}
# What they decode, and fail over if it is not there: by address. Names with dots are within others.
NEEDED = {
    # Ice Cubes has no default for these; Tusky none for usage and thumbnail.
    "/api/v2/instance": "title domain version usage.users.active_month thumbnail.url registrations.enabled"
    " registrations.approval_required configuration.statuses.max_characters contact.email"
    " configuration.statuses.max_media_attachments configuration.polls.max_options"
    " configuration.polls.max_characters_per_option configuration.polls.min_expiration"
    " configuration.polls.max_expiration configuration.accounts.max_featured_tags"
    " configuration.translation.enabled configuration.urls rules",
    "/api/v1/instance": "uri version title urls configuration.statuses.max_characters",
    "/api/v1/accounts/verify_credentials": "id username acct display_name created_at note url avatar header"
    " locked fields emojis bot source.privacy source.sensitive source.note source.fields",
    "/api/v1/preferences": "posting:default:visibility posting:default:sensitive reading:expand:media"
    " reading:expand:spoilers",
    "/api/v2/notifications/policy": "for_not_following for_not_followers for_new_accounts"
    " for_private_mentions summary.pending_requests_count summary.pending_notifications_count",
    "/api/v1/markers?timeline[]=home&timeline[]=notifications": "",
    "/api/v2/search?q=susan": "accounts statuses hashtags",
    "/api/v1/tags/bread": "name url",
    "/api/v1/apps/verify_credentials": "name",
    "/.well-known/nodeinfo": "links",
    "/.well-known/oauth-authorization-server": "issuer authorization_endpoint token_endpoint"
    " code_challenge_methods_supported scopes_supported",
}
STATUS = (
    "id url account.id account.avatar content created_at emojis reblogs_count favourites_count replies_count"
    " sensitive spoiler_text visibility media_attachments mentions tags filtered"
)
# Lists that they ask for at once; of what is in each, what they need.
LISTS = {
    "/api/v1/timelines/home?limit=30": STATUS,
    "/api/v1/timelines/public?local=true": STATUS,
    "/api/v1/timelines/tag/bread?any[]=": STATUS,
    "/api/v1/notifications?limit=30&exclude_types[]=follow_request": "id type created_at account.id",
    "/api/v1/accounts/{id}/statuses?exclude_replies=true": STATUS,
    "/api/v1/accounts/{id}/followers": "id acct avatar",
    "/api/v1/accounts/relationships?id[]={id}": "id following followed_by blocking muting requested"
    " muting_notifications showing_reblogs domain_blocking note notifying",
    **dict.fromkeys(
        (
            *("/api/v1/custom_emojis", "/api/v1/filters", "/api/v2/filters", "/api/v1/lists"),
            *("/api/v1/announcements?with_dismissed=true", "/api/v1/conversations", "/api/v1/favourites"),
            *("/api/v1/bookmarks", "/api/v1/blocks", "/api/v1/mutes", "/api/v1/domain_blocks"),
            *("/api/v1/follow_requests", "/api/v1/followed_tags", "/api/v1/suggestions"),
            *("/api/v2/suggestions", "/api/v1/scheduled_statuses", "/api/v1/trends/tags"),
            *("/api/v1/trends/statuses", "/api/v1/trends/links", "/api/v1/featured_tags"),
            *("/api/v1/endorsements", "/api/v1/notifications/requests", "/api/v1/instance/peers"),
            *("/api/v1/instance/rules", "/api/v1/instance/domain_blocks", "/api/v1/directory"),
            *("/api/v1/accounts/{id}/lists", "/api/v1/accounts/{id}/featured_tags"),
            "/api/v1/accounts/{id}/endorsements",
        ),
        "id",
    ),
}
# What there is not here, and they ask for all the same: an error that they can read.
MISSING = [
    *(
        ("get", f"/api/v1/{path}")
        for path in ("push/subscription", "media/1", "polls/1", "lists/1", "profile")
    ),
    *(("get", f"/api/v2/{path}") for path in ("notifications", "filters/1")),
    *(("get", f"/api/v1/{path}") for path in ("timelines/list/1", "timelines/link", "annual_reports/2025")),
    *(("get", f"/api/v1/{path}") for path in ("statuses/1/quotes", "accounts/1/collections", "streaming")),
    *(("post", f"/api/v1/{path}") for path in ("push/subscription", "lists", "filters", "domain_blocks")),
    *(("post", f"/api/v1/statuses/1/{act}") for act in ("pin", "unpin", "mute", "unmute", "translate")),
    *(("post", f"/api/v1/{path}") for path in ("accounts/1/note", "tags/bread/follow", "polls/1/votes")),
    *(("post", f"/api/v1/{path}") for path in ("announcements/1/dismiss", "follow_requests/1/authorize")),
    ("post", "/api/v1/media"),
    ("patch", "/api/v2/notifications/policy"),
    ("put", "/api/v1/push/subscription"),
    ("delete", "/api/v1/push/subscription"),
]


@pytest.fixture
def susan(app, make_user):
    make_user("susan")
    make_user("david")
    with app.app_context():
        people = [User.find(name) for name in ("susan", "david")]
        follow(*people)
        follow(*reversed(people))
        for person in people:
            add_post(person, "Hello @susan #bread")
        db.session.commit()
    browser = Browser(app)
    browser.login()
    return browser


def has(value, names):
    """Whether all of this is there, and nothing of it is null."""
    for name in names.split():
        at = value
        for part in name.split(".") if ":" not in name else [name]:
            assert isinstance(at, dict) and at.get(part) is not None, (name, value)
            at = at[part]


def log_in(app, browser, name):
    """:return: who calls from then on."""
    uri, scopes, way, pkce = APPS[name]
    nobody = Script(app)
    values = {"client_name": name, "redirect_uris": uri, "scopes": scopes, "website": "https://app.example"}
    program = nobody.post("/api/v1/apps", **{way: values}).json
    has(program, "id name client_id client_secret redirect_uri")
    asked = {"client_id": program["client_id"], "redirect_uri": uri, "response_type": "code", "scope": scopes}
    if pkce:
        digest = hashlib.sha256(VERIFIER.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        asked |= {"code_challenge_method": "S256", "code_challenge": challenge}
    answer = browser.submit(f"/oauth/authorize?{urlencode(asked)}", {"allow": "yes"})
    assert answer.headers["Location"].startswith(uri)
    keys = {key: program[key] for key in ("client_id", "client_secret")}
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    wanted = {**keys, "redirect_uri": uri, "grant_type": "authorization_code", "code": code}
    wanted |= {"code_verifier": VERIFIER} if pkce else {}
    token = nobody.post("/oauth/token", **{way: wanted}).json
    has(token, "access_token token_type scope created_at")
    assert token["scope"].split() == scopes.split()
    return Script(app, token["access_token"])


@pytest.mark.parametrize("name", APPS)
def test_an_app_starts(app, susan, name):
    script = log_in(app, susan, name)
    me = script.get("/api/v1/accounts/verify_credentials").json["id"]
    script.post("/api/v1/markers", json={"home": {"last_read_id": "1"}})
    for path, names in NEEDED.items():
        answer = script.get(path)
        assert (answer.status_code, answer.mimetype) == (200, "application/json"), path
        assert answer.headers["Access-Control-Allow-Origin"] == "*", path
        has(answer.json, names)
    for path, names in LISTS.items():
        answer = script.get(path.format(id=me))
        assert (answer.status_code, answer.mimetype) == (200, "application/json"), path
        assert isinstance(answer.json, list), path
        for one in answer.json:
            has(one, names)
    assert all(script.get(path.format(id=me)).json for path in list(LISTS)[:7])
    for method, path in MISSING:
        answer = getattr(script, method)(path)
        assert answer.status_code in (404, 405, 422), (path, answer.status_code)
        assert isinstance(answer.json["error"], str), path
        assert answer.headers["Access-Control-Allow-Origin"] == "*", path


def test_a_page_of_another_site_may_ask_for_all_of_it(app, susan, monkeypatch):
    """Before each call, a browser asks whether it may (https://fetch.spec.whatwg.org/#http-cors-protocol);
    and an error that its page is not to see is to it a network that is down."""
    script, nobody = log_in(app, susan, "Phanpy"), Script(app)
    origin = {"Origin": "https://phanpy.social"}
    wanted = ("authorization", "content-type", "idempotency-key")
    for rule in app.url_map.iter_rules():
        if rule.rule == "/oauth/authorize" or not rule.rule.startswith(
            ("/api/", "/oauth/", "/nodeinfo/", "/.well-known/")
        ):
            continue
        path = re.sub(r"<(?:\w+:)?\w+>", "1", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            asked = {"Access-Control-Request-Method": method}
            asked["Access-Control-Request-Headers"] = ", ".join(wanted)
            answer = nobody.options(path, headers={**origin, **asked})
            assert answer.status_code in (200, 204), rule.rule
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert method in re.split(", ?", answer.headers["Access-Control-Allow-Methods"]), rule.rule
            allowed = answer.headers["Access-Control-Allow-Headers"].lower()
            assert set(wanted) <= set(re.split(", ?", allowed)), rule.rule
    monkeypatch.setattr(limits, "POST", replace(limits.POST, most=1))
    errors = [
        (401, nobody.get("/api/v1/timelines/home", headers=origin)),
        (401, nobody.post("/oauth/token", data={"client_id": "x"}, headers=origin)),
        (404, script.get("/api/v1/statuses/99999", headers=origin)),
        (404, script.get("/api/v1/nowhere", headers=origin)),
        (405, script.delete("/api/v1/timelines/home", headers=origin)),
        (422, script.post("/api/v1/statuses", json={"status": ""}, headers=origin)),
        (200, script.post("/api/v1/statuses", json={"status": "one"}, headers=origin)),
        (429, script.post("/api/v1/statuses", json={"status": "too many"}, headers=origin)),
        (413, script.post("/api/v1/statuses", data={"status": "x" * 100_000}, headers=origin)),
    ]
    for code, answer in errors:
        assert (answer.status_code, answer.mimetype) == (code, "application/json"), answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == "*", code
        exposed = re.split(", ?", answer.headers["Access-Control-Expose-Headers"])
        assert {"Link", "X-RateLimit-Remaining", "Retry-After"} <= set(exposed), code
