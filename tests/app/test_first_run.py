import logging
import re
import socket
import threading
import time

import pytest
from app_client import SECRET_KEY, Browser, token
from sqlalchemy.exc import OperationalError

from microblog import claiming, names, proof
from microblog.config import Config
from microblog.database import db
from microblog.errors import HostError
from microblog.models import Attempts, Setting, User, claim, site
from microblog.web import site_looks
from microblog.web.first_run import agent, gate, nearby

pytestmark = pytest.mark.any_database

CODE = "BCDFGHJK"
OWNER = {
    "username": "ada",
    "email": "ada@example.org",
    "password": "eleven quiet herons",
    "password2": "eleven quiet herons",
}


@pytest.fixture
def new(app, make_app):
    """A site that nobody has claimed, on the test's database."""
    return make_app(claim_code=CODE)


@pytest.fixture
def visitor(new):
    return Browser(new)


@pytest.fixture
def owner(new):
    """Who has shown to have the code."""
    owner = Browser(new)
    assert owner.submit("/first-run", {"code": CODE}).headers["Location"] == "/first-run/account"
    return owner


def accounts(app):
    with app.app_context():
        return [(user.username, user.is_admin) for user in db.session.query(User)]


@pytest.mark.parametrize("path", ["/", "/login", "/register", "/explore", "/admin", "/reset", "/join/x"])
def test_every_visitor_sees_that_it_is_new(visitor, path):
    assert visitor.get(path).headers["Location"] == "/first-run"
    page = visitor.get("/first-run").text
    assert "This Microblog is new" in page
    assert "sudo microblog status" in page
    assert CODE not in page
    assert claiming.shown(CODE) not in page


def test_what_is_asked_whoever_owns_it_is_answered(visitor):
    # By the second one setup sees that the application is well: a redirect would fail every install.
    for path in ("/healthz", "/readyz"):
        assert visitor.get(path).status_code == 200
    assert visitor.get("/static/favicon.svg").status_code == 200


def test_nobody_registers_or_goes_on_without_the_code(new, visitor):
    sent = {"csrf_token": token(visitor.get("/first-run")), **OWNER}
    for path in ("/register", "/login", "/join/x", "/first-run/account", "/first-run/skip"):
        assert visitor.post(path, sent).headers["Location"] == "/first-run"
    for path in ("/first-run/account", "/first-run/site", "/first-run/address", "/first-run/backups"):
        assert visitor.get(path).headers["Location"] == "/first-run"
    assert accounts(new) == []


@pytest.mark.parametrize("text", [CODE, "bcdf-ghjk", " bcdf ghjk ", "Bcdf_GHJK"])
def test_the_code_as_people_write_it(visitor, text):
    assert visitor.submit("/first-run", {"code": text}).headers["Location"] == "/first-run/account"
    assert visitor.get("/first-run").headers["Location"] == "/first-run/account"


@pytest.mark.parametrize("text", ["", "BCDFGHJX", "BCDFGHJ", "x" * 5000, "ЖЖЖЖЖЖЖЖ", "\0", "\ud83d\ude00"])
def test_what_is_not_the_code(visitor, text):
    answer = visitor.submit("/first-run", {"code": text.encode("utf-8", "replace")})
    assert answer.status_code == 200
    assert "This is not the code." in answer.text or "Please enter the code." in answer.text
    assert visitor.get("/first-run/account").headers["Location"] == "/first-run"


def test_a_form_from_elsewhere_claims_nothing(new, visitor, owner):
    assert visitor.post("/first-run", {"code": CODE}).status_code == 400
    assert owner.post("/first-run/account", OWNER).status_code == 400
    assert owner.post("/first-run/skip").status_code == 400
    assert accounts(new) == []


def test_five_wrong_codes_a_minute_from_all_addresses_together(new):
    def at(number, code):
        return Browser(new, environ={"REMOTE_ADDR": f"192.0.2.{number}"}).submit("/first-run", {"code": code})

    assert [at(number, "WRONGONE").status_code for number in range(6)] == [200] * 5 + [429]
    late = at(9, CODE)
    assert late.status_code == 429
    assert 0 < int(late.headers["Retry-After"]) <= 60
    with new.app_context():
        db.session.query(Attempts).delete()
        db.session.commit()
    # The right one counts for nothing.
    assert [at(number, CODE).status_code for number in range(7)] == [302] * 7


