"""The machines that the image is tested on: booted from it, reached over SSH.

The first serves most tests and is rebooted by one of them. How long it takes to boot is noted, so
nothing runs beside it until it is up. Then the machines of later tests are started, where this
computer has room for them, and boot while the first one is tested.
"""

import contextlib
import mmap
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra.host
from beginning import Beginning
from lab import Lab, side_by_side
from shell import RootShell
from visitor import Visitor

from builder.core import paths
from builder.core.needs import Program
from builder.core.progress import step
from builder.core.work import Work
from builder.disk import kernel, media
from builder.results import library
from builder.vm import drive, machine
from builder.vm.accelerator import ACCELERATORS, choose

NEEDS = (
    Program("bmaptool", "bmap-tools"),
    Program("openssl", "openssl"),
    Program("diff", "diffutils"),
)

# What makes one machine distinct from every other: file, and how to read its secret out of it.
IDENTITY = {
    "machine id": "cat /etc/machine-id",
    "SSH host key": "sudo cat /etc/ssh/ssh_host_ed25519_key",
    "session key": "sudo sed -n 's/^SECRET_KEY=//p' /etc/microblog/microblog.env",
    "TLS key": "sudo cat /etc/microblog/tls/key.pem",
    "TLS certificate": "sudo cat /etc/microblog/tls/cert.pem",
}
_BETWEEN = "-- next --"
# What SSH tells who logs in, the code of a new site among it.
GREETING = "sudo /etc/update-motd.d/20-microblog"


def identity(running: machine.Machine) -> dict[str, str]:
    """What makes a machine distinct from every other: by one log-in, which takes a while."""
    commands = (f"{{ {command}; }}" for command in IDENTITY.values())
    told = running.run(f" && echo '{_BETWEEN}' && ".join(commands)).split(_BETWEEN)
    return {what: text.strip() for what, text in zip(IDENTITY, told, strict=True)}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image", required=True, help="the baked image, a file with its manifest")
    parser.addoption("--accel", default="auto", choices=ACCELERATORS)
    parser.addoption("--keep-failed", action="store_true", help="leave the machines until Ctrl-C")
    parser.addoption("--logs", type=Path, required=True, help="where the machines' consoles are kept")


_LAB = pytest.StashKey[Lab]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Before the last test's machines are ended."""
    if nextitem is None and item.session.testsfailed:
        with contextlib.suppress(KeyboardInterrupt):
            _let_somebody_look(item.config)


def _let_somebody_look(config: pytest.Config) -> None:
    made = config.stash.get(_LAB, None)
    if made and config.getoption("--keep-failed"):
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            made.let_somebody_look()


@pytest.fixture(scope="session")
def image(pytestconfig: pytest.Config) -> library.Result:
    return library.find(pytestconfig.getoption("--image"))


@pytest.fixture(scope="session")
def lab(
    image: library.Result, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    work = tmp_path_factory.mktemp("machines")
    if why := drive.why_not(image.image, Work.at(work)):
        pytest.skip(f"no machine can be started: {why}")
    accelerator = choose(
        pytestconfig.getoption("--accel"),
        image.facts.architecture,
        lambda: kernel.of_image(image.image, Work.at(work)),
    )
    made = pytestconfig.stash[_LAB] = Lab(
        image, accelerator, work, pytestconfig.getoption("--logs"), lambda: _let_somebody_look(pytestconfig)
    )
    yield made


@pytest.fixture(scope="session")
def booted(lab: Lab, request: pytest.FixtureRequest, record_testsuite_property) -> Iterator[machine.Machine]:
    """The first machine, its site answering."""
    with lab.boot("first") as running:
        with step("Booting the first machine", "The first machine answers") as now:
            seconds = running.wait_for_site(now)
            # Until here it was alone, and had the time that a machine takes which is alone.
            asked_for = {name for item in request.session.items for name in item.fixturenames}
            for other in _LATER:
                if other in asked_for and lab.side_by_side:
                    request.getfixturevalue(other)
            running.wait_for_ssh(now)
        record_testsuite_property("boot_to_https_s", f"{seconds:.1f}")
        record_testsuite_property("accelerator", lab.accelerator)
        running.wait_for_cloud_init()
        Visitor(running.url).claim(running.run(GREETING))
        yield running


# Fixtures that start a machine of later tests, and do not wait for it.
_LATER = ("second", "by_uefi")

# An owner's: the password of the Wi-Fi is missing.
_TEXT_FILE = """site name = Our Garden \U0001f468\u200d\U0001f469\u200d\U0001f467
host name = garden
admin user = susan
admin email = susan@example.org
admin password = eleven quiet herons
wifi country = de
wifi name = Home
ssh key = ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f susan
"""


# What an owner may tell cloud-init: the shipped example's commands, and words of modules of all stages; two
# that nothing does.
TOLD = {
    "runcmd": re.findall(
        r"^  - ((?:microblog|umask).*)$", (paths.DEFINITIONS / "user-data.yaml").read_text(), re.M
    ),
    "apt": {"conf": 'APT::Told "yes";\n'},
    "locale": "POSIX",
    "swap": {"filename": "/told.img", "size": 64 << 20},
    "write_files": [
        {"path": "/etc/deferred", "content": "later\n", "owner": "microblog:microblog", "defer": True},
        {"path": "/etc/at-once", "content": "at once\n"},
    ],
    "snap": {"commands": []},
    "zypper": {"config": {"told": "yes"}},
    "write_file": [],
}


@pytest.fixture(scope="session")
def second(lab: Lab) -> Iterator[machine.Machine]:
    """Another machine from the same image, told many things: a Pi in microblog.txt, with one mistake."""
    options: dict[str, Any] = {}
    if lab.image.facts.target == "pi":
        text = lab.work / "microblog.txt"
        text.write_bytes(_TEXT_FILE.replace("\n", "\r\n").encode())
        options = {"named": False, "extra": [text]}
    else:
        options = {"told": TOLD}
    with lab.boot("second", later=True, **options) as running:
        yield running


@pytest.fixture(scope="session")
def by_uefi(lab: Lab) -> Iterator[Beginning]:
    """A machine whose firmware is no BIOS."""
    if not lab.side_by_side:
        lab.power_off()
    running = Beginning(lab, "uefi", lab.image.image, uefi=True)
    yield running
    running.end()


@pytest.fixture(scope="session")
def host(booted: machine.Machine) -> "Iterator[testinfra.host.Host]":
    """testinfra's view of the first machine."""
    shell = RootShell(booted)
    host = testinfra.host.Host(shell)
    shell.set_host(host)
    yield host
    shell.end()


@pytest.fixture(scope="session")
def identities(booted: machine.Machine) -> dict[str, str]:
    """What makes the first machine distinct."""
    return identity(booted)


@dataclass
class Reboot:
    """A reboot under way."""

    visitor: Visitor
    """Who wrote something before it."""
    boot_id: str
    """The machine's until then."""
    answer: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="session")
