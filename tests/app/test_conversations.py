"""Answers, likes, reposts, bookmarks, tags, mentions and edits, as the models have them."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from microblog.database import db, utc_now
from microblog.models import (
    Bookmark,
    LatestPost,
    Like,
    Mention,
    Notification,
    Page,
    Post,
    PostCounts,
    PostTag,
    PostVersion,
    PublicPost,
    User,
    audience,
    notifications,
    reactions,
    unfinished,
    versions,
)
from microblog.models.account import delete_account, suspend, unsuspend
from microblog.models.barriers import block, mute
from microblog.models.feeds import explore_page, home_page, posts, profile_page
from microblog.models.follow import follow
from microblog.models.marks import NO_MARKS, Marks, marks
from microblog.models.markup import names, tag_key, tags
from microblog.models.mentions import mentioned
from microblog.models.post import add_post, add_post_once, delete_post, find_post
from microblog.models.reactions import (
    bookmark,
    bookmarks_page,
    like,
    liked_page,
    repost,
    repost_of,
    unbookmark,
    unlike,
    unrepost,
)
from microblog.models.search import search_page
from microblog.models.tags import tag_page
from microblog.models.threads import thread_page
from microblog.models.versions import edit_post, may_edit, versions_of
from microblog.web import housekeeping


@pytest.fixture
def people(context, monkeypatch):
    for module in (reactions, unfinished):
        monkeypatch.setattr(module, "CHUNK", 3)
    found = [User(name, f"{name}@example.org", "password") for name in ("susan", "david", "maria")]
    db.session.add_all(found)
    db.session.commit()
    follow(found[1], found[0])
    # Of which she hears, too: that is another test's.
    db.session.execute(sa.delete(Notification.__table__))
    db.session.commit()
    return found


def count(model, *conditions):
    return db.session.execute(sa.select(sa.func.count()).select_from(model).where(*conditions)).scalar()


def write(author, body, reply_to=None):
    post = add_post(author, body, "en", reply_to)
    db.session.commit()
    return post


def told(user):
    query = sa.select(Notification.kind).where(Notification.user_id == user.id).order_by(Notification.id)
    return db.session.execute(query).scalars().all()


def test_likes_bookmarks_and_reposts(people, monkeypatch):
    susan, david, maria = people
    post = write(susan, "famous")
    row = posts([post.id])[0]
    for act, undo in ((like, unlike), (bookmark, unbookmark), (repost, unrepost)):
        assert [act(david, post), act(david, row), act(maria, post)] == [True, False, True]
        assert [undo(maria, post), undo(maria, row)] == [True, False]
        db.session.commit()
    assert marks(david.id, [post.id]) == {post.id: Marks(0, 1, 1, True, True, True)}
    assert marks(maria.id, [post.id, 99]) == {post.id: Marks(0, 1, 1)}
    # A page tells the same, to its reader.
    for reader, said in ((david, Marks(0, 1, 1, True, True, True)), (maria, Marks(0, 1, 1))):
        monkeypatch.setattr(audience, "reader_id", lambda reader=reader: reader.id)
        for page in (explore_page(), home_page(david), profile_page(david.id)):
            assert {page.marks[row.shown.id] for row in page.posts} == {said}
    write(maria, "not famous")
    assert explore_page().marks[explore_page().posts[0].id] == NO_MARKS
    assert [page(david.id).posts for page in (liked_page, bookmarks_page)] == [[row], [row]]
    assert told(susan) == ["like", "repost"]
    for undo in (unlike, unbookmark, unrepost):
        assert undo(david, post)
    db.session.commit()
    assert marks(david.id, [post.id]) == {post.id: Marks()}
    assert (count(Like), count(Bookmark), count(Post), told(susan)) == (0, 0, 2, [])


def test_what_is_not_to_be_seen_is_not_liked(people):
    susan, david, maria = people
    post, other = write(susan, "hers"), write(david, "his")
    row = posts([other.id])[0]
    delete_post(other)
    suspend(susan)
    db.session.commit()
    for act in (like, bookmark, repost):
        assert [act(maria, post), act(maria, row), act(susan, row)] == [False] * 3
    assert (count(Like), count(Bookmark), count(Post)) == (0, 0, 1)


def test_whom_somebody_blocks_likes_nothing_of_theirs(people):
    susan, david, maria = people
    post, other = write(susan, "hers"), write(david, "his")
    block(susan, david)
    mute(susan, maria)
    db.session.commit()
    for act in (like, bookmark, repost):
        assert [act(david, post), act(susan, other), act(maria, post)] == [False, False, True]


def test_who_is_suspended_likes_nothing(people):
    susan, david, _ = people
    post = write(susan, "a post")
    suspend(david)
    db.session.commit()
    assert [act(david, post) for act in (like, bookmark, repost)] == [False] * 3


def test_a_repost_is_in_the_feeds_as_what_it_passes_on(people):
    susan, david, maria = people
    post = write(maria, "words of wisdom")
    write(susan, "hers")
    repost(susan, post)
    db.session.commit()
    shown = home_page(david).posts[0]
    assert (shown.username, shown.shown.body, shown.shown.username) == ("susan", "words of wisdom", "maria")
    assert (shown.id, shown.repost_of_id) == (repost_of(susan.id, post.id), post.id)
    assert profile_page(susan.id).posts[0] == shown
    assert [row.body for row in explore_page().posts] == ["hers", "words of wisdom"]
    assert len(search_page("wisdom").posts) == 1
    assert (susan.posts_count, count(PublicPost)) == (2, 2)
    # A repost is passed on, liked and answered as what it passes on.
    assert repost(david, shown)
    assert like(david, find_post(shown.id))
    answer = write(david, "an answer", find_post(shown.id))
    assert (answer.reply_to_id, answer.thread_id) == (post.id, post.id)
    assert marks(david.id, [post.id]) == {post.id: Marks(1, 1, 2, True, True, False)}


@pytest.mark.parametrize("how", ["suspended", "deleted"])
def test_a_page_is_full_though_much_that_was_passed_on_is_gone(people, how):
    susan, david, maria = people
    for number in range(Page.SIZE + 3):
        write(susan, f"own {number}")
    for number in range(Page.SIZE * 3):
        repost(susan, write(maria, f"other {number}"))
        db.session.commit()
    before = home_page(david)
    assert [row.shown.username for row in before.posts] == ["maria"] * Page.SIZE
    if how == "suspended":
        suspend(maria)
        db.session.commit()
    else:
        # As a version does that knows nothing of reposts.
        db.session.execute(sa.delete(Post.__table__).where(Post.author_id == maria.id))
        db.session.commit()
    for fetch in (lambda **at: home_page(david, **at), lambda **at: profile_page(susan.id, **at)):
        first = fetch()
        assert [row.body for row in first.posts][:2] == [f"own {Page.SIZE + 2}", f"own {Page.SIZE + 1}"]
        assert (len(first.posts), len(fetch(before=first.older).posts)) == (Page.SIZE, 3)
        assert fetch(after=fetch(before=first.older).newer) == first
    if how == "suspended":
        unsuspend(maria)
        db.session.commit()
        unfinished.work_off()
        assert home_page(david) == before
    else:
        for _ in range(40):
            reactions.sweep()
        assert count(Post, Post.repost_of_id.is_not(None)) < 30


def test_answers_are_a_flat_conversation(people):
    susan, david, maria = people
    first = write(susan, "a question")
    answer = write(david, "an answer", first)
    other = write(maria, "to the answer", answer)
    last = write(susan, "to the question", posts([first.id])[0])
    thread = thread_page(first.id)
    assert (thread.post.body, thread.above) == ("a question", [])
    assert [row.id for row in thread.answers] == [answer.id, other.id, last.id]
    assert {row.thread_id for row in thread.answers} == {first.id}
    thread = thread_page(other.id)
    assert [number for number, row in thread.above if row] == [first.id, answer.id]
    assert [row.id for row in thread.answers] == [last.id]
    assert marks(susan.id, [first.id, answer.id]) == {first.id: Marks(2), answer.id: Marks(1)}
    assert (told(susan), told(david)) == (["reply", "reply"][:1], ["reply"])


def test_a_conversation_in_parts(people):
    susan, david, _ = people
    first = write(susan, "a question")
    answers = [write(david, f"answer {number}", first).id for number in range(7)]
    found, after = [], None
    while True:
        thread = thread_page(first.id, after, 3)
        found.append([row.id for row in thread.answers])
        after = thread.later
        if after is None:
            break
    assert found == [answers[:3], answers[3:6], answers[6:]]


def test_what_is_gone_leaves_its_place(people):
    susan, david, maria = people
    first = write(susan, "a question")
    answer = write(david, "an answer", first)
    other = write(maria, "to the answer", answer)
    row = posts([other.id])[0]
    delete_post(answer)
    db.session.commit()
    thread = thread_page(first.id)
    assert ([row.id for row in thread.answers], thread.gone) == ([other.id], {answer.id})
    gone = thread_page(answer.id)
    assert (gone.post, [row.id for row in gone.answers], gone.gone) == (None, [other.id], {answer.id})
    assert thread_page(other.id).above == [(first.id, posts([first.id])[0]), (answer.id, None)]
    suspend(susan)
    db.session.commit()
    thread = thread_page(first.id)
    assert (thread.post, [row.id for row in thread.answers]) == (None, [other.id])
    assert thread_page(other.id + 1) is None
    delete_post(other)
    db.session.commit()
    assert thread_page(answer.id) is None
    # Who has answered what was gone by then has not written in vain.
    late = write(david, "too late", row)
    assert (late.reply_to_id, late.thread_id) == (row.id, first.id)


def test_an_answer_sent_twice_is_one(people):
    susan, david, _ = people
    first, second = write(susan, "one"), write(susan, "two")
    numbers = [add_post_once(david, "token", "yes", "en", post) for post in (first, first, second)]
    db.session.commit()
    assert numbers[0] == numbers[1] != numbers[2]
    assert marks(susan.id, [first.id, second.id]) == {first.id: Marks(1), second.id: Marks(1)}


def test_mentions(people):
    susan, david, maria = people
    post = write(susan, "@DAVID and @maria, @david, @susan, @nobody: mail@maria https://x.org/@maria")
    assert sorted(row.username for row in mentioned([post.id])[post.id]) == ["david", "maria", "susan"]
    assert (told(susan), told(david), told(maria)) == ([], ["mention"], ["mention"])
    suspend(maria)
    db.session.commit()
    assert sorted(row.username for row in mentioned([post.id])[post.id]) == ["david", "susan"]
    # Who is answered hears of that, and of nothing else.
    write(david, "@susan @maria yes", post)
    assert (told(susan), told(maria)) == (["reply"], ["mention"])


@pytest.mark.parametrize(
    "text, found",
    [
        ("#One #two, (#THREE) #one", ["one", "two", "three"]),
        ("#Straße #STRASSE #ＡＢＣ #Ελλάς", ["strasse", "abc", "ελλάσ"]),
        ("#ไม่เป็นไร #हिन्दी #日本語 #снег", ["ไม่เป็นไร", "हिन्दी", "日本語", "снег"]),
        ("#2026 #___ # #- a#b ##c &#x27; https://x.org/#frag /#x @#y", []),
        ("#a-b #c.d #e_2 #4u", ["a", "c", "e_2", "4u"]),
        ("#" + "x" * 64, ["x" * 64]),
        ("#" + "x" * 65, []),
    ],
)
def test_what_is_a_tag(text, found):
    assert tags(text) == found
    assert [tag_key(tag) for tag in found] == found


def test_what_is_a_name():
    assert names("@Susan @susan a@b.c @ab (@david) /@maria @x-y") == ["susan", "david"]


def test_a_tag_has_a_page(people):
    susan, david, _ = people
    numbers = [write(author, f"{number} #Snow #snow #Ice").id for number, author in enumerate((susan, david))]
    write(susan, "snow without a sign")
    write(susan, "#2026")
    assert [row.id for row in tag_page("snow").posts] == numbers[::-1]
    assert [row.id for row in tag_page("ice", before=numbers[1]).posts] == numbers[:1]
    assert tag_page("snowman").posts == []
    suspend(susan)
    db.session.commit()
    assert [row.id for row in tag_page("snow").posts] == numbers[1:]
    unfinished.work_off()
    assert count(PostTag) == 2
    unsuspend(susan)
    db.session.commit()
    unfinished.work_off()
    assert [row.id for row in tag_page("snow").posts] == numbers[::-1]
    assert count(PostTag) == 4


def test_an_edit(people):
    susan, david, maria = people
    post = write(susan, "helo #snow @david")
    before = explore_page().posts[0]
    assert not edit_post(david, post, "his words")
    assert edit_post(susan, post, "hello #ice @david @maria", "es")
    db.session.commit()
    # At once, and the time tells one text from the next.
    assert edit_post(susan, post, "hola #ice @maria", "es")
    assert edit_post(susan, post, "hola #ice @maria")
    db.session.commit()
    row = explore_page().posts[0]
    assert (row.body, row.language, row.created_at) == ("hola #ice @maria", "es", before.created_at)
    assert row.edited_at >= before.created_at + timedelta(seconds=2)
    old = versions_of(post.id)
    assert [one.body for one in old] == ["helo #snow @david", "hello #ice @david @maria"]
    assert [one.language for one in old] == ["en", "es"]
    assert old[0].created_at == before.created_at
    assert (len(tag_page("ice").posts), len(tag_page("snow").posts)) == (1, 0)
    assert [one.username for one in mentioned([post.id])[post.id]] == ["maria"]
    # Who is no longer named is no longer told so.
    assert (told(david), told(maria)) == ([], ["mention"])
    assert (len(search_page("hola").posts), len(search_page("hello").posts)) == (1, 0)


def test_who_is_answered_and_then_named_is_told_once(people):
    susan, david, maria = people
    answer = write(david, "yes", reply_to=write(susan, "hello?"))
    assert edit_post(david, answer, "yes @susan @maria")
    db.session.commit()
    assert (told(susan), told(maria)) == (["reply"], ["mention"])


def test_who_is_named_no_more_is_told_so_no_more(people):
    susan, david, maria = people
    post, other = write(susan, "hello @david @maria"), write(susan, "and @david")
    answer = write(maria, "yes @susan @david", reply_to=post)
    assert edit_post(susan, post, "hello @maria") and edit_post(maria, answer, "yes")
    db.session.commit()
    # Of another post they are told all the same, and who is answered is answered still.
    rows = notifications.page(david.id).rows
    assert [(row.kind, row.post_id) for row in rows] == [("mention", other.id)]
    assert (told(susan), told(maria)) == (["reply"], ["mention"])
    # Named again, it is news.
    notifications.seen(david.id, rows[0].id)
    assert edit_post(susan, post, "hello @david")
    db.session.commit()
    assert db.session.execute(sa.select(notifications.unread(david.id))).scalar() == 1


def test_an_edit_is_seen_by_every_process(people, make_app):
    """Each keeps texts; a repost shows the one of now, too."""
    susan, david, maria = people
    post = write(maria, "first")
    repost(susan, post)
    db.session.commit()
    assert [row.shown.body for row in home_page(david).posts] == ["first"]
    number = post.id
    with make_app().app_context():
        edit_post(User.find("maria"), find_post(number), "second")
        db.session.commit()
    assert [row.shown.body for row in home_page(david).posts] == ["second"]
    assert [row.body for row in explore_page().posts] == ["second"]


def test_after_a_quarter_of_an_hour_a_post_stays(people, monkeypatch):
    susan, david, _ = people
    post = write(susan, "as it is")
    assert (may_edit(susan, post), may_edit(david, post)) == (True, False)
    later = utc_now() + versions.EDITABLE
    monkeypatch.setattr(versions, "utc_now", lambda: later)
    assert not may_edit(susan, post)
    assert not edit_post(susan, post, "otherwise")
    assert (find_post(post.id).body, count(PostVersion)) == ("as it is", 0)


def test_nobody_edits_what_is_gone_or_passed_on(people):
    susan, david, maria = people
    post = write(susan, "soon gone")
    repost(david, write(maria, "other"))
    db.session.commit()
    own = find_post(repost_of(david.id, post.id + 1))
    assert not edit_post(david, own, "words of his own")
    suspend(susan)
    db.session.commit()
    assert not edit_post(susan, post, "from afar")
    unsuspend(susan)
    delete_post(find_post(post.id))
    db.session.commit()
    assert not edit_post(susan, type("Gone", (), {"id": post.id}), "too late")


def test_a_post_goes_with_all_that_was_done_to_it(people):
    susan, david, _ = people
    fans = [User(f"fan{number}", f"fan{number}@example.org", "password") for number in range(8)]
    db.session.add_all(fans)
    db.session.commit()
    post, other = write(susan, "famous #x @david"), write(susan, "other")
    answer = write(david, "yes", post)
    for fan in fans:
        assert all(act(fan, post) for act in (like, bookmark, repost))
        repost(fan, other)
        like(fan, answer)
        db.session.commit()
    for author in (susan, fans[0]):
        assert not edit_post(author, find_post(repost_of(fans[0].id, post.id)), "words")
    delete_post(find_post(post.id))
    db.session.commit()
    assert {row.repost_of_id for row in db.session.execute(sa.select(Post)).scalars()} == {None, other.id}
    assert (count(Like), count(Bookmark), count(PostTag), count(Mention)) == (8, 0, 0, 0)
    assert [fan.posts_count for fan in fans] == [1] * 8
    noted = dict(db.session.execute(sa.select(LatestPost.author_id, LatestPost.post_id)).all())
    last = sa.select(Post.author_id, sa.func.max(Post.id)).group_by(Post.author_id)
    assert noted == dict(db.session.execute(last).all())
    assert marks(susan.id, [other.id]) == {other.id: Marks(0, 0, 8)}
    delete_post(answer)
    db.session.commit()
    assert count(Like) == 0


def test_an_account_goes_with_all_that_it_did(people):
    susan, david, maria = people
    numbers = []
    for number in range(7):
        post = write(maria, f"post {number} @susan")
        numbers.append(post.id)
        for act in (like, bookmark, repost):
            act(susan, post)
        like(david, post)
        write(susan, "an answer", post)
    mine = write(susan, "famous")
    assert all(act(david, mine) for act in (like, bookmark, repost))
    db.session.commit()
    assert marks(david.id, numbers)[numbers[0]] == Marks(1, 2, 1, True)
    susan_id = susan.id
    delete_account(susan)
    db.session.commit()
    unfinished.work_off()
    assert set(marks(david.id, numbers).values()) == {Marks(0, 1, 0, True)}
    assert (count(Like), count(Bookmark), count(Mention), count(Post)) == (7, 0, 0, 7)
    assert count(PostCounts) == 7
    assert count(User, User.id == susan_id) == 0
    assert david.posts_count == 0


def test_counts_never_go_below_nothing(people):
    susan, david, _ = people
    post = write(susan, "a post")
    like(david, post)
    db.session.execute(sa.update(PostCounts).values(likes=0))
    unlike(david, post)
    db.session.commit()
    assert marks(david.id, [post.id]) == {post.id: Marks()}


@pytest.mark.parametrize("act", [like, unlike, repost, unrepost, bookmark, unbookmark, "answer"])
def test_what_is_done_takes_as_many_statements_however_famous_a_post_is(people, act):
    susan, david, _ = people
    fans = [User(f"fan{number}", f"fan{number}@example.org", "password") for number in range(8)]
    db.session.add_all(fans)
    post = write(susan, "famous")
    taken = []
    db.session.commit()
    for fan in fans:
        if act in (unlike, unrepost, unbookmark):
            {unlike: like, unrepost: repost, unbookmark: bookmark}[act](david, post)
            db.session.commit()
        # What is read anew after a commit is no part of it.
        who, what, statements = User.find("david"), find_post(post.id), []
        assert (who.id, what.id, what.repost_of_id) == (david.id, post.id, None)

        def note(*arguments, statements=statements):
            statements.append(arguments[2])

        sa.event.listen(db.engine, "before_cursor_execute", note)
        try:
            assert add_post(who, "yes", "en", what) if act == "answer" else act(who, what)
        finally:
            sa.event.remove(db.engine, "before_cursor_execute", note)
        taken.append(len(statements))
        db.session.commit()
        if act in (like, repost, bookmark):
            {like: unlike, repost: unrepost, bookmark: unbookmark}[act](david, post)
        for done in (like, repost, bookmark):
            done(fan, post)
        db.session.commit()
    assert set(taken[1:]) == {taken[-1]}
    assert taken[-1] <= 18, taken


def test_housekeeping_sweeps(people, app):
    susan, david, _ = people
    post = write(susan, "soon gone")
    repost(david, post)
    db.session.commit()
    db.session.execute(sa.delete(Post.__table__).where(Post.id == post.id))
    db.session.commit()
    housekeeping.clean(app)
    assert (count(Post), User.find("david").posts_count) == (0, 0)
