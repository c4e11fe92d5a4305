import re
from unicodedata import normalize

import pytest
import sqlalchemy as sa

from microblog.database import db
from microblog.models import Page, Post, User
from microblog.models.feeds import explore_page, home_page
from microblog.models.paging import ID_MAX
from microblog.models.post import clean_body


@pytest.fixture
def author(make_user, client):
    make_user("susan")
    client.login()
    return client


def test_write_and_read(author):
    assert author.write("Hello, <b>world</b>").headers["Location"] == "/"
    for path in ("/", "/explore"):
        assert "Hello, &lt;b&gt;world&lt;/b&gt;" in author.get(path).text


def test_home_has_ones_own_posts_and_explore_everybodys(app, author, make_user):
    author.write("by Susan")
    author.logout()
    make_user("david")
    author.login("david")
    assert "by Susan" not in author.get("/").text
    assert "by Susan" in author.get("/explore").text


@pytest.mark.parametrize("body", ["x" * 140, "😀" * 140, "ü" * 140, "line\r\n" * 28, "e\u0301" * 140])
def test_140_characters_fit(app, author, body):
    assert author.write(body).status_code == 302
    with app.app_context():
        stored = db.session.execute(sa.select(Post.body)).scalar_one()
    assert stored == normalize("NFC", body.replace("\r", "").strip())


@pytest.mark.parametrize("body", ["", " \n\t ", "\0", "x" * 141, "😀" * 141, "x" * 60_000])
def test_no_more_and_no_less(app, author, body):
    response = author.write(body)
    assert response.status_code == 200
    assert "invalid-feedback" in response.text
    with app.app_context():
        assert db.session.execute(sa.select(Post)).first() is None


def test_what_was_too_long_is_not_lost(author):
    assert "<textarea" in (text := author.write("word " * 40).text)
    assert "word word" in text
    assert "this one has 199" in text


@pytest.mark.parametrize(
    "text, cleaned",
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\n \n\n\nb", "a\n\nb"),
        ("  a\tb\0c  ", "a b c"),
        ("👩‍👩‍👧 e\u0301", "👩‍👩‍👧 é"),
        # Nothing to see.
        *((text, "") for text in ("\u200b", "\u2800 \u2800", "\u3164", "\u202e", "\u00ad\u200d", "\u0301")),
    ],
)
def test_clean_body(text, cleaned):
    assert clean_body(text) == cleaned


def test_a_visitor_sees_no_posts(client):
    assert client.get("/").status_code == 200
    assert client.get("/explore").status_code == 302


def test_who_writes_logged_out_is_asked_to_log_in(client):
    response = client.submit("/", {"body": "lost?"}, page="/login")
    assert response.headers["Location"].startswith("/login")


@pytest.fixture
def posts(context):
    """Three pages of posts by Susan, with one by David after each."""
    susan, david = (User(name, f"{name}@example.org", "password") for name in ("susan", "david"))
    db.session.add_all([susan, david])
    db.session.flush()
    for number in range(Page.SIZE * 3):
        db.session.add(Post(author_id=susan.id, body=f"susan {number}"))
        db.session.flush()
        db.session.add(Post(author_id=david.id, body=f"david {number}"))
        db.session.flush()
    db.session.commit()
    return susan


def walk(fetch):
    pages = [fetch()]
    while pages[-1].older is not None:
        pages.append(fetch(before=pages[-1].older))
    return pages


def test_pages_from_the_newest_to_the_oldest(posts):
    pages = walk(lambda **at: home_page(posts, **at))
    bodies = [post.body for page in pages for post in page.posts]
    assert bodies == [f"susan {number}" for number in reversed(range(Page.SIZE * 3))]
    assert [len(page.posts) for page in pages] == [Page.SIZE] * 3
    assert pages[0].newer is None


def test_pages_back_to_the_newest(posts):
    pages = walk(explore_page)
    page = pages[-1]
    for expected in reversed(pages[:-1]):
        page = explore_page(after=page.newer)
        assert [post.id for post in page.posts] == [post.id for post in expected.posts]
    assert page.newer is None


def test_the_newest_page_is_full_when_few_are_newer(posts):
    newest = explore_page()
    page = explore_page(after=newest.posts[3].id)
    assert page == newest


@pytest.mark.parametrize("fetch", [explore_page, lambda **at: home_page(User.find("susan"), **at)])
def test_past_either_end(posts, fetch):
    assert fetch(before=0).posts == []
    assert fetch(after=2**62) == fetch()


def test_a_page_is_one_query(posts):
    """However many authors are on it; one more for posts that this process has not shown before."""
    statements = []
    db.session.expunge_all()
    expected = explore_page(before=ID_MAX)

    def note(*args):
        statements.append(args[2])

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        assert explore_page(before=ID_MAX) == expected
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)
    assert {post.username for post in expected.posts} == {"susan", "david"}
    assert len(statements) == 1


def test_feeds_are_read_in_the_order_of_an_index(posts):
    if db.engine.dialect.name != "sqlite":
        pytest.skip("SQLite's EXPLAIN")
    query = sa.select(Post).where(Post.author_id == 1, Post.id < 50).order_by(Post.id.desc()).limit(21)
    text = str(query.compile(db.engine, compile_kwargs={"literal_binds": True}))
    plan = " ".join(row[3] for row in db.session.execute(sa.text(f"EXPLAIN QUERY PLAN {text}")))
    assert "ix_posts_author_id_id" in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    "query",
    ["before=", "before=x", "before=-1", "before=1e9", f"before={2**63}", "after=" + "9" * 5000, "after=%00"],
)
def test_a_wrong_cursor_is_the_top(author, query):
    author.write("the newest")
    response = author.get(f"/explore?{query}")
    assert response.status_code == 200
    assert "the newest" in response.text


def test_the_pager(author):
    for number in range(Page.SIZE + 1):
        author.write(f"post number {number}.")
    text = author.get("/").text
    assert "post number 0." not in text
    assert "Newer" not in text
    older = author.get(re.search(r'href="(/\?before=\d+)"', text)[1]).text
    assert "post number 0." in older
    assert "Older" not in older
    assert author.get(re.search(r'href="(/\?after=\d+)"', older)[1]).text.count("<article") == Page.SIZE


def test_a_text_has_its_own_direction(author):
    author.write("שלום, world")
    author.submit("/settings", {"about": "مرحبا", "locale": ""})
    assert '<p class="post-body" dir="auto"' in author.get("/").text
    assert author.get("/user/susan").text.count('<p class="post-body" dir="auto"') == 2


@pytest.mark.parametrize("path", ["/", "/explore", "/user/susan", "/search?q=word", "/user/susan/followers"])
def test_past_the_oldest_the_page_says_so(author, path):
    empty = author.get(path).text
    assert "There is nothing older" not in empty
    author.write("a word")
    page = author.get(f"{path}{'&' if '?' in path else '?'}before=1").text
    assert "There is nothing older" in page
    leads = re.search(r'<p class="empty">.*?href="([^"]+)"', page)[1]
    assert leads.replace("&amp;", "&") == path
