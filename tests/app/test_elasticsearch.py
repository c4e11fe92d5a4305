import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from elasticsearch_double import Double

from microblog import elasticsearch, gunicorn_config
from microblog.database import db, utc_now
from microblog.models import Change, Page, Post, User, indexing
from microblog.models.account import delete_account, suspend, unsuspend
from microblog.models.post import add_post, delete_post, find_post
from microblog.models.search import reindex, search_page


@pytest.fixture
def double():
    double = Double()
    yield double
    double.close()


@pytest.fixture
def susan(app, make_app, double):
    with make_app(elasticsearch_url=double.url).app_context():
        user = User("susan", "susan@example.org", "password")
        db.session.add(user)
        db.session.commit()
        indexing.settle()
        yield user


def write(author, *bodies):
    posts = [add_post(author, body) for body in bodies]
    db.session.commit()
    indexing.settle()
    return posts


def found(text):
    page = search_page(text)
    return [post.body for post in page.posts], page.fallback


def test_it_answers(susan, double):
    (post, _) = write(susan, "Hello Elastic", "hello world")
    assert found("HELLO") == (["hello world", "Hello Elastic"], False)
    delete_post(find_post(post.id))
    db.session.commit()
    indexing.settle()
    assert set(double.indices["posts"]) != {str(post.id)}
    assert found("hello") == (["hello world"], False)


def test_what_is_rolled_back_is_not_sent(susan, double):
    add_post(susan, "never written")
    db.session.rollback()
    db.session.commit()
    indexing.settle()
    assert double.indices["posts"] == {}


def test_pages(susan):
    write(susan, *(f"number {number}" for number in range(Page.SIZE * 2 + 1)))
    first = search_page("number")
    second = search_page("number", before=first.older)
    third = search_page("number", before=second.older)
    assert [len(page.posts) for page in (first, second, third)] == [Page.SIZE, Page.SIZE, 1]
    assert search_page("number", after=third.newer) == second
    assert third.older is None


@pytest.mark.any_database
@pytest.mark.parametrize("broken", ["status", "html", "shape"])
def test_it_fails_and_nobody_notices(susan, double, broken, monkeypatch):
    write(susan, "before the fall")
    double.broken = broken
    write(susan, "during the fall")
    assert found("fall") == (["during the fall", "before the fall"], True)
    # It rests now: neither searches nor posts ask it.
    count = len(double.asked)
    assert found("fall")[1]
    write(susan, "still down")
    assert len(double.asked) == count
    double.broken = None
    monkeypatch.setattr(elasticsearch.time, "monotonic", lambda: 1e12)
    write(susan, "up again")
    assert found("again") == (["up again"], False)


def test_it_is_not_there(susan, double):
    double.close()
    write(susan, "written all the same")
    assert found("written") == (["written all the same"], True)


@pytest.mark.any_database
def test_a_wrong_password_is_a_failure(app, make_app, double):
    url = double.url.replace("elastic:", "mallory:")
    with make_app(elasticsearch_url=url).app_context():
        with pytest.raises(elasticsearch.Unavailable, match="status 401"):
            indexing.catch_up()
        assert search_page("anything").posts == []


def restarted(monkeypatch):
    """The time of rest after a failure is over."""
    monkeypatch.setattr(elasticsearch.time, "monotonic", lambda: 1e12)


def test_what_it_missed_it_is_told_later(susan, double, monkeypatch):
    """A post that is deleted while it is down is forgotten there, one that is written is found."""
    (gone,) = write(susan, "gone soon")
    double.broken = "status"
    delete_post(find_post(gone.id))
    write(susan, "written meanwhile")
    assert indexing.pending() == 2
    double.broken = None
    restarted(monkeypatch)
    indexing.settle()
    assert indexing.pending() == 0
    assert [row["words"] for row in double.indices["posts"].values()] == [" written meanwhile "]


