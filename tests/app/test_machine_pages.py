"""The machine's pages, with a stand-in for the agent."""

import html
import json
import re
import socket
import socketserver
import threading
import time
from pathlib import Path

import pytest
from app_client import PASSWORD, Browser, token

import microblog
from microblog import facts, protocol
from microblog.database import db
from microblog.errors import HostError
from microblog.host import health
from microblog.host.agent import destinations, logs, verbs
from microblog.models import User, second_factor, site
from microblog.web import lately, site_looks, strip
from microblog.web.machine import elsewhere as pages_elsewhere
from microblog.web.machine import findings, remedies, views

pytestmark = pytest.mark.any_database

PAGES = [
    *(
        "/machine",
        "/machine/backups",
        "/machine/backups/upload",
        "/machine/backups/elsewhere",
        "/machine/backups/from",
        "/machine/name",
        "/machine/name/dns/rfc2136",
        "/machine/mail",
        "/machine/updates",
    ),
    *("/machine/log", "/machine/log?log=web", "/machine/power", "/machine/job"),
]
POSTS = [
    *("/machine/look", "/machine/do/backup", "/machine/backups/download", "/machine/backups/delete"),
    *("/machine/backups/restore", "/machine/backups/upload", "/machine/backups/upload/begin"),
    *("/machine/backups/upload/piece?offset=0", "/machine/backups/upload/discard", "/machine/name"),
    *("/machine/mail", "/machine/backups/elsewhere", "/machine/backups/elsewhere/off"),
    *("/machine/backups/sheet", "/machine/backups/from", "/machine/name/dns/linode"),
]
NAME = "microblog-20260101T000000Z-manual.tar.gz"
JOB = {
    **{"id": "1", "verb": "backup", "by": "root1", "state": "running", "lines": ["Backing <up>"]},
    **{"answer": None, "error": "", "hint": "", "began": time.time(), "ended": None},
}
UPDATES = {
    "changes": [{"name": "microblog", "old": "1", "new": "2", "origin": ""}],
    **{"automatic": {"security": True, "site": False}, "last": {}},
}
FINDING = {
    **{"id": "backup.old", "severity": "error", "what": "The last backup is <old>."},
    **{"why": "it is", "remedy": "microblog backup"},
}


ELSEWHERE = {
    **{
        "place": None,
        "fields": {},
        "by_root": False,
        "shown": False,
        "sent": None,
        "drilled": None,
        "failed": [],
    },
    **{"ssh_key": "ssh-ed25519 AAAA microblog@here", "disks": []},
}


class Agent:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, path):
        self.asked = []
        self.answers = {
            "updates": UPDATES,
            "job": None,
            "backups": [],
            "upload": None,
            "log": "a <line>",
            "look": {},
            "elsewhere": ELSEWHERE,
        }
        self.pieces = b""
        agent = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                said = json.loads(self.rfile.readline())
                agent.asked.append((said["verb"], said["with"]))
                assert said["by"]
                if said["verb"] == "upload-piece":
                    agent.pieces += self.rfile.read(said["with"]["length"])
                answer = agent.answers.get(said["verb"], {"have": len(agent.pieces)})
                whole = (
                    {"error": answer, "hint": "mend it"}
                    if isinstance(answer, str) and "!" in answer
                    else None
                )
                self.wfile.write(json.dumps(whole or {"answer": answer}).encode() + b"\n")
                if said["verb"] == "download" and not whole:
                    stream = protocol.Chunks(self.wfile)
                    stream.write(b"the backup")
                    if answer:
                        stream.end()

        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}).start()

    def last(self):
        return self.asked[-1]


class Clock:
    def __init__(self, now):
        self.time = lambda: now


@pytest.fixture(autouse=True)
def places(tmp_path, short_path, monkeypatch):
    """No agent, unless a test has one."""
    monkeypatch.setattr(protocol, "SOCKET", short_path / "socket")
    monkeypatch.setattr(protocol, "SEEN", tmp_path / "seen.json")
    monkeypatch.setattr(strip, "_kept", [None, None])
    monkeypatch.setattr(strip, "_asked", [-strip.OLD])


@pytest.fixture
def agent():
    agent = Agent(protocol.SOCKET)
    yield agent
    agent.server.shutdown()
    agent.server.server_close()


@pytest.fixture
def admin(app, client, make_user):
    make_user("root1")
    with app.app_context():
        User.find("root1").is_admin = True
        db.session.commit()
    client.login("root1")
    return client


@pytest.fixture
def long_ago(admin):
    """An administrator who has logged in long ago."""
    with admin.client.session_transaction(**admin.options) as session:
        del session["confirmed"]
    return admin


@pytest.fixture
def confirmed(admin, monkeypatch):
    """An administrator who has given the password."""
    monkeypatch.setattr(lately, "confirmed", lambda: True)
    return admin


