"""What the moderators were asked to look at."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from microblog.database import TABLE_OPTIONS, db, field, utc_now, utc_text
from microblog.models.feeds import PostRow
from microblog.models.paging import Cut, cut, pieces
from microblog.models.post import POST_MAX, Post
from microblog.models.reader import Reader
from microblog.models.user import User, lock_accounts

COMMENT_MAX = 500
# On a page of the queue.
SIZE = 20


class Report(db.Model):  # type: ignore[name-defined, misc]
    """Somebody has asked the moderators to look at an account, or at a post of it."""

    __tablename__ = "reports"

    id = field(sa.Integer, primary_key=True)
    reporter_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="SET NULL"))
    subject_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    # The post's number, and what it said then: it may be gone. 0 and empty: the account as a whole.
    post_id = field(sa.BigInteger, nullable=False, default=0, server_default=sa.text("0"))
    body = field(sa.String(POST_MAX), nullable=False, default="", server_default="")
    comment = field(sa.String(COMMENT_MAX), nullable=False, default="", server_default="")
    created_at = field(sa.DateTime, nullable=False, default=utc_now)
    # Whether it was looked at, and by whom.
    closed_at = field(sa.DateTime)
    closed_by_id = field(sa.Integer, sa.ForeignKey("users.id", ondelete="SET NULL"))

    __table_args__ = (
        sa.Index(None, closed_at, id),
        sa.Index(None, subject_id),
        sa.Index(None, reporter_id),
        sa.Index(None, closed_by_id),
        {"sqlite_autoincrement": True, **TABLE_OPTIONS},
    )


_REPORTS: Any = Report.__table__


class ReportsPage(NamedTuple):
    """Part of the queue.

    :ivar reports: rows of a report with the names of its reporter, its subject and who closed it, and whether
        its post is ``there``.
    :ivar newer: the number after which the page before this one begins, if there is one.
    :ivar older: the number before which the next page begins, if there is one.
    """

    reports: list[Any]
    newer: int | None
    older: int | None


def report(reporter: Reader | User, subject: User, comment: str, post: PostRow | None = None) -> None:
    """Ask the moderators to look at somebody, or at what they wrote; the caller commits.

    The same asked again by the same person, while nobody has looked, is one report, with what they say now.
    """
    about = {"reporter_id": reporter.id, "subject_id": subject.id, "post_id": post.id if post else 0}
    # Two clicks at once are one report.
    lock_accounts(reporter.id)
    same = [_REPORTS.c[name] == value for name, value in about.items()]
    says = {"comment": comment, "body": post.body if post else ""}
    update = sa.update(_REPORTS).where(*same, _REPORTS.c.closed_at.is_(None)).values(says)
    if not db.session.execute(update).rowcount:
        db.session.execute(sa.insert(_REPORTS).values({**about, **says, "created_at": utc_now()}))


def reports_page(closed: bool = False, before: int | None = None, after: int | None = None) -> ReportsPage:
    """What is to be looked at, or what was, newest first."""
    reporters, closers = User.__table__.alias("reporters"), User.__table__.alias("closers")
    subjects: Any = User.__table__
    posts: Any = Post.__table__
    columns = [column for column in _REPORTS.c if not column.name.endswith("_by_id")]
    query = (
        sa.select(
            *columns,
            reporters.c.username.label("reporter"),
            subjects.c.username.label("subject"),
            subjects.c.suspended_at,
            subjects.c.is_admin,
            subjects.c.is_moderator,
            closers.c.username.label("closed_by"),
            posts.c.id.label("there"),
        )
        .select_from(_REPORTS)
        .join(subjects, subjects.c.id == _REPORTS.c.subject_id)
        .outerjoin(reporters, reporters.c.id == _REPORTS.c.reporter_id)
        .outerjoin(closers, closers.c.id == _REPORTS.c.closed_by_id)
        .outerjoin(posts, posts.c.id == _REPORTS.c.post_id)
        .where(_REPORTS.c.closed_at.is_not(None) if closed else _REPORTS.c.closed_at.is_(None))
    )

    def fetch(part: Cut) -> list[Any]:
        return list(db.session.execute(part.apply(query, _REPORTS.c.id)).all())

    return ReportsPage(*cut(fetch, before, after, SIZE))


def of(reporter_id: int) -> Iterator[dict[str, Any]]:
    """All that somebody asked the moderators to look at, for their export: newest first."""
    names = ("id", "post_id", "body", "comment", "created_at")
    query = sa.select(*(_REPORTS.c[name] for name in names), User.username)
    query = query.join(User, User.id == _REPORTS.c.subject_id).where(_REPORTS.c.reporter_id == reporter_id)
    for rows in pieces(lambda part: db.session.execute(part).all(), query, _REPORTS.c.id, newer=False):
        for row in rows:
            yield {
                "about": row.username,
                "post": row.post_id or None,
                "body": row.body,
                "comment": row.comment,
                "created_at": utc_text(row.created_at),
            }


def find_report(number: int) -> Report | None:
    found: Report | None = db.session.get(Report, number)
    return found


def subject(report: Report) -> str:
    """The name of whom it is about."""
    name: str | None = db.session.execute(
        sa.select(User.username).where(User.id == report.subject_id)
    ).scalar()
    return name or ""


def close(number: int, moderator: Reader | User) -> bool:
    """It was looked at; the caller commits.

    :return: False if it was closed already, or is not there.
    """
    this = sa.and_(_REPORTS.c.id == number, _REPORTS.c.closed_at.is_(None))
    now = {"closed_at": utc_now(), "closed_by_id": moderator.id}
    return bool(db.session.execute(sa.update(_REPORTS).where(this).values(now)).rowcount)


def open_count(most: int = 100) -> int:
    """How many are to be looked at, counted no further than this."""
    some = sa.select(_REPORTS.c.id).where(_REPORTS.c.closed_at.is_(None)).limit(most).subquery()
    return int(db.session.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
