"""The feeds; writing, deleting and translating posts."""

import secrets

from flask import (
    Blueprint,
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
from microblog.models import feeds
from microblog.models.feeds import explore_page, home_page
from microblog.models.paging import ID_MAX
from microblog.models.post import add_post_once, delete_post, find_post
from microblog.translator import TranslatorError
from microblog.web import lapsed, limits
from microblog.web.cursor import cursor
from microblog.web.feed_pages import feed_page
from microblog.web.posts.forms import PostForm
from microblog.web.security import safe_path

blueprint = Blueprint("posts", __name__)


@blueprint.route("/", methods=["GET", "POST"])
@units.safe_twice
def home() -> ResponseReturnValue:
    if not current_user.is_authenticated:
        # Who wrote a post and is logged out by now gets to log in.
        return lapsed.ask_again() if request.method == "POST" else render_template("posts/welcome.html")
    # To read, no form is needed: making one takes a tenth of the time of this page.
    form = PostForm() if request.method == "POST" else None
    if form and form.validate_on_submit():
        limits.check(limits.POST.key(current_user.id))
        # Where the page's has none, this request is one.
        token = form.once.data or g.setdefault("once", secrets.token_urlsafe(12))
        number = add_post_once(current_user, token, form.body.data, detect(form.body.data))
        db.session.commit()
        if number is not None:
            lapsed.forget_text(token)
        # Whose account has ended since this request began is a visitor at the next one.
        return redirect(url_for("posts.home"))
    return feed_page(
        "posts/home.html",
        home_page(current_user, **cursor()),
        "/",
        {"once": (None if form else lapsed.kept_token()) or secrets.token_urlsafe(12)},
        written=(form.body.data if form else lapsed.kept_text()) or "",
        problem=form.body.errors[0] if form and form.body.errors else None,
    )


@blueprint.get("/explore")
@login_required
def explore() -> ResponseReturnValue:
    return feed_page("posts/explore.html", explore_page(**cursor()), "/explore")


@blueprint.post("/post/<int:number>/delete")
@login_required
def delete(number: int) -> ResponseReturnValue:
    post = find_post(number)
    # Whose it is is no secret, but nobody needs to be told so here.
    if post is None or post.author_id != current_user.id:
        abort(404)
    delete_post(post)
    db.session.commit()
    flash(_("Your post is deleted."))
    return redirect(safe_path(request.form.get("next")) or url_for("posts.home"))


@blueprint.post("/post/<int:number>/translate")
@login_required
def translate(number: int) -> ResponseReturnValue:
    """A post in the reader's language: as JSON for the script that shows it in place, else as a page."""
    translator = current_app.extensions["microblog.translator"]
    # Only what is to be seen on the site: this is no translation service for everything.
    found = feeds.posts([number]) if translator and number <= ID_MAX else []
    if not found:
        abort(404)
    post = found[0]
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
