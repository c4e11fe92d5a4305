"""Two machines of one name on a network, with a real avahi: the second has another, and is found by it."""

from collections.abc import Callable

import pytest
from nspawn import Kept, Machine, link, wait_until

pytestmark = pytest.mark.thorough


def test_the_second_of_a_name_is_found_by_the_one_that_avahi_gives_it(
    installed: Kept, new_machine: Callable[..., Machine]
) -> None:
    first, second = (new_machine(installed.layers) for _ in range(2))
    link(first, second)
    for machine in (first, second):
        machine.run("apt-get", "install", "--yes", "--no-install-recommends", "avahi-daemon", "libnss-mdns")
        machine.run("systemctl", "stop", "avahi-daemon.socket", "avahi-daemon.service")
    asked = ["busctl", "call", "org.freedesktop.Avahi", "/", "org.freedesktop.Avahi.Server"]

    def called(machine: Machine) -> str:
        return machine.run(*asked, "GetHostNameFqdn").split('"')[1]

    def settled(machine: Machine) -> bool:
        # AVAHI_SERVER_RUNNING (avahi-common/defs.h): the name is its own.
        return machine.run(*asked, "GetState", check=False).strip() == "i 2"

    for machine in (first, second):
        machine.run("systemctl", "start", "avahi-daemon")
        wait_until("it has a name", lambda machine=machine: settled(machine))
    assert (called(first), called(second)) == ("testhost.local", "testhost-2.local")
    for machine in (first, second):
        wait_until("the site answers", machine.answers)
    assert "http://testhost.local " in first.run("microblog", "card", "greeting")
    assert "http://testhost-2.local " in second.run("microblog", "card", "greeting")

    # Its neighbour opens it by that name: nginx knows it, and so does its certificate.
    def opens() -> bool:
        page = first.get("https://testhost-2.local/login")
        shown = (
            "openssl s_client -connect testhost-2.local:443 < /dev/null 2> /dev/null | openssl x509 -noout"
        )
        names = first.run("sh", "-c", f"{shown} -ext subjectAltName", check=False)
        return page.status == 200 and "DNS:testhost-2.local" in names

    wait_until("the neighbour opens it by its name", opens)
    assert "testhost-2.local" in second.run("cat", "/run/microblog/nginx-names.conf")
    assert "Nothing is wrong" in second.run("microblog", "doctor")
