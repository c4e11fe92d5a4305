"""Feeds: at home, of everybody, of somebody, of a tag; what one likes and keeps; how far one has read."""

from collections.abc import Callable

from flask import abort
from flask.typing import ResponseReturnValue

from microblog import units
from microblog.database import db
from microblog.models import PostRow, Reader, feeds, markers, markup, reactions, tags
from microblog.models.paging import LOOKED, Cut, filled
from microblog.web.api import access, seen, sent
from microblog.web.mastodon import lists
from microblog.web.mastodon.blueprint import blueprint
from microblog.web.mastodon.entities import statuses, time


def _feed(
    fetch: Callable[[Cut], list[PostRow]], reader: Reader, keep: Callable[[PostRow], bool] = bool
) -> ResponseReturnValue:
    """Part of a feed. :param keep: whether a post is asked for."""

    def kept(rows: list[PostRow]) -> list[PostRow]:
        return [row for row in rows if keep(row)]

    rows = lists.part(lambda at: filled(fetch, kept, at, LOOKED), lambda row: row.id)
    return lists.listed(rows, lambda row: row.id, lambda part: statuses(part, reader))


@blueprint.get("/api/v1/timelines/home")
def home_timeline() -> ResponseReturnValue:
    reader = access.reader("read:statuses")
    return _feed(feeds.at_home(reader), reader)


@blueprint.get("/api/v1/timelines/public")
def public_timeline() -> ResponseReturnValue:
    reader = access.reader("read:statuses")
    # Of other sites there is nothing, and of pictures.
    nothing = sent.flag("remote") or sent.flag("only_media")
    return _feed((lambda _at: []) if nothing else feeds.everybodys, reader)


@blueprint.get("/api/v1/timelines/tag/<name>")
def tag_timeline(name: str) -> ResponseReturnValue:
    reader = access.reader("read:statuses")
    key = markup.tag_key(name.encode("utf-8", "replace").decode())
    nothing = not key or sent.flag("remote") or sent.flag("only_media")
    return _feed((lambda _at: []) if nothing else tags.tagged(key), reader)


@blueprint.get("/api/v1/timelines/list/<int:number>")
def list_timeline(number: int) -> ResponseReturnValue:
    access.reader("read:lists")
    abort(404)


@blueprint.get("/api/v1/accounts/<int:number>/statuses")
def account_statuses(number: int) -> ResponseReturnValue:
    reader = access.reader("read:statuses")
    row = seen.somebody(number)
    nothing = sent.flag("pinned") or sent.flag("only_media")
    no_answers, no_reposts = sent.flag("exclude_replies"), sent.flag("exclude_reblogs")
    tag = markup.tag_key(sent.text("tagged", 200))

    def keep(post: PostRow) -> bool:
        if no_reposts and post.original is not None:
            return False
        if no_answers and post.reply_to_id is not None:
            return False
        return not tag or tag in markup.tags(post.shown.body)

    return _feed((lambda _at: []) if nothing else feeds.written_by(row.id), reader, keep)


@blueprint.get("/api/v1/favourites")
def favourites() -> ResponseReturnValue:
    reader = access.reader("read:favourites")
    return _kept(reactions.liked_by(reader.id), reader)


@blueprint.get("/api/v1/bookmarks")
def bookmarks() -> ResponseReturnValue:
    reader = access.reader("read:bookmarks")
    return _kept(reactions.kept_by(reader.id), reader)


def _kept(fetch: Callable[[Cut], list[reactions.Kept]], reader: Reader) -> ResponseReturnValue:
    rows = lists.part(fetch, lambda row: row.id)
    return lists.listed(rows, lambda row: row.id, lambda part: statuses([row.post for row in part], reader))


@blueprint.get("/api/v1/markers")
def get_markers() -> ResponseReturnValue:
    reader = access.reader("read:statuses")
    wanted = sent.texts("timeline")
    return _markers(reader, wanted)


@blueprint.post("/api/v1/markers")
@units.safe_twice
def save_markers() -> ResponseReturnValue:
    reader = access.reader("write:statuses")
    changed = []
    for timeline in markers.TIMELINES:
        told = sent.text(f"{timeline}[last_read_id]") or sent.inner(timeline, "last_read_id")
        number = sent.as_number(told)
        if number is not None:
            markers.note(reader.id, timeline, number)
            changed.append(timeline)
    db.session.commit()
    return _markers(reader, changed)


def _markers(reader: Reader, wanted: list[str]) -> ResponseReturnValue:
    return {
        place.timeline: {
            "last_read_id": str(place.last_read_id),
            "version": place.version,
            "updated_at": time(place.updated_at),
        }
        for place in markers.of(reader.id)
        if place.timeline in wanted
    }


@blueprint.get("/api/v1/preferences")
def preferences() -> ResponseReturnValue:
    reader = access.reader("read:accounts")
    return {
        "posting:default:visibility": "public",
        "posting:default:sensitive": False,
        "posting:default:language": reader.locale,
        "reading:expand:media": "default",
        "reading:expand:spoilers": False,
    }