@pytest.mark.every_database
def test_the_owner_claims_it_and_answers(new, owner, caplog):
    caplog.set_level(logging.INFO)
    assert "Your account" in owner.get("/first-run/account").text
    assert owner.submit("/first-run/account", OWNER).headers["Location"] == "/first-run/site"
    assert accounts(new) == [("ada", True)]
    assert "the site is claimed by ada" in caplog.text
    # They have just given their password: nothing asks for it in the next minutes.
    with owner.client.session_transaction(**owner.options) as session:
        assert session["confirmed"]
    # Whatever becomes of this browser now: the site is theirs, and they find the pages again.
    elsewhere = Browser(new)
    elsewhere.login("ada", OWNER["password"])
    answers = {"name": "Our Garden", "language": "es", "mode": "invited", "approval": "y"}
    assert elsewhere.submit("/first-run/site", answers).headers["Location"] == "/first-run/address"
    assert "Let&#39;s Encrypt" in elsewhere.get("/first-run/address").text
    assert "/var/backups/microblog" in elsewhere.get("/first-run/backups").text
    assert "Our Garden" in Browser(new).get("/").text
    assert Browser(new).get("/register").status_code == 403
    with new.app_context():
        assert site.registration() == ("invited", True)
        assert site.looks() == ("Our Garden", "es", False)


def test_each_page_has_a_way_past_it(new, owner):
    owner.submit("/first-run/account", OWNER)
    page, seen = "/first-run/site", []
    while page.startswith("/first-run"):
        seen.append(page)
        page = re.search(r'class="aside"><a[^>]*href="([^"]+)"', owner.get(page).text)[1]
    assert seen == ["/first-run/site", "/first-run/address", "/first-run/backups"]
    assert page == "/"
    # Nothing was answered: everything is as it would be without these pages.
    assert "Microblog" in owner.get("/").text
    Browser(new).register("david")
    assert accounts(new) == [("ada", True), ("david", False)]


@pytest.mark.every_database
def test_without_an_account_it_is_claimed_and_closed(new, owner):
    answer = owner.submit("/first-run/skip", page="/first-run/account")
    assert answer.headers["Location"] == "/"
    assert "microblog user add --admin" in owner.get("/").text
    assert Browser(new).get("/register").status_code == 403
    assert Browser(new).get("/first-run").headers["Location"] == "/"
    assert accounts(new) == []


@pytest.mark.every_database
def test_of_two_who_claim_it_at_once_one_wins_and_the_other_is_told(new, make_app, owner):
    # Another process's, which does not know yet.
    second = Browser(make_app(claim_code=CODE))
    second.submit("/first-run", {"code": CODE})
    forms = [token(one.get("/first-run/account")) for one in (owner, second)]
    assert owner.post("/first-run/account", {"csrf_token": forms[0], **OWNER}).status_code == 302
    late = second.post(
        "/first-run/account",
        {"csrf_token": forms[1], **OWNER, "username": "mallory", "email": "m@example.org"},
    )
    assert late.headers["Location"] == "/login"
    assert "Somebody else has claimed this site meanwhile" in second.get("/login").text
    assert accounts(new) == [("ada", True)]
    assert owner.logged_in()


@pytest.mark.every_database
def test_the_database_lets_one_of_two_claim_it(new, make_app, owner, monkeypatch):
    """As above, where both had looked before either had written."""
    second = Browser(make_app(claim_code=CODE))
    second.submit("/first-run", {"code": CODE})
    forms = [token(one.get("/first-run/account")) for one in (owner, second)]
    both = threading.Barrier(2)
    take = claim.take

    def together():
        both.wait(60)
        take()

    monkeypatch.setattr(claim, "take", together)
    answers = {}

    def post(browser, form, name):
        sent = {"csrf_token": form, **OWNER, "username": name, "email": f"{name}@example.org"}
        answers[name] = browser.post("/first-run/account", sent).headers["Location"]

    one = threading.Thread(target=post, args=(owner, forms[0], "ada"))
    one.start()
    post(second, forms[1], "grace")
    one.join()
    assert sorted(answers.values()) == ["/first-run/site", "/login"]
    (winner,) = (name for name, place in answers.items() if place == "/first-run/site")
    assert accounts(new) == [(winner, True)]


