"""The session's cookie, which a process reads once: what is kept of it is as good as the cookie itself."""

import time

import pytest
from flask import flash, session

from microblog import web

pytestmark = pytest.mark.any_database


@pytest.fixture
def signed(app):
    """A session's cookie, that was read already."""
    signer = app.session_interface.get_signing_serializer(app)
    text = signer.dumps({"csrf_token": "x" * 40, "_flashes": [("message", "one")]})
    assert read(app, text)["csrf_token"] == "x" * 40
    return text


def read(app, text):
    with app.test_request_context("/", headers={"Cookie": f"session={text}"}):
        return dict(session)


def test_it_is_read_once(app, signed):
    signer = app.session_interface.get_signing_serializer(app)
    before = signer._read.cache_info()
    read(app, signed)
    after = signer._read.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_another_one_is_not_taken_for_it(app, signed, make_app):
    payload, moment, signature = signed.rsplit(".", 2)
    later = app.session_interface.get_signing_serializer(app).dumps({"a": 1}).rsplit(".", 2)
    for _ in range(2):
        for wrong in (
            f"{payload}.{moment}.{signature[:-2]}xx",
            f"{payload}.{moment}",
            f"{later[0]}.{moment}.{signature}",
            f"{payload}.{moment}x.{signature}",
        ):
            assert read(app, wrong) == {}
    assert read(make_app(secret_key="another secret key, as long as the first one"), signed) == {}


@pytest.mark.parametrize("days, good", [(30, True), (32, False), (-1, False), (-1 / 24, True)])
def test_it_ends_as_if_it_was_not_kept(app, signed, monkeypatch, days, good):
    """One of several machines may be ahead, by a second or an hour: who comes from there is still known."""
    now = time.time() + days * 86400
    monkeypatch.setattr(web.time, "time", lambda: now)
    assert (read(app, signed) != {}) is good


def test_a_page_changes_its_own_session_alone(app, signed):
    for _ in range(2):
        with app.test_request_context("/", headers={"Cookie": f"session={signed}"}):
            assert [text for _, text in session["_flashes"]] == ["one"]
            flash("two")
            session["more"] = 1
    assert set(read(app, signed)) == {"csrf_token", "_flashes"}
