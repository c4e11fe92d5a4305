"""What is done to an account of any size, some of its posts at a time.

What everybody sees changes at once, with the account's own row: who is suspended is seen nowhere, whatever is
left of what they wrote. The rest is done in pieces, each a transaction of its own that notes how far it has
come. A process that dies leaves the others to go on from there.
"""

import secrets
from collections import Counter
from functools import partial
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from microblog import units
from microblog.database import TABLE_OPTIONS, db, field, upsert, utc_now
from microblog.models import (
    applications,
    indexing,
    latest,
    messages,
    notifications,
    reactions,
    sessions,
    tags,
    words,
)
from microblog.models.follow import Follow, count_piece
from microblog.models.mentions import Mention
from microblog.models.post import Post, PublicPost
from microblog.models.tokens import Token
from microblog.models.user import User, lock_accounts

# Posts, or follows, of a piece.
CHUNK = 1000
SUSPEND, UNSUSPEND, DELETE = "suspend", "unsuspend", "delete"


class Unfinished(db.Model):  # type: ignore[name-defined, misc]
    """A task that has begun, and the number of the last post that it is done with.

    ``uncounted_to``: a place in the account's lists of people. It counts with those past it; with nobody,
    where there is none.
    """

    __tablename__ = "unfinished"

    user_id = field(
        sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    task = field(sa.String(16), nullable=False)
    done_to = field(sa.BigInteger, nullable=False)
    uncounted_to = field(sa.BigInteger)

    __table_args__ = TABLE_OPTIONS


_UNFINISHED: Any = Unfinished.__table__
_POSTS: Any = Post.__table__
_PUBLIC: Any = PublicPost.__table__
_FOLLOWS: Any = Follow.__table__
_USERS: Any = User.__table__
_MENTIONS: Any = Mention.__table__
# The condition that an account is not about to be gone: the others are nobody's any more.
THERE = User.id.not_in(sa.select(Unfinished.user_id).where(Unfinished.task == DELETE))


def suspend(user_id: int) -> None:
    """Keep somebody out, and what they wrote from being seen; the caller commits."""
    active = lock_accounts(user_id).get(user_id)
    if active:
        _set(user_id, suspended_at=utc_now())
        latest.forget(user_id)
    if active or _task(user_id) == UNSUSPEND:
        _begin(user_id, SUSPEND, bool(active))


def unsuspend(user_id: int) -> bool:
    """Let them back in, with all that they wrote; the caller commits.

    :return: whether that was to be done.
    """
    if lock_accounts(user_id).get(user_id) is not False or _task(user_id) in (UNSUSPEND, DELETE):
        return False
    _begin(user_id, UNSUSPEND, False)
    return True


def delete(user_id: int) -> None:
    """Remove an account with its posts and follows; the caller commits."""
    active = lock_accounts(user_id).get(user_id)
    if active is None or _task(user_id) == DELETE:
        return
    latest.forget(user_id)
    sessions.end(user_id)
    applications.revoke(user_id)
    db.session.execute(sa.delete(Token.__table__).where(Token.user_id == user_id))
    # If there is much to remove: nobody, with a name that is free to others.
    name = f"gone_{secrets.token_hex(8)}"
    who = {"username": name, "name_key": name, "email": f"{name}@example.invalid", "password_hash": "!"}
    _set(user_id, suspended_at=utc_now(), waiting=False, is_admin=False, is_moderator=False, about="", **who)
    _begin(user_id, DELETE, active)


def work_off() -> None:
    """Finish what was begun, here or by a process that is gone. What fails is left for later."""
    try:
        begun = units.run(_begun, twice=True)
    except SQLAlchemyError as error:
        _leave(error)
        return
    for user_id in begun:
        # One that cannot be ended keeps no other from it.
        try:
            while units.run(partial(_piece, user_id), twice=True):
                pass
        except SQLAlchemyError as error:
            _leave(error)


def _begun() -> list[int]:
    with db.engine.connect() as connection:
        return list(connection.execute(sa.select(_UNFINISHED.c.user_id)).scalars())


def _piece(user_id: int) -> bool:
    # Whatever is left of one that failed: within another unit, nobody else undoes it.
    db.session.rollback()
    more = _go_on(user_id)
    db.session.commit()
    return more


def _leave(error: SQLAlchemyError) -> None:
    db.session.rollback()
    current_app.logger.warning("what was begun is finished later: %s", type(error).__name__)


def sweep() -> None:
    """For who keeps house."""
    work_off()


def _set(user_id: int, **values: Any) -> None:
    db.session.execute(sa.update(_USERS).where(_USERS.c.id == user_id).values(values))
    db.session.expire_all()


def _task(user_id: int) -> str | None:
    query = sa.select(_UNFINISHED.c.task).where(_UNFINISHED.c.user_id == user_id)
    task: str | None = db.session.execute(query).scalar()
    return task


def _begin(user_id: int, task: str, counts: bool) -> None:
    """Instead of whatever else was begun. A small account is done with at once.

    :param counts: whether it counts with everybody. Else it is known with whom.
    """
    values: dict[str, Any] = {"task": task, "done_to": 0, **({"uncounted_to": 0} if counts else {})}
    upsert(db.session.connection(), _UNFINISHED, {"user_id": user_id}, values)
    _go_on(user_id)


def _go_on(user_id: int) -> bool:
    """Do a piece; the caller commits.

    :return: whether there may be more.
    """
    lock_accounts(user_id)
    row = db.session.execute(sa.select(_UNFINISHED).where(_UNFINISHED.c.user_id == user_id)).first()
    if row is None:
        return False
    posts = (
        sa.select(_POSTS.c.id, _POSTS.c.body, _POSTS.c.reply_to_id, _POSTS.c.repost_of_id)
        .where(_POSTS.c.author_id == user_id, _POSTS.c.id > row.done_to)
        .order_by(_POSTS.c.id)
        .limit(CHUNK)
    )
    found = list(db.session.execute(posts))
    if row.task == DELETE and found and reactions.clear([post.id for post in found]):
        return True
    if found:
        _PIECES[row.task](found)
        indexing.changed(*(post.id for post in found))
    more = len(found) == CHUNK
    uncounted_to, done_to = row.uncounted_to, found[-1].id if found else row.done_to
    # Who is on their way in counts when all that they wrote is there.
    if row.task == UNSUSPEND and not more:
        uncounted_to, more = count_piece(user_id, 1, uncounted_to, CHUNK)
    elif row.task != UNSUSPEND and uncounted_to is not None:
        uncounted_to, left = count_piece(user_id, -1, uncounted_to, CHUNK)
        more = more or left
    if row.task == DELETE and not more:
        more = (
            _unfollow(user_id)
            or reactions.leave(user_id)
            or _unname(user_id)
            or notifications.remove_piece(user_id, CHUNK)
            or messages.remove_piece(user_id)
        )
    if more:
        mine = sa.update(_UNFINISHED).where(_UNFINISHED.c.user_id == user_id)
        db.session.execute(mine.values(done_to=done_to, uncounted_to=uncounted_to))
        return True
    _end(user_id, row.task)
    return False


def _withdraw(posts: list[Any]) -> None:
    """Let nobody find these."""
    numbers = [post.id for post in posts]
    db.session.execute(sa.delete(_PUBLIC).where(_PUBLIC.c.post_id.in_(numbers)))
    tags.forget(numbers)


def _publish(posts: list[Any]) -> None:
    """Let these be found. Some may be: of a task that another one has ended."""
    _withdraw(posts)
    # A repost has no words.
    own = [post for post in posts if post.repost_of_id is None]
    if own:
        rows = [{"post_id": post.id, "words": words.stored(post.body)} for post in own]
        db.session.execute(sa.insert(_PUBLIC), rows)
    tags.note([(post.id, post.body) for post in own])


def _remove(posts: list[Any]) -> None:
    """And count them no longer with what they answer and pass on."""
    for name, column in (("replies", "reply_to_id"), ("reposts", "repost_of_id")):
        others = Counter(getattr(post, column) for post in posts)
        others.pop(None, None)
        for number in sorted(others):
            reactions.count(number, name, -others[number])
    db.session.execute(sa.delete(_POSTS).where(_POSTS.c.id.in_([post.id for post in posts])))


_PIECES = {SUSPEND: _withdraw, UNSUSPEND: _publish, DELETE: _remove}


def _unfollow(user_id: int) -> bool:
    """:return: whether there may be more to remove."""
    for mine, other in (("follower_id", "followed_id"), ("followed_id", "follower_id")):
        query = sa.select(_FOLLOWS.c[other]).where(_FOLLOWS.c[mine] == user_id).limit(CHUNK)
        others = db.session.execute(query).scalars().all()
        these = sa.and_(_FOLLOWS.c[mine] == user_id, _FOLLOWS.c[other].in_(others))
        db.session.execute(sa.delete(_FOLLOWS).where(these))
        if len(others) == CHUNK:
            return True
    return False


def _unname(user_id: int) -> bool:
    """Likewise of where others' posts name it."""
    mine = _MENTIONS.c.user_id == user_id
    numbers = sorted(db.session.execute(sa.select(_MENTIONS.c.post_id).where(mine).limit(CHUNK)).scalars())
    if numbers:
        db.session.execute(sa.delete(_MENTIONS).where(_MENTIONS.c.post_id.in_(numbers), mine))
    return len(numbers) == CHUNK


def _end(user_id: int, task: str) -> None:
    """What is to be seen of it at once, when all its posts are ready; and nothing is unfinished any more."""
    db.session.execute(sa.delete(_UNFINISHED).where(_UNFINISHED.c.user_id == user_id))
    if task == UNSUSPEND:
        _set(user_id, suspended_at=None, waiting=False)
        latest.renew(user_id)
    elif task == DELETE:
        db.session.execute(sa.delete(_USERS).where(_USERS.c.id == user_id))
    db.session.expire_all()
