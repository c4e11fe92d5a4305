"""What is asked about a post that thousands know costs what it does of one that few know: in statements, and
in rows that the database reads for them. No time is taken."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from app_client import PASSWORD, Browser, token
from test_api import Script

from microblog.database import db, utc_now
from microblog.models import (
    Follow,
    LatestPost,
    Like,
    Post,
    PostCounts,
    PublicPost,
    Tag,
    User,
    applications,
    feeds,
)
from microblog.models.post import REPOST
from microblog.models.tags import PostTag
from microblog.web import housekeeping, last_seen, limits, site_looks

# Who like a post, answer it, pass it on; posts with its tag. The few fill each page, and each list of a call.
FEW, MANY = 300, 3000


@pytest.fixture(autouse=True)
def nothing_else(app, monkeypatch):
    """What is counted, and what is looked up or noted now and then: each by the clock."""
    monkeypatch.setattr(limits, "check", lambda *_keys: None)
    monkeypatch.setattr(last_seen, "SEEN_AGAIN", timedelta(days=1))
    for module, name in ((site_looks, "EVERY"), (housekeeping, "EVERY"), (feeds, "_FRESH")):
        monkeypatch.setattr(module, name, 1e9)
    monkeypatch.setitem(app.extensions, "microblog.window_ends", {})
    app.extensions["microblog.looks"].forget()


@pytest.fixture
def posts(app):
    """A post that few know, and one that many know: their numbers, a number in the midst of each one's
    conversation, and their tags'."""
    with app.app_context():
        for number in (FEW, MANY):
            db.session.add(User(f"author{number}", f"author{number}@example.org", PASSWORD))
        db.session.add(User("susan", "susan@example.org", PASSWORD))
        db.session.flush()
        authors = {number: User.find(f"author{number}").id for number in (FEW, MANY)}
        names = [f"fan{number}" for number in range(MANY)]
        db.session.execute(sa.insert(User.__table__), [account(name) for name in names])
        fans = sorted(db.session.execute(sa.select(User.id).where(User.username.like("fan%"))).scalars())
        found = {number: spread(number, author, fans[:number]) for number, author in authors.items()}
        susan = User.find("susan")
        follows = [{"follower_id": susan.id, "followed_id": author} for author in authors.values()]
        db.session.execute(sa.insert(Follow.__table__), [{**row, "created_at": utc_now()} for row in follows])
        db.session.execute(sa.update(User).where(User.id == susan.id).values(following_count=2))
        db.session.commit()
        # As a server has it after a while by itself.
        statement = "ANALYZE" if db.engine.dialect.name == "sqlite" else "ANALYZE TABLE posts, liked_posts"
        db.session.execute(sa.text(statement))
        db.session.commit()
    return found


def account(name):
    return {
        **{"username": name, "name_key": name, "email": f"{name}@example.org", "password_hash": "x"},
        **{"about": "", "created_at": utc_now()},
    }


