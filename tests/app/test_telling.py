"""Mail that the host sends to those who look after the site."""

import json

import pytest
from mail_sink import Sink

from microblog.database import db
from microblog.errors import HostError
from microblog.host.machine import layout, privileges
from microblog.host.site import secrets, telling
from microblog.models import User
from microblog.models.site import Looks, set_looks


@pytest.fixture
def sink(app, tmp_path, monkeypatch, make_user):
    """A mail server, and the settings that name it; in the database are administrators."""
    for name, confirmed, admin in (("ada", True, True), ("new", False, True), ("susan", True, False)):
        make_user(name)
        with app.app_context():
            user = User.find(name)
            user.email_confirmed, user.is_admin = confirmed, admin
            db.session.commit()
    monkeypatch.setattr(layout, "env_file", lambda: tmp_path / "env")
    monkeypatch.setattr(privileges, "ask", lambda _what, work: work())
    monkeypatch.setattr(telling.signal, "alarm", lambda _seconds: None)
    with Sink() as sink:
        sink.settings = (
            f"SECRET_KEY={app.secret_key}\nDATABASE_URL={app.config['SQLALCHEMY_DATABASE_URI']}\n"
            f"MAIL_SERVER=127.0.0.1\nMAIL_PORT={sink.port}\nHOST_NAMES=blog.example.org\n"
        )
        sink.path = tmp_path / "env"
        sink.path.write_text(sink.settings)
        yield sink


def told(sink, **options):
    """Who was told, by whom, and what."""
    sink.messages.clear()
    assert telling.tell("it happened", "because: key 0123456789abcdef0123", print, **options) is bool(
        sink.messages
    )
    return [(message["To"], message["From"], message.get_content()) for message in sink.messages]


def name_it(app, name):
    with app.app_context():
        set_looks(Looks(name))
        db.session.commit()


@pytest.mark.once
def test_it_comes_by_the_name_that_the_browser_has_set(app, sink):
    sink.path.write_text(f"{sink.settings}ADMINS=root@example.org\n")
    (mail,) = told(sink)
    assert mail[:2] == ("root@example.org", "Microblog <noreply@blog.example.org>")
    name_it(app, "Our Garden")
    assert told(sink)[0][1] == "Our Garden <noreply@blog.example.org>"
    # The settings file's is not overruled.
    sink.path.write_text(f"{sink.settings}ADMINS=root@example.org\nSITE_NAME=Mine\n")
    assert told(sink)[0][1] == "Mine <noreply@blog.example.org>"


@pytest.mark.once
def test_where_none_are_named_its_administrators_are_told(app, sink, monkeypatch):
    assert [to for to, _, _ in told(sink)] == ["ada@example.org"]
    assert [to for to, _, _ in told(sink, to=["before@example.org"])] == ["before@example.org"]

    def down(*_):
        raise HostError("the database does not answer")

    # Whatever becomes of the database, ADMINS are told.
    monkeypatch.setattr(privileges, "ask", down)
    assert told(sink) == []
    sink.path.write_text(f"{sink.settings}ADMINS=root@example.org\n")
    assert told(sink)[0][:2] == ("root@example.org", "Microblog <noreply@blog.example.org>")


@pytest.mark.once
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_secret_is_known_in_json_too_within_a_longer_text(ascii_only):
    secret = 'pass"w\u00f6rd\\ of nobody'
    said = json.dumps({"url": f"mysql://ada:{secret}@localhost"}, ensure_ascii=ascii_only)
    assert secrets.without(said, [secret], "***") == '{"url": "mysql://ada:***@localhost"}'


@pytest.mark.once
def test_a_log_line_in_it_holds_no_secret(sink):
    sink.path.write_text(f"{sink.settings}ADMINS=root@example.org\nMETRICS_TOKEN=0123456789abcdef0123\n")
    ((_, _, text),) = told(sink)
    assert text.strip() == "because: key •••"
    assert secrets.clean("GET /reset/abc HTTP") == "GET /reset/••• HTTP"


@pytest.mark.once
def test_no_page_whose_address_is_a_secret_is_in_a_log(app):
    rules = [rule for rule in app.url_map.iter_rules() if rule.arguments & {"token", "secret"}]
    assert len(rules) >= len(secrets.LINKS)
    for rule in rules:
        (name,) = rule.arguments
        address = rule.rule.replace(f"<{name}>", "a.secret-one")
        assert "secret-one" not in secrets.clean(f'"GET {address}?x=1 HTTP/1.1"'), address
