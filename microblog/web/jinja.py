"""What templates know besides the data of their page."""

import hashlib
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, url_for
from flask_login import current_user
from markupsafe import Markup, escape
from wtforms import Field

from microblog.database import utc_now
from microblog.i18n import _, _l, language
from microblog.web.text import linked

MONTHS = (
    *(_l("Jan"), _l("Feb"), _l("Mar"), _l("Apr"), _l("May"), _l("Jun")),
    *(_l("Jul"), _l("Aug"), _l("Sep"), _l("Oct"), _l("Nov"), _l("Dec")),
)


def init_app(app: Flask) -> None:
    # nginx serves static files itself; where there is none, they may be kept as long.
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 30 * 24 * 3600
    app.jinja_env.globals.update(
        avatar=avatar, current_user=current_user, field_attributes=field_attributes, moment=moment
    )
    app.jinja_env.filters.update(day=day, emphasise=emphasise, linked=linked, utc=utc, when=when)
    static = Path(str(app.static_folder))

    @app.url_defaults
    def mark_version(endpoint: str, values: dict[str, Any]) -> None:
        """Put a file's version into its URL: a browser may keep it for long, yet sees changes at once."""
        if endpoint == "static" and (version := file_version(static / values["filename"])):
            values["v"] = version

    @cache
    def static_url(filename: str) -> str:
        """A static file's URL: the same on every page, so url_for is asked once."""
        return url_for("static", filename=filename)

    app.jinja_env.globals["static"] = static_url


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


# Not macros: a page holds twenty of each, and a macro's call costs more than all it would write.
@lru_cache(maxsize=2048)
def avatar(name: str, size: int = 44) -> Markup:
    """Somebody's picture. The name stands beside it, so it says nothing of its own."""
    return Markup('<img class="avatar" src="/avatar/{0}.svg" alt="" width="{1}" height="{1}">').format(
        name, size
    )


def moment(at: datetime) -> Markup:
    """A moment, readable as it is; static/microblog.js puts it into the reader's own time zone."""
    text = escape(when(at))
    return Markup(f'<time datetime="{at.isoformat()}Z" title="{utc(at)}">{text}</time>')  # noqa: S704 - escaped


def when(moment: datetime, now: datetime | None = None) -> str:
    """How long ago that was, or its date. Needs no time zone for what is recent.

    :param now: the time, where it is known.
    """
    now = now or utc_now()
    minutes = int((now - moment).total_seconds() // 60)
    if minutes < 1:
        return _("now")
    if minutes < 60:
        return _("%(minutes)s min", minutes=minutes)
    if minutes < 24 * 60:
        return _("%(hours)s h", hours=minutes // 60)
    return _date(language(), moment.year, moment.month, moment.day, moment.year != now.year)


def day(moment: datetime) -> str:
    """A date in words."""
    return _date(language(), moment.year, moment.month, moment.day, True)


@lru_cache(maxsize=512)
def _date(_language: str, year: int, month: int, day: int, with_year: bool) -> str:
    # The same for each language.
    if not with_year:
        return _("%(day)s %(month)s", day=day, month=MONTHS[month - 1])
    return _("%(day)s %(month)s %(year)s", day=day, month=MONTHS[month - 1], year=year)


def utc(moment: datetime) -> str:
    """A moment to the minute, for readers whose zone is not known."""
    # Not by strftime, which takes several times as long.
    return f"{moment.isoformat(' ', 'minutes')} UTC"


def emphasise(text: str, part: str) -> Markup:
    """A sentence with a part of it stressed."""
    before, found, after = text.partition(part)
    return Markup("{}<em>{}</em>{}").format(before, found, after)
