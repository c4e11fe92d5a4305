"""Conversations: the list, and each of them. Their addresses have names, no numbers."""

import secrets

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from microblog import units
from microblog.database import db
from microblog.i18n import _
from microblog.models import messages
from microblog.models.paging import ID_MAX
from microblog.web import lapsed, limits, navigation
from microblog.web.cursor import cursor
from microblog.web.people.views import find
from microblog.web.posts.forms import PostForm

blueprint = Blueprint("messages", __name__)


@blueprint.get("/messages")
@login_required
def latest() -> ResponseReturnValue:
    page = messages.conversations_page(current_user.id, **cursor())
    return render_template("messages/list.html", page=page)


@blueprint.route("/messages/<username>", methods=["GET", "POST"])
@units.safe_twice
@login_required
def conversation(username: str) -> ResponseReturnValue:
    """What somebody and the visitor have written to each other; what is new is read by that."""
    user = find(username)
    if user.id == current_user.id:
        abort(404)
    here = url_for("messages.conversation", username=user.username)
    form = PostForm()
    if form.validate_on_submit():
        limits.check(limits.MESSAGE.key(current_user.id))
        token = form.once.data or g.setdefault("once", secrets.token_urlsafe(12))
        if messages.send(current_user, user.id, token, form.body.data) is not None:
            db.session.commit()
            lapsed.forget_text(token)
            return redirect(here)
        db.session.rollback()
    mine = messages.side(current_user.id, user.id)
    page = messages.messages_page(mine, **cursor())
    if page.newer is None and page.rows and mine.unread:
        messages.read(current_user.id, user.id, mine, page.rows[0].id)
        db.session.commit()
        navigation.seen("letters")
    return render_template(
        "messages/conversation.html",
        user=user,
        page=page,
        path=here,
        writes=messages.may_write(current_user.id, user.id),
        once=(None if form.is_submitted() else lapsed.kept_token()) or secrets.token_urlsafe(12),
        written=(form.body.data if form.is_submitted() else lapsed.kept_text()) or "",
        problem=form.body.errors[0] if form.body.errors else None,
    )


@blueprint.post("/messages/<username>/delete")
@units.safe_twice
@login_required
def delete(username: str) -> ResponseReturnValue:
    """For oneself: the other one still has it. What came since the page was opened is not meant."""
    user = find(username)
    up_to = request.form.get("up_to", type=int)
    if user.id == current_user.id or up_to is None or not 0 <= up_to <= ID_MAX:
        abort(404)
    messages.delete_conversation(current_user.id, user.id, up_to)
    flash(_("The conversation with %(name)s is deleted for you.", name=user.username))
    return redirect(url_for("messages.latest"))
