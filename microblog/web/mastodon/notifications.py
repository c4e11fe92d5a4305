"""What somebody is to know of."""

from typing import Any

from flask import abort
from flask.typing import ResponseReturnValue

from microblog import units
from microblog.database import db
from microblog.models import Reader, feeds, notifications, preferences
from microblog.models.notifications import Told
from microblog.models.paging import ID_MAX, Cut
from microblog.models.people import people
from microblog.web.api import access, sent
from microblog.web.mastodon import lists
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.entities import account, statuses, time

# Messages have their own place.
_TYPES = {
    "follow": "follow",
    "reply": "mention",
    "mention": "mention",
    "like": "favourite",
    "repost": "reblog",
}


def _kinds() -> list[str]:
    wanted, unwanted = sent.texts("types"), sent.texts("exclude_types")
    return [
        kind for kind, type_ in _TYPES.items() if (not wanted or type_ in wanted) and type_ not in unwanted
    ]


def tell(rows: list[Told], reader: Reader) -> list[dict[str, Any]]:
    actors = people(row.actor_id for row in rows)
    posts = feeds.posts(sorted({row.post_id for row in rows if row.post_id}))
    told = {status["id"]: status for status in statuses(posts, reader)}
    answer = []
    for row in rows:
        status = told.get(str(row.post_id))
        if row.actor_id not in actors or (row.post_id and status is None):
            continue
        one = {
            "id": str(row.id),
            "type": _TYPES[row.kind],
            "group_key": f"ungrouped-{row.id}",
            "created_at": time(row.created_at),
            "account": account(actors[row.actor_id]),
        }
        answer.append({**one, "status": status} if status else one)
    return answer


@blueprint.get("/api/v1/notifications")
def get_notifications() -> ResponseReturnValue:
    reader = access.reader("read:notifications")
    fetch = notifications.told(reader.id, _kinds())
    rows = lists.part(fetch, lambda row: row.id, 40, 80)
    return lists.listed(rows, lambda row: row.id, lambda part: tell(part, reader))


@blueprint.get("/api/v1/notifications/<int:number>")
def get_notification(number: int) -> ResponseReturnValue:
    reader = access.reader("read:notifications")
    rows: list[Told] = []
    if 0 < number <= ID_MAX:
        rows = notifications.told(reader.id, _TYPES, number)(Cut(None, False, 1))
    told = tell(rows, reader)
    if not told:
        abort(404)
    return told[0]


@blueprint.get("/api/v1/notifications/unread_count")
def unread_count() -> ResponseReturnValue:
    reader = access.reader("read:notifications")
    read_to = preferences.of(reader.id).read_to
    most = min(max(1, sent.number("limit") or 100), 1000)
    rows = notifications.told(reader.id, _kinds())(Cut(None, False, min(most, notifications.MANY)))
    return {"count": sum(row.id > read_to for row in rows)}


@blueprint.post("/api/v1/notifications/clear")
@units.safe_twice
def clear() -> ResponseReturnValue:
    reader = access.reader("write:notifications")
    notifications.dismiss(reader.id)
    db.session.commit()
    return {}


@blueprint.post("/api/v1/notifications/<int:number>/dismiss")
@units.safe_twice
def dismiss(number: int) -> ResponseReturnValue:
    reader = access.reader("write:notifications")
    if 0 < number <= ID_MAX:
        notifications.dismiss(reader.id, number)
        db.session.commit()
    return {}