def rebooting(booted: machine.Machine, identities: dict[str, str]) -> Reboot:
    """The first machine is told to reboot, and not waited for."""
    visitor = Visitor(booted.url)
    visitor.register("barbara", "a pass phrase that lasts")
    written = visitor.write("written before the reboot")
    assert "written before the reboot" in written.text, f"{written.status_code}: {written.text}"
    boot_id = booted.run("cat /proc/sys/kernel/random/boot_id")
    return Reboot(visitor, boot_id, booted.try_ssh("sudo systemctl reboot"))


@pytest.fixture(scope="session")
def raw(image: library.Result, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image file, unpacked: what an attacker who has it can search through."""
    work = tmp_path_factory.mktemp("raw")
    path = work / "image.raw"
    media.unpack(image.image, path, Work.at(work))
    yield path
    path.unlink()


def found(raw: Path, start: bytes, pattern: bytes = b"") -> list[bytes]:
    """Where a text, followed by what matches a pattern, occurs in a disk, free space and all."""
    places = []
    with raw.open("rb") as disk, mmap.mmap(disk.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place = content.find(start)
        while place >= 0:
            end = place + len(start)
            if re.match(pattern, content[end : end + 500]):
                places.append(content[place : place + 80])
            place = content.find(start, end)
    return places


def secrets(text: str) -> set[bytes]:
    """The lines of a key, certificate or id that are long enough to be searched for."""
    lines = [line for line in text.splitlines() if not line.startswith("-----")]
    return {line.encode() for line in lines if re.fullmatch(r"\S{20,}", line)}


# The faults after all that wants a machine at rest. While the first machine reboots, what wants no
# machine, or others; without room for others beside it, these after it is back: they take its place.
_FIRST = ["test_machine", "test_site", "test_pi", "test_faults", "test_image_file", "test_card_file"]
_OTHERS = ["test_text_file", "test_twins", "test_user_data", "test_power", "test_uefi"]
_BACK, _ALONE = (
    "test_reboot",
    [*("test_first_commands", "test_small_memory", "test_export", "test_fleet_machine")],
)
_OF_A_FLEET = ("app", "database", "balancer")
_TARGETS = ("cloud", "pi", *_OF_A_FLEET)


def pytest_configure(config: pytest.Config) -> None:
    for target in _TARGETS:
        config.addinivalue_line("markers", f"{target}: for the image {target} alone")
    # A machine's certificate is its own.
    config.addinivalue_line("filterwarnings", "ignore::urllib3.exceptions.InsecureRequestWarning")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    image = library.find(config.getoption("--image"))
    target = image.facts.target
    others = [other for other in _TARGETS if other != target]
    if target in _OF_A_FLEET:
        # What has no site of its own is asked what is asked of it alone.
        items[:] = [item for item in items if item.get_closest_marker(target)]
    items[:] = [
        item
        for item in items
        if item.get_closest_marker(target) or not any(item.get_closest_marker(other) for other in others)
    ]
    beside = side_by_side(image.facts.memory_mb)
    order = [*_FIRST, *([*_OTHERS, _BACK] if beside else [_BACK, *_OTHERS]), *_ALONE]
    items.sort(key=lambda item: order.index(item.path.stem))
