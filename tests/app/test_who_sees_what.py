"""Who sees what: how a reader stands to an author, by each way on which there is something of that author's
to be seen. Pages and programs' calls have the same answer."""

import re
from typing import NamedTuple

import pytest
from app_client import PASSWORD, Browser, token
from test_api import Script

from microblog.database import db, utc_now
from microblog.models import Notification, User, applications, barriers, messages, preferences, reactions
from microblog.models.account import suspend
from microblog.models.follow import follow
from microblog.models.post import add_post
from microblog.models.site import set_public
from microblog.models.versions import edit_post
from microblog.web import limits

pytestmark = pytest.mark.once

# What there is to be seen of an author.
# The account, where it is asked for by itself, by a program; on its page, where moderators let back in.
PERSON, PROFILE = "person", "profile"
# The account, in lists of people.
LISTED = "listed"
# Their posts on that page; a post, where it, or its author's posts, are asked for; in feeds; and whether it
# can be answered.
OWN, POST, FEED, ANSWER = "own", "post", "feed", "answer"
ALL = {PERSON, PROFILE, LISTED, OWN, POST, FEED, ANSWER}

# How readers stand to authors, and what they see; sue is suspended, rose is there for members alone.
RELATIONS = {
    ("david", "david"): ALL,
    ("follower", "david"): ALL,
    ("stranger", "david"): ALL,
    ("blocked", "david"): set(),
    ("blocks", "david"): {PERSON, PROFILE},
    ("both", "david"): set(),
    ("mutes", "david"): ALL - {FEED},
    ("mod", "david"): ALL,
    ("boss", "david"): ALL,
    # They see who blocks them, and write to them no more than others.
    ("mod_blocked", "david"): ALL - {ANSWER},
    ("boss_blocked", "david"): ALL - {ANSWER},
    ("mod_blocks", "david"): {PERSON, PROFILE},
    ("stranger", "sue"): set(),
    ("mod", "sue"): {PROFILE, OWN},
    ("boss", "sue"): {PROFILE, OWN},
    ("stranger", "rose"): ALL,
    ("mod", "rose"): ALL,
}
# Of visitors, on a site that everybody may read; elsewhere they see nothing.
VISITOR = {"david": ALL, "sue": set(), "rose": set()}


class Way(NamedTuple):
    """A way on which something of an author is to be seen.

    :ivar kind: what.
    :ivar path: with names of what :func:`things` gives.
    :ivar shows: what is in the answer then; None: that there is one is enough.
    :ivar method: of pages' forms, and of calls.
    """

    kind: str
    path: str
    shows: str | None = None
    method: str = "GET"
    values: dict = {}


