"""Posts as HTML. A post looks the same to all readers of a language: each process keeps some.

How often it was liked, and whether this reader likes it, is put into what is kept.
"""

import re
from functools import lru_cache

from flask import Flask, current_app, request
from flask_login import current_user
from markupsafe import Markup, escape

from microblog.database import utc_now
from microblog.i18n import _, language
from microblog.models import PostRow
from microblog.models.marks import NO_MARKS, Marks, marks
from microblog.models.threads import Thread
from microblog.models.versions import may_edit
from microblog.web.jinja import csrf_token, when
from microblog.web.text import linked

# Of some 700 bytes each; twice as much in letters beyond Latin ones.
KEPT = 2048
# Stand for the hidden fields of a form, for the text of a post and for its buttons; no text of a page has
# these, which are escaped and without NUL.
_HIDDEN, _BODY, _ACTS = Markup("\0hidden"), Markup("\0body"), Markup("\0acts")


def init_app(app: Flask) -> None:
    app.jinja_env.globals["cards"] = cards
    app.jinja_env.globals["thread_cards"] = thread_cards


def cards(posts: list[PostRow], known: dict[int, Marks] | None = None) -> Markup:
    """Some posts, with what this reader may do with them. Once in a page: with the form of all their
    buttons.

    :param known: what there is to say of them, where that is known.
    """
    return _filled(_pieces(posts, known))


def thread_cards(thread: Thread) -> Markup:
    """A part of a conversation likewise; what is gone has left its place."""
    rows = [row for _number, row in thread.above if row] + ([thread.post] if thread.post else [])
    shown = dict(zip([row.id for row in rows], _pieces(rows), strict=True))
    pieces = [shown.get(number) or _gone(language(), number) for number, _row in thread.above]
    main = shown.get(thread.id) or _gone(language(), thread.id)
    pieces.append(main.replace('class="post', 'class="post post-main', 1))
    known = {thread.id, *(number for number, _row in thread.above)}
    for row, piece in zip(thread.answers, _pieces(thread.answers), strict=True):
        # Above the first who answers it.
        if row.reply_to_id in thread.gone and row.reply_to_id not in known:
            known.add(row.reply_to_id)
            pieces.append(_gone(language(), row.reply_to_id))
        pieces.append(piece)
    return _filled(pieces, f"/post/{thread.id}")


def _pieces(posts: list[PostRow], known: dict[int, Marks] | None = None) -> list[str]:
    # A name that stands for another object is looked up each time.
    me = current_user._get_current_object()
    my_id, moderates = me.id, me.moderates
    translates, reads, now = bool(my_id and current_app.config["TRANSLATES"]), language(), utc_now()
    said = marks(my_id, [(post.original or post).id for post in posts]) if known is None else known
    pieces = []
    for post in posts:
        own = post.original or post
        if own.author_id == my_id:
            may = "edit" if may_edit(me, own) else "own"
        else:
            may = "moderate" if moderates else "report" if my_id else ""
        translate = translates and bool(own.language) and own.language != reads
        age = when(own.created_at, now, reads)
        pieces.append(_piece(post, reads, age, may, translate, said.get(own.id, NO_MARKS)))
    return pieces


def _filled(pieces: list[str], page: str = "/") -> Markup:
    """:param page: where the visitor is, if a form was sent from there, and this is the answer."""
    text = "".join(pieces)
    if not current_user.is_authenticated:
        # Nobody whose session would have to begin for that: a visitor's page has no buttons.
        return Markup(text)  # noqa: S704
    hidden = _hidden(request.full_path if request.method == "GET" else page)
    form = f'<form id="acts" method="post" hidden>{hidden}</form>\n'
    # Made by templates, which escape.
    return Markup(form + text.replace(_HIDDEN, hidden))  # noqa: S704


def _hidden(back: str) -> str:
    """The fields of this reader's forms: the token, and where they lead back to."""
    return (
        f'<input type="hidden" name="csrf_token" value="{csrf_token()}">'
        f'<input type="hidden" name="next" value="{escape(back)}">'
    )


@lru_cache(maxsize=KEPT // 4)
def _piece(post: PostRow, reads: str, age: str, may: str, translate: bool, said: Marks) -> str:
    """One post with its buttons, to a reader of whom this is so. Fewer of these are kept: what they are put
    together from is, and that takes a microsecond."""
    above, below = _card(post, reads, age, may, translate)
    acts = _buttons(reads, said.liked, said.reposted, said.bookmarked, bool(may))
    counts = {name: getattr(said, name) or "" for name in ("replies", "reposts", "likes")}
    return above + acts % {"id": post.shown.id, **counts} + below


@lru_cache(maxsize=KEPT)
def _card(post: PostRow, _reads: str, _age: str, may: str, translate: bool) -> tuple[str, str]:
    """One post, what comes before its buttons and what after them: a count that changes often is no reason to
    make it again. What it shows besides its arguments is the same for each: the language, and how long ago.

    :param may: what this reader may do with it: nothing, ``report``, ``moderate``, or, of their ``own``,
        ``edit`` it.
    """
    template = current_app.jinja_env.get_template("posts/card.html")
    text = template.render(
        post=post.shown,
        number=post.id,
        passed_on_by=post.username if post.original else "",
        may=may,
        translate=translate,
        body=_BODY,
        hidden=_HIDDEN,
        acts=_ACTS,
    )
    # A template is indented for who reads it.
    above, _acts, below = re.sub("\n +", "\n", text).partition(_ACTS)
    return above.replace(_BODY, linked(post.shown.body)), below


@lru_cache(maxsize=64)
def _buttons(_reads: str, liked: bool, reposted: bool, bookmarked: bool, acts: bool) -> str:
    """The buttons of any post, to be filled in with its number and its counts by ``%``."""
    template = current_app.jinja_env.get_template("posts/acts.html")
    text = template.render(liked=liked, reposted=reposted, bookmarked=bookmarked, acts=acts)
    return re.sub("\0([a-z]+)", r"%(\1)s", text.replace("%", "%%"))


@lru_cache(maxsize=512)
def _gone(_reads: str, number: int) -> str:
    return Markup('<p class="post post-gone" id="post-{}">{}</p>\n').format(number, _("This post is gone."))