def see(*findings, at=None, **facts):
    told = {name: {"ok": True, "text": text} for name, text in facts.items()}
    protocol.SEEN.write_text(json.dumps({"at": at or time.time(), "facts": told, "findings": findings}))


def press(browser, path, page="/machine/power", **data):
    return browser.submit(path, data, page=page)


def test_administrators_only(app, admin, make_user, agent):
    make_user()
    susan = Browser(app)
    susan.login()
    for path in PAGES:
        assert susan.get(path).status_code == 403
        assert Browser(app).get(path).headers["Location"].startswith("/login?next=")
    for path in POSTS:
        assert susan.submit(path, page="/").status_code == 403
        assert Browser(app).submit(path, page="/login").headers["Location"].startswith("/login")
        assert admin.post(path).status_code == 302, "without a token"
        assert admin.get("/machine/look").status_code == 405
    assert not agent.asked
    assert "/machine" not in susan.get("/").text
    assert "/machine" in admin.get("/").text


def test_without_an_agent_pages_say_what_to_type(admin):
    see(FINDING)
    for path in PAGES:
        page = admin.get(path)
        if path in ("/machine/job", "/machine/backups/upload"):
            assert page.status_code == 409
            assert "does not answer" in page.text
        else:
            assert page.status_code == 200, path
            assert "sudo " in page.text, path
            assert 'action="/machine/do' not in page.text


def test_overview(admin, agent):
    page = admin.get("/machine").text
    assert "is being looked at" in page
    assert 'http-equiv="refresh"' in page
    see(FINDING, {**FINDING, "id": "mail.down", "severity": "warning"}, certificate="until 2027")
    page = admin.get("/machine").text
    assert 'http-equiv="refresh"' not in page
    assert "The last backup is &lt;old&gt;." in page
    assert 'action="/machine/do/backup"' in page
    assert "until 2027" in page
    assert 'href="/machine/mail">Set mail up' in page
    see()
    assert "Nothing is wrong" in admin.get("/machine").text


def test_the_strip(app, admin, make_user, agent):
    make_user()
    susan = Browser(app)
    susan.login()
    see(FINDING, {**FINDING, "severity": "note"})
    line = "1 thing is wrong with this machine."
    for path in ("/", "/explore", "/settings", "/admin", "/machine"):
        assert line in admin.get(path).text, path
        # The kept page, too.
        assert line in admin.get(path).text, path
        if path[1:2] not in ("a", "m"):
            assert "strip" not in susan.get(path).text
    see(FINDING, FINDING)
    assert "2 things are wrong" in admin.get("/").text
    see()
    assert "strip" not in admin.get("/").text
    protocol.SEEN.write_text("{")
    assert admin.get("/").status_code == 200
    assert {verb for verb, _ in agent.asked} <= {"job"}, "no page waits for a look"


def test_who_looks_at_a_page_has_the_agent_look_when_that_was_long_ago(admin, agent):
    see()
    admin.get("/")
    assert not agent.asked
    see(at=time.time() - strip.OLD - 1)
    for path in ("/", "/explore"):
        admin.get(path).close()
    deadline = time.monotonic() + 60
    while not agent.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    assert agent.asked == [("look", {})]


def test_the_password_is_asked_for(long_ago, agent, monkeypatch):
    page = press(long_ago, "/machine/do/backup")
    assert "Your password" in page.text
    assert not [verb for verb, _ in agent.asked if verb == "backup"]

    def give(password, page, **more):
        return long_ago.post(
            "/machine/do/backup", {"csrf_token": token(page), "own_password": password, **more}
        )

    page = give("wrong horse", page)
    assert "This is not your password." in page.text
    page = give("", page)
    assert "Please enter your password." in page.text
    assert give(PASSWORD, page).headers["Location"] == "/machine/job"
    assert agent.last() == ("backup", {})
    # Now and for ten minutes, it is not.
    assert press(long_ago, "/machine/do/restart").headers["Location"] == "/machine/job"
    now = time.time()
    # Another machine's clock is behind that of the one that took it, by a second or more; one that is wrong
    # by an hour opens nothing.
    moments = ((lately.SECONDS - 60, False), (lately.SECONDS + 1, True), (-2, False), (-60, False))
    for later, asked in (*moments, (-3600, True)):
        monkeypatch.setattr(lately, "time", Clock(now + later))
        assert ("Your password" in press(long_ago, "/machine/do/restart").text) == asked


def test_a_log_in_counts_and_each_for_itself(app, admin, agent):
    assert press(admin, "/machine/do/backup").headers["Location"] == "/machine/job"
    with admin.client.session_transaction(**admin.options) as session:
        mark = session["confirmed"]
    admin.logout()
    admin.login("root1")
    with admin.client.session_transaction(**admin.options) as session:
        assert session["confirmed"] != mark
        session["confirmed"] = mark
    assert "Your password" in press(admin, "/machine/do/backup").text


