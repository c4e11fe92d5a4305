import pytest
import sqlalchemy as sa

from microblog.database import db
from microblog.models import Page, User, search
from microblog.models.post import add_post, delete_post, find_post
from microblog.models.search import WORDS_MAX, search_page, words


@pytest.fixture
def susan(context):
    user = User("susan", "susan@example.org", "password")
    db.session.add(user)
    db.session.commit()
    return user


# On MySQL: from the latest posts alone, and from the index where they do not suffice.
@pytest.fixture(params=[10_000, 0], ids=["near", "index"], autouse=True)
def window(request, monkeypatch):
    monkeypatch.setattr(search, "WINDOW", request.param)


def found(text):
    db.session.rollback()
    return [post.body for post in search_page(text).posts]


TEXTS = (
    "The quick brown fox",
    "Привет, Ёжик в тумане",
    "Un café con leche",
    "What is the best www for it, C3PO?",
    "snake_case and a 100% rebate",
    'don\'t +stop -now "or" NOT (ever) near*',
)


@pytest.mark.parametrize(
    "text, indexes",
    [
        ("fox", [0]),
        ("FOX quick", [0]),
        ("fox nothere", []),
        ("fo", []),
        ("привет", [1]),
        ("тумане ПРИВЕТ", [1]),
        ("café", [2]),
        ("cafe", [2]),
        # What MySQL calls stop words, and what is too short for its index.
        ("the", [3, 0]),
        ("www", [3]),
        ("is it", [3]),
        ("it", [3]),
        ("в", [1]),
        ("c3po", [3]),
        ("snake_case", [4]),
        ("100", [4]),
        # Operators of either engine are no operators.
        ('"or" ever', [5]),
        ("fox -quick", [0]),
        ("fox OR leche", []),
        ("NOT ever", [5]),
        ("near*", [5]),
        ("nea*", []),
        ("don't", [5]),
        ("body:fox", []),
        ("100% rebate", [4]),
        ("+", []),
        ("", []),
        ('"', []),
        ("' OR 1=1 --", []),
        ("\0", []),
        ("😀", []),
        pytest.param("x" * 10_000, [], id="long"),
    ],
)
def test_search(susan, text, indexes):
    for body in TEXTS:
        add_post(susan, body)
    db.session.commit()
    if (
        search.WINDOW == 0
        and db.engine.dialect.name == "mysql"
        and all(len(word) < 3 for word in words(text))
    ):
        pytest.skip("words too short for the index are looked for in the latest posts alone")
    assert found(text) == [TEXTS[index] for index in indexes]


def test_what_is_gone_or_new_is_seen(susan):
    post = add_post(susan, "unicorn sighted")
    db.session.commit()
    assert found("unicorn") == ["unicorn sighted"]
    find_post(post.id).body = "dragon sighted"
    db.session.commit()
    assert (found("unicorn"), found("dragon")) == ([], ["dragon sighted"])
    delete_post(find_post(post.id))
    db.session.commit()
    assert found("dragon") == []
    add_post(susan, "dragon again")
    db.session.delete(susan)
    db.session.commit()
    assert found("dragon") == []


def test_pages_of_what_was_found(susan):
    for number in range(Page.SIZE * 2 + 3):
        add_post(susan, f"number {number}")
        add_post(susan, f"other {number}")
    db.session.commit()
    first = search_page("number")
    second = search_page("number", before=first.older)
    third = search_page("number", before=second.older)
    assert [len(page.posts) for page in (first, second, third)] == [Page.SIZE, Page.SIZE, 3]
    assert third.older is None
    assert search_page("number", after=third.newer) == second
    assert search_page("number", after=second.newer) == first


def test_words():
    assert words("The the THE fox's") == ["the", "fox", "s"]
    assert len(words(" ".join(map(str, range(100))))) == WORDS_MAX


def test_the_index_agrees_with_the_posts(susan):
    if db.engine.dialect.name != "sqlite":
        pytest.skip("SQLite's own check")
    for body in TEXTS:
        add_post(susan, body)
    db.session.commit()
    delete_post(find_post(1))
    db.session.execute(sa.text("INSERT INTO posts_fts (posts_fts, rank) VALUES ('integrity-check', 1)"))
