"""Where backups go besides this machine: a folder, a USB disk, SSH, S3, or what rclone knows.

A place is an address that its owner has typed. Adding a kind adds a class and a line in :data:`KINDS`.
"""

import json
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from microblog.errors import HostError
from microblog.host.machine import layout, services

# Root's alone: keys and passwords.
FOLDER = layout.ETC / "elsewhere"
_CONNECT_SECONDS = 20
# Mounted for one command alone, in its own namespace: nobody else can hold it, and whatever ends the
# command ends the mount.
_MOUNTED = """
# Who is told to end with it waits until it has let go of its lock.
trap : INT
mount -o nosuid,nodev,noexec -- "$1" "$2" || exit 32
place=$2; shift 2; code=0
"$@" || code=$?
umount "$place" || true
exit $code
"""
# Neither an option nor anything that a shell or restic would read as more than a name.
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}"
_PATH = r"[^\0-\x1f\x7f]{1,400}"
_LABEL = r"[A-Za-z0-9][\w .+-]{0,126}"


@dataclass(frozen=True)
class Opened:
    """A place as restic is told of it.

    :ivar location: its RESTIC_REPOSITORY.
    :ivar options: restic's, for this kind.
    :ivar within: what runs it, so that it finds the place.
    """

    location: str
    options: tuple[str, ...] = ()
    within: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """:ivar address: as it was typed, without a secret.

    :ivar packages: what of the distribution it needs.
    :ivar secrets: the names of what has to be asked for, as restic's environment has them.
    """

    address: str
    packages: tuple[str, ...] = ("restic",)
    secrets: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Make what this machine needs once."""

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """The place, for as long as it is used.

        :raises HostError: if it is not there.
        """
        yield Opened(self.address)

    def why(self) -> str:
        """What there is to know of a failure besides what restic has said."""
        return ""

    def way_in(self) -> str:
        """What helps where the place refuses this machine."""
        return "see that root may write there"


class Folder(Place):
    """A folder: another disk's, or a share's that is mounted."""


@dataclass(frozen=True)
class Usb(Place):
    """A disk, by its label; mounted only while it is used, so that it can be pulled at any other time."""

    label: str = ""
    packages: tuple[str, ...] = ("restic", "util-linux")

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        # Without its cache, which knows a disk for seconds after it is gone.
        found = services.run("blkid", "-c", "/dev/null", "-o", "device", "-t", f"LABEL={self.label}")
        devices = [line for line in found.stdout.split() if line.startswith("/dev/")]
        if found.returncode or not devices:
            raise HostError(f"no disk labelled {self.label} is plugged in", "plug it in, and try again")
        mount = layout.RUN / "usb"
        mount.mkdir(mode=0o700, parents=True, exist_ok=True)
        within = ("sh", "-c", _MOUNTED, "sh", devices[0], str(mount))
        yield Opened(
            str(mount / "microblog"), within=("unshare", "--mount", "--propagation", "private", *within)
        )

    def way_in(self) -> str:
        return "see that the disk is not write-protected"


# Where desktops mount what is plugged in.
_PLUGGED = ("/media/", "/run/media/")


def disks() -> list[str]:
    """The labels of USB disks that are plugged in and hold nothing of this machine's own."""
    said = services.run("lsblk", "--json", "--bytes", "--output", "NAME,LABEL,FSTYPE,TRAN,MOUNTPOINT").stdout
    try:
        return _labels(json.loads(said)["blockdevices"])
    # It has said something else: there is nothing to choose from.
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return []


def _labels(tops: Any) -> list[str]:
    found: set[str] = set()
    for top in tops:
        parts = list(_parts(top))
        mounts = [part.get("mountpoint") for part in parts]
        if top.get("tran") != "usb" or any(one and not one.startswith(_PLUGGED) for one in mounts):
            # A Pi may have started from one.
            continue
        labels = [part.get("label") or "" for part in parts if part.get("fstype")]
        found |= {label for label in labels if re.fullmatch(_LABEL, label, re.ASCII)}
    return sorted(found)