def test_what_was_written_is_kept_while_the_password_is_asked_for(long_ago, agent):
    page = press(long_ago, "/machine/mail", to="a@example.org")
    assert '<input type="hidden" name="to" value="a@example.org">' in page.text
    long_ago.post(
        "/machine/mail", {"csrf_token": token(page), "to": "a@example.org", "own_password": PASSWORD}
    )
    assert agent.last() == ("mail-test", {"to": "a@example.org"})


def test_who_has_a_second_factor_gives_a_code_too(app, long_ago, agent):
    with app.app_context():
        user, seed = User.find("root1"), second_factor.new_seed()
        codes = second_factor.turn_on(user, seed, 1)
        db.session.commit()
    page = press(long_ago, "/machine/mail", to="a@example.org")
    assert 'name="own_code"' in page.text

    def give(password, code, page):
        data = {"to": "a@example.org", "own_password": password, "own_code": code}
        return long_ago.post("/machine/mail", {"csrf_token": token(page), **data})

    page = give(PASSWORD, "", page)
    assert "Please enter the code." in page.text
    # What is passed on is the form's alone.
    assert page.text.count('name="own_code"') == page.text.count('name="to"') == 1
    page = give("wrong horse", codes[0], page)
    assert "This is not your password." in page.text
    page = give(PASSWORD, "000000", page)
    assert "This code is wrong" in page.text
    assert not [verb for verb, _ in agent.asked if verb == "mail-test"]
    assert give(PASSWORD, codes[0], page).headers["Location"] == "/machine/job"
    assert agent.last() == ("mail-test", {"to": "a@example.org"})
    with app.app_context():
        assert second_factor.codes_left(User.find("root1").id) == second_factor.RECOVERY_CODES - 1


def test_guesses_at_the_password_are_limited(long_ago, agent):
    page = press(long_ago, "/machine/do/backup")
    data = {"csrf_token": token(page), "own_password": "wrong horse"}
    codes = [long_ago.post("/machine/do/backup", data).status_code for _ in range(11)]
    assert codes[-1] == 429
    assert codes[0] == 200


@pytest.mark.parametrize(
    "path, data, verb, given",
    [
        ("/machine/do/reboot", {}, "reboot", {}),
        ("/machine/backups/restore", {"name": NAME}, "restore", {"backup": NAME}),
        ("/machine/backups/restore", {"name": ""}, "restore", {"backup": ""}),
        ("/machine/name", {"site_name": " Ada "}, "settings", {"values": {"SITE_NAME": "Ada"}}),
        (
            "/machine/name",
            {"site_name": "A", "host_names": "LOCALHOST, Über.example"},
            "settings",
            {"values": {"SITE_NAME": "A", "HOST_NAMES": "localhost,xn--ber-goa.example"}},
        ),
        (
            "/machine/name",
            {"domains": "A.example, bücher.example"},
            "https",
            {"domains": ["a.example", "xn--bcher-kva.example"]},
        ),
        (
            "/machine/name",
            {"admins": "a@example.org b@example.org", "translator_key": "k1", "translator_region": "r"},
            "settings",
            {
                "values": {
                    **{"ADMINS": "a@example.org,b@example.org", "GRAVATAR": "false"},
                    **{"MS_TRANSLATOR_KEY": "k1", "MS_TRANSLATOR_REGION": "r"},
                }
            },
        ),
        ("/machine/name", {"off": "later"}, "https-off", {"now": False}),
        (
            "/machine/name/dns/gehirn",
            {"domains": "A.example", "api_token": " t1 ", "api_secret": "s1", "key": "x", "wait": "90"},
            "https-dns",
            {
                **{"domains": ["a.example"], "provider": "gehirn", "wait": 90},
                "fields": {"api_token": "t1", "api_secret": "s1"},
            },
        ),
        (
            "/machine/name/dns/linode",
            {"domains": "a.example b.example", "key": "k", "wait": ""},
            "https-dns",
            {"domains": ["a.example", "b.example"], "provider": "linode", "fields": {"key": "k"}},
        ),
        (
            "/machine/backups/elsewhere",
            {
                **{"kind": "sftp", "host": " NAS.home ", "port": "2222", "user": "ada"},
                **{"folder": "/srv/b/", "words": ""},
            },
            "backup-to",
            {
                **{"kind": "sftp", "host": "nas.home", "port": 2222, "user": "ada"},
                **{"folder": "/srv/b", "words": ""},
            },
        ),
        (
            "/machine/backups/elsewhere",
            {
                **{"kind": "s3", "service": "http://S3.example:9000/", "bucket": "b", "folder": ""},
                **{"access_key": "AK", "secret": " s ", "words": ""},
            },
            "backup-to",
            {
                **{"kind": "s3", "host": "s3.example", "port": 9000, "plain": True, "bucket": "b"},
                **{"folder": "", "access_key": "AK", "secret": "s", "words": ""},
            },
        ),
        (
            "/machine/backups/from",
            {"kind": "usb", "label": "BACKUP", "words": "Babad  lusib\n", "go_on": "yes"},
            "restore-from",
            {"kind": "usb", "label": "BACKUP", "words": "Babad lusib", "go_on": True},
        ),
        ("/machine/do/update", {}, "update", {}),
        ("/machine/updates", {"what": "all"}, "update-automatic", {"what": "all"}),
        ("/machine/mail", {"domain": ""}, "mail-direct", {"domain": ""}),
        (
            "/machine/mail",
            {"host": "Mail.example", "port": "587", "domain": "", "user": "u", "password": " p "},
            "mail-relay",
            {"host": "mail.example", "port": 587, "domain": "", "user": "u", "password": " p "},
        ),
    ],
)
def test_what_buttons_ask_for(confirmed, agent, path, data, verb, given):
    assert press(confirmed, path, **data).headers["Location"] == "/machine/job"
    assert agent.last() == (verb, given)
    assert verbs.VERBS[verb].kind == verbs.JOB
    assert set(given) <= set(verbs.VERBS[verb].takes)
    assert verb in views.VERBS