def test_a_proof_is_worth_nothing_with_another_code(make_app, visitor):
    answer = visitor.submit("/first-run", {"code": CODE})
    cookies = answer.headers["Set-Cookie"].partition(";")[0]
    for code, status in ((CODE, 200), ("ZXWVTSRQ", 302)):
        client = make_app(claim_code=code).test_client(use_cookies=False)
        assert client.get("/first-run/account", headers={"Cookie": cookies}).status_code == status


def test_a_site_with_people_never_shows_it(new, make_user):
    """As after an upgrade, a restore, an import, or 'microblog user add'."""
    make_user("susan")
    visitor = Browser(new)
    assert visitor.get("/").status_code == 200
    assert visitor.get("/first-run").headers["Location"] == "/"
    assert visitor.get("/first-run/account").headers["Location"] == "/login"
    assert visitor.register("david").headers["Location"] == "/"


@pytest.mark.every_database
def test_once_claimed_it_stays_so(new, make_app, owner):
    owner.submit("/first-run/account", OWNER)
    with new.app_context():
        db.session.query(User).delete()
        db.session.commit()
    assert Browser(make_app(claim_code=CODE)).get("/").status_code == 200


def test_without_a_code_nobody_claims_anything(app):
    """In a checkout, without 'microblog setup'."""
    assert Browser(app).get("/first-run").headers["Location"] == "/"
    Browser(app).register("susan")
    assert accounts(app) == [("susan", False)]


@pytest.mark.parametrize("path", ["/first-run/site", "/first-run/address", "/first-run/backups"])
def test_the_pages_after_the_account_are_administrators(client, app, make_user, path):
    assert client.get(path).headers["Location"].startswith("/login?next=")
    make_user("susan")
    client.login()
    assert client.get(path).status_code == 403


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"name": "x" * 41}, "at most 40"),
        ({"name": "a\x07b"}, "This is not a name."),
        ({"language": "xx"}, "Not a valid choice"),
        ({"mode": "everybody"}, "Not a valid choice"),
    ],
)
def test_odd_answers(new, owner, changes, message):
    owner.submit("/first-run/account", OWNER)
    answers = {"name": "Our Garden", "language": "en", "mode": "open", **changes}
    assert message in owner.submit("/first-run/site", answers).text
    with new.app_context():
        assert db.session.query(Setting.name).all() == [(site.CLAIMED,)]


def test_a_name_in_the_settings_file_is_not_asked_for(app, make_app):
    browser = Browser(make_app(claim_code=CODE, site_name="The File's"))
    browser.submit("/first-run", {"code": CODE})
    browser.submit("/first-run/account", OWNER)
    page = browser.get("/first-run/site").text
    assert 'name="name"' not in page
    browser.submit("/first-run/site", {"name": "Another", "language": "en", "mode": "open"})
    assert "Another" not in browser.get("/").text


def test_its_language_is_chosen_without_an_account(new, visitor):
    assert visitor.get("/first-run?language=ru").headers["Location"] == "/first-run"
    assert 'lang="ru"' in visitor.get("/first-run").text
    assert visitor.get("/first-run?language=xx").status_code == 200
    visitor.submit("/first-run", {"code": CODE})
    visitor.submit("/first-run/account", OWNER)
    with new.app_context():
        assert User.find("ada").locale == "ru"
    assert '<option selected value="ru">' in visitor.get("/first-run/site").text


def test_what_a_browser_cannot_have_is_in_the_sites_language(app, make_user):
    with app.app_context():
        site.set_looks(site.Looks("", "es"))
        db.session.commit()
    app.extensions["microblog.looks"].forget()
    visitor = Browser(app)
    assert 'lang="es"' in visitor.get("/login", headers={"Accept-Language": "fi"}).text
    assert 'lang="ru"' in visitor.get("/login", headers={"Accept-Language": "ru"}).text


def test_a_name_is_asked_for_now_and_then_and_by_no_error_page(app, monkeypatch):
    """A database that does not answer takes the site's name from no page."""
    looks = app.extensions["microblog.looks"]
    asked = []
    # However slow this machine is.
    monkeypatch.setattr(site_looks, "EVERY", 1e6)
    monkeypatch.setattr(site, "looks", lambda: asked.append(1) or site.Looks("Our Garden", ""))
    looks.forget()
    for _ in range(3):
        assert "Our Garden" in Browser(app).get("/login").text
    assert len(asked) == 1

    def broken():
        asked.append(1)
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(site, "looks", broken)
    looks.forget()
    assert "Our Garden" in Browser(app).get("/login").text
    assert "Our Garden" in Browser(app).get("/nowhere").text
    assert len(asked) == 2