def _parts(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A disk, and what lies on it: partitions, and what is in these."""
    yield one
    for other in one.get("children") or []:
        yield from _parts(other)


@dataclass(frozen=True)
class Ssh(Place):
    """A folder of another machine's, by SFTP, with a key of this machine's own."""

    user: str = ""
    host: str = ""
    port: int = 22
    path: str = ""
    packages: tuple[str, ...] = ("restic", "openssh-client")

    def prepare(self) -> None:
        make_ssh_key()

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        self.prepare()
        # The command below says where it is. restic takes all after the first colon for the folder.
        where = f"sftp:{self.user}@{self.host.strip('[]').replace(':', '-')}:{self.path}"
        yield Opened(where, (f"sftp.command={shlex.join(self._command())}",))

    def _command(self) -> list[str]:
        return [
            *("ssh", "-i", str(FOLDER / "ssh_key"), "-p", str(self.port), "-F", "none"),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}"),
            # Who it was at the first time, it must be at every other.
            *("-o", "StrictHostKeyChecking=accept-new"),
            *("-o", f"UserKnownHostsFile={FOLDER / 'known_hosts'}"),
            # A connection that is dead is noticed within a minute or two.
            *("-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=4"),
            *("-l", self.user, self.host.strip("[]"), "-s", "sftp"),
        ]

    def why(self) -> str:
        # What ssh said last, restic may have ended too soon to pass on.
        return services.run(*self._command()).stdout

    def way_in(self) -> str:
        return f"add this line to ~{self.user}/.ssh/authorized_keys there, then again: {make_ssh_key()}"


def make_ssh_key() -> str:
    """This machine's own key for SSH, made at the first call.

    :return: the line for another machine's ``authorized_keys``.
    """
    key = FOLDER / "ssh_key"
    if not key.exists():
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        comment = f"microblog@{socket.gethostname()}"
        done = services.run(
            *("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key)),
        )
        if done.returncode:
            raise HostError(f"no SSH key could be made: {done.stdout.strip()[:200]}")
    return (FOLDER / "ssh_key.pub").read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class Bucket(Place):
    """A bucket of Amazon's S3, or of what speaks as it does."""

    secrets: tuple[str, ...] = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

    def parts(self) -> SplitResult:
        """Its service, and, as the path, bucket and folder."""
        where = self.address.removeprefix("s3:")
        return urlsplit(where if "://" in where else f"https://{where}")

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        parts = self.parts()
        host = parts.hostname or ""
        try:
            # restic itself would try for a quarter of an hour.
            socket.create_connection(
                (host, parts.port or (80 if parts.scheme == "http" else 443)), _CONNECT_SECONDS
            ).close()
        except OSError as error:
            raise HostError(
                f"{host} cannot be reached: {error.strerror or error}", "see that the network is up"
            ) from None
        yield Opened(self.address)

    def way_in(self) -> str:
        return "type the access key and its secret anew: microblog backup --to, with the same address"


@dataclass(frozen=True)
class Rclone(Place):
    """One of the many that rclone knows, as root has set it up there."""

    packages: tuple[str, ...] = ("restic", "rclone")

    def way_in(self) -> str:
        return "set it up as root: rclone config"


@dataclass(frozen=True)
class Access:
    """What a place needs besides its address.

    :ivar key: the repository's.
    :ivar secrets: the values of :attr:`Place.secrets`.
    """

    key: str = field(repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


FORMS = "write /FOLDER, usb:LABEL, sftp:USER@HOST:/FOLDER, s3:https://HOST/BUCKET or rclone:REMOTE:FOLDER"


def of(address: str) -> Place:
    """:raises HostError: if nobody can tell what the address means."""
    if found := re.fullmatch(rf"usb:({_LABEL})", address, re.ASCII):
        return Usb(address, label=found[1])
    if found := re.fullmatch(rf"sftp://({_USER})@({_HOST})(?::(\d{{1,5}}))?(/{_PATH})", address):
        # As restic has it: two slashes for a path from the root on.
        path = found[4][1:]
        return Ssh(address, user=found[1], host=found[2], port=int(found[3] or 22), path=path)
    if found := re.fullmatch(rf"sftp:({_USER})@({_HOST}):({_PATH})", address):
        return Ssh(address, user=found[1], host=found[2], path=found[3])
    if re.fullmatch(
        rf"s3:(?:https?://)?{_HOST}(?::\d{{1,5}})?/[a-z0-9][a-z0-9.-]{{1,62}}(?:/{_PATH})?", address
    ):
        return Bucket(address)
    if re.fullmatch(rf"rclone:[\w][\w .+-]{{0,60}}:{_PATH}", address, re.ASCII):
        return Rclone(address)
    if address.startswith("/") and re.fullmatch(_PATH, address):
        return Folder(str(Path(address)))
    raise HostError(f"{address[:100]!r} is no place that backups can go to", FORMS)
