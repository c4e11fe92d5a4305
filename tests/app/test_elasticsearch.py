import pytest
from elasticsearch_double import Double

from microblog import elasticsearch
from microblog.database import db
from microblog.models import Page, User, indexing
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
        indexing.engine().recreate()
        yield user


def write(author, *bodies):
    posts = [add_post(author, body) for body in bodies]
    db.session.commit()
    indexing.engine().settle()
    return posts


def found(text):
    page = search_page(text)
    return [post.body for post in page.posts], page.fallback


def test_it_answers(susan, double):
    (post, _) = write(susan, "Hello Elastic", "hello world")
    assert found("HELLO") == (["hello world", "Hello Elastic"], False)
    delete_post(find_post(post.id))
    db.session.commit()
    indexing.engine().settle()
    assert set(double.indices["posts"]) != {str(post.id)}
    assert found("hello") == (["hello world"], False)


def test_what_is_rolled_back_is_not_sent(susan, double):
    add_post(susan, "never written")
    db.session.rollback()
    db.session.commit()
    indexing.engine().settle()
    assert double.indices["posts"] == {}


def test_pages(susan):
    write(susan, *(f"number {number}" for number in range(Page.SIZE * 2 + 1)))
    first = search_page("number")
    second = search_page("number", before=first.older)
    third = search_page("number", before=second.older)
    assert [len(page.posts) for page in (first, second, third)] == [Page.SIZE, Page.SIZE, 1]
    assert search_page("number", after=third.newer) == second
    assert third.older is None


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


def test_a_wrong_password_is_a_failure(app, make_app, double):
    url = double.url.replace("elastic:", "mallory:")
    with make_app(elasticsearch_url=url).app_context():
        assert search_page("anything").fallback


@pytest.mark.parametrize("chunk", [2, 500])
def test_reindex(susan, double, monkeypatch, chunk):
    monkeypatch.setattr("microblog.models.search._CHUNK", chunk)
    posts = write(susan, *(f"number {number}" for number in range(5)))
    double.indices["posts"] = {"999": {"body": "of a database long gone"}}
    assert reindex() == 5
    assert set(double.indices["posts"]) == {str(post.id) for post in posts}
    assert found("gone") == ([], False)
    assert len(found("number")[0]) == 5


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