# Whether a name leads here.


@pytest.fixture
def administrator(new, owner):
    owner.submit("/first-run/account", OWNER)
    return owner


@pytest.fixture
def dns(monkeypatch):
    """What a name server says, and what this machine's address is."""
    known = {
        "blog.example.org": ["203.0.113.7"],
        "other.example.org": ["203.0.113.7", "127.0.0.1"],
        "127.0.0.1": ["127.0.0.1"],
    }

    def getaddrinfo(name, port, *_, **__):
        if name not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[name]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(names, "machine_addresses", lambda: ["203.0.113.7"])


def check_name(browser, name):
    return browser.submit("/first-run/address", {"domain": name}).text


def test_a_name_that_leads_here(administrator, dns):
    page = check_name(administrator, " Blog.Example.org ")
    assert "blog.example.org leads to this site." in page
    assert "sudo microblog https blog.example.org" in page


@pytest.mark.parametrize(
    "name, told",
    [
        ("", "Please enter a name."),
        ("microblog.local", "no name of the internet"),
        ("localhost", "no name of the internet"),
        ("a b.example.org", "no name of the internet"),
        ("blog.example.org:8000", "no name of the internet"),
        ("[::1]", "no name of the internet"),
        ("x" * 300, "This is not a name."),
        ("nowhere.example.org", "No name server knows"),
        ("other.example.org", "leads to 127.0.0.1"),
    ],
)
def test_names_that_do_not(administrator, dns, name, told):
    page = check_name(administrator, name)
    assert told in page
    assert "sudo microblog https" not in page


def test_behind_a_translation_of_addresses_the_site_says_that_it_is_it(new, administrator, dns, monkeypatch):
    """Another site that answers is not this one."""
    asked = []

    def serve(key):
        server = socket.create_server(("127.0.0.1", 0))

        def answer():
            connection, _ = server.accept()
            with connection, server:
                head = connection.recv(65536).decode()
                question = re.search(f"{proof.HEADER}: (.+)\r\n", head, re.IGNORECASE)[1]
                asked.append(head.split()[1])
                said = proof.answer(key, question)
                connection.sendall(f"HTTP/1.0 200 OK\r\n{proof.HEADER}: {said}\r\n\r\n".encode())

        threading.Thread(target=answer, daemon=True).start()
        return server.getsockname()[1]

    connect = socket.create_connection
    monkeypatch.setattr(names, "machine_addresses", lambda: ["10.0.0.2"])
    monkeypatch.setattr(names, "is_global", lambda address: address == "203.0.113.7")
    for key, told in (
        (SECRET_KEY, "leads to this site"),
        ("another key", "it is not this site that answers"),
    ):
        port = serve(key)

        def to_it(address, timeout, port=port):
            if address[1] == 443:
                raise ConnectionRefusedError
            return connect(("127.0.0.1", port), timeout=60)

        monkeypatch.setattr(socket, "create_connection", to_it)
        assert told in check_name(administrator, "blog.example.org")
    assert asked == ["/healthz"] * 2


# What root's service offers, where there is one.


def test_who_may_restore(app, make_app, make_user):
    """As the page that does asks."""
    new = make_app(claim_code=CODE)
    new.add_url_rule("/restores", "restores", lambda: str(gate.may_restore()))
    new.extensions[agent.PAGES] = lambda: {"restore": "/restores"}
    owner = Browser(new)
    owner.submit("/first-run", {"code": CODE})
    assert owner.get("/restores").text == "True"
    owner.submit("/first-run/account", OWNER)
    assert owner.get("/restores").text == "True"
    make_user("susan")
    susan = Browser(new)
    assert susan.get("/restores").text == "False"
    susan.login()
    assert susan.get("/restores").text == "False"


