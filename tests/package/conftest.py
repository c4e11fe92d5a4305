"""Real systems for the package: Debian with systemd as its init, in systemd-nspawn machines.

A base (Debian and the packages that ours needs, fetched, not installed) is made
once per definition and cached. From it, once a session, two machines are made
and kept as layers: one where the package was installed as on a server, one where
it was baked in, services denied. Every test gets overlays on those; none has a network.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from database_servers import mirror
from nspawn import RELEASES, Kept, Machine, install, wait_until
from variants import Versions, variant

from builder.core import cache
from builder.core.needs import Program
from builder.core.paths import cache_dir
from builder.core.progress import step
from builder.deb import package

NEEDS = (
    Program("mmdebstrap", "mmdebstrap"),
    Program("systemd-nspawn", "systemd-container"),
    Program("ip", "iproute2"),
    Program("openssl", "openssl"),
)

SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
# The everyday suite runs on the first; MICROBLOG_PACKAGE_BASES names others.
BASES = os.environ.get("MICROBLOG_PACKAGE_BASES", "debian-12").split(",")
INCLUDE = "systemd,systemd-sysv,dbus,ca-certificates,curl,iproute2,procps,psmisc"
# What the tests of https, mail and harden install, and of neighbours; fetched too.
TOOLS = (
    "certbot pebble opendkim opendkim-tools ufw unattended-upgrades fail2ban python3-systemd openssh-server"
    " openssh-client sudo ssh-audit libsasl2-modules autopkgtest dpkg-dev lynis"
    " apache2 haproxy exim4-daemon-light restic avahi-daemon libnss-mdns bind9 python3-certbot-dns-rfc2136"
)
DENY = "#!/bin/sh\nexit 101\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root, or the tools, what needs machines is skipped, and says so."""
    if os.geteuid() == 0 and shutil.which("systemd-nspawn") and shutil.which("mmdebstrap"):
        return
    skip = pytest.mark.skip(reason="needs root, systemd-container and mmdebstrap")
    for item in items:
        if "base" in getattr(item, "fixturenames", ()):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory that all of pytest-xdist's workers have."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def deb(shared: Path) -> Path:
    with cache.lock(shared / "deb.lock", "building the package"):
        return package.build()


@pytest.fixture
def versions(deb: Path, tmp_path: Path) -> Versions:
    """Makes other versions of the package."""
    return lambda version, files: variant(deb, tmp_path, version, files)


@pytest.fixture(scope="session")
def base_of(deb: Path) -> Callable[[str], Path]:
    """``base_of(name)``: the root directory of a Debian that has all the .debs ours needs in apt's cache."""

    def find(name: str) -> Path:
        fields = subprocess.run(
            ["dpkg-deb", "--field", deb, "Depends", "Recommends"], capture_output=True, check=True
        )
        release, database = RELEASES[name]
        inputs = f"{release} {INCLUDE} {TOOLS} {database} 6".encode() + fields.stdout
        root = cache_dir() / "package-tests" / f"{name}-{hashlib.sha256(inputs).hexdigest()[:16]}"
        with cache.lock(root.with_suffix(".lock"), f"making the test base {name}"):
            if not root.is_dir():
                _make_base(name, root, deb, release, database)
        return root

    return find


@pytest.fixture(scope="session", params=BASES)
def base(request: pytest.FixtureRequest, base_of: Callable[[str], Path]) -> Path:
    """The base that the tests run on."""
    return base_of(request.param)


