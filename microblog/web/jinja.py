"""What templates know besides the data of their page."""

import hashlib
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, current_app, g, get_flashed_messages, session, url_for
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup, escape
from wtforms import Field

from microblog.database import utc_now, utc_text
from microblog.i18n import _, _l, language
from microblog.models.post import POST_MAX
from microblog.web import meant
from microblog.web.compiled import Compiled
from microblog.web.strip import strip
from microblog.web.text import linked

MONTHS = (
    *(_l("Jan"), _l("Feb"), _l("Mar"), _l("Apr"), _l("May"), _l("Jun")),
    *(_l("Jul"), _l("Aug"), _l("Sep"), _l("Oct"), _l("Nov"), _l("Dec")),
)


def init_app(app: Flask) -> None:
    # nginx serves static files itself; where there is none, they may be kept as long.
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 30 * 24 * 3600
    app.jinja_env.bytecode_cache = Compiled()
    app.jinja_env.globals.update(
        action=action,
        avatar=avatar,
        current_user=current_user,
        field_attributes=field_attributes,
        moment=moment,
        notices=notices,
        pager=pager,
        POST_MAX=POST_MAX,
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


def csrf_token() -> str:
    """What a form proves with that it is from a page of this session. It is of plain letters."""
    if "csrf_token" not in g and (own := session.get("csrf_token")):
        # Where Flask-WTF keeps it for a page.
        g.csrf_token = _signed(str(current_app.secret_key), own)
    token: str = g.get("csrf_token") or generate_csrf()
    return token


@lru_cache(maxsize=4096)
def _signed(_key: str, _own: str) -> str:
    # The same for each session, and good as long as that is.
    token: str = generate_csrf()
    return token


def notices() -> Markup:
    """What the visitor is told once; and an administrator, as long as it is so."""
    line = Markup('<p class="notice" role="status">{}</p>\n')
    return strip() + Markup("").join(line.format(message) for message in get_flashed_messages())


def action(
    path: str, label: str, look: str = "btn btn-quiet", back: str = "", account: int | None = None
) -> Markup:
    """A button that changes something, as a form of its own.

    :param back: where it leads afterwards, if not where it would by itself.
    :param account: the number of whom it is about, where its path has the name alone.
    """
    return button(csrf_token(), path, label, look, back, account)


def button(
    token: str,
    path: str,
    label: str,
    look: str = "btn btn-quiet",
    back: str = "",
    account: int | None = None,
) -> Markup:
    """Likewise, with this token."""
    line = Markup('  <input type="hidden" name="{}" value="{}">\n')
    more = line.format("next", back) if back else Markup("")
    if account is not None:
        more += line.format(meant.FIELD, account)
    return Markup(
        '<form method="post" action="{}">\n  <input type="hidden" name="csrf_token" value="{}">\n{}'
        '  <button class="{}">{}</button>\n</form>'
    ).format(path, token, more, look, label)


def pager(page: Any, path: str) -> Markup:
    """To the newer and the older part of a list.

    :param path: where the list is, less the cursor.
    """
    if page.newer is None and page.older is None:
        return Markup("")
    text = _pager(language(), page.newer is not None, page.older is not None)
    start = escape(f"{path}{'&' if '?' in path else '?'}")
    newer, older = f"{start}after={page.newer}", f"{start}before={page.older}"
    return Markup(text.replace("\0newer", newer).replace("\0older", older))  # noqa: S704 - escaped


@lru_cache(maxsize=64)
def _pager(_language: str, newer: bool, older: bool) -> str:
    # The same for each language, but for where its links lead.
    text = Markup('<nav class="pager" aria-label="{}">\n').format(_("Pages"))
    if newer:
        text += Markup(
            '  <a class="btn btn-quiet" rel="prev" href="\0newer">'
            '<span aria-hidden="true">&larr;</span> {}</a>\n'
        ).format(_("Newer"))
    if older:
        text += Markup(
            '  <a class="btn btn-quiet ms-auto" rel="next" href="\0older">{} '
            '<span aria-hidden="true">&rarr;</span></a>\n'
        ).format(_("Older"))
    return str(text) + "</nav>\n"


def moment(at: datetime) -> Markup:
    """A moment, readable as it is; static/microblog.js puts it into the reader's own time zone."""
    text = escape(when(at))
    return Markup(f'<time datetime="{utc_text(at)}" title="{utc(at)}">{text}</time>')  # noqa: S704 - escaped


def when(moment: datetime, now: datetime | None = None, reads: str | None = None) -> str:
    """How long ago that was, or its date. Needs no time zone for what is recent.

    :param now: the time, where it is known.
    :param reads: the language, where it is known.
    """
    now, reads = now or utc_now(), reads or language()
    passed = now - moment
    if passed.days < 1:
        return _ago(reads, passed.seconds // 60 if passed.days == 0 else 0)
    return _date(reads, moment.year, moment.month, moment.day, moment.year != now.year)


@lru_cache(maxsize=3 * 24 * 60)
def _ago(_language: str, minutes: int) -> str:
    # The same for each language.
    if minutes < 1:
        return _("now")
    if minutes < 60:
        return _("%(minutes)s min", minutes=minutes)
    return _("%(hours)s h", hours=minutes // 60)


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
