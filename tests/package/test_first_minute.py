"""A new machine's first minute: it is shown to be new until somebody has its code, on real systems."""

import json
import re

from nspawn import Machine, wait_until
from sites import ENV, FORGET

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


def test_beside_a_pi_nobody_needs_a_code_in_its_first_hour(server: Machine) -> None:
    """From its first boot until its second, by nginx alone, and from its private network alone."""
    server.run("sh", "-ec", FORGET)
    (server.root / ENV[1:]).write_text("HTTPS=false\nCLAIM_NEARBY=true\n")
    server.reboot()
    wait_until("the site answers", lambda: server.get("http://localhost/healthz").status == 200)

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