POSTED = "secret{author}"
# For everybody, on a public site.
OPEN = [
    Way(PROFILE, "/user/{author}", "/user/{author}/followers"),
    Way(PROFILE, "/user/{author}/card", "{author}"),
    Way(PROFILE, "/user/{author}/followers", "maria"),
    Way(PROFILE, "/user/{author}/following", "maria"),
    Way(LISTED, "/user/maria/followers", "/user/{author}"),
    Way(LISTED, "/user/maria/following", "/user/{author}"),
    Way(OWN, "/user/{author}", POSTED),
    Way(POST, "/post/{post}", POSTED),
    Way(POST, "/post/{repost}", "/post/{post}"),
    Way(POST, "/post/{post}/versions", "earlier{author}"),
    Way(FEED, "/explore", POSTED),
    Way(FEED, "/tag/tag{author}", POSTED),
    # Passed on, answered, and an answer.
    Way(FEED, "/user/maria", POSTED),
    Way(FEED, "/post/{asked}", POSTED),
    Way(FEED, "/post/{answered}", "answer{author}"),
]
# For nobody in particular, and for visitors' eyes.
VISITORS = [
    Way(PERSON, "/.well-known/webfinger?resource=acct:{author}@localhost", "/user/{author}"),
    Way(POST, "/user/{author}/feed.atom", POSTED),
    Way(FEED, "/tag/tag{author}/feed.atom", POSTED),
    Way(POST, "/post/{post}", 'og:description" content="' + POSTED),
]
MEMBERS = [
    Way(FEED, "/", POSTED),
    Way(FEED, "/search?q=word{author}", POSTED),
    Way(FEED, "/bookmarks", POSTED),
    Way(FEED, "/likes", POSTED),
    Way(POST, "/post/{post}/translate", POSTED, "POST"),
    Way(POST, "/post/{post}/like", None, "POST"),
    Way(POST, "/post/{post}/bookmark", None, "POST"),
    Way(POST, "/post/{post}/repost", None, "POST"),
    Way(ANSWER, "/post/{post}/reply", None, "POST", {"body": "An answer"}),
]
# What nobody does with themselves.
OTHERS = [
    Way(PROFILE, "/user/{author}/report", "{author}"),
    Way(POST, "/post/{post}/report", POSTED),
    Way(PROFILE, "/messages/{author}", "letter{author}"),
    Way(LISTED, "/messages", "letter{author}"),
    Way(FEED, "/notifications", "/user/{author}"),
    Way(PROFILE, "/user/{author}/follow", None, "POST"),
]
CALLS = [
    Way(PERSON, "/api/users/{id}", '"{author}"'),
    Way(PERSON, "/api/users/{id}/followers", '"maria"'),
    Way(PERSON, "/api/users/{id}/following", '"maria"'),
    Way(LISTED, "/api/users?per_page=100", '"{author}"'),
    Way(LISTED, "/api/users/{maria}/followers?per_page=100", '"{author}"'),
    Way(LISTED, "/api/users/{maria}/following", '"{author}"'),
    Way(POST, "/api/users/{id}/posts", POSTED),
    Way(POST, "/api/posts/{post}", POSTED),
    Way(FEED, "/api/posts?per_page=100", POSTED),
    Way(PERSON, "/api/v1/accounts/{id}", '"{author}"'),
    Way(PERSON, "/api/v1/accounts?id[]={id}", '"{author}"'),
    Way(PERSON, "/api/v1/accounts/lookup?acct={author}", '"{author}"'),
    Way(PERSON, "/api/v1/accounts/{id}/followers", '"maria"'),
    Way(PERSON, "/api/v1/accounts/{id}/following", '"maria"'),
    Way(LISTED, "/api/v1/accounts/search?q={author}", '"{author}"'),
    Way(LISTED, "/api/v2/search?q={author}&type=accounts", '"{author}"'),
    Way(LISTED, "/api/v1/accounts/{maria}/followers?limit=80", '"{author}"'),
    Way(LISTED, "/api/v1/accounts/{maria}/following", '"{author}"'),
    Way(LISTED, "/api/v1/statuses/{maria_post}/favourited_by", '"{author}"'),
    Way(LISTED, "/api/v1/statuses/{maria_post}/reblogged_by", '"{author}"'),
    Way(PERSON, "/api/v1/statuses/{naming}", '"username":"{author}"'),
    Way(POST, "/api/v1/accounts/{id}/statuses", POSTED),
    Way(POST, "/api/v1/statuses/{post}", POSTED),
    Way(POST, "/api/v1/statuses/{repost}", POSTED),
    Way(POST, "/api/v1/statuses?id[]={post}&id[]={repost}", POSTED),
    Way(POST, "/api/v1/statuses/{post}/context", '"descendants"'),
    Way(POST, "/api/v1/statuses/{post}/source", POSTED),
    Way(POST, "/api/v1/statuses/{post}/history", "earlier{author}"),
    Way(POST, "/api/v1/statuses/{post}/favourited_by", '"maria"'),
    Way(POST, "/api/v1/statuses/{post}/reblogged_by", '"maria"'),
    Way(POST, "/api/v1/statuses/{asked}", '"in_reply_to_account_id":"{id}"'),
    Way(FEED, "/api/v1/statuses/{asked}/context", POSTED),
    Way(FEED, "/api/v1/statuses/{answered}/context", "answer{author}"),
    Way(FEED, "/api/v1/accounts/{maria}/statuses", POSTED),
    Way(FEED, "/api/v1/timelines/home", POSTED),
    Way(FEED, "/api/v1/timelines/public", POSTED),
    Way(FEED, "/api/v1/timelines/tag/tag{author}", POSTED),
    Way(FEED, "/api/v2/search?q=word{author}", POSTED),
    Way(FEED, "/api/v1/favourites", POSTED),
    Way(FEED, "/api/v1/bookmarks", POSTED),
    Way(POST, "/api/v1/statuses/{post}/favourite", POSTED, "POST"),
    Way(POST, "/api/v1/statuses/{post}/bookmark", POSTED, "POST"),
    Way(POST, "/api/v1/statuses/{post}/reblog", POSTED, "POST"),
    Way(ANSWER, "/api/v1/statuses", "<p>", "POST", {"status": "Another", "in_reply_to_id": "{post}"}),
]
OTHERS_CALLS = [
    Way(LISTED, "/api/v1/conversations", "letter{author}"),
    Way(FEED, "/api/v1/notifications?limit=80", '"{author}"'),
    Way(FEED, "/api/v1/notifications/{notice}", '"{author}"'),
    Way(PERSON, "/api/v1/conversations/{id}/read", "letter{author}", "POST"),
    Way(PERSON, "/api/v1/reports", '"{author}"', "POST", {"account_id": "{id}"}),
    Way(
        POST,
        "/api/v1/reports",
        '"status_ids":["{post}"]',
        "POST",
        {"account_id": "{id}", "status_ids": ["{post}"]},
    ),
    Way(PERSON, "/api/v1/accounts/{id}/remove_from_followers", '"following"', "POST"),
]
# What shows nobody's things, or only what is one's own; what moderators alone have; and what changes how two
# stand to each other, which test_audience.py and test_mastodon.py ask about.
NOTHING = re.compile(
    r"/(admin|moderation|machine|first-run|certificate|settings|login|logout|register|reset|join|confirm"
    r"|unsubscribe|oauth|healthz|readyz|static|headers|nodeinfo|manifest\.webmanifest)\b.*"
    r"|/\.well-known/(nodeinfo|oauth-authorization-server)"
    # Drawn from the name, whoever has it.
    r"|/avatar/<username>\.(png|svg)"
    r"|/notifications/unread|/messages/<username>/delete|/post/<int:number>/(edit|delete)"
    r"|/post/<int:number>/un(like|repost|bookmark)"
    r"|/user/<username>/(unfollow|<any\(block, unblock, mute, unmute\):what>)"
    r"|/api/tokens|/api/v1/(apps|instance|trends|filters|lists|announcements|custom_emojis|directory)\b.*"
    r"|/api/v2/(instance|filters|media|suggestions|notifications/policy)\b.*"
    r"|/api/v1/(domain_blocks|endorsements|featured_tags|follow_requests|followed_tags|suggestions|media|tags)"
    r"\b.*|/api/v1/(scheduled_statuses|preferences|markers|timelines/list|blocks|mutes)\b.*"
    r"|/api/v1/accounts/(verify_credentials|update_credentials|familiar_followers|relationships)"
    r"|/api/v1/accounts/<int:number>/(endorsements|featured_tags|identity_proofs|lists)"
    r"|/api/v1/accounts/<int:number>/(follow|unfollow|block|unblock|mute|unmute)"
    r"|/api/v1/statuses/<int:number>/un(favourite|reblog|bookmark)"
    r"|/api/v1/notifications/(requests|unread_count|clear|<int:number>/dismiss)"
    # Deleted for oneself.
    r"|/api/v1/conversations/<int:number>"
)