def test_a_place_that_is_none_is_told_before_anybody_is_asked(confirmed, agent):
    path = "/machine/backups/elsewhere"
    for service in ("ftp://x", "https://", "https://x:y", "https://x/bucket", "https://[x", "x?y"):
        page = press(confirmed, path, kind="s3", service=service, bucket="b")
        assert page.status_code == 409, service
        assert "no address of a service" in page.text
    for port in ("0", "65536", "x", "²", "0" * 9 + "9" * 5000):
        assert "no port" in press(confirmed, path, kind="sftp", host="nas", port=port).text
    assert not agent.asked


@pytest.mark.parametrize(
    "typed, host",
    [
        *(("2001:DB8::1", "[2001:db8::1]"), ("[2001:db8::1]", "[2001:db8::1]"), (" ::1 ", "[::1]")),
        *(("192.0.2.1", "192.0.2.1"), ("NAS.home", "nas.home"), ("nas:22", "nas:22")),
    ],
)
def test_an_address_of_ipv6_is_typed_with_brackets_or_without(confirmed, agent, typed, host):
    form = {"port": "", "user": "ada", "folder": "b"}
    press(confirmed, "/machine/backups/elsewhere", kind="sftp", host=typed, **form)
    verb, given = agent.last()
    assert (verb, given["host"]) == ("backup-to", host)
    checked = {"kind": "sftp", "host": host, "port": 22, "user": "ada", "folder": "b"}
    if host == "nas:22":
        with pytest.raises(HostError, match="host is refused"):
            verbs.checked("backup-to", checked)
        return
    place = destinations.place(verbs.checked("backup-to", checked)[1])
    assert place.address == f"sftp://ada@{host}:22/b"
    press(confirmed, "/machine/backups/elsewhere", kind="s3", service=typed.strip(), bucket="b")
    assert agent.last()[1]["host"] == host


def test_what_was_typed_last_is_there_again_but_for_secrets(confirmed, agent):
    form = {"service": "s3.example", "bucket": "buck", "access_key": "AKTYPED", "secret": "hushhush"}
    press(confirmed, "/machine/backups/elsewhere", kind="s3", words="babad", **form)
    page = confirmed.get("/machine/backups/elsewhere").text
    assert 'value="buck"' in page
    assert page.count('<details class="sheet mb-4" open>') == 1
    for secret in ("AKTYPED", "hushhush", 'value="babad"'):
        assert secret not in page
    with confirmed.client.session_transaction(**confirmed.options) as session:
        assert "hushhush" not in str(dict(session))


THERE = [
    {"id": "aa" * 8, "at": 1_790_000_000, "bytes": 3 * 2**20, "host": "new"},
    {"id": "bb" * 8, "at": 1_780_000_000, "bytes": 2 * 2**20, "host": "<old>"},
]
FROM = {"kind": "usb", "label": "BACKUP", "words": 'Babad  "lusib', "go_on": "yes"}


