"""Boot an image in QEMU, on an overlay that leaves it as it is."""

import re
import shlex
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.ports import LOOPBACK, free_port
from builder.core.progress import Step
from builder.core.work import Work
from builder.vm import drive, seed
from builder.vm.accelerator import ACCELERATOR_OPTIONS
from builder.vm.emulator import EMULATORS

GUEST_PORTS = {"ssh": 22, "http": 80, "https": 443}
_SSH_SECONDS = 1200.0
_SITE_SECONDS = 1200.0
_POWER_OFF_SECONDS = 180.0
_POLL_SECONDS = 0.5
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_UNPRINTABLE = re.compile("[^ -~]")


@dataclass
class Machine:
    """A virtual machine under way."""

    process: "subprocess.Popen[bytes]"
    architecture: str
    user: str
    """The account whose key is known."""
    key: Path
    """The private key that opens it."""
    directory: Path
    """Where its overlay, logs and known_hosts are."""
    ports: Mapping[str, int]
    """On 127.0.0.1, by service: ssh, http, https."""
    scheme: str
    """How its site is reached: ``https`` or ``http``."""
    started: float = field(default_factory=time.monotonic)

    @property
    def serial_log(self) -> Path:
        """What the machine prints on its serial console."""
        return self.directory / "serial.log"

    @property
    def url(self) -> str:
        """The site's address."""
        return f"{self.scheme}://{LOOPBACK}:{self.ports[self.scheme]}"

    @property
    def ssh(self) -> list[str]:
        """The command that logs in. The host key of the first contact is remembered beside the overlay."""
        return [
            # Nothing of the user's own configuration: it is for other machines.
            program("ssh", "openssh-client"), "-F", "/dev/null",
            "-i", str(self.key), "-p", str(self.ports["ssh"]),
            "-o", f'UserKnownHostsFile="{self.directory / "known_hosts"}"',
            "-o", "StrictHostKeyChecking=accept-new", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR",
            f"{self.user}@{LOOPBACK}",
        ]  # fmt: skip

    def try_ssh(self, command: str, timeout: float = 900.0) -> "subprocess.CompletedProcess[str]":
        """Run a shell command on the machine; whatever comes of it."""
        return subprocess.run(
            [*self.ssh[:-1], "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", self.ssh[-1], command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def run(self, command: str, timeout: float = 900.0) -> str:
        """Run a shell command on the machine and return its stdout.

        :raises BuildError: it fails.
        """
        done = self.try_ssh(command, timeout)
        if done.returncode != 0:
            raise BuildError(f"on the machine, {command!r} failed: {done.stderr.strip()[-300:]}")
        return done.stdout

    def _alive(self) -> None:
        if self.process.poll() is not None:
            code, words = self.process.returncode, qemu_words(self.directory)
            raise BuildError(
                f"the machine stopped (QEMU's exit code {code}): {words}", f"Its console: {self.serial_log}"
            )

    def wait_for_ssh(self, now: Step, seconds: float = _SSH_SECONDS) -> float:
        """Wait until a command can be run over SSH. Returns the seconds since the start of the machine.

        :raises BuildError: the machine stops, or it takes longer than ``seconds``.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._alive()
            now.update(f"waiting for SSH; the console says: {self._console()}")
            try:
                if self.try_ssh("true", timeout=60).returncode == 0:
                    return time.monotonic() - self.started
            except subprocess.TimeoutExpired:
                pass
            time.sleep(_POLL_SECONDS)
        raise BuildError(f"no SSH within {seconds:.0f} s", f"What the machine printed: {self.serial_log}")

    def wait_for_site(self, now: Step, seconds: float = _SITE_SECONDS) -> float:
        """Wait until the site answers over its scheme. Returns the seconds since the start of the machine.

        :raises BuildError: the machine stops, or it takes longer than ``seconds``.
        """
        # The certificate is the machine's own; who it is, is known from having started it.
        context = ssl._create_unverified_context()  # noqa: S323
        # Whatever proxy the environment names: what is asked is this machine.
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._alive()
            now.update(f"waiting for {self.url}; the console says: {self._console()}")
            try:
                with direct.open(f"{self.url}/readyz", timeout=20) as answer:
                    if answer.status == 200:
                        return time.monotonic() - self.started
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(_POLL_SECONDS)
        raise BuildError(
            f"{self.url} did not answer within {seconds:.0f} s", f"Its console: {self.serial_log}"
        )

    def wait_for_cloud_init(self) -> None:
        """Wait until cloud-init has done all it does at a first boot, with or without complaints.

        :raises BuildError: the machine can't be reached over SSH.
        """
        self.run("cloud-init status --wait > /dev/null || true")

    def _console(self) -> str:
        if not self.serial_log.exists():
            return "nothing yet"
        lines = self.serial_log.read_bytes()[-4000:].decode(errors="replace").splitlines()
        shown = [_UNPRINTABLE.sub("", plain(line)).strip() for line in lines]
        return next((line for line in reversed(shown) if line), "nothing yet")[:60]

    def power_off(self) -> None:
        """Shut the machine down in order; pull the plug when it takes too long."""
        if self.process.poll() is None:
            try:
                self.try_ssh("sudo systemctl poweroff", timeout=60)
                self.process.wait(_POWER_OFF_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        self.pull_plug()

    def pull_plug(self) -> None:
        """End the machine as a power cut would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def plain(printed: str) -> str:
    """What a console printed, without ECMA-48's control sequences, which set colours and move the cursor."""
    return _CONTROL_SEQUENCE.sub("", printed)


def user_data(public_key: str, told: "Mapping[str, object] | None" = None) -> dict[str, object]:
    """The seed of a machine that is only looked at: its owner's key, and what else it is told."""
    return {"ssh_authorized_keys": [public_key], **(told or {})}


@contextmanager
def boot(
    disk: Path,
    directory: Path,
    *,
    architecture: str,
    accelerator: str,
    user: str,
    memory_mb: int,
    key: Path | None = None,
    ports: Mapping[str, int] | None = None,
    hostname: str | None = "microblog",
    disk_size: int = 8 << 30,
    cpus: int = 2,
    scheme: str = "https",
    extra: Sequence[Path] = (),
    told: "Mapping[str, object] | None" = None,
) -> Iterator[Machine]:
    """Start an image; end the machine when the block is left.

    Nothing is reachable from outside this machine: every forward is on 127.0.0.1.

    :param disk: the image; it is not written to.
    :param directory: for the overlay and the logs. An overlay that is there already is used again.
    :param key: a private SSH key whose public half lies beside it; one is made if not given.
    :param disk_size: of the overlay, in bytes; never less than the image's.
    :param hostname: None leaves it to the image.
    :param extra: files for a card's boot partition.
    :param told: for cloud-init, beside the owner's key.
    :param ports: by service; free ones are taken for those not given.
    :raises BuildError: QEMU can't start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    work = Work.at(directory)
    emulator = EMULATORS[architecture]
    if key is None:
        key = directory / "key"
        if not key.exists():
            seed.make_key(key, work)
    public = key.with_name(f"{key.name}.pub")
    if not public.is_file():
        raise BuildError(f"there is no {public}", "Name a private key whose .pub lies beside it")
    files = seed.files(user_data(public.read_text().strip(), told), directory.name, hostname)
    drives = drive.make(drive.Wanted(disk, directory, disk_size, architecture, files, extra), work)

    chosen = {name: (ports or {}).get(name) or free_port() for name in GUEST_PORTS}
    forwards = ",".join(
        f"hostfwd=tcp:{LOOPBACK}:{chosen[name]}-:{guest}" for name, guest in GUEST_PORTS.items()
    )
    arguments = [
        # Should this process be killed outright, the machine goes with it.
        program("setpriv", "util-linux"), "--pdeathsig", "KILL",
        program(emulator.binary, emulator.package), *emulator.machine,
        "-accel", f"{accelerator}{ACCELERATOR_OPTIONS[accelerator]}",
        "-cpu", emulator.cpu(accelerator), "-smp", str(cpus), "-m", str(memory_mb),
        "-nodefaults", "-display", "none", "-vga", "none",
        "-serial", f"file:{directory / 'serial.log'}",
        *drives,
        "-netdev", f"user,id=net,{forwards}",
        "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
    ]  # fmt: skip
    with work.log.open("a") as out:
        out.write(f"$ {shlex.join(arguments)}\n")
    with (directory / "qemu.log").open("wb") as out:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    machine = Machine(process, architecture, user, key, directory, chosen, scheme)
    try:
        yield machine
    finally:
        machine.pull_plug()


def qemu_words(directory: Path) -> str:
    """The last line that QEMU itself printed."""
    lines = (directory / "qemu.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
