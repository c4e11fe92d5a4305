"""A new machine's first minute: it is shown to be new until somebody has its code, on real systems."""

import json
import re
import shutil
from typing import Any

import pytest
from nspawn import Machine, wait_until
from sites import ENV, FORGET, SQLITE, switch_to

from builder.core import paths

# A visitor who claims the site in a browser, and makes an account.
CLAIM = """
import re, ssl, sys
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPSHandler, Request, build_opener

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
opener = build_opener(HTTPCookieProcessor(CookieJar()), HTTPSHandler(context=context))


def submit(path, **fields):
    page = opener.open("https://localhost" + path, timeout=60).read().decode()
    fields["csrf_token"] = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]
    headers = {"Referer": "https://localhost" + path}
    return opener.open(Request("https://localhost" + path, urlencode(fields).encode(), headers), timeout=60)


print(submit("/first-run", code=sys.argv[1]).url)
password = "eleven quiet herons"
account = {"username": "ada", "email": "ada@example.org", "password": password, "password2": password}
print(submit("/first-run/account", **account).url)
print(submit("/first-run/site", name="Our place", language="es", mode="invited").url)
"""
# A visitor of the same private network, and one whose request another machine there passes on.
BESIDE = """
ip netns add beside
ip link add beside type veth peer name inner netns beside
ip addr add 192.168.77.1/24 dev beside
ip link set beside up
ip -n beside addr add 192.168.77.2/24 dev inner
ip -n beside link set inner up
"""


# One visitor's browser, which is closed after each step: its cookies are kept.
STEP = """
import json, re, ssl, sys, time
from http.cookiejar import LWPCookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPSHandler, Request, build_opener

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
jar = LWPCookieJar("/root/cookies")
try:
    jar.load(ignore_discard=True)
except OSError:
    pass
opener = build_opener(HTTPCookieProcessor(jar), HTTPSHandler(context=context))
path, fields = sys.argv[1], json.loads(sys.argv[2])
page = opener.open("https://localhost" + path, timeout=120)
if fields:
    fields["csrf_token"] = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.read().decode())[1]
    headers = {"Referer": "https://localhost" + path}
    page = opener.open(Request("https://localhost" + path, urlencode(fields).encode(), headers), timeout=120)
jar.save(ignore_discard=True)
print(page.url.removeprefix("https://localhost"))
print(page.read().decode())
"""
# Another machine that takes backups: this one, by SSH.
LET_IN = "mkdir -p -m 700 ~/.ssh && cat >> ~/.ssh/authorized_keys"


def make_new(machine: Machine) -> None:
    """As before its first minute."""
    machine.sql("DELETE FROM microblog.settings WHERE name = 'claimed'")
    machine.run("supervisorctl", "restart", "microblog")
    wait_until("the site answers", machine.answers)


def status(machine: Machine) -> dict[str, object]:
    found: dict[str, object] = json.loads(machine.run("microblog", "status", "--json", check=False))["claim"]
    return found


def test_a_new_server_is_claimed_with_the_code_that_status_tells(server: Machine) -> None:
    make_new(server)
    for path in ("", "login", "register", "explore"):
        page = server.get(f"https://localhost/{path}")
        assert (page.status, page.headers["location"]) == (302, "/first-run")
    assert "This Microblog is new" in server.get("https://localhost/first-run").body
    # A new site is not a broken one.
    assert "Nothing is wrong" in server.run("microblog", "doctor")
    told = status(server)
    code = str(told["code"])
    assert told["ok"]
    assert code.replace("-", "") in server.run("grep", "^CLAIM_CODE=", ENV)
    assert f"enter the code {code}\n" in server.run("microblog", "claim")
    # Whoever else has an account on the machine gets nothing of it.
    said = server.run("runuser", "-u", "nobody", "microblog", "claim", check=False)
    assert server.code == 1
    assert code not in said

    assert re.fullmatch(
        "https://localhost/first-run/account\nhttps://localhost/first-run/site\n"
        "https://localhost/first-run/address\n",
        server.run("python3", "-", code.lower(), stdin=CLAIM),
    )
    assert status(server)["new"] is False
    assert server.run("microblog", "claim") == ""
    assert '"is_admin": true' in server.run("microblog", "user", "list", "--json")
    # Every process has seen it after a moment.
    wait_until("it has its name", lambda: "Our place" in server.get("https://localhost/").body)
    assert server.get("https://localhost/register").status == 403


def test_who_makes_an_account_on_the_command_line_has_claimed_it(server: Machine) -> None:
    make_new(server)
    server.run("microblog", "user", "add", "--admin", "--generate", "ada", "ada@example.org")
    assert server.get("https://localhost/login").status == 200
    assert status(server)["new"] is False


