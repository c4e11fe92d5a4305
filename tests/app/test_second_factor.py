"""A second factor: six digits at each log-in, and codes for who has lost their telephone."""

import re
import threading
import time
from urllib.parse import unquote

import pytest
import sqlalchemy as sa
from app_client import PASSWORD, Browser, token
from pymysql.err import OperationalError as MySQLError
from sqlalchemy.exc import OperationalError

from microblog.database import db
from microblog.models import User, second_factor, sessions, site
from microblog.web import limits, site_looks
from microblog.web.auth import half

# RFC 6238, appendix B, of SHA-1: eight digits.
VECTORS = {
    59: "94287082",
    1111111109: "07081804",
    1111111111: "14050471",
    1234567890: "89005924",
    2000000000: "69279037",
    20000000000: "65353130",
}
PAGE = "/settings/second-factor"


@pytest.mark.parametrize("moment", VECTORS)
def test_codes_are_those_of_the_standard(moment):
    secret = b"12345678901234567890"
    assert second_factor.totp(secret, moment // 30, 8) == VECTORS[moment]
    assert second_factor.right_step(secret, VECTORS[moment][-6:], moment) == moment // 30


def test_a_clock_may_be_a_little_off_and_no_more():
    secret = b"12345678901234567890"
    for off, good in ((-60, False), (-30, True), (0, True), (30, True), (60, False)):
        code = second_factor.totp(secret, (90_000_000 + off) // 30)
        assert bool(second_factor.right_step(secret, code, 90_000_000)) == good
    spaced = " ".join(second_factor.totp(secret, 3_000_000))
    assert second_factor.right_step(secret, spaced, 90_000_000)
    for wrong in ("", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "0" * 40):
        assert not second_factor.right_step(secret, wrong, 90_000_000)


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds that codes are of; what a test sets."""
    now = [float(int(time.time()) // 30 * 30)]
    monkeypatch.setattr(second_factor.time, "time", lambda: now[0])
    return now


def key_in(page):
    shown = re.search(r"<samp>([A-Z2-7 ]+)</samp>", page.text)[1]
    import base64

    return base64.b32decode(shown.replace(" ", ""))


def code_of(secret, clock):
    return second_factor.totp(secret, int(clock[0]) // 30)


def turn_on(browser, clock):
    """:return: the secret, as the app has it; the recovery codes."""
    secret = key_in(browser.get(PAGE))
    answer = browser.submit(PAGE, {"code": code_of(secret, clock), "password": PASSWORD})
    codes = re.findall(r"<samp>([0-9a-z-]{19})</samp>", answer.text)
    assert len(set(codes)) == second_factor.RECOVERY_CODES, answer.text
    clock[0] += 30
    return secret, codes


@pytest.fixture
def susan(app, make_user, clock):
    """A browser in which susan is logged in, who has a second factor; it and its codes."""
    make_user("susan")
    browser = Browser(app)
    browser.login()
    browser.secret, browser.codes = turn_on(browser, clock)
    return browser


def second(browser, code, **more):
    return browser.submit("/login/code", {"code": code, **more})


def test_a_log_in_takes_the_password_and_a_code(app, susan, clock):
    assert susan.logged_in()
    other = Browser(app)
    asked = other.login(path="/login?next=/settings").headers["Location"]
    # Werkzeug 2 has the slash as %2F.
    assert unquote(asked) == "/login/code?next=/settings"
    assert not other.logged_in()
    assert "wrong" in second(other, "000000").text
    assert not other.logged_in()
    answer = other.submit("/login/code?next=/settings", {"code": code_of(susan.secret, clock)})
    assert answer.headers["Location"] == "/settings"
    assert other.logged_in()
    # The half of a log-in goes with it.
    other.logout()
    assert other.get("/login/code").headers["Location"] == "/login"
    assert "Wrong username" in other.login(password="wrong horse").text
    assert other.get("/login/code").headers["Location"] == "/login"


def test_a_code_works_once(app, susan, clock):
    code = code_of(susan.secret, clock)
    first, again = Browser(app), Browser(app)
    for browser in (first, again):
        browser.login()
    second(first, code)
    assert first.logged_in()
    assert "used already" in second(again, code).text
    # Nor one from before it.
    before = second_factor.totp(susan.secret, int(clock[0]) // 30 - 1)
    assert "used already" in second(again, before).text
    clock[0] += 30
    second(again, code_of(susan.secret, clock))
    assert again.logged_in()


def test_a_recovery_code_works_once_however_it_is_typed(app, susan):
    typed = susan.codes[0].upper().replace("-", " ")
    first, again = Browser(app), Browser(app)
    for browser in (first, again):
        browser.login()
    second(first, typed)
    assert first.logged_in()
    assert "used already" in second(again, typed).text
    second(again, susan.codes[1].translate(str.maketrans("01", "oi")))
    assert again.logged_in()
    assert "8 recovery codes are left" in susan.get(PAGE).text


def test_another_ones_recovery_code_is_worth_nothing(app, susan, make_user, clock):
    make_user("mary")
    mary = Browser(app)
    mary.login("mary")
    _, codes = turn_on(mary, clock)
    other = Browser(app)
    other.login()
    assert "wrong" in second(other, codes[0]).text


def test_of_two_at_once_one_is_let_in(app, susan, clock):
    code = code_of(susan.secret, clock)
    with app.app_context():
        number = User.find("susan").id
    for tried in (code, susan.codes[0]):
        barrier, taken = threading.Barrier(4), []

        def try_it(tried=tried, barrier=barrier, taken=taken):
            with app.app_context():
                barrier.wait()
                taken.append(second_factor.accept(number, tried))
                db.session.commit()

        threads = [threading.Thread(target=try_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == [False, False, False, True]


def test_remembered_is_who_asked_to_be(app, susan, clock):
    other = Browser(app)
    other.login(remember_me="y")
    answer = second(other, code_of(susan.secret, clock))
    name = app.config["REMEMBER_COOKIE_NAME"]
    assert any(line.startswith(f"{name}=") for line in answer.headers.getlist("Set-Cookie"))


def test_turning_it_on_takes_the_password_and_ends_the_other_log_ins(app, make_user, clock):
    make_user("susan")
    browser, other = Browser(app), Browser(app)
    for one in (browser, other):
        one.login()
    secret = key_in(browser.get(PAGE))
    # The same until a code of it was typed.
    assert key_in(browser.get(PAGE)) == secret
    wrong = {"code": code_of(secret, clock), "password": "wrong horse"}
    assert "not your password" in browser.submit(PAGE, wrong).text
    wrong = {"code": "000000", "password": PASSWORD}
    assert "not the code of this moment" in browser.submit(PAGE, wrong).text
    with app.app_context():
        assert second_factor.of(User.find("susan").id) is None
    turn_on(browser, clock)
    assert browser.logged_in()
    assert not other.logged_in()
    # What is shown once is kept nowhere.
    page = browser.get(PAGE)
    assert "<samp>" not in page.text


def test_pages_with_secrets_are_kept_nowhere(app, make_user, clock):
    make_user("susan")
    browser = Browser(app)
    browser.login()
    page = browser.get(PAGE)
    assert "no-store" in page.headers["Cache-Control"]
    answer = browser.submit(PAGE, {"code": code_of(key_in(page), clock), "password": PASSWORD})
    assert "no-store" in answer.headers["Cache-Control"]
    with app.app_context():
        digests = [row.digest for row in db.session.execute(db.select(second_factor.RecoveryCode)).scalars()]
    for code in re.findall(r"<samp>([0-9a-z-]{19})</samp>", answer.text):
        assert not any(code.replace("-", "") in digest for digest in digests)


def test_it_is_turned_off_with_the_password_and_a_code(app, susan, clock):
    """Else who has the password, and a browser that was left, could do without it from then on."""
    code = code_of(susan.secret, clock)
    # With a wrong password, no code is used up.
    page = susan.submit(f"{PAGE}/off", {"password": "wrong horse", "code": code})
    assert "not your password" in page.text
    assert "used already" not in page.text
    assert "Please enter the code." in susan.submit(f"{PAGE}/off", {"password": PASSWORD}).text
    assert "used already" in susan.submit(f"{PAGE}/off", {"password": PASSWORD, "code": "000000"}).text
    assert susan.get(PAGE).status_code == 200
    assert susan.submit(f"{PAGE}/off", {"password": PASSWORD, "code": code}).status_code == 302
    assert susan.get(f"{PAGE}/off").headers["Location"] == PAGE
    other = Browser(app)
    other.login()
    assert other.logged_in()
    with app.app_context():
        assert second_factor.codes_left(User.find("susan").id) == 0


def test_new_recovery_codes_take_the_place_of_the_old(app, susan, clock):
    code = code_of(susan.secret, clock)
    for wrong in ({"password": "wrong horse", "code": code}, {"password": PASSWORD, "code": "000000"}):
        assert "<samp>" not in susan.submit(f"{PAGE}/codes", wrong).text
    page = susan.submit(f"{PAGE}/codes", {"password": PASSWORD, "code": code})
    (new, *_) = re.findall(r"<samp>([0-9a-z-]{19})</samp>", page.text)
    other = Browser(app)
    other.login()
    assert "wrong" in second(other, susan.codes[0]).text
    second(other, new)
    assert other.logged_in()


def test_half_a_log_in_ends_with_its_time_its_password_and_its_account(app, susan, clock, monkeypatch):
    def begun():
        browser = Browser(app)
        browser.login()
        assert browser.get("/login/code").status_code == 200
        return browser

    late = begun()
    monkeypatch.setattr(half.time, "time", lambda: clock[0] + 700)
    assert late.get("/login/code").headers["Location"] == "/login"
    monkeypatch.setattr(half.time, "time", lambda: clock[0])
    changed = begun()
    with app.app_context():
        User.find("susan").set_password("another horse")
        db.session.commit()
    assert changed.get("/login/code").headers["Location"] == "/login"
    with app.app_context():
        User.find("susan").set_password(PASSWORD)
        db.session.commit()
    suspended = begun()
    with app.app_context():
        from microblog.models.account import suspend

        suspend(User.find("susan"))
        db.session.commit()
    assert suspended.get("/login/code").headers["Location"] == "/login"
    with app.app_context():
        from microblog.models.account import unsuspend

        unsuspend(User.find("susan"))
        db.session.commit()
    reset = begun()
    app.test_cli_runner().invoke(args=["user", "second-factor", "susan", "--off"])
    # No code would be right: the password is enough by now.
    assert reset.get("/login/code").headers["Location"] == "/login"
    reset.login()
    assert reset.logged_in()


@pytest.fixture
def commits():
    """What the session has committed."""
    seen = []

    def note(session):
        seen.append(session)

    sa.event.listen(db.session, "after_commit", note)
    yield seen
    sa.event.remove(db.session, "after_commit", note)


def test_each_step_is_one_commit(app, make_app, make_user, clock, commits):
    """What is undone by a cluster is begun again, whole: half of it must not have been done."""
    owner = Browser(make_app(claim_code="BCDFGHJK"))
    owner.submit("/first-run", {"code": "BCDFGHJK"})
    who = {"username": "ada", "email": "ada@example.org", "password": PASSWORD, "password2": PASSWORD}
    commits.clear()
    assert owner.submit("/first-run/account", who).headers["Location"] == "/first-run/site"
    assert len(commits) == 1
    make_user("susan")
    browser = Browser(app)
    browser.login()
    commits.clear()
    secret, _ = turn_on(browser, clock)
    assert len(commits) == 1
    assert browser.logged_in()
    other = Browser(app)
    other.login()
    commits.clear()
    second(other, code_of(secret, clock))
    assert len(commits) == 1
    assert other.logged_in()


def test_a_log_in_that_is_begun_again_has_used_its_code_once(app, susan, clock, monkeypatch):
    """The database undoes the log-in, as a cluster does where two meet; the code was taken before."""
    other = Browser(app)
    other.login()
    begin, tries = User.start_session, []

    def undone(*arguments):
        tries.append(arguments)
        if len(tries) == 1:
            raise OperationalError("COMMIT", {}, MySQLError(1213, "Deadlock found"))
        begin(*arguments)

    monkeypatch.setattr(User, "start_session", undone)
    assert second(other, code_of(susan.secret, clock)).headers["Location"] == "/"
    assert len(tries) == 2
    assert other.logged_in()


def test_an_app_shows_the_name_that_the_site_has(app, make_user, clock):
    make_user("susan")
    with app.app_context():
        site.set_looks(site.Looks("Our Garden"))
        db.session.commit()
    browser = Browser(app)
    browser.login()
    with app.app_context():
        site_looks.forget()
    assert "otpauth://totp/Our%20Garden%3Asusan?" in browser.get(PAGE).text


def test_guessing_codes_is_limited(app, make_user, clock, monkeypatch):
    make_user("susan")
    before, susan = Browser(app), Browser(app)
    for one in (before, susan):
        one.login()
    susan.secret, _ = turn_on(susan, clock)
    before.login()
    monkeypatch.setattr(limits, "SECOND", limits.Limit("code of a log-in, account", 2, 900))
    other = Browser(app)
    other.login()
    form = {"csrf_token": token(other.get("/login/code"))}
    codes = [other.post("/login/code", {**form, "code": "000000"}).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    # From any browser: it is the account that is guessed at.
    third = Browser(app)
    third.login()
    assert second(third, code_of(susan.secret, clock)).status_code == 429
    # Nor is one known that knew the password before.
    assert second(before, code_of(susan.secret, clock)).status_code == 429
    # Its owner gets in all the same, with a browser in which they have given a code before.
    susan.logout()
    susan.login()
    second(susan, code_of(susan.secret, clock))
    assert susan.logged_in()
    susan.logout()
    susan.login()
    form = {"csrf_token": token(susan.get("/login/code"))}
    codes = [susan.post("/login/code", {**form, "code": "000000"}).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


def test_administrators_may_need_one(app, make_user, clock):
    make_user("susan")
    make_user("mary")
    with app.app_context():
        for name in ("susan", "mary"):
            User.find(name).is_admin = True
        db.session.commit()
    susan, mary = Browser(app), Browser(app)
    susan.login()
    mary.login("mary")
    # Who has none asks it of nobody.
    assert susan.submit("/admin/second-factor/require", page="/admin").headers["Location"] == PAGE
    assert mary.get("/admin").status_code == 200
    turn_on(susan, clock)
    susan.submit("/admin/second-factor/require", page="/admin")
    for path in ("/admin", "/machine", "/first-run/site", "/first-run/address", "/first-run/backups"):
        assert mary.get(path).headers["Location"] == PAGE, path
    assert mary.get("/").status_code == 200
    assert susan.get("/admin").status_code == 200
    key, _ = turn_on(mary, clock)
    assert mary.get("/admin").status_code == 200
    susan.submit("/admin/second-factor/free", page="/admin")
    mary.submit(f"{PAGE}/off", {"password": PASSWORD, "code": code_of(key, clock)})
    assert mary.get("/admin").status_code == 200


def test_the_command_line_resets_it(app, susan):
    run = app.test_cli_runner().invoke
    assert run(args=["user", "second-factor", "susan"]).output == "susan has one, and 10 recovery codes\n"
    said = run(args=["user", "second-factor", "susan", "--off"]).output
    assert said == "susan has no second factor any more\n"
    assert not susan.logged_in()
    susan.login()
    assert susan.logged_in()
    assert run(args=["user", "second-factor", "susan"]).output == "susan has no second factor\n"
    assert run(args=["user", "second-factor", "susan", "--off"]).output == "susan had no second factor\n"


def test_it_is_in_the_export_and_goes_with_the_account(app, susan):
    data = susan.get("/settings/export").json
    assert data["second_factor"]["codes"] == 10
    assert not any(code in str(data) for code in susan.codes)
    susan.submit("/settings/delete", {"password": PASSWORD})
    with app.app_context():
        for table in (second_factor.SecondFactor, second_factor.RecoveryCode, sessions.Session):
            assert db.session.execute(db.select(table)).first() is None


def test_the_picture_is_there_where_its_library_is(app, make_user, monkeypatch):
    import sys
    from types import SimpleNamespace

    made = []

    class Code:
        def svg_inline(self, **_options):
            return "<svg></svg>"

    def make(address, **_options):
        made.append(address)
        return Code()

    make_user("susan")
    browser = Browser(app)
    browser.login()
    monkeypatch.setitem(sys.modules, "segno", None)
    page = browser.get(PAGE)
    assert "<svg></svg>" not in page.text
    monkeypatch.setitem(sys.modules, "segno", SimpleNamespace(make=make))
    assert "<svg></svg>" in browser.get(PAGE).text
    assert made == [
        f"otpauth://totp/Microblog%3Asusan?secret={second_factor.readable(key_in(page)).replace(' ', '')}"
        "&issuer=Microblog"
    ]
