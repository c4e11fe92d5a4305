"""What a telephone needs to put the site on its home screen (https://www.w3.org/TR/appmanifest/)."""

from flask import Blueprint, url_for
from flask.typing import ResponseReturnValue

from microblog.i18n import _, language
from microblog.web.site_looks import site_name

blueprint = Blueprint("manifest", __name__)

_PAPER = "#f7f4ee"
# Of microblog/static/icons: the name, its size, and whether it may be cut into shape.
_ICONS = (
    ("icons/icon-192.png", "192x192", "any"),
    ("icons/icon-512.png", "512x512", "any"),
    ("icons/maskable-512.png", "512x512", "maskable"),
)


@blueprint.get("/manifest.webmanifest")
def manifest() -> ResponseReturnValue:
    icons = [
        {
            "src": url_for("static", filename=name),
            "sizes": sizes,
            "type": "image/png",
            "purpose": purpose,
        }
        for name, sizes, purpose in _ICONS
    ]
    said = {
        "id": "/",
        "name": site_name(),
        "short_name": site_name(),
        "description": _("A small social network."),
        "lang": language(),
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": _PAPER,
        "theme_color": _PAPER,
        "icons": icons,
    }
    return said, {"Content-Type": "application/manifest+json"}
