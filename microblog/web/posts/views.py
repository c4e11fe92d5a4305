"""The feeds; writing, deleting and translating posts."""

import secrets
from urllib.parse import quote

from flask import (
    abort,
    current_app,
    flash,
    g,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from microblog import units
from microblog.database import db
from microblog.detection import detect
from microblog.i18n import _, language
from microblog.models import audience, feeds, reactions
from microblog.models.feeds import explore_page, home_page
from microblog.models.marks import NO_MARKS, marks
from microblog.models.markup import tag_key
from microblog.models.paging import ID_MAX
from microblog.models.post import add_post_once, delete_post, own_post
from microblog.models.tags import tag_page
from microblog.models.threads import thread_page
from microblog.models.versions import edit_post, may_edit, versions_of
from microblog.translator import TranslatorError
from microblog.web import lapsed, limits
from microblog.web.cursor import cursor
from microblog.web.extensions import asks_first, may_read
from microblog.web.feed_pages import feed_page
from microblog.web.hosts import external_url
from microblog.web.jinja import csrf_token
from microblog.web.posts.blueprint import blueprint
from microblog.web.posts.forms import PostForm
from microblog.web.security import path_without, safe_path
from microblog.web.site_looks import is_public


@blueprint.route("/", methods=["GET", "POST"])
@units.safe_twice
@asks_first(feeds.home_first)
def home() -> ResponseReturnValue:
    # A name that stands for another object is looked up each time.
    me = current_user._get_current_object()
    if not me.is_authenticated:
        # Who wrote a post and is logged out by now gets to log in.
        return lapsed.ask_again() if request.method == "POST" else render_template("posts/welcome.html")
    # To read, no form is needed: making one takes a tenth of the time of this page.
    form = PostForm() if request.method == "POST" else None
    if form and form.validate_on_submit():
        limits.check(limits.POST.key(me.id))
        # Where the page's has none, this request is one.
        token = form.once.data or g.setdefault("once", secrets.token_urlsafe(12))
        number = add_post_once(me, token, form.body.data, detect(form.body.data))
        db.session.commit()
        if number is not None:
            lapsed.forget_text(token)
        # Whose account has ended since this request began is a visitor at the next one.
        return redirect(url_for("posts.home"))
    return feed_page(
        "posts/home.html",
        home_page(me, **cursor()),
        "/",
        {"once": (None if form else lapsed.kept_token()) or secrets.token_urlsafe(12)},
        written=(form.body.data if form else lapsed.kept_text()) or "",
        problem=form.body.errors[0] if form and form.body.errors else None,
    )


@blueprint.get("/explore")
@asks_first(feeds.explore_first)
@may_read
def explore() -> ResponseReturnValue:
    return feed_page("posts/explore.html", explore_page(**cursor()), "/explore")


@blueprint.get("/tag/<name>")
@may_read
def tag(name: str) -> ResponseReturnValue:
    key = tag_key(name)
    if not key:
        abort(404)
    return feed_page("posts/tag.html", tag_page(key, **cursor()), f"/tag/{quote(key)}", {"tag": key})


@blueprint.get("/bookmarks")
@login_required
def bookmarks() -> ResponseReturnValue:
    page = reactions.bookmarks_page(current_user.id, **cursor())
    return feed_page("posts/bookmarks.html", page, "/bookmarks")


@blueprint.get("/likes")
@login_required
def likes() -> ResponseReturnValue:
    page = reactions.liked_page(current_user.id, **cursor())
    return feed_page("posts/likes.html", page, "/likes")


@blueprint.get("/post/<int:number>")
@may_read
def show(number: int) -> ResponseReturnValue:
    """A post, with its conversation."""
    post = feeds.one(number)
    if post is not None and post.repost_of_id is not None:
        return redirect(url_for("posts.show", number=post.repost_of_id))
    return _conversation(number, lapsed.kept_text(), token=lapsed.kept_token())


def _conversation(
    number: int, written: str | None, problem: str | None = None, token: str | None = None
) -> str:
    after = cursor()["after"]
    thread = thread_page(number, after) if number <= ID_MAX else None
    if thread is None:
        abort(404)
    if written is None:
        others = thread.post and thread.post.author_id != current_user.id
        written = f"@{thread.post.username} " if thread.post and others else ""
    return render_template(
        "posts/post.html",
        thread=thread,
        after=after,
        written=written,
        problem=problem,
        token=csrf_token() if current_user.is_authenticated else "",
        once=token or secrets.token_urlsafe(12),
        address=external_url("posts.show", number=number) if is_public() else "",
    )


@blueprint.post("/post/<int:number>/reply")
@units.safe_twice
@login_required
def reply(number: int) -> ResponseReturnValue:
    post = feeds.one(number)
    if post is None or audience.apart(post.shown.author_id):
        lapsed.keep_text()
        abort(404)
    form = PostForm()
    if not form.validate_on_submit():
        problem = form.body.errors[0] if form.body.errors else None
        return _conversation(post.shown.id, form.body.data or "", problem, form.once.data)
    limits.check(limits.POST.key(current_user.id))
    token = form.once.data or g.setdefault("once", secrets.token_urlsafe(12))
    answer = add_post_once(current_user, token, form.body.data, detect(form.body.data), post.shown)
    db.session.commit()
    if answer is None:
        return redirect(url_for("posts.home"))
    lapsed.forget_text(token)
    return redirect(url_for("posts.show", number=answer))


# What somebody may do with a post, and take back.
_ACTS = {
    **{"like": reactions.like, "unlike": reactions.unlike},
    **{"repost": reactions.repost, "unrepost": reactions.unrepost},
    **{"bookmark": reactions.bookmark, "unbookmark": reactions.unbookmark},
}


@units.safe_twice
@login_required
def react(number: int, act: str) -> ResponseReturnValue:
    """Like a post, and the like: the counts as JSON for the script that shows them in place, else the page
    that the button was on."""
    post = feeds.one(number)
    if post is None:
        abort(404)
    limits.check(limits.REACTION.key(current_user.id))
    if _ACTS[act](current_user, post):
        db.session.commit()
    shown = post.shown.id
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
        return jsonify(marks(current_user.id, [shown]).get(shown, NO_MARKS)._asdict())
    return redirect(f"{safe_path(request.form.get('next')) or f'/post/{shown}'}#post-{number}")


for _act in _ACTS:
    blueprint.add_url_rule(
        f"/post/<int:number>/{_act}", _act, react, methods=["POST"], defaults={"act": _act}
    )


@blueprint.route("/post/<int:number>/edit", methods=["GET", "POST"])
@units.safe_twice
@login_required
def edit(number: int) -> ResponseReturnValue:
    post = own_post(number, current_user.id)
    if post is None or post.repost_of_id is not None:
        abort(404)
    problem = None
    kept = lapsed.kept_text() if request.method == "GET" else None
    written = kept or post.body
    if request.method == "POST":
        form = PostForm()
        written = form.body.data or ""
        if form.validate_on_submit():
            limits.check(limits.POST.key(current_user.id))
            if edit_post(current_user, post, written, detect(written)):
                db.session.commit()
                lapsed.forget_text()
                flash(_("Your post is changed."))
                return redirect(url_for("posts.show", number=number))
            problem = _too_late()
        else:
            problem = form.body.errors[0] if form.body.errors else None
    elif not may_edit(current_user, post):
        if not kept:
            flash(_too_late())
            return redirect(url_for("posts.show", number=number))
        # It is there to be copied.
        problem = _too_late()
    return render_template(
        "posts/edit.html", number=number, written=written, problem=problem, token=csrf_token()
    )


def _too_late() -> str:
    return _("A post can be edited for a quarter of an hour after it was written: this one stays as it is.")


@blueprint.get("/post/<int:number>/versions")
@may_read
def versions(number: int) -> ResponseReturnValue:
    """What an edited post said before."""
    post = feeds.one(number)
    found = versions_of(number) if post is not None else []
    if not found:
        abort(404)
    return render_template("posts/versions.html", post=post, versions=found)


@blueprint.post("/post/<int:number>/delete")
@login_required
def delete(number: int) -> ResponseReturnValue:
    post = own_post(number, current_user.id)
    # Whose it is is no secret, but nobody needs to be told so here.
    if post is None:
        abort(404)
    delete_post(post)
    db.session.commit()
    flash(_("Your post is deleted."))
    return redirect(path_without(request.form.get("next"), f"/post/{number}") or url_for("posts.home"))


@blueprint.post("/post/<int:number>/translate")
@login_required
def translate(number: int) -> ResponseReturnValue:
    """A post in the reader's language: as JSON for the script that shows it in place, else as a page."""
    translator = current_app.extensions["microblog.translator"]
    # Only what is to be seen on the site: this is no translation service for everything.
    post = feeds.one(number) if translator else None
    if post is None or post.repost_of_id is not None:
        abort(404)
    translation = problem = None
    try:
        translation = translator.kept(post.body, language())
        if translation is None:
            limits.check(limits.TRANSLATION.key(current_user.id), limits.TRANSLATIONS.key())
            translation = translator.translate(post.body, language())
    except TranslatorError as error:
        current_app.logger.warning("no translation: %s", error)
        problem = _("The translation service does not answer. Please try again later.")
    if request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json":
        return jsonify(text=translation, problem=problem)
    return render_template(
        "posts/translation.html",
        post=post,
        translation=translation,
        problem=problem,
        back=safe_path(request.form.get("next")) or url_for("posts.explore"),
    )