def test_one_of_several_that_are_elsewhere_is_chosen(confirmed, agent, monkeypatch):
    monkeypatch.setattr(pages_elsewhere, "_LOOK_SECONDS", 0)
    path = "/machine/backups/from"
    agent.answers["backups-there"] = {"id": "7"}
    job = {**JOB, "id": "7", "verb": "backups-there"}
    agent.answers["job"] = job
    page = press(confirmed, path, **FROM, list="yes")
    given = {"kind": "usb", "label": "BACKUP", "words": 'Babad "lusib'}
    assert ("backups-there", given) in agent.asked
    assert set(given) <= set(verbs.VERBS["backups-there"].takes)
    assert "is being read" in page.text
    assert page.headers["Cache-Control"] == "no-store"

    def go_on(page, **more):
        fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)
        return confirmed.post(path, {**{name: html.unescape(value) for name, value in fields}, **more})

    agent.answers["job"] = {**job, "state": "done", "answer": {"snapshots": THERE}}
    page = go_on(page)
    # The newest, unless somebody says another.
    assert re.findall(r'value="(\w+)" checked', page.text) == ["aa" * 8]
    assert "2.0 MiB · &lt;old&gt;" in page.text
    answer = go_on(page, snapshot="bb" * 8)
    assert answer.headers["Location"] == "/machine/job"
    assert agent.last() == ("restore-from", {**given, "go_on": True, "snapshot": "bb" * 8})
    verbs.checked("restore-from", {**given, "words": "babad", "snapshot": "bb" * 8})

    agent.answers["job"] = {**job, "state": "failed", "error": "no <key>", "hint": "type it"}
    page = press(confirmed, path, **FROM, looked="7")
    assert "no &lt;key&gt;" in page.text
    for other in (None, {**job, "id": "8"}, {**job, "verb": "backup"}):
        agent.answers["job"] = other
        assert press(confirmed, path, **FROM, looked="7").status_code == 409


def test_where_backups_go_is_shown(confirmed, agent):
    page = confirmed.get("/machine/backups/elsewhere").text
    assert "ssh-ed25519 AAAA microblog@here" in page
    assert "No USB disk" in page
    state = {"place": "sftp://ada@nas:22//srv/<b>", "sent": time.time(), "failed": ["it is <full>"]}
    agent.answers["elsewhere"] = {**ELSEWHERE, **state, "disks": ["BACKUP"]}
    for path in ("/machine/backups", "/machine/backups/elsewhere"):
        page = confirmed.get(path).text
        assert "/srv/&lt;b&gt;" in page
        assert "it is &lt;full&gt;" in page
        assert "Nobody has the recovery sheet yet" in page
    assert "<option>BACKUP</option>" in page
    assert 'action="/machine/backups/sheet"' in page
    agent.answers["elsewhere"] = {**ELSEWHERE, **state, "by_root": True}
    page = confirmed.get("/machine/backups/elsewhere").text
    assert "is changed there alone" in page
    assert "<details" not in page.partition("<main")[2]
    assert 'action="/machine/backups/sheet"' not in page


def test_the_recovery_sheet_is_shown_until_somebody_has_it(long_ago, agent):
    agent.answers["sheet"] = {
        **{"place": "sftp://ada@nas:22//srv/b", "code": "<svg></svg>"},
        "fields": {"kind": "sftp", "host": "nas", "port": "22", "user": "ada", "folder": "/srv/<b>"},
        "words": ["babad", "lusib", "dabab", "gutih", "tugad", "mudof", "sakat", "mibit", "babab"],
    }
    path = "/machine/backups/sheet"
    page = press(long_ago, path)
    assert "Your password" in page.text
    assert not agent.asked
    page = long_ago.post(path, {"csrf_token": token(page), "own_password": PASSWORD})
    assert page.text.count("<li>") > 9
    assert "<li>mibit</li>" in page.text
    # As the form of the new machine asks for it.
    assert re.search(r"Folder there</th><td[^>]*>/srv/&lt;b&gt;<", page.text)
    assert "<svg></svg>" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    press(long_ago, path, kept="yes")
    assert agent.last() == ("sheet-kept", {})
    agent.answers["sheet"] = "somebody has it!"
    assert press(long_ago, path).status_code == 409
    assert long_ago.get(path).headers["Location"] == "/machine/backups/elsewhere"


def test_a_job_that_has_made_a_key_leads_to_its_sheet(admin, agent):
    job = {**JOB, "verb": "backup-to", "ended": time.time()}
    agent.answers["job"] = {**job, "state": "done", "answer": {"sheet": True}}
    assert 'action="/machine/backups/sheet"' in admin.get("/machine/job").text
    agent.answers["job"] = {**job, "state": "done", "answer": {"sheet": False}}
    assert 'action="/machine/backups/sheet"' not in admin.get("/machine/job").text
    agent.answers["job"] = {**job, "state": "failed", "error": "no", "hint": "add this line: ssh-ed25519 A"}
    page = admin.get("/machine/job").text
    assert 'href="/machine/backups/elsewhere"' in page
    assert "ssh-ed25519 A" in page


def test_each_provider_of_dns_has_its_form(confirmed, agent):
    page = confirmed.get("/machine/name").text
    assert re.findall(r"<option>(\w+)</option>", page) == [*protocol.DNS_FIELDS]
    chosen = confirmed.get("/machine/name/dns?provider=ovh").headers["Location"]
    assert chosen == "/machine/name/dns/ovh"
    for provider, fields in protocol.DNS_FIELDS.items():
        page = confirmed.get(f"/machine/name/dns/{provider}").text
        names = re.findall(r'<input class="form-control" id="(\w+)"', page)
        assert names == ["domains", *fields, "wait"]
        secrets = re.findall(r'id="(\w+)" name="\w+" type="password"', page)
        assert set(fields) - set(secrets) <= {"server", "port", "name", "algorithm", "endpoint"}
    # What wants a file is the command line's.
    for other in ("google", "route53", "nobody", ""):
        assert confirmed.get(f"/machine/name/dns/{other}").status_code == 404


