"""Posts as HTML. A post looks the same to all readers of a language: each process keeps some."""

from functools import lru_cache

from flask import Flask, current_app, request
from flask_login import current_user
from markupsafe import Markup, escape

from microblog.database import utc_now
from microblog.i18n import language
from microblog.models import PostRow
from microblog.web.jinja import csrf_token, when

# Of some 800 bytes each.
KEPT = 2048
# Stands for the hidden fields of a form; no text of a page has it, which are escaped and without NUL.
_HIDDEN = Markup("\0")


def init_app(app: Flask) -> None:
    app.jinja_env.globals["cards"] = cards


def cards(posts: list[PostRow]) -> Markup:
    """Some posts, with what this reader may do with them."""
    me, moderates = current_user.id, current_user.moderates
    translates, reads, now = current_app.config["TRANSLATES"], language(), utc_now()
    pieces = []
    for post in posts:
        delete = (
            f"/post/{post.id}/delete"
            if post.author_id == me
            else f"/admin/post/{post.id}/delete"
            if moderates
            else ""
        )
        translate = bool(translates and post.language and post.language != reads)
        pieces.append(_card(post, reads, when(post.created_at, now, reads), delete, translate))
    text = "".join(pieces)
    if _HIDDEN in text:
        text = text.replace(_HIDDEN, _hidden())
    return Markup(text)  # noqa: S704 - made by a template, which escapes


def _hidden() -> str:
    """The fields of this reader's forms: the token, and where they lead back to."""
    return (
        f'<input type="hidden" name="csrf_token" value="{csrf_token()}">'
        f'<input type="hidden" name="next" value="{escape(request.full_path)}">'
    )


@lru_cache(maxsize=KEPT)
def _card(post: PostRow, _reads: str, _when: str, delete: str, translate: bool) -> str:
    """One post. What it shows besides its arguments is the same for each: the language, and how long ago."""
    template = current_app.jinja_env.get_template("posts/card.html")
    return template.render(post=post, delete=delete, translate=translate, hidden=_HIDDEN)