def test_a_backup_is_restored_where_somebody_can(new, owner):
    assert "Restore a backup instead" not in owner.get("/first-run/account").text
    reachable = {"restore": "/machine/restore", "https": "/machine/name", "backups": "/machine/backups"}
    new.extensions[agent.PAGES] = lambda: reachable
    assert 'href="/machine/restore"' in owner.get("/first-run/account").text
    # The page itself is for the owner, and for nobody else; here there is none.
    stranger = Browser(new)
    for path in ("/machine/restore", "/machine/restore/progress"):
        assert owner.get(path).status_code == 404
        assert stranger.get(path).headers["Location"] == "/first-run"
    for path in ("/machine/restored", "/machine/backups"):
        assert owner.get(path).headers["Location"] == "/first-run"
    owner.submit("/first-run/account", OWNER)
    assert 'href="/machine/backups"' in owner.get("/first-run/backups").text
    reachable.clear()
    assert "/machine/backups" not in owner.get("/first-run/backups").text


# The code itself.


def test_a_code_is_made_of_the_key():
    code = claiming.code(SECRET_KEY)
    assert re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{8}", code)
    assert code == claiming.code(SECRET_KEY) != claiming.code(SECRET_KEY + "x")
    assert claiming.holds(code, claiming.shown(code).lower())
    assert len({claiming.code(str(number)) for number in range(1000)}) == 1000


@pytest.mark.parametrize("value", ["garden-x", "GARD ENXY", "gardenxy"])
def test_an_owners_own_code(tmp_path, value):
    path = tmp_path / "env"
    path.write_text(f"SECRET_KEY={SECRET_KEY}\nDATABASE_URL=sqlite:////x\nCLAIM_CODE='{value}'\n")
    if len(claiming.normal(value)) == 8:
        assert Config.load(path, {}).claim_code == claiming.normal(value)
    else:
        with pytest.raises(HostError, match="CLAIM_CODE is no code"):
            Config.load(path, {})


@pytest.mark.parametrize("value", ["none", "NONE", ""])
def test_no_code(tmp_path, value):
    path = tmp_path / "env"
    path.write_text(f"SECRET_KEY={SECRET_KEY}\nDATABASE_URL=sqlite:////x\nCLAIM_CODE={value}\n")
    assert Config.load(path, {}).claim_code == ""


@pytest.mark.parametrize("value", ["short", "AAAAAAAA", "GARDEN12", "GARDENXYZ", "ГАРДЕНИЯ"])
def test_bad_codes(tmp_path, value):
    path = tmp_path / "env"
    path.write_text(f"SECRET_KEY={SECRET_KEY}\nDATABASE_URL=sqlite:////x\nCLAIM_CODE={value}\n")
    with pytest.raises(HostError, match="CLAIM_CODE is no code of 8 letters"):
        Config.load(path, {})


# Neighbours of a new machine.

LINKS = [
    ("eth0", "192.168.1.0/24"), ("eth0", "2001:db8:5::/64"), ("eth0", "fe80::/64"),
    ("wg0", "198.51.100.0/24"),
]  # fmt: skip


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A machine at home, set up ten minutes ago, a minute after its first start."""
    import ipaddress

    marker = tmp_path / "first-boot"
    marker.write_text("60\n")
    monkeypatch.setattr(nearby, "FIRST_BOOT", marker)
    monkeypatch.setattr(time, "clock_gettime", lambda _: 660.0)
    monkeypatch.setattr(names, "links", lambda: [(link, ipaddress.ip_network(net)) for link, net in LINKS])
    monkeypatch.setattr(names, "routers", lambda: {ipaddress.ip_address("192.168.1.1")})
    monkeypatch.setattr(names, "machine_addresses", lambda: ["192.168.1.7"])
    return marker


@pytest.fixture
def pi(app, make_app, home):
    return make_app(claim_code=CODE, claim_nearby=True, trusted_proxies=1)


def from_address(app, address, **headers):
    """By nginx's socket: it tells the address, and whether somebody else has passed this on."""
    environ = {"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": address, "HTTP_X_MICROBLOG_CAME": "directly"}
    return Browser(app, environ={**environ, **headers})


NEIGHBOURS = ["192.168.1.20", "2001:db8:5::20", "fe80::20", "::ffff:192.168.1.20"]
STRANGERS = [
    *("192.168.1.1", "192.168.1.7", "192.168.2.20", "10.0.0.1", "203.0.113.9", "198.51.100.3"),
    *("127.0.0.1", "::1", "2001:db8:6::1", "fd00::1", "", "unknown"),
]


