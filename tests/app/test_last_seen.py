from datetime import timedelta

from microblog.database import db, utc_now
from microblog.models import Session, User
from microblog.web import last_seen


def seen(app, name="susan"):
    with app.app_context():
        return User.find(name).last_seen


def test_a_visit_is_noted_once_the_page_is_out(app, client, make_user, monkeypatch):
    make_user()
    client.login()
    assert seen(app) is None
    response = client.get("/")
    assert response.status_code == 200
    response.close()
    assert seen(app) is not None


def test_not_on_every_page(app, client, make_user):
    make_user()
    client.login()
    recent = utc_now().replace(year=2099)
    with app.app_context():
        User.find("susan").last_seen = recent
        db.session.commit()
    client.get("/").close()
    assert seen(app) == recent


def test_the_database_is_asked_once_a_minute(client, make_user, monkeypatch):
    """Not written to by every page, and not for who is logged out."""
    make_user()
    calls = []
    right = last_seen.touch
    monkeypatch.setattr(last_seen, "touch", lambda *values: (calls.append(values), right(*values)))
    client.get("/").close()
    assert calls == []
    client.login()
    for _ in range(3):
        client.get("/").close()
    assert len(calls) == 1
    now = utc_now()
    monkeypatch.setattr(last_seen, "utc_now", lambda: now + timedelta(hours=2))
    for _ in range(2):
        client.get("/").close()
    assert len(calls) == 2


def test_a_log_in_says_when_it_was_last_used(app, client, make_user, monkeypatch):
    make_user()
    client.login()
    later = utc_now() + timedelta(hours=2)
    monkeypatch.setattr(last_seen, "utc_now", lambda: later)
    client.get("/").close()
    with app.app_context():
        (row,) = db.session.query(Session)
        assert row.last_used == later
