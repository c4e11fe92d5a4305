import pytest
import sqlalchemy as sa

from microblog.database import db, utc_now
from microblog.models import Page, Post, User, search
from microblog.models.post import add_post, delete_post, find_post
from microblog.models.search import search_page
from microblog.models.versions import edit_post


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
        ("snake", [4]),
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
    assert found(text) == [TEXTS[index] for index in indexes]


def test_what_is_gone_or_new_is_seen(susan):
    post = add_post(susan, "unicorn sighted")
    db.session.commit()
    assert found("unicorn") == ["unicorn sighted"]
    edit_post(susan, post, "dragon sighted")
    db.session.commit()
    assert (found("unicorn"), found("dragon")) == ([], ["dragon sighted"])
    delete_post(find_post(post.id))
    db.session.commit()
    assert found("dragon") == []
    add_post(susan, "dragon again")
    db.session.delete(susan)
    db.session.commit()
    assert found("dragon") == []


def test_an_index_that_is_made_afresh_has_all_posts(susan):
    for turn in range(3):
        add_post(susan, f"number {turn}")
        db.session.commit()
        assert search.reindex() == turn + 1
        assert len(found("number")) == turn + 1


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


# Each text with what finds it, and what does not.
LANGUAGES = [
    ("Die Straße, viele Grüße", ["STRASSE", "strasse", "Straße", "grusse", "grüße"], ["stra", "gruß"]),
    ("Вот ещё одна ёлка, мой друг", ["еще", "ЕЩЁ", "елка", "мой"], ["мои", "ещ"]),
    ("re\u0301sume\u0301", ["résumé", "resume", "RE\u0301SUME\u0301"], ["sume"]),
    ("Łódź i żółw", ["lodz", "ŁÓDŹ", "zolw"], ["odz"]),
    ("Smørrebrød på Færøerne", ["smorrebrod", "pa", "FÆRØERNE", "faeroerne"], ["smor"]),
    ("日本語を勉強する", ["勉強", "日本", "日本語", "語", "勉強する"], ["強勉", "英語", "中"]),
    ("我爱北京天安门", ["北京", "天安门", "我"], ["安北"]),
    ("ｶﾞﾗｽ と ﾃﾚﾋﾞ", ["ガラス", "テレビ"], ["カラス"]),
    ("서울에서 만나요", ["서울", "만나요"], ["부산"]),
    ("สวัสดีชาวโลก", ["ชาวโลก", "สวัสดี"], ["กรุงเทพ"]),
    ("हिन्दी में लिखा", ["हिन्दी", "में"], ["हन्द"]),
    ("كِتَابٌ جديد", ["كتاب", "کتاب"], ["كتا"]),
    ("İstanbul'da ılık", ["istanbul", "ilik"], ["stanbul"]),
    ("ΟΔΟΣ και οδός", ["οδος", "οδός"], ["οδο"]),
    ("１２３ ﬃ Ⅳ", ["123", "ffi", "iv"], ["12"]),
    ("x" * 140, ["x" * 140, "X" * 140], ["x" * 139]),
]


@pytest.mark.parametrize("body, finds, misses", LANGUAGES)
def test_languages(susan, body, finds, misses):
    add_post(susan, "another one")
    add_post(susan, body)
    db.session.commit()
    assert {text: found(text) for text in finds} == {text: [body] for text in finds}
    assert {text: found(text) for text in misses} == {text: [] for text in misses}


def test_all_words_of_a_question_count(susan):
    body = " ".join(f"a{number}" for number in range(35))[:140]
    add_post(susan, body)
    db.session.commit()
    assert found(body) == [body]
    assert found(f"{body} b") == []


def test_pages_are_full_however_much_is_not_to_be_seen(susan):
    """Also while the index still has the posts of who is suspended."""
    mallory = User("mallory", "m@example.org", "password")
    db.session.add(mallory)
    db.session.flush()
    for number in range(Page.SIZE + 10):
        add_post(susan, f"good number {number}")
    for number in range(70):
        add_post(mallory, f"bad number {number}")
    mallory.suspended_at = utc_now()
    db.session.commit()
    first = search_page("number")
    assert [post.username for post in first.posts] == ["susan"] * Page.SIZE
    second = search_page("number", before=first.older)
    assert ([post.username for post in second.posts], second.older) == (["susan"] * 10, None)
    assert search_page("number", after=second.newer) == first


def test_the_index_agrees_with_the_posts(susan):
    if db.engine.dialect.name != "sqlite":
        pytest.skip("SQLite's own check")
    for body in TEXTS:
        add_post(susan, body)
    db.session.commit()
    delete_post(db.session.execute(sa.select(Post).limit(1)).scalar_one())
    check = "INSERT INTO public_posts_fts (public_posts_fts, rank) VALUES ('integrity-check', 1)"
    db.session.execute(sa.text(check))