@pytest.mark.parametrize("address", NEIGHBOURS)
def test_neighbours_need_no_code_in_the_first_hour(pi, address):
    browser = from_address(pi, address)
    page = browser.get("/first-run").text
    assert "you need no code for the next 50 minutes" in page
    assert 'name="code"' not in page
    assert browser.submit("/first-run").headers["Location"] == "/first-run/account"
    assert browser.submit("/first-run/account", OWNER).headers["Location"] == "/first-run/site"


def _needs_the_code(app, browser):
    page = browser.get("/first-run")
    assert 'name="code"' in page.text
    assert "microblog.txt" in page.text
    assert browser.submit("/first-run").status_code == 200
    assert browser.get("/first-run/account").headers["Location"] == "/first-run"


@pytest.mark.parametrize("address", STRANGERS)
def test_strangers_need_it(pi, address):
    _needs_the_code(pi, from_address(pi, address))


@pytest.mark.parametrize("came", ["", "directly, 203.0.113.9", "directly1.1 proxy"])
def test_what_was_passed_on_needs_it(pi, came):
    """A proxy of the home network, or a tunnel's end there: behind it may be anybody."""
    _needs_the_code(pi, from_address(pi, NEIGHBOURS[0], HTTP_X_MICROBLOG_CAME=came))


def test_who_comes_past_nginx_needs_it(pi):
    """Whatever they say of themselves."""
    _needs_the_code(pi, from_address(pi, NEIGHBOURS[0], REMOTE_ADDR="192.168.1.20"))
    _needs_the_code(pi, from_address(pi, NEIGHBOURS[0], REMOTE_ADDR="127.0.0.1"))


@pytest.mark.parametrize(
    "settings", [{"trusted_proxies": 2}, {"trusted_proxies": 0}, {"proxy_networks": ("10.0.0.0/8",)}]
)
def test_behind_other_proxies_all_need_it(app, make_app, home, settings):
    app = make_app(**{"claim_code": CODE, "claim_nearby": True, "trusted_proxies": 1, **settings})
    _needs_the_code(app, from_address(app, NEIGHBOURS[0]))


def test_after_the_hour_all_need_it(pi, monkeypatch):
    monkeypatch.setattr(time, "clock_gettime", lambda _: 3660.0)
    _needs_the_code(pi, from_address(pi, NEIGHBOURS[0]))


def test_after_the_first_boot_all_need_it(pi, home):
    for text in ("", "soon", "\xff"):
        home.write_text(text)
        _needs_the_code(pi, from_address(pi, NEIGHBOURS[0]))
    home.unlink()
    _needs_the_code(pi, from_address(pi, NEIGHBOURS[0]))


def test_on_other_machines_all_need_it(app, make_app, home):
    server = make_app(claim_code=CODE, trusted_proxies=1)
    page = from_address(server, NEIGHBOURS[0]).get("/first-run").text
    assert 'name="code"' in page
    assert "microblog.txt" not in page


def test_the_kernels_routes_are_read(monkeypatch):
    tables = {
        "/proc/net/route": "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "eth0 00000000 0101A8C0 0003 0 0 100 00000000 0 0 0\n"
        "eth0 0001A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n"
        "eth1 000A0A0A 00000000 0000 0 0 0 00FFFFFF 0 0 0\n",
        "/proc/net/ipv6_route": f"{'fe80'.ljust(32, '0')} 40 {'0' * 32} 00 {'0' * 32} 00000100 1 0"
        " 00000001 eth0\n"
        f"{'0' * 32} 00 {'0' * 32} 00 {'fe80'.ljust(31, '0')}1 00000400 1 0 00000003 eth0\n"
        f"{'0' * 31}1 80 {'0' * 32} 00 {'0' * 32} 00000000 1 0 80200001 lo\n"
        f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 1 0 00200200 lo\n",
    }
    monkeypatch.setattr(names, "_table", lambda path: [line.split() for line in tables[path].splitlines()])
    assert [(link, str(network)) for link, network in names.links()] == [
        ("eth0", "192.168.1.0/24"),
        ("eth0", "fe80::/64"),
    ]
    assert sorted(map(str, names.routers())) == ["192.168.1.1", "fe80::1"]