@pytest.mark.parametrize(
    "told, shown",
    [
        *(("48312\n", "48 °C"), ("49500\n", "50 °C"), ("0\n", "0 °C"), ("-7400\n", "-7 °C")),
        *(("\n", ""), ("too hot\n", ""), ("²\n", ""), (None, "")),
    ],
)
def test_how_warm_a_pi_is(admin, tmp_path, monkeypatch, told, shown):
    """As the kernel has it: thousandths of a degree, in a file that other machines lack."""
    zone = tmp_path / "temp"
    monkeypatch.setattr(facts, "_TEMPERATURE", zone)
    if told is not None:
        zone.write_text(told)
    rows = dict(re.findall(r'<th scope="row">([^<]*)</th><td>([^<]*)</td>', admin.get("/machine").text))
    assert rows["Memory"]
    assert rows.get("Temperature", "") == shown


def test_nobody_shuts_themselves_out_by_a_name(confirmed, agent):
    page = press(confirmed, "/machine/name", site_name="A", host_names="other.example")
    assert page.status_code == 409
    assert "by which you are here" in page.text
    assert not agent.asked


def test_no_other_verb_is_asked_for(confirmed, agent):
    for verb in ("https", "restore", "nothing", "delete-backup"):
        assert press(confirmed, f"/machine/do/{verb}").status_code == 404
    assert not agent.asked


def test_what_the_agent_refuses_is_said(confirmed, agent):
    agent.answers["backup"] = "no <room>!"
    page = press(confirmed, "/machine/do/backup")
    assert page.status_code == 409
    assert "no &lt;room&gt;!" in page.text
    assert "mend it" in page.text


@pytest.mark.parametrize("when", [-(10**18), -1, 2**32 + 1, 10**18, 253402300799])
def test_a_time_that_no_date_can_say_breaks_no_page(confirmed, agent, when):
    agent.answers["job"] = {**JOB, "state": "done", "began": when, "ended": when}
    agent.answers["backups"] = [{"name": NAME, "kind": "manual", "bytes": 1, "at": when}]
    agent.answers["elsewhere"] = {**ELSEWHERE, "place": "x", "sent": when, "drilled": when}
    for path in ("job", "backups", "backups/elsewhere"):
        assert confirmed.get(f"/machine/{path}").status_code == 200


def test_a_job(admin, agent):
    assert admin.get("/machine/job").headers["Location"] == "/machine"
    agent.answers["job"] = JOB
    page = admin.get("/machine/job").text
    assert 'http-equiv="refresh"' in page
    assert "Backing &lt;up&gt;" in page
    assert "nothing is lost" in page
    assert "A job goes on: Back up" in admin.get("/machine").text
    for state, text in (("done", "It is done."), ("failed", "It failed:"), ("interrupted", "interrupted")):
        agent.answers["job"] = {**JOB, "state": state, "ended": time.time(), "error": "<why>"}
        page = admin.get("/machine/job").text
        assert text in page
        assert 'http-equiv="refresh"' not in page
    agent.answers["job"] = {**JOB, "state": "done", "answer": {"records": ["x TXT y"]}}
    page = admin.get("/machine/job").text
    assert "x TXT y" in page
    assert "All log-ins have ended" not in page
    for verb in ("restore", "restore-from"):
        agent.answers["job"] = {**JOB, "state": "done", "verb": verb, "answer": {"rows": 1}}
        page = admin.get("/machine/job").text
        # Each of what docs/backups.md says that it tells.
        told = "log-ins apps Passwords factors codes passkeys invitations administrators moderators suspended"
        for word in (*told.split(), "deleted"):
            assert word in page


def test_backups(confirmed, agent):
    assert "There is none yet." in confirmed.get("/machine/backups").text
    agent.answers["backups"] = [{"name": NAME, "kind": "manual", "bytes": 3 * 2**20, "at": time.time()}]
    page = confirmed.get("/machine/backups").text
    assert "3.0 MiB" in page
    assert "by hand" in page
    press(confirmed, "/machine/backups/delete", name=NAME)
    assert agent.last() == ("delete-backup", {"name": NAME})
    agent.answers["upload"] = {"size": 2**21, "have": 2**20, "mark": "x"}
    page = confirmed.get("/machine/backups").text
    assert "1.0 MiB of 2.0 MiB are here." in page
    assert 'name="name" value=""' not in page
    agent.answers["upload"] = {"size": 2**21, "have": 2**21, "mark": "x"}
    assert 'name="name" value=""' in confirmed.get("/machine/backups").text


