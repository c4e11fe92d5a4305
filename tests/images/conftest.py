"""The machines that the image is tested on: booted from it, reached over SSH.

One machine runs at a time. The first serves most tests and is rebooted by one of them; a second,
booted from the same image, shows what two machines must not share.
"""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra

from builder import drive, emulator, library, machine, media
from builder.base import kernel_of
from builder.needs import Program
from builder.progress import step

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
    "TLS key": "sudo cat /etc/microblog/tls/key.pem 2> /dev/null || true",
    "TLS certificate": "sudo cat /etc/microblog/tls/cert.pem 2> /dev/null || true",
}
IDENTITY_CASES = [
    pytest.param(what, marks=pytest.mark.cloud if what.startswith("TLS") else ()) for what in IDENTITY
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image", required=True, help="the baked image, a file with its manifest")
    parser.addoption("--accel", default="auto", choices=emulator.ACCELERATORS)
    parser.addoption("--logs", type=Path, required=True, help="where the machines' consoles are kept")


@pytest.fixture(scope="session")
def image(pytestconfig: pytest.Config) -> library.Result:
    return library.find(pytestconfig.getoption("--image"))


class Lab:
    """Boots machines from the image, one at a time."""

    def __init__(self, image: library.Result, accelerator: str, work: Path, logs: Path) -> None:
        self.image, self.accelerator, self.work, self.logs = image, accelerator, work, logs

    def boot(
        self, name: str, named: bool = True, memory_mb: int | None = None, **options
    ) -> "machine.Machine":
        facts = self.image.facts
        return machine.boot(
            self.image.image,
            self.work / name,
            architecture=facts["architecture"],
            accelerator=self.accelerator,
            user=facts["user"],
            memory_mb=memory_mb or facts["memory_mb"],
            hostname=name if named else None,
            scheme=facts["scheme"],
            **options,
        )


@pytest.fixture(scope="session")
def lab(
    image: library.Result, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    work = tmp_path_factory.mktemp("machines")
    if why := drive.why_not(image.image, work, work / "tools.log"):
        pytest.skip(f"no machine can be started: {why}")
    accelerator = emulator.choose(
        pytestconfig.getoption("--accel"), image.facts["architecture"], lambda: kernel_of(image.image, work)
    )
    yield Lab(image, accelerator, work, pytestconfig.getoption("--logs"))


@pytest.fixture(scope="session")
def booted(lab: Lab, record_testsuite_property) -> Iterator[machine.Machine]:
    """The first machine, its site answering."""
    with lab.boot("first") as running:
        try:
            with step("Booting the first machine", "The first machine answers") as now:
                seconds = running.wait_for_site(now)
                running.wait_for_ssh(now)
            record_testsuite_property("boot_to_https_s", f"{seconds:.1f}")
            record_testsuite_property("accelerator", lab.accelerator)
            running.wait_for_cloud_init()
            yield running
            running.power_off()
        finally:
            (lab.logs / "first.console").write_bytes(running.serial_log.read_bytes())


@pytest.fixture(scope="session")
def host(booted: machine.Machine, lab: Lab) -> "testinfra.host.Host":
    """testinfra's view of the first machine."""
    config = lab.work / "ssh_config"
    config.write_text(
        f"""Host machine
  HostName 127.0.0.1
  Port {booted.ports["ssh"]}
  User {booted.user}
  IdentityFile {booted.key}
  IdentitiesOnly yes
  UserKnownHostsFile {booted.directory / "known_hosts"}
  ControlMaster auto
  ControlPath {lab.work}/ssh-%C
  ControlPersist 60
"""
    )
    return testinfra.get_host("ssh://machine", ssh_config=str(config), sudo=True)


@pytest.fixture(scope="session")
def identities(booted: machine.Machine) -> dict[str, str]:
    """What makes the first machine distinct."""
    return {what: booted.run(command).strip() for what, command in IDENTITY.items()}


@pytest.fixture(scope="session")
def raw(image: library.Result, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image file, unpacked: what an attacker who has it can search through."""
    work = tmp_path_factory.mktemp("raw")
    path = work / "image.raw"
    media.unpack(image.image, path, work / "tools.log")
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


# The image file before any machine, the faults after all that wants a machine at rest, and the
# second machine last: it takes the first one's place.
_ORDER = [
    *("test_image_file", "test_card_file", "test_uefi", "test_machine", "test_site", "test_pi"),
    *("test_faults", "test_power", "test_text_file", "test_twins", "test_small_memory"),
]
_TARGETS = ("cloud", "pi")


def pytest_configure(config: pytest.Config) -> None:
    for target in _TARGETS:
        config.addinivalue_line("markers", f"{target}: for the image {target} alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    target = library.find(config.getoption("--image")).facts["target"]
    others = [other for other in _TARGETS if other != target]
    items[:] = [
        item
        for item in items
        if item.get_closest_marker(target) or not any(item.get_closest_marker(other) for other in others)
    ]
    items.sort(key=lambda item: _ORDER.index(item.path.stem))
