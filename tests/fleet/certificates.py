"""In Let's Encrypt's place pebble, on a machine of its own in the drill's network; and what balancers ask it
with: the image's own scripts, in folders of each balancer's own."""

import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import galera
from balancer import Balancer
from network import Place
from told import swapped
from whole import whole

from builder.core import paths
from builder.core.command import program
from builder.core.needs import File, Program

NEEDS = (
    Program("pebble", "pebble"),
    Program("certbot", "certbot"),
    Program("openssl", "openssl"),
    File("/lib/systemd/system/certbot.service", "certbot"),
)
# No authority certifies an address, by which the drill's visitors come.
SITE = "garden.example.org"
_SECONDS = 300
_FILES = paths.PACKER / "files"
_ETC, _FLEET = "/etc/letsencrypt", "/etc/fleet"
_HOOK = "renewal-hooks/deploy/fleet"
# It asks three times for each, at once, as if from three places. Here it waits for nothing before, and asks
# again what it has been answered.
_ENVIRON = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}


class Authority:
    """:ivar place: its own."""

    def __init__(self, folder: Path, place: Place) -> None:
        self._folder, self.place = folder, place
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    @property
    def directory(self) -> str:
        return f"https://{self.place.address}:14000/dir"

    @property
    def known(self) -> Path:
        """The certificate by which who asks it knows it."""
        return self._folder / "cert.pem"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def start(self, address: str) -> None:
        """:param address: to which the site's name leads it."""
        subprocess.run(
            [
                program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=authority",
                "-addext", f"subjectAltName=IP:{self.place.address}",
                "-keyout", self._folder / "key.pem", "-out", self.known,
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        settings = {
            "listenAddress": f"{self.place.address}:14000",
            "managementListenAddress": f"{self.place.address}:15000",
            "certificate": str(self.known), "privateKey": str(self._folder / "key.pem"),
            "httpPort": 80, "tlsPort": 443,
        }  # fmt: skip
        (self._folder / "config.json").write_text(json.dumps({"pebble": settings}))
        (self._folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} {SITE}\n")
        # What a namespace's processes mount is theirs alone: ip-netns(8).
        names = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        pebble = [program("pebble", "pebble"), "-strict=false", "-config", self._folder / "config.json"]
        with (self._folder / "log").open("ab") as log, whole():
            self._process = subprocess.Popen(
                self.place.command(["sh", "-c", names, "sh", self._folder / "hosts", *pebble]),
                env={**os.environ, **_ENVIRON}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        galera.wait_until("the authority answers", self._answers)

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log
        with suppress(OSError):
            return bool(self._asked(self.directory))
        return False

    def root(self) -> str:
        """The certificate by which visitors know those that it gives."""
        return self._asked(f"https://{self.place.address}:15000/roots/0")

    def _asked(self, url: str) -> str:
        context = ssl.create_default_context(cafile=self.known)
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310
            return str(answer.read().decode())

    @contextmanager
    def away(self) -> Iterator[None]:
        """Its cable is out."""
        self._cable("down")
        try:
            yield
        finally:
            self._cable("up")
            galera.wait_until("the authority answers", self._answers)

    def _cable(self, state: str) -> None:
        command = [program("ip", "iproute2"), "link", "set", "eth0", state]
        subprocess.run(self.place.command(command), check=True)

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Certbot:
    """A balancer's. :ivar served: the file that HAProxy has its certificate from."""

    def __init__(self, one: Balancer, folder: Path, authority: Authority) -> None:
        self.one, self._folder, self._authority = one, folder, authority
        self.served = one.told.folder / "site.pem"
        own = swapped((one.told.folder / "self").read_text(), {f"SITE={one.told.shared}\n": f"SITE={SITE}\n"})
        asks = (_FILES / "balancer/usr/local/sbin/fleet-certificate").read_text()
        hook = (_FILES / f"balancer{_ETC}/{_HOOK}").read_text()
        put = "/usr/local/lib/fleet/put"
        self._write("self", own)
        self._write(
            "fleet-certificate", swapped(asks, {f"{_FLEET}/self": str(folder / "self"), _ETC: str(self._etc)})
        )
        self._write(
            f"etc/{_HOOK}",
            swapped(
                hook,
                {
                    put: f"{_FILES}/fleet{put}",
                    f"{_FLEET}/site.pem": str(self.served),
                    f"{_FLEET}/self": str(folder / "self"),
                },
            ),
        )
        self._write(
            # certbot(1) reads it beside the system's.
            "letsencrypt/cli.ini",
            f"server = {authority.directory}\nconfig-dir = {self._etc}\nwork-dir = {folder / 'work'}\n"
            # Of up to eight minutes.
            f"logs-dir = {folder / 'logs'}\nno-random-sleep-on-renew = true\n",
        )

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    @property
    def _etc(self) -> Path:
        return self._folder / "etc"

    @property
    def has_one(self) -> bool:
        return (self._etc / "live" / SITE).exists()

    def asks(self) -> "subprocess.Popen[str]":
        """As its timer has it do, from a minute after it has begun."""
        return self._run([self._folder / "fleet-certificate"])

    def renews(self) -> "subprocess.Popen[str]":
        """As certbot's own timer has it do, when it is time to."""
        unit = Path("/lib/systemd/system/certbot.service").read_text()
        (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
        return self._run([*shlex.split(line.partition("=")[2]), "--force-renewal"])

    def _run(self, command: "Sequence[str | os.PathLike[str]]") -> "subprocess.Popen[str]":
        reload = f'[ "$*" = "reload haproxy.service" ] && exec kill -USR2 {self.one.processes[0].pid}'
        self._write("bin/systemctl", f"#!/bin/sh\n{reload}\n")
        environ = {
            "PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(self._folder),
            "REQUESTS_CA_BUNDLE": str(self._authority.known),
        }
        return subprocess.Popen(
            self.one.place.command(command), env={**os.environ, **environ}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def shows(self, trust: Path, name: str = "") -> str:
        """The serial number of what it shows visitors. :param name: which that has to be for, if any."""
        context = ssl.create_default_context(cafile=trust)
        context.check_hostname = bool(name)
        with (
            socket.create_connection((self.one.place.address, 443), 10) as raw,
            context.wrap_socket(raw, server_hostname=name or SITE) as opened,
        ):
            told = opened.getpeercert()
        assert told
        return str(told["serialNumber"])


def ended(*begun: "subprocess.Popen[str]") -> list[tuple[int, str]]:
    """How they ended, and what they said."""
    found = []
    for process in begun:
        said, _ = process.communicate(timeout=_SECONDS)
        found.append((process.returncode, said))
    return found
