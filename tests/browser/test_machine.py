"""The machine's pages: an upload in pieces, the password before it, and a job that goes on."""

import json
import re
import time

import pytest
import screenshots
from live_site import PASSWORD, login
from playwright.sync_api import expect
from test_accessibility import check
from test_journeys import register

from microblog.database import db
from microblog.models import User
from microblog.web.machine import elsewhere

# What is waited for comes much sooner.
PATIENCE = 120_000

FINDING = {
    **{"id": "backup.old", "severity": "error", "what": "The last backup is old.", "why": "It is."},
    "remedy": "microblog backup",
}


@pytest.fixture
def admin(site, visit):
    """An administrator whose password was not asked for lately: a log-in would count."""
    page = visit()
    register(page, "susan")
    with site.app.app_context():
        User.find("susan").is_admin = True
        db.session.commit()
    yield page
    spool = ("state/spool/upload", "state/spool/upload.json")
    for path in ("seen.json", "state/job.json", "elsewhere/where.json", *spool):
        (site.agent / path).unlink(missing_ok=True)


def test_an_upload_goes_on_where_it_was(site, admin, tmp_path):
    data = bytes(range(256)) * 6000
    file = tmp_path / "backup.tar.gz"
    file.write_bytes(data)
    admin.goto("/machine/backups/upload")
    admin.set_input_files("#file", file)
    admin.click("form.upload button")
    # The password is asked for, and leads back.
    admin.fill("#own_password", PASSWORD)
    admin.click("main [type=submit]")
    # The connection breaks after two pieces.
    pieces = []

    def pass_two(route):
        pieces.append(route)
        route.abort() if len(pieces) == 3 else route.continue_()

    admin.route("**/upload/piece*", pass_two)
    admin.set_input_files("#file", file)
    admin.click("form.upload button")
    expect(admin.locator("form.upload [role=status]")).to_contain_text(
        "goes on where it was", timeout=PATIENCE
    )
    upload = site.agent / "state/spool/upload"
    assert upload.read_bytes() == data[: 2**20]
    admin.click("form.upload button")
    expect(admin.locator("main")).to_contain_text("1.5 MiB of 1.5 MiB are here.", timeout=PATIENCE)
    assert upload.read_bytes() == data
    assert len(pieces) == 4


@pytest.mark.parametrize("scripts", [True, False])
def test_a_finding_has_a_button(site, visit, admin, scripts):
    (site.agent / "seen.json").write_text(json.dumps({"at": time.time(), "facts": {}, "findings": [FINDING]}))
    page = visit(java_script_enabled=scripts)
    login(page, "susan")
    page.goto("/explore")
    page.click(".strip a")
    page.click("form[action='/machine/do/backup'] button")
    # She has logged in just now: the password is not asked for again.
    expect(page).to_have_url(re.compile("/machine/job$"), timeout=PATIENCE)
    expect(page.locator("[role=status]")).to_contain_text("It goes on.")


def test_the_log_is_there(admin):
    admin.goto("/machine/log?log=agent")
    expect(admin.locator("pre")).to_contain_text("a line")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_second_place_is_chosen(site, visit, admin, scripts):
    page = visit(java_script_enabled=scripts)
    login(page, "susan")
    page.goto("/machine/backups")
    page.click("text=Where they go")
    page.click("summary:has-text('by SSH')")
    expect(page.locator("pre.typed")).to_contain_text("ssh-ed25519 ")
    # What is left out is said before anybody is asked.
    page.click("details[open] button")
    expect(page.locator("#sftp-host:invalid")).to_have_count(1)
    for name, value in (("host", "NAS.home"), ("user", "susan"), ("folder", "/srv/backups/")):
        page.fill(f"#sftp-{name}", value)
    page.click("details[open] button")
    expect(page).to_have_url(re.compile("/machine/job$"), timeout=PATIENCE)
    asked = json.loads((site.agent / "run/request.json").read_text())
    given = {key: value for key, value in asked["with"].items() if value}
    assert (asked["job"]["verb"], given) == (
        "backup-to",
        {"kind": "sftp", "host": "nas.home", "port": 22, "user": "susan", "folder": "/srv/backups"},
    )


def test_one_of_several_backups_is_chosen(site, visit, admin, axe, monkeypatch):
    """And the key is not typed twice."""
    monkeypatch.setattr(elsewhere, "_LOOK_SECONDS", 0)
    page = visit()
    login(page, "susan")
    page.goto("/machine/backups/from")
    page.click("summary:has-text('by SSH')")
    for name, value in (("host", "nas"), ("user", "susan"), ("folder", "b"), ("words", "babad lusib")):
        page.fill(f"#sftp-{name}", value)
    page.click("details[open] button[name=list]")
    expect(page.locator("[role=status]")).to_contain_text("is being read", timeout=PATIENCE)
    job = site.agent / "state/job.json"
    there = [{"id": letter * 16, "at": time.time(), "bytes": 2**21, "host": "garden"} for letter in "ab"]
    seen = {**json.loads(job.read_text()), "state": "done", "answer": {"snapshots": there}}
    job.write_text(json.dumps(seen))
    page.click("main form button")
    expect(page.locator("#snapshot-1")).to_be_checked()
    check(page, axe, "backups to choose from")
    job.unlink()
    page.click("label[for=snapshot-2]")
    page.click("main form button")
    expect(page).to_have_url(re.compile("/machine/job$"), timeout=PATIENCE)
    asked = json.loads((site.agent / "run/request.json").read_text())
    wanted = {"host": "nas", "words": "babad lusib", "snapshot": "b" * 16, "go_on": True}
    assert asked["job"]["verb"] == "restore-from"
    assert wanted.items() <= asked["with"].items()


def test_the_recovery_sheet_is_for_everybody(site, visit, admin, axe):
    folder = site.agent / "elsewhere"
    folder.mkdir(exist_ok=True)
    (folder / "where.json").write_text(json.dumps(screenshots.PLACE))
    (folder / "key").write_text(screenshots.WORDS)
    page = visit(locale="ru")
    login(page, "susan")
    page.goto("/machine/backups/elsewhere")
    check(page, axe, "where backups go")
    page.click("form[action$=sheet] button")
    expect(page.locator(".words li")).to_have_count(9)
    check(page, axe, "the recovery sheet")
    # What is printed is the sheet, and no more.
    page.emulate_media(media="print")
    for part in (".top", ".tabs", ".no-print"):
        expect(page.locator(part).first).to_be_hidden()
    page.emulate_media(media="screen")
    page.click(".no-print button")
    page.goto("/machine/backups/elsewhere")
    expect(page.locator("form[action$=sheet]")).to_have_count(0)
