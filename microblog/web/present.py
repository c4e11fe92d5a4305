"""What templates know besides the data of their page."""

import hashlib
import zlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask_login import current_user
from wtforms import Field

from microblog.database import utc_now

# As many as static/microblog.css has colours for.
HUES = 12


def init_app(app: Flask) -> None:
    # nginx serves static files itself; where there is none, they may be kept as long.
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 30 * 24 * 3600
    app.jinja_env.globals["current_user"] = current_user
    app.jinja_env.globals["field_attributes"] = field_attributes
    app.jinja_env.filters["when"] = when
    app.jinja_env.filters["hue"] = hue
    static = Path(str(app.static_folder))

    @app.url_defaults
    def mark_version(endpoint: str, values: dict[str, Any]) -> None:
        """Put a file's version into its URL: a browser may keep it for long, yet sees changes at once."""
        if endpoint == "static" and (version := file_version(static / values["filename"])):
            values["v"] = version


@cache
def file_version(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError:
        return None


def field_attributes(field: Field, autofocus: bool) -> dict[str, Any]:
    """A text field's HTML attributes: its class, and what ties it to its help or its error."""
    attributes: dict[str, Any] = {"class": "form-control"}
    if field.errors:
        attributes["class"] += " is-invalid"
        attributes["aria-invalid"] = "true"
        attributes["aria-describedby"] = f"{field.id}-error"
    elif field.description:
        attributes["aria-describedby"] = f"{field.id}-help"
    if autofocus:
        attributes["autofocus"] = True
    return attributes


def when(moment: datetime) -> str:
    """How long ago that was, or its date. Needs no time zone for what is recent."""
    now = utc_now()
    minutes = int((now - moment).total_seconds() // 60)
    if minutes < 1:
        return "now"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h"
    return f"{moment.day} {moment:%b}" if moment.year == now.year else f"{moment.day} {moment:%b %Y}"


def hue(name: str) -> int:
    """The number of a name's colour, always the same."""
    return zlib.crc32(name.lower().encode()) % HUES