def lay(machine: Machine, image: str, *names: str) -> None:
    """Put files there that an image has besides the package."""
    for name in names:
        source = paths.PACKER / "files" / image / "etc" / name
        target = machine.root / "etc" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def like_a_pi(machine: Machine, *lines: str) -> None:
    """Never set up, with a card's units and what its owner has written on it; it is switched on."""
    machine.run("sh", "-ec", FORGET)
    units = ("microblog-card", "microblog-admin", "microblog-greeting")
    lay(machine, "pi", "microblog/microblog.env", "update-motd.d/20-microblog")
    lay(machine, "pi", *(f"systemd/system/{unit}.service" for unit in units))
    machine.run("systemctl", "enable", *units[:2])
    script = (paths.PACKER / "provision/pi.sh").read_text()
    links = [line for line in script.splitlines() if "/etc/issue.d" in line and line[0] != "#"]
    machine.run("sh", "-ec", "rm -rf /etc/issue.d\n" + "\n".join(links))
    card = machine.root / "boot/firmware/microblog.txt"
    card.parent.mkdir(parents=True, exist_ok=True)
    card.write_text("".join(f"{line}\n" for line in lines))
    machine.reboot()
    wait_until("the site answers", lambda: machine.get("http://localhost/healthz").status == 200)


def screen(machine: Machine) -> str:
    """What is on the screen over the log-in, as agetty reads it there."""
    machine.run("systemctl", "start", "microblog-greeting.service")
    # It wants a screen.
    shown = machine.run("script", "--quiet", "--command", "agetty --show-issue", "/dev/null")
    return shown.replace("\r\n", "\n")


def test_beside_a_pi_nobody_needs_a_code_in_its_first_hour(server: Machine) -> None:
    """From its first boot until its second, by nginx alone, and from its private network alone."""
    like_a_pi(server, "claim code = gard-enxy")
    # Who comes later finds it on the screen; on the card it is not left.
    assert "first start: GARD-ENXY\n" in screen(server)
    assert status(server)["code"] == "GARD-ENXY"
    assert "gard" not in (server.root / "boot/firmware/microblog.txt").read_text()

    def asks_for_code(*command: str) -> bool:
        page = server.run(*command, "http://192.168.77.1/first-run")
        assert "This Microblog is new" in page
        assert ("you need no code" in page) is not ('name="code"' in page)
        return 'name="code"' in page

    server.run("sh", "-ec", BESIDE)
    beside = ("ip", "netns", "exec", "beside", "curl", "--silent", "--max-time", "30")
    assert not asks_for_code(*beside)
    assert asks_for_code(*beside, "-H", "X-Forwarded-For: 203.0.113.9")
    assert asks_for_code(*beside, "-H", "Via: 1.1 proxy")
    # What visitors say of themselves counts for nothing.
    assert asks_for_code(*beside, "-H", "Via: 1.1 proxy", "-H", "X-Microblog-Came: directly")
    # The machine itself: a tunnel's end, or a proxy's.
    assert asks_for_code("curl", "--silent", "--max-time", "30")

    server.reboot()
    wait_until("the site answers", lambda: server.get("http://localhost/healthz").status == 200)
    server.run("sh", "-ec", BESIDE)
    assert asks_for_code(*beside)


def greeted(machine: Machine) -> str:
    """What somebody sees who logs in by SSH, as root."""
    options = ("-tt", "-i", "/root/key", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR")
    return machine.run("ssh", *options, "root@localhost", stdin="exit\n")


def never_asks(machine: Machine) -> None:
    for path in ("", "login", "register", "explore", "first-run"):
        page = machine.get(f"http://localhost/{path}")
        assert "/first-run" not in page.headers.get("location", ""), path
        assert "This Microblog is new" not in page.body, path


@pytest.mark.thorough
def test_the_code_is_told_where_its_owner_looks_and_not_asked_for_without_need(server: Machine) -> None:
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "openssh-server", "openssh-client")
    server.run("sh", "-c", f"ssh-keygen -q -t ed25519 -N '' -f /root/key; {LET_IN} < /root/key.pub")
    # A Pi whose owner has chosen one.
    like_a_pi(server, "claim code = gard-enxy", "site name = Our place")
    assert "GARD-ENXY" in greeted(server)
    assert "GARD-ENXY" in screen(server)
    assert "Our place" in server.get("http://localhost/first-run").body
    claim = CLAIM.replace("https://localhost", "http://localhost").replace('name="Our place", ', "")
    server.run("python3", "-", "gardenxy", stdin=claim)
    for told in (greeted(server), screen(server)):
        assert "The site is up" in told
        assert "GARD" not in told
    never_asks(server)

    # A Pi that is set up completely by its card.
    password = "admin password = eleven quiet herons"
    like_a_pi(server, "admin user = ada", "admin email = ada@example.org", password, "site name = Ours")
    never_asks(server)
    assert '"is_admin": true' in server.run("microblog", "user", "list", "--json")
    assert "herons" not in (server.root / "boot/firmware/microblog.txt").read_text()
    assert not (server.root / "etc/microblog/first-admin.json").exists()

    # A server whose user data has one, as cloud-init writes it; and the line that makes an administrator.
    server.run("sh", "-ec", FORGET)
    (server.root / ENV[1:]).write_text("CLAIM_CODE=ABCDEFGH\n")
    (server.root / "boot/firmware/microblog.txt").unlink()
    lay(server, "tune", "update-motd.d/20-microblog")
    server.reboot()
    wait_until("the site answers", server.answers)
    assert status(server)["code"] == "ABCD-EFGH"
    assert "enter the code ABCD-EFGH" in greeted(server)
    (line,) = re.findall(
        r"- (umask .*microblog user add .*)", (paths.ROOT / "images/user-data.yaml").read_text()
    )
    server.run("sh", "-c", line)
    assert server.get("https://localhost/login").status == 200
    assert "ABCD" not in greeted(server)


