"""The page with what somebody is to know of, and the number beside its link."""

from flask import Blueprint, Response, abort, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from microblog import units
from microblog.database import db
from microblog.i18n import _
from microblog.models import notifications, preferences
from microblog.models.notifications import KINDS
from microblog.web import letters, navigation
from microblog.web.cursor import cursor
from microblog.web.extensions import csrf
from microblog.web.notifications.digest import subscriber
from microblog.web.notifications.forms import NotificationsForm
from microblog.web.notifications.lines import lines

blueprint = Blueprint("notifications", __name__)

# What is chosen beside the kinds.
_CHOICES = ("by_mail", "messages_from_all")


@blueprint.get("/notifications")
@login_required
def latest() -> ResponseReturnValue:
    """What is new is seen by that: written only where there is any."""
    page = notifications.page(current_user.id, **cursor())
    read_to = preferences.of(current_user.id).read_to
    if page.newer is None and page.rows and page.rows[0].id > read_to:
        notifications.seen(current_user.id, page.rows[0].id)
        db.session.commit()
        navigation.seen("news")
    return render_template("notifications/list.html", page=page, lines=lines(page.rows, read_to))


@blueprint.get("/notifications/unread")
@login_required
def unread() -> ResponseReturnValue:
    """The numbers beside the links, for pages that are open: asked for every minute, so nothing is said where
    they are as they were."""
    numbers = navigation.numbers()
    response: Response = jsonify(list(numbers.values()))
    response.set_etag("-".join(numbers.values()))
    return response.make_conditional(request)


@blueprint.route("/settings/notifications", methods=["GET", "POST"])
@units.safe_twice
@login_required
def settings() -> ResponseReturnValue:
    chosen = preferences.of(current_user.id)
    silent = set(chosen.silent.split(","))
    given = {kind: kind not in silent for kind in KINDS}
    form = NotificationsForm(data={**given, **{name: getattr(chosen, name) for name in _CHOICES}})
    if form.validate_on_submit():
        off = ",".join(kind for kind in KINDS if not form[kind].data)
        preferences.change(current_user.id, silent=off, **{name: form[name].data for name in _CHOICES})
        db.session.commit()
        flash(_("Your settings are saved."))
        return redirect(url_for("notifications.settings"))
    sends = letters.mailer() is not None
    return render_template("notifications/settings.html", form=form, kinds=KINDS, sends=sends)


@blueprint.route("/unsubscribe/<token>", methods=["GET", "POST"])
@csrf.exempt
@units.safe_twice
def unsubscribe(token: str) -> ResponseReturnValue:
    """End somebody's mails, by the link in one: with a button, for programs that look into mails open links;
    or by a mail program's single request (RFC 8058), which has neither a cookie nor a token of a form."""
    user = subscriber(token)
    if user is None:
        abort(404)
    if request.method == "POST":
        preferences.change(user.id, by_mail=False)
        db.session.commit()
    done = request.method == "POST"
    page = render_template("notifications/unsubscribe.html", username=user.username, done=done)
    # The address is the secret.
    return page, {"Referrer-Policy": "no-referrer"}
