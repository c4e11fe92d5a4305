"""A site's life in a browser alone: from "This Microblog is new" to another machine that has it back."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nspawn import Kept, Machine, wait_until
from sites import ENV, FORGET, SQLITE

from builder.core.needs import Program

NEEDS = (
    Program("chromium", "chromium"),
    Program("sshd", "openssh-server"),
    Program("nsenter", "util-linux"),
    Program("sysctl", "procps"),
)
PASSWORD = "eleven quiet herons"
# What is waited for comes much sooner.
PATIENCE = 120_000


class Home:
    """The owner's own computer: a browser, and a folder that SSH leads to; a cable to each machine."""

    address = "10.99.0.1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._place = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        wait_until("it has a network of its own", self._apart)
        # An address that comes late would be a change of network to the browser, which breaks off then.
        self.run(
            "sysctl", "--quiet", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"
        )
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/32", "dev", "lo")
        self._sshd = self._serve()

    def _apart(self) -> bool:
        mine, its = (Path(f"/proc/{pid}/ns/net").readlink() for pid in ("self", self._place.pid))
        return mine != its

    def _within(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._place.pid}/ns/net"]

    def run(self, *command: str) -> None:
        subprocess.run([*self._within(), *command], check=True)

    def _serve(self) -> "subprocess.Popen[bytes]":
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key"], check=True
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        lines = [
            *(f"ListenAddress {self.address}", f"HostKey {self.folder}/host_key", "UsePAM no"),
            *("PermitRootLogin prohibit-password", "StrictModes no", "PasswordAuthentication no"),
            *(f"AuthorizedKeysFile {self.folder}/authorized_keys", "Subsystem sftp internal-sftp"),
            f"PidFile {self.folder}/pid",
        ]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        with (self.folder / "sshd.log").open("ab") as log:
            return subprocess.Popen(
                [*self._within(), program, "-D", "-e", "-f", self.folder / "sshd_config"], stderr=log
            )

    def let_in(self, line: str) -> None:
        assert line.startswith("ssh-ed25519 ")
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(f"{line}\n")

    def connect(self, machine: Machine, number: int) -> str:
        """:return: the machine's address."""
        name, near, address = f"cable{number}", f"10.99.{number}.1", f"10.99.{number}.2"
        ends = (f"netns {self._place.pid}".split(), f"netns {machine.leader}".split())
        subprocess.run(
            ["ip", "link", "add", name, *ends[0], "type", "veth", "peer", "name", "cable", *ends[1]],
            check=True,
        )
        self.run("ip", "address", "add", f"{near}/24", "dev", name)
        self.run("ip", "link", "set", name, "up")
        machine.run("ip", "address", "add", f"{address}/24", "dev", "cable")
        machine.run("ip", "link", "set", "cable", "up")
        machine.run("ip", "route", "add", self.address, "via", near)
        return address

    def chromium(self) -> Path:
        """A program that is the browser, on this computer."""
        path = self.folder / "chromium"
        path.write_text(f'#!/bin/sh\nexec {" ".join(self._within())} /usr/bin/chromium "$@"\n')
        path.chmod(0o755)
        return path

    def close(self) -> None:
        for process in (self._sshd, self._place):
            process.terminate()
            process.wait()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.close()


@contextmanager
def browser_of(home: Home) -> Iterator[Any]:
    """A window of a browser that takes any certificate."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=home.chromium())
        page = browser.new_context(ignore_https_errors=True, locale="en").new_page()
        page.set_default_timeout(PATIENCE)
        try:
            yield page
        except BaseException:
            print(f"It showed, at {page.url}:\n{page.locator('body').inner_text()}")
            raise
        browser.close()


def code(machine: Machine) -> str:
    """What the machine's screen shows."""
    (found,) = re.findall(r"enter the code (\S+)", machine.run("microblog", "claim"))
    return str(found)


def claim(page: Any, address: str, machine: Machine) -> None:
    page.goto(f"https://{address}/explore")
    assert "This Microblog is new" in page.locator("h1").inner_text()
    page.fill("#code", code(machine))
    page.click("main [type=submit]")
    page.wait_for_url("**/first-run/account")


