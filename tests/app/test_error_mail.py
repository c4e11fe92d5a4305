from datetime import timedelta

import pytest
from app_client import Browser
from mail_sink import Sink
from sqlalchemy.exc import OperationalError

from microblog.config import MailServer
from microblog.models import throttle
from microblog.models.post import clean_body
from microblog.models.user import clean_about
from microblog.web import error_mail
from microblog.web.posts import forms as posts_forms

pytestmark = pytest.mark.any_database

ADMINS = ("root@example.org", "susan@example.org")


@pytest.fixture
def make_failing(make_app, app):
    """Make applications with two views that fail, and mail about it; ``sink`` has the mails."""
    with Sink() as sink:

        def make(**settings):
            server = MailServer("127.0.0.1", sink.port)
            failing = make_app(**{"mail": server, "admins": ADMINS, **settings})
            failing.testing = False

            @failing.route("/fail/<token>", methods=["GET", "POST"])
            def fail(token):
                return 1 / 0

            @failing.route("/database")
            def database():
                raise OperationalError("SELECT", {}, Exception("it is down"))

            return failing

        make.sink = sink
        yield make


def arrived(failing, sink):
    mailer = failing.extensions["microblog.mailer"]
    assert mailer is None or mailer.wait(60)
    return sink.messages


def test_an_error_is_mailed_once(make_failing):
    """An hour long, whichever worker meets it."""
    workers = [make_failing(), make_failing()]
    for worker in workers * 2:
        response = Browser(worker).get("/fail/x")
        assert response.status_code == 500
        assert "noted" in response.text
        messages = arrived(worker, make_failing.sink)
    assert [message.recipients for message in messages] == [[address] for address in ADMINS]
    text = messages[0].get_content()
    assert "ZeroDivisionError" in messages[0]["Subject"]
    assert "ZeroDivisionError: division by zero" in text
    assert "GET /fail/<token>" in text
    Browser(workers[0]).get("/database")
    assert len(arrived(workers[0], make_failing.sink)) == 4


def test_again_after_an_hour(make_failing, monkeypatch):
    failing = make_failing(admins=ADMINS[:1])
    Browser(failing).get("/fail/x")
    assert len(arrived(failing, make_failing.sink)) == 1
    now = throttle.utc_now()
    monkeypatch.setattr(throttle, "utc_now", lambda: now + timedelta(hours=1, seconds=1))
    Browser(failing).get("/fail/x")
    assert len(arrived(failing, make_failing.sink)) == 2


def test_no_secret_is_mailed_or_logged(make_failing, caplog):
    failing = make_failing()
    visitor = Browser(failing)
    visitor.get("/login")
    failing.config["WTF_CSRF_ENABLED"] = False
    visitor.post(
        "/fail/s3cret-token?key=s3cret-key",
        {"password": "s3cret-password"},
        headers={"Cookie": "session=s3cret-session", "Authorization": "s3cret-header"},
    )
    messages = arrived(failing, make_failing.sink)
    assert len(messages) == 2
    assert "s3cret" not in "".join(map(str, messages))
    assert "POST /fail/<token> failed" in caplog.text
    assert "s3cret" not in caplog.text


def test_when_the_database_is_down(make_failing, tmp_path, monkeypatch):
    monkeypatch.setattr(error_mail, "_sent", {})
    failing = make_failing(database_url=f"sqlite:///{tmp_path}/no/such/folder/x.db")
    for _ in range(3):
        assert Browser(failing).get("/database").status_code == 500
    assert len(arrived(failing, make_failing.sink)) == len(ADMINS)


@pytest.mark.parametrize("settings", [{"mail": None}, {"admins": ()}])
def test_without_mail_or_administrators(make_failing, settings):
    failing = make_failing(**settings)
    assert Browser(failing).get("/fail/x").status_code == 500
    assert arrived(failing, make_failing.sink) == []


def test_what_visitors_cause_is_not_mailed(make_failing):
    failing = make_failing()
    for path in ("/nowhere", "/logout"):
        Browser(failing).get(path)
    assert arrived(failing, make_failing.sink) == []


def marked(function):
    """The fingerprint of the error that this ends with."""
    with pytest.raises(TypeError) as caught:
        function()
    return error_mail.fingerprint(caught.value)


def test_which_errors_are_the_same():
    """Those of one place in our code, by whatever way it was reached and however deep in a library it was."""
    here = marked(lambda: clean_body(5))
    assert marked(lambda: clean_body(6)) == here
    assert marked(lambda: posts_forms.clean(5)) == here
    assert marked(lambda: clean_about(5)) != here
