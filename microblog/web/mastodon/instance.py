"""What a program asks first: what kind of site this is, and what it allows."""

from typing import Any

from flask import url_for
from flask.typing import ResponseReturnValue

import microblog
from microblog.i18n import LANGUAGES, _
from microblog.models.post import POST_MAX
from microblog.models.site import INVITED, OPEN, registration
from microblog.models.user import ABOUT_MAX, USERNAME_MAX
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.site import address, domain
from microblog.web.site_looks import site_name

# What programs take this site for: the last version before notifications come in groups.
VERSION = "4.2.0"


def _version() -> str:
    return f"{VERSION} (compatible; Microblog {microblog.__version__})"


def _configuration() -> dict[str, Any]:
    """What there is not has room for none: programs then hide it."""
    return {
        "accounts": {
            "max_featured_tags": 0,
            "max_pinned_statuses": 0,
            "max_display_name_length": USERNAME_MAX,
            "max_note_length": ABOUT_MAX,
            "max_avatar_description_length": 0,
            "max_header_description_length": 0,
            "max_profile_fields": 0,
            "profile_field_name_limit": 0,
            "profile_field_value_limit": 0,
        },
        # An address counts with all its characters. Programs count with at least one.
        "statuses": {
            "max_characters": POST_MAX,
            "max_media_attachments": 0,
            "characters_reserved_per_url": 1,
        },
        "media_attachments": {
            "supported_mime_types": [],
            "description_limit": 0,
            "image_size_limit": 0,
            "image_matrix_limit": 0,
            "video_size_limit": 0,
            "video_frame_rate_limit": 0,
            "video_matrix_limit": 0,
        },
        "polls": {
            "max_options": 0,
            "max_characters_per_option": 0,
            "min_expiration": 0,
            "max_expiration": 0,
        },
    }


def _description() -> str:
    return _("A small social network: posts of up to %(max)d characters.", max=POST_MAX)


def _icon(size: int) -> str:
    return f"{address()}{url_for('static', filename=f'icons/icon-{size}.png')}"


# Mastodon.py asks with a slash at the end.
@blueprint.get("/api/v1/instance/")
@blueprint.get("/api/v1/instance")
def instance_v1() -> ResponseReturnValue:
    rules = registration()
    return {
        "uri": domain(),
        "title": site_name(),
        "short_description": _description(),
        "description": _description(),
        "email": "",
        "version": _version(),
        "urls": {},
        # Nobody counts a million rows for it.
        "stats": {"user_count": 0, "status_count": 0, "domain_count": 0},
        "thumbnail": _icon(512),
        "languages": list(LANGUAGES),
        "registrations": rules.mode == OPEN,
        "approval_required": rules.approval,
        "invites_enabled": rules.mode == INVITED,
        "configuration": _configuration(),
        "contact_account": None,
        "rules": [],
    }


@blueprint.get("/api/v2/instance/")
@blueprint.get("/api/v2/instance")
def instance_v2() -> ResponseReturnValue:
    rules = registration()
    return {
        "domain": domain(),
        "title": site_name(),
        "version": _version(),
        "source_url": "",
        "description": _description(),
        "wrapstodon": None,
        "usage": {"users": {"active_month": 0}},
        "thumbnail": {"url": _icon(512)},
        "icon": [{"src": _icon(size), "size": f"{size}x{size}"} for size in (192, 512)],
        "languages": list(LANGUAGES),
        "configuration": {
            **_configuration(),
            "urls": {"about": address(), "status": None, "privacy_policy": None, "terms_of_service": None},
            "vapid": {"public_key": ""},
            "translation": {"enabled": False},
            "timelines_access": {
                "live_feeds": {"local": "authenticated", "remote": "disabled"},
                "hashtag_feeds": {"local": "authenticated", "remote": "disabled"},
                "trending_link_feeds": {"local": "disabled", "remote": "disabled"},
            },
            "limited_federation": True,
        },
        "registrations": {
            "enabled": rules.mode == OPEN,
            "approval_required": rules.approval,
            "message": None,
            "min_age": None,
            "reason_required": False,
            "url": f"{address()}/register",
        },
        "api_versions": {"mastodon": 1},
        "contact": {"email": "", "account": None},
        "rules": [],
    }
