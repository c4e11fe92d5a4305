"""What a worker of gunicorn holds in memory once everything has been visited, and its part of what is shared.

Four accounts, in three languages, open all kinds of pages and write, first those of a site of posts alone,
then what conversations, messages and the APIs have, and all of it a second time, so that both workers have
met it; as the package serves it, by the distribution's Python, with SQLite and MICROBLOG_BENCH_POSTS (10000)
posts. Copied into an older checkout it measures that: pages that it has not are left out.
"""

import base64
import http.client
import json
import os
import re
import sys
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from builder.core import paths
from builder.core.progress import step

sys.path += [str(paths.ROOT / "tests" / name) for name in ("", "bench")]
import app

NEEDS = app.NEEDS

POSTS = int(os.environ.get("MICROBLOG_BENCH_POSTS", "10000"))
WORKERS = 2
# Browsers at once: as many as the workers have threads.
_AT_ONCE = 8
_LANGUAGES = ("en", "es", "ru")
_PEOPLE = ("user1", "user2", "user3", "user4")
# Of {n}, another one each time: an account's number, and a post's beside it.
_OLD = """
    / /explore /user/user{n} /user/user{n}/followers /user/user{n}/following /search?q=w{n:04} /settings
    /settings/password /settings/email /settings/sessions /settings/second-factor /settings/delete
    /avatar/user{n}.svg
"""
_NOBODYS = ["/login", "/register", "/reset", "/healthz"]
_NEW = """
    /post/9{n:03} /post/5001 /tag/everything /notifications /notifications/unread /messages /messages/user4
    /bookmarks /likes /user/user{n}/card /settings/notifications /settings/people /settings/programs
    /settings/passkeys /user/user{n}/report /post/9{n:03}/report /manifest.webmanifest /settings/export
    /avatar/user{n}.png
"""
_CALLS = """
    users users/{n} users/{n}/followers users/{n}/following users/{n}/posts posts posts/9{n:03}
    v1/instance v2/instance v1/accounts/verify_credentials v1/accounts/{n} v1/accounts/{n}/statuses
    v1/accounts/{n}/followers v1/accounts/{n}/following v1/accounts/relationships?id[]={n}
    v1/accounts/search?q=user{n} v1/accounts/lookup?acct=user{n} v1/timelines/home v1/timelines/public
    v1/timelines/tag/everything v1/statuses/9{n:03} v1/statuses/9{n:03}/context v1/statuses/5001/context
    v1/statuses/5001/favourited_by v1/statuses/9{n:03}/history v1/notifications v1/conversations
    v2/search?q=w{n:04} v1/markers?timeline[]=home v1/preferences v1/favourites v1/bookmarks v1/blocks
    v1/mutes
"""
_OLD_ACTS = "/ /user/user{n}/follow /user/user{n}/unfollow"
_NEW_ACTS = """
    /post/9{n:03}/like /post/9{n:03}/unlike /post/9{n:03}/repost /post/9{n:03}/bookmark /post/9{n:03}/reply
    /user/user{n}/block /user/user{n}/mute
"""


class Ask(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str] | None = None


def measure() -> dict[str, Any]:
    """Serve, visit, and look.

    :return: ``stages``: of each its name, how many requests it took, how many of them were answered by 400
        and more, and of each worker ``pss_mb``, its memory with its part of what is shared, and ``own_mb``,
        what it shares with nobody.
    :raises BuildError: a program is missing, or nobody can log in.
    """
    stages: list[dict[str, Any]] = []
    with (
        app._database("sqlite", POSTS) as url,
        app.gunicorn(url, WEB_CONCURRENCY=str(WORKERS)) as (base, master),
    ):
        host = base.partition("://")[2]
        people = [_person(host, base, name) for name in _PEOPLE]
        with ThreadPoolExecutor(_AT_ONCE) as pool:

            def stage(name: str, *asked: list[Ask]) -> None:
                with step(f"Visiting: {name}", f"Visited: {name}"):
                    statuses = [
                        status for some in asked for status in pool.map(lambda one: _ask(host, one)[0], some)
                    ]
                refused = sum(status >= 400 for status in statuses)
                stages.append(
                    {"stage": name, "requests": len(statuses), "refused": refused, **_workers(master)}
                )

            old = _requests(people, 400, _OLD, _OLD_ACTS) + [
                Ask("GET", path, {"Accept-Language": language})
                for path in _NOBODYS
                for language in _LANGUAGES
            ]
            stage("pages of a site of posts", old)
            stage("the same, twice more", old, old)
            if people[0].token:
                new = _requests(people, 900, _NEW, _NEW_ACTS, _CALLS)
                stage("conversations, messages and the APIs", new)
                stage("all of it again", old, new)
    return {"posts": POSTS, "stages": stages}


class Person(NamedTuple):
    """:ivar form: the token that forms carry; :ivar token: a program's; empty where there is no API."""

    cookie: str
    form: str
    token: str


def _person(host: str, base: str, name: str) -> Person:
    cookie = app._log_in(base, name)
    _, page = _ask(host, Ask("GET", "/", {"Cookie": cookie}))
    form = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert form is not None
    secret = base64.b64encode(f"{name}:{app.PASSWORD}".encode()).decode()
    status, said = _ask(host, Ask("POST", "/api/tokens", {"Authorization": f"Basic {secret}"}, {}))
    return Person(cookie, form[1].decode(), json.loads(said)["token"] if status == 200 else "")


def _requests(people: list[Person], most: int, pages: str, acts: str, calls: str = "") -> list[Ask]:
    """So many, in turn of each kind, by each of the people and in each language."""
    found: list[Ask] = []
    while len(found) < most:
        for kind, template in [
            *(("page", page) for page in pages.split()),
            *(("act", act) for act in acts.split()),
            *(("call", f"/api/{call}") for call in calls.split()),
        ]:
            number = len(found)
            person = people[number % len(people)]
            path = template.format(n=10 + number * 7 % 300)
            headers = {"Cookie": person.cookie, "Accept-Language": _LANGUAGES[number % len(_LANGUAGES)]}
            if kind == "call":
                headers = {"Authorization": f"Bearer {person.token}"}
            form = {"csrf_token": person.form, "body": f"the words of a text, number {number} #some"}
            found.append(Ask("POST", path, headers, form) if kind == "act" else Ask("GET", path, headers))
    return found


def _ask(host: str, asked: Ask) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, timeout=300)
    headers = {"User-Agent": app.BROWSER, **asked.headers}
    body = None
    if asked.form is not None:
        body = urllib.parse.urlencode(asked.form)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request(asked.method, asked.path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def _workers(master: int) -> dict[str, list[float]]:
    """Of each worker, in MB (proc(5), smaps_rollup)."""
    figures: dict[str, list[float]] = {"pss_mb": [], "own_mb": []}
    for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split():
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        kib = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB", rollup, re.MULTILINE)}
        figures["pss_mb"].append(round(kib["Pss"] * 1024 / 1e6, 1))
        figures["own_mb"].append(round((kib["Private_Clean"] + kib["Private_Dirty"]) * 1024 / 1e6, 1))
    return figures


def table(figures: dict[str, Any]) -> str:
    """The figures as people read them: rows of Markdown."""
    rows = [
        f"| {row['stage']} | {row['requests']} | {row['refused']} | {' / '.join(map(str, row['pss_mb']))} |"
        f" {' / '.join(map(str, row['own_mb']))} |"
        for row in figures["stages"]
    ]
    head = "| visited | requests | refused | MB of each worker (PSS) | of it shared with nobody |"
    return "\n".join([head, "|---|--:|--:|--:|--:|", *rows])