def spread(number, author, fans):
    now = utc_now()

    def written(rows):
        """:return: the rows' numbers, in order."""
        before = db.session.execute(sa.select(sa.func.max(Post.id))).scalar() or 0
        none = {"reply_to_id": None, "thread_id": None, "repost_of_id": None}
        rows = [{**none, "created_at": now, "language": "en", **row} for row in rows]
        db.session.execute(sa.insert(Post.__table__), rows)
        new = db.session.execute(sa.select(Post.id).where(Post.id > before).order_by(Post.id))
        return list(new.scalars())

    (post,) = written([{"author_id": author, "body": "known"}])
    answer = {"body": "yes", "reply_to_id": post, "thread_id": post}
    answers = written([{"author_id": fan, **answer} for fan in fans])
    written([{"author_id": fan, "body": REPOST, "repost_of_id": post} for fan in fans])
    tagged = written([{"author_id": author, "body": f"a #tag{number}"} for _ in fans])
    likes = [{"user_id": fan, "post_id": post, "created_at": now} for fan in fans]
    db.session.execute(sa.insert(Like.__table__), likes)
    db.session.execute(
        sa.insert(PostCounts.__table__).values(post_id=post, replies=number, likes=number, reposts=number)
    )
    (tag,) = db.session.execute(sa.insert(Tag.__table__).values(name=f"tag{number}")).inserted_primary_key
    db.session.execute(sa.insert(PostTag.__table__), [{"tag_id": tag, "post_id": one} for one in tagged])
    public = [{"post_id": one, "words": " known "} for one in (post, *answers, *tagged)]
    db.session.execute(sa.insert(PublicPost.__table__), public)
    latest = [{"author_id": author, "post_id": tagged[-1]}]
    latest += [{"author_id": fan, "post_id": one} for fan, one in zip(fans, answers, strict=True)]
    for row in latest:
        there = db.session.get(LatestPost, row["author_id"])
        if there is None:
            db.session.add(LatestPost(**row))
        else:
            there.post_id = row["post_id"]
    counts = {"posts_count": len(tagged) + 1}
    db.session.execute(sa.update(User).where(User.id == author).values(counts))
    return {
        **{"post": post, "answered": answers[0], "midst": answers[number // 2], "tag": f"tag{number}"},
        **{"deep": tagged[len(tagged) // 2], "author": f"author{number}", "id": author},
    }


class Cost:
    """Statements; and of SQLite steps of its machine, in hundreds, of a server rows that it read."""

    statements = read = 0


@contextmanager
def cost(app):
    taken = Cost()
    with app.app_context():
        engine = db.engine

    def note(*_arguments):
        taken.statements += 1

    def step():
        taken.read += 1

    def borrowed(raw, *_rest):
        raw.set_progress_handler(step, 100)

    def given_back(raw, *_rest):
        raw.set_progress_handler(None, 0)

    def handlers():
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("SHOW GLOBAL STATUS LIKE 'Handler_read%%'").all()
        return sum(int(value) for _name, value in rows)

    server = engine.dialect.name != "sqlite"
    events = [("before_cursor_execute", note)]
    if not server:
        events += [("checkout", borrowed), ("checkin", given_back)]
    before = handlers() if server else 0
    for name, listener in events:
        sa.event.listen(engine, name, listener)
    try:
        yield taken
    finally:
        for name, listener in events:
            sa.event.remove(engine, name, listener)
    if server:
        taken.read = handlers() - before


PAGES = [
    *(
        "/post/{post}",
        "/post/{post}?after={midst}",
        "/post/{answered}",
        "/tag/{tag}",
        "/tag/{tag}?before={deep}",
    ),
    *("/user/{author}", "/", "/user/{author}/card", "/notifications"),
]
CALLS = [
    *("/api/v1/statuses/{post}", "/api/v1/statuses/{answered}/context", "/api/v1/timelines/tag/{tag}"),
    *("/api/v1/statuses/{post}/favourited_by", "/api/v1/statuses/{post}/reblogged_by"),
    *("/api/v1/timelines/tag/{tag}?max_id={deep}", "/api/v1/accounts/{id}/statuses", "/api/posts"),
]
# In this order: each undoes the one before it, or may be done twice.
ACTS = ["like", "unlike", "repost", "unrepost", "bookmark", "unbookmark", "reply"]
POSTED = ["favourite", "unfavourite", "reblog", "unreblog", "bookmark", "unbookmark"]


def test_fame_costs_nothing(app, posts):
    browser = Browser(app)
    browser.login()
    secret = token(browser.get("/settings"))
    with app.app_context():
        script = Script(app, applications.issue(User.find("susan").id, None, "read write"))
        db.session.commit()

    form = {"csrf_token": secret, "body": "an answer", "once": ""}

    def answer(values):
        return {"status": "an answer", "in_reply_to_id": str(values["post"])}

    def ways():
        for path in PAGES:
            yield path, lambda values, path=path: browser.get(path.format(**values))
        for path in CALLS:
            yield path, lambda values, path=path: script.get(path.format(**values))
        for act in ACTS:
            yield act, lambda values, act=act: browser.post(f"/post/{values['post']}/{act}", form)
        for act in POSTED:
            yield act, lambda values, act=act: script.post(f"/api/v1/statuses/{values['post']}/{act}")
        yield "answer", lambda values: script.post("/api/v1/statuses", json=answer(values))

    # What is made at first, and kept: statements, pages, posts.
    for _name, ask in ways():
        for values in posts.values():
            assert ask(values).status_code in (200, 302), _name
    dear = []
    for name, ask in ways():
        taken = {}
        for number, values in posts.items():
            with cost(app) as taken[number]:
                ask(values)
        few, many = taken[FEW], taken[MANY]
        # A page in the midst of few has the same rows; an index's depth is a step or two.
        if many.statements > few.statements or many.read > few.read * 1.5 + 50:
            dear.append((name, few.statements, many.statements, few.read, many.read))
        assert many.statements <= 25, name
    assert not dear, dear
