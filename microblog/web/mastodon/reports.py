"""Ask the moderators to look at somebody."""

from flask import abort
from flask.typing import ResponseReturnValue

from microblog.database import db, utc_now
from microblog.models import User, feeds, reports
from microblog.models.user import clean_about
from microblog.web import limits
from microblog.web.api import access, seen, sent
from microblog.web.api.errors import Refused
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.entities import account, time


# Mastodon.py asks with a slash at the end.
@blueprint.post("/api/v1/reports/")
@blueprint.post("/api/v1/reports")
def create_report() -> ResponseReturnValue:
    reader = access.reader("write:reports")
    number = sent.number("account_id")
    if number is None:
        raise Refused(422, "Validation failed: account_id is missing")
    # Whom they block can be reported all the same.
    row = seen.somebody(number)
    user = db.session.get(User, row.id)
    if user is None or row.id == reader.id:
        abort(404)
    numbers = [one for text in sent.texts("status_ids") if (one := sent.as_number(text))]
    posts = [
        post
        for post in feeds.posts(numbers, muted=False)
        if post.author_id == row.id and not post.repost_of_id
    ]
    # Each of them is one to be looked at.
    for _one in range(max(1, len(posts))):
        limits.check(limits.REPORT.key(reader.id))
    comment = clean_about(sent.text("comment"))[: reports.COMMENT_MAX]
    for post in posts:
        reports.report(reader, user, comment, post)
    if not posts:
        reports.report(reader, user, comment)
    db.session.commit()
    return {
        "id": str(row.id),
        "action_taken": False,
        "action_taken_at": None,
        "category": "other",
        "comment": comment,
        "forwarded": False,
        "created_at": time(utc_now()),
        "status_ids": [str(post.id) for post in posts],
        "collection_ids": None,
        "rule_ids": None,
        "target_account": account(row),
    }