@pytest.fixture(autouse=True)
def without_limits(monkeypatch):
    monkeypatch.setattr(limits, "check", lambda *_keys: None)


READERS = sorted({reader for reader, _author in RELATIONS} - {"david"})


@pytest.fixture
def things(app):
    """Authors with all that there may be of them, readers, and what stands between: an author's things, and a
    token of each reader."""
    with app.app_context():
        names = ["maria", *VISITOR, *READERS]
        db.session.add_all([User(name, f"{name}@example.org", PASSWORD) for name in names])
        db.session.commit()
        who = {name: User.find(name) for name in names}
        maria = who["maria"]
        for name in ("boss", "boss_blocked"):
            who[name].is_admin = True
        for name in ("mod", "mod_blocked", "mod_blocks"):
            who[name].is_moderator = True
        maria_post = add_post(maria, "A post of maria's")
        found = {}
        for name in VISITOR:
            author = who[name]
            post = add_post(author, f"earlier{name} word{name} #tag{name}")
            db.session.flush()
            edit_post(author, post, f"secret{name} word{name} #tag{name}", None)
            asked, answered = add_post(maria, "She asks", reply_to=post), add_post(maria, "A question")
            add_post(author, f"answer{name}", reply_to=answered)
            naming = add_post(maria, f"Look, @{name}")
            for user, what in ((maria, post), (author, maria_post)):
                reactions.like(user, what)
                reactions.repost(user, what)
            repost = reactions.repost_of(maria.id, post.id)
            follow(maria, author)
            follow(author, maria)
            found[name] = {
                **{"author": name, "id": author.id, "maria": maria.id, "maria_post": maria_post.id},
                **{"post": post.id, "asked": asked.id, "answered": answered.id, "naming": naming.id},
                "repost": repost,
            }
        for name in READERS:
            follow(who[name], maria)
        for reader, author in RELATIONS:
            mine, theirs = who[reader], who[author]
            post = db.session.get(type(maria_post), found[author]["post"])
            reactions.like(mine, post)
            reactions.bookmark(mine, post)
            if reader != author:
                preferences.change(mine.id, messages_from_all=True)
                assert messages.send(theirs, mine.id, "once", f"letter{author}")
        follow(who["follower"], who["david"])
        for reader in ("blocked", "both", "mod_blocked", "boss_blocked"):
            barriers.block(who["david"], who[reader])
        for reader in ("blocks", "both", "mod_blocks"):
            barriers.block(who[reader], who["david"])
        barriers.mute(who["mutes"], who["david"])
        preferences.change(who["rose"].id, members_only=True)
        db.session.commit()
        # As though each were told just then.
        for reader, author in RELATIONS:
            about = {"actor_id": found[author]["id"], "post_id": found[author]["post"]}
            one = Notification(user_id=who[reader].id, kind="reply", created_at=utc_now(), **about)
            db.session.add(one)
            db.session.flush()
            found[author][f"notice of {reader}"] = one.id
        suspend(User.find("sue"))
        tokens = {name: applications.issue(User.find(name).id, None, "read write follow") for name in names}
        db.session.commit()
    return found, tokens


