"""The feeds, and writing posts."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from microblog.database import db
from microblog.models import Post
from microblog.models.post import ID_MAX, explore_page, home_page
from microblog.web.extensions import login
from microblog.web.posts.forms import PostForm

blueprint = Blueprint("posts", __name__)


@blueprint.route("/", methods=["GET", "POST"])
def home() -> ResponseReturnValue:
    if not current_user.is_authenticated:
        # Who wrote a post and is logged out by now gets to log in.
        return login.unauthorized() if request.method == "POST" else render_template("posts/welcome.html")
    form = PostForm()
    if form.validate_on_submit():
        db.session.add(Post(author_id=current_user.id, body=form.body.data))
        db.session.commit()
        return redirect(url_for("posts.home"))
    return render_template("posts/home.html", form=form, page=home_page(current_user, **cursor()))


@blueprint.get("/explore")
@login_required
def explore() -> ResponseReturnValue:
    return render_template("posts/explore.html", page=explore_page(**cursor()))


def cursor() -> dict[str, int | None]:
    """Where in a feed the visitor is; what is no post's id counts as the top."""
    return {name: post_id(request.args.get(name, type=int)) for name in ("before", "after")}


def post_id(number: int | None) -> int | None:
    return number if number is not None and 0 <= number <= ID_MAX else None
