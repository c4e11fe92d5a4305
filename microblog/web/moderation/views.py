"""The moderators' queue and log. What their buttons do to accounts and posts is the administrators' too: see
:mod:`microblog.web.admin.views`."""

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from microblog import units
from microblog.database import db
from microblog.i18n import _, _l
from microblog.models import moderation, reports
from microblog.web.cursor import cursor
from microblog.web.extensions import login

ID_MAX = 2**31 - 1

blueprint = Blueprint("moderation", __name__, url_prefix="/moderation")

# What the log calls an act, for who reads it.
ACTS = {
    "suspended": _l("suspended"),
    "let back in": _l("let back in"),
    "let in": _l("let in"),
    "refused": _l("did not let in"),
    "deleted": _l("deleted a post of"),
    "deleted the account": _l("deleted the account"),
    "made a moderator": _l("made a moderator"),
    "no longer made a moderator": _l("took moderation from"),
    "closed a report": _l("closed a report about"),
}


@blueprint.before_request
def moderators_only() -> ResponseReturnValue | None:
    if not current_user.is_authenticated:
        answer: ResponseReturnValue = login.unauthorized()
        return answer
    if not current_user.moderates:
        abort(403)
    return None


@blueprint.get("")
def queue() -> ResponseReturnValue:
    """What is to be looked at."""
    return _queue(closed=False)


@blueprint.get("/closed")
def closed() -> ResponseReturnValue:
    """What was looked at."""
    return _queue(closed=True)


def _queue(closed: bool) -> ResponseReturnValue:
    path = url_for(str(request.endpoint))
    page = reports.reports_page(closed, **_places())
    return render_template("moderation/queue.html", page=page, path=path, closed=closed)


@blueprint.post("/report/<int:number>/close")
@units.safe_twice
def close(number: int) -> ResponseReturnValue:
    report = reports.find_report(number) if number <= ID_MAX else None
    if report is None:
        # With whom it was about.
        flash(_("The report is gone already."))
        return redirect(url_for("moderation.queue"))
    subject, about = reports.subject(report), report.post_id
    if reports.close(number, current_user):
        moderation.note(current_user, "closed a report", subject, about)
        db.session.commit()
        current_app.logger.info("moderator %s closed report %d", current_user.username, number)
        flash(_("The report is closed."))
    return redirect(url_for("moderation.queue"))


@blueprint.get("/log")
def log() -> ResponseReturnValue:
    page = moderation.acts_page(**_places())
    return render_template("moderation/log.html", page=page, path=url_for("moderation.log"), names=ACTS)


def _places() -> dict[str, int | None]:
    """Numbers of these lists are small ones."""
    return {
        name: place if place is not None and place <= ID_MAX else None for name, place in cursor().items()
    }