@pytest.mark.thorough
@pytest.mark.parametrize("database", ["mariadb", "sqlite"])
def test_a_power_cut_at_each_page_of_the_first_run_loses_nothing(server: Machine, database: str) -> None:
    """What was answered is there after the next boot, and the same browser goes on where it was."""
    server.run("apt-get", "install", "--yes", "--no-install-recommends", "openssh-server")
    if database == "sqlite":
        switch_to(server, SQLITE)
    else:
        make_new(server)
    password = "eleven quiet herons"

    def step(path: str, **fields: str) -> tuple[str, str]:
        url, _, page = server.run("python3", "-c", STEP, path, json.dumps(fields)).partition("\n")
        return url, page

    def cut() -> None:
        server.kill()
        server.boot()
        wait_until("the site answers", server.answers)

    def job() -> dict[str, Any]:
        state = server.root / "var/lib/microblog-agent/job.json"
        found: dict[str, Any] = wait_until(
            "the job has ended",
            lambda: (read := json.loads(state.read_text()))["state"] != "running" and read,
        )
        return found

    code = str(status(server)["code"])
    assert step("/first-run", code=code)[0] == "/first-run/account"
    cut()
    # The code is not asked for again; and the site is nobody's yet.
    assert step("/first-run")[0] == "/first-run/account"
    assert status(server)["code"] == code
    account = {"username": "ada", "email": "ada@example.org", "password": password, "password2": password}
    assert step("/first-run/account", **account)[0] == "/first-run/site"
    cut()
    assert status(server)["new"] is False
    (line,) = server.run("microblog", "user", "list", "--json").splitlines()
    ada = json.loads(line)
    assert (ada["username"], ada["is_admin"]) == ("ada", True)
    assert step("/first-run/site")[0] == "/first-run/site"
    assert step("/first-run/site", name="Our place", language="es", mode="invited")[0] == "/first-run/address"
    cut()
    assert "Our place" in server.get("https://localhost/login").body
    assert server.get("https://localhost/register").status == 403
    url, page = step("/first-run/address", domain="nowhere.example")
    assert url == "/first-run/address"
    cut()
    url, page = step("/first-run/backups")
    assert (url, "/machine/backups/elsewhere" in page) == ("/first-run/backups", True)
    # What was begun there is finished, or begun anew; what was said to be done is done.
    place = {"kind": "sftp", "host": "127.0.0.1", "port": "22", "user": "root", "folder": "/srv/repository"}
    place |= {"words": "", "own_password": password}
    step("/machine/backups/elsewhere", **place)
    (line,) = re.findall(r"ssh-ed25519 \S+ \S+", job()["hint"])
    server.run("sh", "-c", LET_IN, stdin=f"{line}\n")
    step("/machine/backups/elsewhere", **place)
    assert job()["state"] == "done", job()
    cut()
    told = json.loads(server.run("microblog", "status", "--json", check=False))["elsewhere"]
    assert told["place"] == "sftp://root@127.0.0.1:22//srv/repository"
    url, page = step("/machine/backups/sheet", own_password=password)
    words = re.findall(r"<li>([a-z]{5})</li>", page)
    assert len(words) == 9
    cut()
    # Nobody has said to have it: it is shown again, and is the same.
    assert (
        re.findall(r"<li>([a-z]{5})</li>", step("/machine/backups/sheet", own_password=password)[1]) == words
    )
    assert "microblog.tar" in server.run(
        "restic",
        "ls",
        "latest",
        env={"RESTIC_PASSWORD": "-".join(words), "RESTIC_REPOSITORY": "/srv/repository"},
    )