def fill_in(page: Any, home: Home, **fields: str) -> None:
    """The form for another computer, by SSH. No machine here has ssh yet: the first attempt installs it, and
    says which line to give to that computer. What was typed is there again, but for a secret."""
    page.click("summary:has-text('by SSH')")
    for name, value in fields.items():
        page.fill(f"#sftp-{name}", value)
    page.click("details[open] button")
    said = ended(page)
    assert "It failed:" in said, said
    (line,) = re.findall("ssh-ed25519 .*", said)
    home.let_in(line)
    page.click("text=Try again")
    assert page.locator("pre.typed").inner_text().split() == line.split()
    if "words" not in fields:
        page.click("details[open] button")
        return
    # The key goes with the list of what is there, and is not typed once more.
    page.fill("#sftp-words", fields["words"])
    page.click("details[open] button[name=list]")
    while page.locator("input[name=looked]").count():
        page.click("main form button")
    assert page.locator("input[name=snapshot]").count() == 1
    assert re.search(r"\d [KM]iB · testhost", page.locator("fieldset").inner_text())
    page.click("main form button")


def ended(page: Any) -> str:
    """What the job's page says when it has come to its end."""
    page.wait_for_url(re.compile("/job$"))
    page.locator("main :is([role=status], [role=alert])", has_not_text="It goes on").wait_for()
    return str(page.locator("main").inner_text())


def done(page: Any) -> None:
    said = ended(page)
    assert "It is done." in said, said


@pytest.mark.thorough
def test_a_site_is_made_backed_up_lost_and_brought_back(
    installed: Kept, new_machine: Callable[..., Machine], home: Home
) -> None:
    first, other = new_machine(installed.layers), new_machine(installed.layers)
    # Both are new: the first with a database server, the other with another name, database and secrets.
    first.run("microblog", "setup")
    first.sql("DELETE FROM microblog.settings WHERE name = 'claimed'")
    first.run("supervisorctl", "restart", "microblog")
    other.run("hostname", "other")
    other.run("sh", "-c", FORGET)
    (other.root / ENV.lstrip("/")).write_text(f"DATABASE_URL={SQLITE}\n")
    other.run("microblog", "setup")
    wait_until("both answer", lambda: first.answers() and other.answers())
    here, there = home.connect(first, 1), home.connect(other, 2)
    assert code(first) != code(other)
    with browser_of(home) as page:
        walk(home, page, first, here, other, there)


def walk(home: Home, page: Any, first: Machine, here: str, other: Machine, there: str) -> None:
    """:param here: the first machine's address; ``there``, the other's."""
    # The first minute.
    claim(page, here, first)
    for name, value in (("username", "ada"), ("email", "ada@example.org"), ("password", PASSWORD)):
        page.fill(f"#{name}", value)
    page.fill("#password2", PASSWORD)
    page.click("form:has(#username) [type=submit]")
    page.wait_for_url("**/first-run/site")
    page.fill("#name", "Our Garden")
    page.click("main [type=submit]")
    page.wait_for_url("**/first-run/address")
    page.goto(f"https://{here}/")
    page.fill("#body", "The beans are up.")
    page.click(".composer [type=submit]")
    page.wait_for_selector("text=The beans are up.")

    # A second place, its sheet, and a backup.
    page.goto(f"https://{here}/first-run/backups")
    page.click("text=Choose a second place")
    fill_in(page, home, host=home.address, user="root", folder=f"{home.folder}/repository")
    done(page)
    page.click("text=Show the recovery sheet")
    words = page.locator(".words li").all_inner_texts()
    assert len(words) == 9
    place = dict(row.split("\t") for row in page.locator("main table").inner_text().splitlines())
    assert place["Computer"] == home.address
    page.click("text=I have it: do not show it again")
    page.wait_for_url("**/machine/backups")
    page.click("text=Back up now")
    done(page)
    assert (home.folder / "repository/config").exists()
    tls = first.run("cat", "/etc/microblog/tls/key.pem")
    first.destroy()

    # Another machine, which asks for nothing but its code and the sheet.
    claim(page, there, other)
    page.click("text=Restore a backup instead")
    page.click("text=From elsewhere, with a recovery sheet")
    # What is on the sheet, and nothing else.
    fill_in(
        page,
        home,
        **{"host": place["Computer"], "port": place["Port"], "user": place["Name there"]},
        **{"folder": place["Folder there"], "words": " ".join(words).upper()},
    )
    # The site has an owner again: the job's page, too, wants a log-in now.
    page.wait_for_url("**/login**")
    assert "Our Garden" in page.locator(".brand").inner_text()
    page.fill("#username", "ada")
    page.fill("#password", PASSWORD)
    page.click("main form [type=submit]")
    page.wait_for_selector("details.top-user")
    done(page)
    page.goto(f"https://{there}/")
    page.wait_for_selector("text=The beans are up.")
    assert SQLITE in other.run("cat", ENV)
    assert other.run("cat", "/etc/microblog/tls/key.pem") != tls
    # It goes on with the same place, and its backups there are good.
    page.goto(f"https://{there}/machine/backups")
    assert place["Folder there"] in page.locator("main").inner_text()
    page.click("text=Try the last backup")
    done(page)
