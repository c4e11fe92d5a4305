"""A machine that has no IPv6 at all (``ipv6.disable=1``): each socket of that kind fails."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from nspawn import Machine, wait_until

# systemd.exec(5): a service's socket() says what such a kernel's does, EAFNOSUPPORT. Here every service's.
NO_IPV6 = "[Service]\nRestrictAddressFamilies=~AF_INET6\n"
PROBE = "import socket; socket.socket(socket.AF_INET6)"


@pytest.mark.thorough
def test_a_site_is_installed_and_served_without_ipv6(
    base: Path, deb: Path, new_machine: Callable[..., Machine]
) -> None:
    machine = new_machine([base])
    folder = machine.root / "etc/systemd/system/service.d"
    folder.mkdir()
    (folder / "no-ipv6.conf").write_text(NO_IPV6)
    machine.run("systemctl", "daemon-reload")
    shutil.copyfile(deb, machine.root / "root/microblog.deb")

    def run(*command: str, check: bool = True) -> str:
        service = ("systemd-run", "--quiet", "--wait", "--pipe", "--setenv=DEBIAN_FRONTEND=noninteractive")
        return machine.run(*service, *command, check=check, timeout=1800)

    database = (machine.root / "root/database").read_text().split()
    said = run("apt-get", "install", "--yes", "--quiet", "/root/microblog.deb", *database, check=False)
    # Ours is set up. nginx's own package fails where it comes along: its default site listens on IPv6. With
    # that put aside, it is configured.
    assert "The site is set up" in said
    assert (
        machine.code == 0 or said.split("Errors were encountered while processing:")[1].split()[0] == "nginx"
    )
    run("dpkg", "--configure", "-a")
    assert "Address family not supported" in run("python3", "-c", PROBE, check=False)
    for _ in range(2):
        wait_until("the site answers", machine.answers)
        assert "[::]" not in machine.run("ss", "-Hltn")
        assert json.loads(run("microblog", "doctor", "--json")) == []
        assert "(!)" not in run("microblog", "status").replace("none yet", "")
        assert run("microblog", "setup").strip() == "Nothing was missing"
        machine.reboot()