def filled(way, values):
    told = {
        name: [one.format(**values) for one in value] if isinstance(value, list) else value.format(**values)
        for name, value in way.values.items()
    }
    return way.path.format(**values), told


def sees(way, answer, values):
    """Whether an answer shows what there is to be seen."""
    # To another page, where it is; to the log-in, for nothing.
    if answer.status_code == 302:
        return not answer.headers["Location"].startswith("/login")
    assert answer.status_code in (200, 401, 404, 422), (way, answer.status_code, answer.text[:500])
    shown = answer.status_code == 200
    return shown and (way.shows is None or way.shows.format(**values) in answer.text)


class Translator:
    """One that says the same."""

    def kept(self, text, _language):
        return text


@pytest.mark.parametrize(
    ("public", "relations"),
    [(False, RELATIONS), (True, {}), pytest.param(True, RELATIONS, marks=pytest.mark.thorough)],
)
def test_each_reader_sees_the_same_on_each_way(app, things, public, relations, monkeypatch):
    found, tokens = things
    monkeypatch.setitem(app.extensions, "microblog.translator", Translator())
    with app.app_context():
        set_public(public)
        db.session.commit()
    app.extensions["microblog.looks"].forget()
    wrong = []

    def look(reader, author, ways, ask, expected):
        values = {**found[author], "notice": found[author].get(f"notice of {reader}")}
        for way in ways:
            path, told = filled(way, values)
            if sees(way, ask(way.method, path, told), values) != (way.kind in expected):
                wrong.append((reader, author, way.kind, way.method, path))

    nobody = Script(app)

    def open_it(method, path, _told):
        return nobody.client.open(path, method=method)

    for author, expected in VISITOR.items():
        look("", author, [*OPEN, *VISITORS], open_it, expected if public else ())
        look("", author, [*MEMBERS, *OTHERS, *CALLS, *OTHERS_CALLS], open_it, ())
    # What somebody writes there is looked for by nobody else.
    for method in ("GET", "POST"):
        for reader, author in relations:
            browser, script = Browser(app), Script(app, tokens[reader])
            browser.login(reader)
            secret = token(browser.get("/settings"))

            def page(method, path, told, browser=browser, secret=secret):
                if method == "GET":
                    return browser.get(path)
                return browser.post(path, {"csrf_token": secret, **told})

            def call(method, path, told, script=script):
                return script.get(path) if method == "GET" else script.post(path, json=told)

            others, expected = reader != author, RELATIONS[reader, author]
            for ask, ways in (
                (page, [*OPEN, *MEMBERS, *(OTHERS if others else ())]),
                (call, [*CALLS, *(OTHERS_CALLS if others else ())]),
            ):
                look(reader, author, [way for way in ways if way.method == method], ask, expected)
    assert not wrong, "\n".join(map(str, wrong))


def test_no_way_is_forgotten(app):
    """Each address is one on which somebody may see something, or is said to be none."""
    asked = {(way.method, _shape(way.path)) for way in [*OPEN, *VISITORS, *MEMBERS, *OTHERS]}
    asked |= {(way.method, _shape(way.path)) for way in CALLS + OTHERS_CALLS}
    # Of these, it is the same view that shows it or takes it.
    asked |= {("POST", "/"), ("POST", "/messages/*"), ("POST", "/post/*/report"), ("POST", "/user/*/report")}
    asked |= {
        ("POST", "/api/posts"),
        ("DELETE", "/api/posts/*"),
        ("POST", "/api/users"),
        ("PUT", "/api/users/*"),
    }
    asked |= {("PUT", "/api/v1/statuses/*"), ("DELETE", "/api/v1/statuses/*")}
    for rule in app.url_map.iter_rules():
        if NOTHING.fullmatch(rule.rule):
            continue
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            assert (method, _shape(rule.rule)) in asked, f"who sees what of {method} {rule.rule}?"


def _shape(path):
    path = re.sub(r"<[^>]*>|\{[^}]*\}", "*", path.partition("?")[0]).rstrip("/") or "/"
    return re.sub(r"/user/maria|/tag\*", lambda found: {"/user/maria": "/user/*"}.get(found[0], "/*"), path)