def test_a_download(confirmed, agent):
    agent.answers["download"] = True
    given = press(confirmed, "/machine/backups/download", name=NAME)
    assert given.data == b"the backup"
    assert given.headers["Content-Disposition"] == f'attachment; filename="{NAME}"'
    assert given.headers["Cache-Control"] == "no-store"
    agent.answers["download"] = "there is none!"
    given = press(confirmed, "/machine/backups/download", name='x"\r\ny')
    assert given.status_code == 409
    assert "Content-Disposition" not in given.headers
    # Cut short: the connection breaks, the file does not just end.
    agent.answers["download"] = False
    with pytest.raises(EOFError):
        press(confirmed, "/machine/backups/download", name=NAME).data  # noqa: B018 - reads it


def test_an_upload(long_ago, agent, monkeypatch):
    admin = long_ago
    headers = {"Accept": "application/json", "X-CSRFToken": token(admin.get("/machine/power"))}
    path = "/machine/backups/upload"
    begun = admin.post(f"{path}/begin", {"size": "5", "mark": "x"}, headers=headers)
    assert (begun.status_code, begun.json) == (403, {"confirm": True})
    # The script sends the form there, which asks for the password and leads back.
    page = admin.submit(path, page="/machine/power")
    given = admin.post(path, {"csrf_token": token(page), "own_password": PASSWORD})
    assert given.headers["Location"] == path
    begun = admin.post(f"{path}/begin", {"size": "900000", "mark": "x"}, headers=headers)
    assert begun.json == {"have": 0}
    assert agent.last() == ("upload-begin", {"size": 900_000, "mark": "x"})
    # As large as a piece may be; and, however long it takes, without the password anew.
    now = time.time()
    monkeypatch.setattr(lately, "time", Clock(now + 3600))
    data = bytes(range(256)) * (protocol.PIECE_MAX // 256)
    sent = admin.client.post(f"{path}/piece?offset=0", data=data, headers=headers, **admin.options)
    assert sent.json == {"have": len(data)}
    assert agent.pieces == data

    def send(query, data, **options):
        return admin.client.post(f"{path}/piece?offset={query}", data=data, **options, **admin.options)

    assert send(0, data + b"x", headers=headers).status_code == 413
    assert send("x", b"x", headers=headers).status_code == 400
    assert send(0, b"x").status_code == 302, "without a token"
    agent.answers["upload-piece"] = "the upload is elsewhere!"
    wrong = send(0, b"x", headers=headers)
    assert (wrong.status_code, wrong.json) == (409, {"error": "the upload is elsewhere!"})


def test_a_piece_that_is_refused_is_not_read(places):
    """More of it than a socket holds: the agent says why, and hangs up."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(protocol.SOCKET))
    listening.listen()

    def refuse():
        opened, _ = listening.accept()
        while not opened.recv(1, socket.MSG_PEEK):
            pass
        with opened, opened.makefile("rb", buffering=0) as file:
            file.readline()
            opened.sendall(b'{"error": "no upload has begun", "hint": "choose the file again"}\n')

    thread = threading.Thread(target=refuse)
    thread.start()
    with listening, pytest.raises(HostError, match="no upload has begun"):
        protocol.ask("upload-piece", "ada", {"offset": 0, "length": 2**20}, bytes(2**20))
    thread.join()


def test_the_name_that_is_shown_is_the_sites(app, confirmed, agent):
    with app.app_context():
        site.set_looks(site.Looks("Our Garden"))
        db.session.commit()
        site_looks.forget()
    assert 'value="Our Garden"' in confirmed.get("/machine/name").text


def test_other_forms_take_no_more_than_before(admin):
    assert admin.post("/settings", {"about": "x" * 70_000}).status_code == 413


def test_logs(admin, agent):
    page = admin.get("/machine/log?log=agent").text
    assert "a &lt;line&gt;" in page
    assert agent.last() == ("log", {"log": "agent", "lines": 200})
    assert admin.get("/machine/log?log=../etc").status_code == 404


def test_updates(admin, agent):
    page = admin.get("/machine/updates").text
    assert "microblog: 1 → 2" in page
    assert 'value="security" checked' in page
    assert 'action="/machine/do/update"' in page
    agent.answers["updates"] = {**UPDATES, "changes": []}
    page = admin.get("/machine/updates").text
    assert "Nothing, as far as" in page
    assert 'action="/machine/do/update"' not in page


def test_records_are_shown_where_there_are_some(admin, agent):
    agent.answers["mail-records"] = ["example.org. TXT x"]
    assert "example.org. TXT x" in admin.get("/machine/mail").text
    agent.answers["mail-records"] = "there is no key yet!"
    assert admin.get("/machine/mail").status_code == 200


def test_the_owner_of_a_new_site_restores_a_backup_instead(make_app, app, agent):
    code = "BCDFGHJK"
    new = make_app(claim_code=code)
    stranger, owner = Browser(new), Browser(new)
    for path in ("/machine/backups", "/machine/backups/upload", "/machine/backups/job"):
        assert stranger.get(path).headers["Location"] == "/first-run"
    owner.submit("/first-run", {"code": code})
    assert 'href="/machine/backups"' in owner.get("/first-run/account").text
    assert owner.get("/machine/backups").headers["Location"] == "/machine/backups/upload"
    page = owner.get("/machine/backups/upload")
    assert 'class="tabs"' not in page.text
    headers = {"Accept": "application/json", "X-CSRFToken": token(page)}
    begun = owner.post("/machine/backups/upload/begin", {"size": "9", "mark": "x"}, headers=headers)
    assert begun.json == {"have": 0}
    agent.answers["upload"] = {"size": 9, "have": 9, "mark": "x"}
    answer = owner.submit("/machine/backups/restore", {"name": NAME}, page="/machine/backups/upload")
    assert agent.last() == ("restore", {"backup": ""}), "the uploaded one, no other"
    assert answer.headers["Location"] == "/machine/backups/job"
    agent.answers["job"] = {**JOB, "verb": "restore"}
    assert "nothing is lost" in owner.get("/machine/backups/job").text
    # Or one that is elsewhere.
    assert 'href="/machine/backups/from"' in page.text
    form = {"kind": "usb", "label": "B", "words": "babad"}
    answer = owner.submit("/machine/backups/from", form, page="/machine/backups/from")
    assert answer.headers["Location"] == "/machine/backups/job"
    given = {"kind": "usb", "label": "B", "words": "babad", "go_on": False}
    assert agent.last() == ("restore-from", given)
    agent.answers["backups-there"] = {"id": "1"}
    agent.answers["job"] = {**JOB, "verb": "backups-there", "state": "done", "answer": {"snapshots": THERE}}
    answer = owner.submit("/machine/backups/from", {**form, "list": "yes"}, page="/machine/backups/from")
    assert "Which of them?" in answer.text
    # Nothing else is the owner's, who has no account yet.
    count = len(agent.asked)
    for path in ("/machine", "/machine/job", "/machine/log", "/machine/mail"):
        assert owner.get(path).headers["Location"] == "/first-run"
    assert owner.get("/machine/backups/elsewhere").headers["Location"].startswith("/login")
    for path in ("download", "delete", "elsewhere", "elsewhere/off", "sheet"):
        path = f"/machine/backups/{path}"
        form = {"name": NAME, "csrf_token": token(page)}
        assert owner.post(path, form).headers["Location"].startswith("/login")
    assert len(agent.asked) == count


def test_pages_and_agent_name_the_same_things():
    assert set(views.LOGS) == set(logs.SOURCES)
    assert set(views.VERBS) == {name for name, verb in verbs.VERBS.items() if verb.kind == verbs.JOB}
    assert set(views.VERBS) >= views.PLAIN
    for one in remedies.REMEDIES.values():
        assert not one.verb or one.verb in views.PLAIN


DOCTOR = Path(microblog.__file__).parents[1] / "docs/doctor.md"


@pytest.mark.skipif(not DOCTOR.exists(), reason="an installed package has no docs")
def test_every_finding_is_told_in_the_readers_language():
    sentences = dict(re.findall(r"\| `([a-z._]+)` (.+?) \| \w+ \|", DOCTOR.read_text()))
    told = {name: re.sub(r"%\(\w+\)s", "…", said.message) for name, said in findings.FINDINGS.items()}
    assert told == {name: text for name, text in sentences.items() if name not in findings.AS_IT_IS}
    assert set(sentences) >= findings.AS_IT_IS


def test_findings_in_spanish(admin, agent):
    taken = {**FINDING, "id": "port.taken", "what": "Port 80 is taken by <haproxy>."}
    odd = {**FINDING, "id": "disk.full", "what": "What is this?"}
    see(taken, odd)
    page = admin.get("/machine", headers={"Accept-Language": "es"}).text
    assert "<strong>&lt;haproxy&gt; ocupa el puerto 80.</strong>" in page
    assert '<strong lang="en">What is this?</strong>' in page


def test_every_remedy_is_of_a_finding():
    folder = Path(health.__file__).with_name("checks")
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    known = set(re.findall(r'Finding\(\s*"([a-z._]+)"', text))
    for name in remedies.REMEDIES:
        assert any(one == name or one.startswith(f"{name}.") for one in known), name


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, "1970-01-01 00:00:00"),
        # More than four bytes with a sign hold.
        (2**31, "2038-01-19 03:14:08"),
        (1e300, "2106-02-07 06:28:16"),
    ],
)
def test_times_that_no_date_can_say_are_the_nearest(seconds, told):
    assert str(views.moment_of(seconds)) == told
