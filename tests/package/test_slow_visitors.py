"""Visitors who are slow, or never finish: they cost the others nothing, on a server and on a Pi."""

import json
from collections.abc import Callable, Iterator

import pytest
from nspawn import Kept, Machine, wait_until
from sites import ENV, SQLITE, fill, switch_to

# Opens so many connections that each say no more than this, asks as another visitor does, before and after,
# and then tells what that one was answered, how many of the others still wait (they were not waited for),
# and how long the quickest answer took without them, and with them.
CROWD = """
import json, select, socket, ssl, sys, time

scheme, said = sys.argv[1], sys.argv[2].encode().decode("unicode_escape").encode("latin-1")
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


def come(tls=scheme == "https"):
    opened = socket.socket()
    # What it does not read stays with the server.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    opened.settimeout(300)
    opened.connect(("127.0.0.1", {"https": 443, "http": 80}[scheme]))
    return context.wrap_socket(opened, server_hostname="localhost") if tls else opened


def left(opened):
    # Whatever has not been read: whether the server has ended it.
    asked = select.poll()
    asked.register(opened, select.POLLRDHUP)
    return bool(asked.poll(0))


def visit():
    begun = time.monotonic()
    visitor = come()
    visitor.sendall(b"GET /login HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    answer = b""
    while chunk := visitor.recv(65536):
        answer += chunk
    statuses.append(answer.split(b" ")[1].decode())
    return time.monotonic() - begun


statuses = []
alone = min(visit() for _ in range(3))
crowd = []
for _ in range(200):
    # Who says nothing does not even begin with TLS.
    one = come(scheme == "https" and bool(said))
    one.sendall(said)
    crowd.append(one)
among = min(visit() for _ in range(3))
print(json.dumps([statuses, sum(not left(one) for one in crowd), alone, among]))
"""
HEAD = "HTTP/1.1\\r\\nHost: localhost\\r\\n"
FORM = "Content-Type: application/x-www-form-urlencoded\\r\\nContent-Length: 900\\r\\n\\r\\n"
SLOW = {
    "says nothing": "",
    "sends half of the headers": f"GET /login {HEAD}X-Half: ",
    "sends half of the body": f"POST /login {HEAD}{FORM}username=half",
    "reads nothing": f"GET /login {HEAD}\\r\\n" * 20,
}


@pytest.fixture(scope="module", params=["server", "pi"])
def asked(
    request: pytest.FixtureRequest, installed: Kept, new_machine: Callable[..., Machine]
) -> Iterator[tuple[Machine, str]]:
    """A machine, and how visitors come to it: a server, and one that is set up as a Pi is."""
    machine = new_machine(installed.layers)
    wait_until("the site answers", machine.answers)
    if request.param == "pi":
        machine.run("sh", "-c", f"printf 'HTTPS=false\\nWEB_CONCURRENCY=2\\n' >> {ENV}")
        switch_to(machine, SQLITE)
        # One without anybody is to be claimed: it shows no other page.
        fill(machine, "alice", 1)
    yield machine, "http" if request.param == "pi" else "https"
    machine.destroy()
    machine.delete()


@pytest.mark.parametrize("said", SLOW.values(), ids=SLOW)
def test_two_hundred_who_never_finish_keep_nobody_waiting(asked: tuple[Machine, str], said: str) -> None:
    machine, scheme = asked
    statuses, waiting, alone, among = json.loads(machine.run("python3", "-", scheme, said, stdin=CROWD))
    assert statuses == ["200"] * 6
    # More than the application has threads, on the largest machine.
    assert waiting > 32, "they were given up, and the visitor may have waited for that"
    # Who is silent costs nobody else more than a second: of some tries the quickest, for whoever waits for
    # one of the crowd waits for all of its time, each time. Who has asked has given the application work.
    if said != SLOW["reads nothing"]:
        assert among < alone + 1, (alone, among)


def test_a_pis_site_is_served_by_plain_http(asked: tuple[Machine, str]) -> None:
    """Nobody certifies NAME.local: a visitor is not sent on to a certificate that browsers warn of."""
    machine, scheme = asked
    page = machine.get("http://localhost/login")
    if scheme == "https":
        assert (page.status, page.headers["location"]) == (301, "https://localhost/login")
        return
    assert page.status == 200
    assert "strict-transport-security" not in page.headers
    assert "secure" not in page.headers["set-cookie"].lower()
    assert machine.get("http://localhost/static/style.css").status in (200, 404)
    assert machine.get("http://localhost/reset/x").status != 301
    status = json.loads(machine.run("microblog", "status", "--json"))
    assert status["ok"], status
    assert machine.run("microblog", "setup") == "Nothing was missing\n"
    machine.run("sed", "-i", "s/^HTTPS=false/HTTPS=true/", ENV)
    assert "Nginx sends visitors on to HTTPS" in machine.run("microblog", "setup")
    # To the name that the machine's own authority has certified; for a while, for there is a way back.
    wait_until("visitors go on to HTTPS", lambda: machine.get("http://localhost/login").status == 302)
    name = machine.run("hostname").strip()
    assert machine.get("http://localhost/login").headers["location"] == f"https://{name}.local/login"