def _make_base(name: str, root: Path, deb: Path, release: str, database: str) -> None:
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    # This machine's own mirrors, for the release wanted.
    sources = re.sub(r"\b(bookworm|trixie)\b", release, SOURCES.read_text()) if SOURCES.exists() else None
    if release == "sid":
        # Which has neither updates nor security beside it.
        sources = "\n".join(mirror(release)) or None
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={INCLUDE}", "--skip=cleanup/apt"]
    # A mirror that is frozen at a date is as good.
    command += ['--aptopt=Acquire::Check-Valid-Until "false"']
    command += [
        f"--customize-hook=copy-in {deb} /root",
        '--customize-hook=mv "$1"/root/*.deb "$1"/root/microblog.deb',
    ]
    fetch = f"apt-get --yes --download-only --install-recommends install /root/microblog.deb {database}"
    command += [f'--customize-hook=chroot "$1" {fetch}']
    fetch = f"apt-get --yes --download-only --no-install-recommends install {TOOLS}"
    command += [f'--customize-hook=chroot "$1" {fetch}']
    command += [release, str(partial), *(["-"] if sources else [])]
    with step(f"Making the test base {name}", f"Made the test base {name}"):
        subprocess.run(command, input=sources, text=True, check=True, stdout=subprocess.DEVNULL)
        # Nothing here outlives a test: apt and dpkg need not wait for the disk.
        (partial / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
        # mmdebstrap gives it this machine's name.
        (partial / "etc/hostname").write_text("testhost\n")
        (partial / "root/microblog.deb").unlink()
        (partial / "root/database").write_text(database)
        if database:
            # The name of the client that tests call.
            (partial / "usr/local/bin/mariadb").symlink_to("/usr/bin/mysql")
        partial.rename(root)


@pytest.fixture(scope="session")
def new_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Machine]]:
    """``new_machine(layers, boot=True, disk_mib=0)``: an overlay of its own; gone at the session's end."""
    made: list[Machine] = []

    def new(layers: list[Path], boot: bool = True, disk_mib: int = 0) -> Machine:
        name = f"mb{os.getpid()}n{len(made)}"
        machine = Machine(name, layers, tmp_path_factory.mktemp("machine"), disk_mib)
        made.append(machine)
        if boot:
            machine.boot()
        return machine

    yield new
    for machine in made:
        machine.destroy()
    # Gigabytes, which pytest would keep for three sessions.
    for machine in made:
        machine.delete()


@pytest.fixture(scope="session")
def installed(base: Path, deb: Path, shared: Path) -> Kept:
    """``apt install ./microblog.deb`` on a running server."""

    def make(machine: Machine) -> str:
        machine.boot()
        with step("Installing on a running server", "Installed on a running server"):
            output = install(machine, deb)
        # What the install itself leaves running is judged here, before any reboot.
        assert machine.answers()
        # As after its first minute: it has an owner, and nobody has written anything.
        machine.sql("INSERT INTO microblog.settings VALUES ('claimed', 'yes')")
        machine.stop()
        return output

    return _kept(shared / f"installed-{base.name}", base, make)


@pytest.fixture(scope="session")
def baked(base: Path, deb: Path, shared: Path) -> Kept:
    """The same where a policy denies services, as while an image is baked; the policy then removed."""

    def make(machine: Machine) -> str:
        machine.boot()
        policy = machine.root / "usr/sbin/policy-rc.d"
        policy.write_text(DENY)
        policy.chmod(0o755)
        with step("Baking it in", "Baked it in"):
            output = install(machine, deb)
        states = machine.run("systemctl", "is-active", "supervisor", "nginx", "mysql", check=False)
        assert states.split() == ["inactive"] * 3
        machine.stop()
        policy.unlink()
        return output

    return _kept(shared / f"baked-{base.name}", base, make)


def _kept(folder: Path, base: Path, make: Callable[[Machine], str]) -> Kept:
    """A machine that the first worker makes and all continue on."""
    with cache.lock(folder.with_suffix(".lock"), "installing on a machine"):
        output = folder / "output"
        if not output.exists():
            # Left half-made by a test that failed.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            machine = Machine(f"mb{os.getpid()}{folder.name[:9]}", [base], folder)
            try:
                said = make(machine)
            finally:
                machine.destroy()
            output.write_text(said)
    return Kept([folder / "upper", base], output.read_text())


@pytest.fixture(scope="module")
def site(installed: Kept, new_machine: Callable[..., Machine]) -> Iterator[Machine]:
    """A server with the package, rebooted since; for tests that leave it as it was."""
    machine = new_machine(installed.layers)
    wait_until("the site answers", machine.answers)
    yield machine
    machine.destroy()
    machine.delete()


@pytest.fixture
def server(installed: Kept, new_machine: Callable[..., Machine]) -> Iterator[Machine]:
    """A server with the package, for one test to change."""
    machine = new_machine(installed.layers)
    wait_until("the site answers", machine.answers)
    yield machine
    machine.destroy()
    machine.delete()
