from microblog.database import db, utc_now
from microblog.models import User


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