def test_the_database_answers_while_it_lags(susan, double, monkeypatch):
    write(susan, "first words")
    double.broken = "status"
    write(susan, "second words")
    db.session.execute(sa.update(Change).values(created_at=utc_now() - timedelta(hours=1)))
    db.session.commit()
    double.broken = None
    restarted(monkeypatch)
    assert found("words") == (["second words", "first words"], False)


def test_an_accounts_posts_go_with_it(susan, double):
    write(susan, *(f"number {number}" for number in range(5)))
    delete_account(susan)
    db.session.commit()
    indexing.settle()
    assert double.indices["posts"] == {}


def test_the_suspended_are_forgotten_and_come_back(susan, double):
    write(susan, "seldom words")
    for change, count in ((suspend, 0), (unsuspend, 1)):
        change(susan)
        db.session.commit()
        indexing.settle()
        assert len(double.indices["posts"]) == count
        assert len(found("seldom")[0]) == count


def test_an_old_site_has_all_its_posts_there_before_it_is_asked(app, make_app, double, monkeypatch):
    monkeypatch.setattr(indexing, "CHUNK", 2)
    double.indices["posts"] = {"999": {"body": "of an older version"}}
    with app.app_context():
        susan = User("susan", "susan@example.org", "password")
        db.session.add(susan)
        db.session.flush()
        for number in range(5):
            add_post(susan, f"number {number}")
        db.session.commit()
    with make_app(elasticsearch_url=double.url).app_context():
        assert len(found("number")[0]) == 5
        assert not [line for line in double.asked if "_search" in line]
        indexing.settle()
        assert len(double.indices["posts"]) == 5
        assert len(found("number")[0]) == 5
        assert [line for line in double.asked if "_search" in line]
    # Without it for a while: what changes then is not noted, so it begins anew.
    with make_app().app_context():
        delete_post(find_post(db.session.execute(sa.select(sa.func.min(Post.id))).scalar()))
        db.session.commit()
    with make_app(elasticsearch_url=double.url).app_context():
        assert not indexing.is_current()
        indexing.settle()
        assert len(double.indices["posts"]) == 4


def test_an_older_answer_changes_nothing(susan, double):
    """Of two processes that send at once, what was read last counts."""
    (post,) = write(susan, "hello")
    indexing.engine().send([(post.id, None)], version=1)
    assert len(double.indices["posts"]) == 1


def test_one_process_sends(susan, double):
    assert indexing._lease()
    assert not indexing.catch_up()
    indexing._save(leased_until=utc_now())
    assert indexing.catch_up()


def test_what_another_process_was_told_meanwhile_is_not_taken_for_sent(susan, double, monkeypatch):
    """This one slept for longer than its lease, and SQLite has given the number of what it sent again."""
    (post,) = write(susan, "gone soon")
    send, began = indexing._send, []

    def slowly(engine, ids):
        send(engine, ids)
        if not began:
            began.append(True)
            db.session.execute(sa.delete(Change))
            db.session.commit()
            delete_post(find_post(post.id))
            db.session.commit()

    indexing.changed(post.id)
    db.session.execute(sa.update(Change).values(created_at=utc_now() - indexing._LEASE))
    db.session.commit()
    monkeypatch.setattr(indexing, "_send", slowly)
    indexing.settle()
    assert began and double.indices["posts"] == {}


def test_the_thread_sends_by_itself(app, make_app, double):
    with make_app(elasticsearch_url=double.url).app_context():
        db.session.add(User("susan", "susan@example.org", "password"))
        db.session.commit()
        add_post(User.find("susan"), "sent")
        db.session.commit()
        ends = time.monotonic() + 120
        while not double.indices.get("posts") and time.monotonic() < ends:
            time.sleep(0.02)
        assert [row["words"] for row in double.indices["posts"].values()] == [" sent "]


@pytest.mark.any_database
def test_its_password_goes_nowhere_else(susan, double):
    double.broken = "redirect"
    with pytest.raises(elasticsearch.Unavailable, match="status 302"):
        indexing.engine().find(["x__"], None, False, 1)
    assert "elsewhere" not in "".join(double.asked)


