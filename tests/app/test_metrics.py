"""``/metrics``: for who has the token, and not there without one."""

import pytest
import sqlalchemy as sa

from microblog.database import db
from microblog.models import User
from microblog.models.post import add_post

pytestmark = pytest.mark.any_database

TOKEN = "a-token-of-twenty-characters"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def test_there_is_none_unless_it_is_wanted(client):
    assert client.get("/metrics", headers=BEARER).status_code == 404


def test_figures_are_for_who_has_the_token(make_app, app, make_user):
    make_user("susan")
    with app.app_context():
        add_post(db.session.scalar(sa.select(User)), "x")
        db.session.commit()
    client = make_app(metrics_token=TOKEN, host_names=("example.org",)).test_client()
    for headers in (
        {},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer x"},
        {"Authorization": "Bearer \u00fc"},
    ):
        assert client.get("/metrics", headers=headers).status_code == 401
    # By whatever name the monitor knows the machine.
    answer = client.get("/metrics", headers={**BEARER, "Host": "10.0.0.7"})
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    for line in ("microblog_site_database_up 1", "microblog_site_accounts 1", "microblog_site_posts 1"):
        assert line in lines
    # What takes its time is counted once a minute.
    make_user("david")
    assert "microblog_site_accounts 1" in client.get("/metrics", headers=BEARER).text


def test_a_database_that_is_down_is_a_figure(make_app, tmp_path):
    broken = make_app(metrics_token=TOKEN, database_url=f"sqlite:///{tmp_path}/no/such/file")
    said = broken.test_client().get("/metrics", headers=BEARER)
    assert said.status_code == 200
    assert "microblog_site_database_up 0" in said.text
    assert "accounts" not in said.text