@pytest.mark.parametrize("chunk", [2, 500])
def test_reindex(susan, double, monkeypatch, chunk):
    monkeypatch.setattr(indexing, "CHUNK", chunk)
    posts = write(susan, *(f"number {number}" for number in range(5)))
    double.indices["posts"] = {"999": {"body": "of a database long gone"}}
    assert reindex() == 5
    assert set(double.indices["posts"]) == {str(post.id) for post in posts}
    assert found("gone") == ([], False)
    assert len(found("number")[0]) == 5


@pytest.mark.parametrize("turn", [1, 3])
def test_reindex_while_another_process_sends(susan, double, monkeypatch, turn):
    """Who sends then stops, and does not say that what it sent was all."""
    monkeypatch.setattr(indexing, "CHUNK", 2)
    posts = write(susan, *(f"number {number}" for number in range(5)))
    indexing.begin_anew()
    send, turns = elasticsearch.Elasticsearch.send, []

    def send_and_be_told(self, *arguments):
        send(self, *arguments)
        turns.append(1)
        if len(turns) == turn:
            # As another process: this one's transaction is none of its own.
            double.indices["posts"] = {}
            indexing.begin_anew()

    monkeypatch.setattr(elasticsearch.Elasticsearch, "send", send_and_be_told)
    assert not indexing.catch_up()
    assert not indexing.is_current()
    indexing.settle()
    assert set(double.indices["posts"]) == {str(post.id) for post in posts}
    assert indexing.is_current()


@pytest.mark.any_database
def test_the_command(make_app, double, app):
    with make_app().app_context():
        db.session.add(User("susan", "susan@example.org", "password"))
        db.session.commit()
        add_post(User.find("susan"), "found again")
        db.session.commit()
    runner = make_app(elasticsearch_url=double.url).test_cli_runner()
    assert runner.invoke(args=["search", "reindex"]).output == "1 posts are in the index\n"
    double.broken = "status"
    error = runner.invoke(args=["search", "reindex"]).exception
    assert "Elasticsearch does not answer: status 503" in str(error)


@pytest.mark.any_database
def test_no_thread_before_the_workers_fork(app, make_app, double, monkeypatch):
    """It would open a connection that all of them share."""
    app = make_app(elasticsearch_url=double.url)
    sender = app.extensions["microblog.elasticsearch.sender"]
    monkeypatch.setattr("gc.freeze", lambda: None)
    gunicorn_config.when_ready(SimpleNamespace(app=SimpleNamespace(wsgi=lambda: app)))
    assert sender._thread is None
    app.test_client().get("/login")
    assert sender._thread is not None


@pytest.mark.parametrize("code", ["", "BCDFGHJK"])
def test_no_connection_is_open_when_the_workers_fork(app, make_app, code, monkeypatch):
    """Two who share one to the database take each other's answers."""
    app = make_app(claim_code=code)
    with app.app_context():
        opened = []
        sa.event.listen(db.engine, "connect", lambda connection, _: opened.append(connection))
        sa.event.listen(db.engine, "close", lambda connection, _: opened.remove(connection))
    monkeypatch.setattr("gc.freeze", lambda: None)
    gunicorn_config.when_ready(SimpleNamespace(app=SimpleNamespace(wsgi=lambda: app)))
    assert opened == []


@pytest.mark.parametrize(
    "status, good", [(200, True), (201, True), (404, True), (409, True), (400, False), (429, False)]
)
def test_what_it_refuses_of_several_is_not_done(monkeypatch, status, good):
    """What was to be forgotten and is not there is forgotten, and a later version stays."""
    engine = elasticsearch.Elasticsearch("http://localhost:9200")
    items = [{"index": {"status": status, "error": "some"}}, {"delete": {"status": 200}}]
    monkeypatch.setattr(engine, "_ask", lambda *_: {"errors": True, "items": items})
    if good:
        engine._bulk([{}], 1)
    else:
        with pytest.raises(elasticsearch.Unavailable, match="refused: some"):
            engine._bulk([{}], 1)
