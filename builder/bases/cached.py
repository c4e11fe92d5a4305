"""A base in the cache: its disk, and what the host needs to know of the system on it."""

import dataclasses
import json
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.core import cache, inputs, kept
from builder.core.inputs import Inputs
from builder.core.progress import say
from builder.core.work import Work
from builder.disk import kernel, media
from builder.disk.ext4 import FileSystem

# In a .sources file (deb822) and in a .list file (sources.list(5)).
_SIGNED_BY = re.compile(r"(?m)^Signed-By:.*\n(?:[ \t].*\n)*|\bsigned-by=[^ \]]+ ?", re.IGNORECASE)


@dataclass(frozen=True)
class CachedBase:
    """A base in the cache: its disk, and what the host needs to know of the system on it."""

    directory: Path
    name: str
    architecture: str
    user: str
    """The account that cloud-init makes for the owner."""
    digest: str
    """The digest of what it is made from."""
    sha256: str
    """Of ``disk``, in hexadecimal."""
    made: str
    """When it came into the cache, UTC, ISO 8601."""
    source: dict[str, str] | None = None
    """Of one that was downloaded: url, sha256, and signed_by, the fingerprint of the key."""
    system: str = ""
    """ID and VERSION_ID of its os-release(5), as debian-12; empty if it does not say."""
    hold: Sequence[str] = ()
    """Packages that stay as they are in it, as patterns."""
    layer_on: dict[str, str] | None = None
    """Of a layer (:mod:`builder.bake.layer`): sha256 and made of the base below it."""

    @property
    def disk(self) -> Path:
        """The disk image, qcow2."""
        return self.directory / "base.qcow2"

    @property
    def kernel(self) -> Path:
        """The system's Linux kernel."""
        return self.directory / "vmlinuz"

    @property
    def apt(self) -> Path:
        """A copy of the system's /etc/apt."""
        return self.directory / "apt"

    @property
    def dpkg_status(self) -> Path:
        """A copy of the system's /var/lib/dpkg/status."""
        return self.directory / "status"


def directory_for(store: Path, name: str, made_from: Inputs) -> Path:
    """Where a base, or a layer, is kept. With ``--debug`` it is said why that is another than before."""
    directory = store / f"{name}-{made_from.digest[:16]}"
    earlier = store.glob(f"{name}-{'[0-9a-f]' * 16}/{inputs.SUFFIX}")
    if not directory.exists():
        inputs.explain(name, max(earlier, key=lambda path: path.stat().st_mtime, default=None), made_from)
    return directory


def from_cache(directory: Path) -> CachedBase | None:
    """What is kept in a directory, if it is whole; it is used by this process from now on."""
    if not kept.use(directory):
        return None
    try:
        facts: dict[str, Any] = json.loads((directory / "base.json").read_text())
        found = CachedBase(directory=directory, **facts)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        say(f"WARNING: {directory}/base.json is damaged; making the base anew")
        return None
    if not found.disk.exists() or cache.sha256_file(found.disk) != found.sha256:
        say(f"WARNING: {found.disk} differs from its checksum; making the base anew")
        return None
    return found


def keep(raw: Path, facts: CachedBase, made_from: Inputs, work: Work) -> None:
    """Keep a raw disk as a base, in the place of what is in its directory.

    :param facts: what is known of it but its checksum and time, which are found here.
    :param made_from: kept beside it.
    :param work: a directory for half-done files, on the same disk.
    :raises BuildError: it is not the disk of a Debian or Ubuntu system.
    """
    new = work / "new"
    new.mkdir()
    system = _look_into(raw, new)
    disk = new / "base.qcow2"
    media.pack_qcow2(raw, disk, work)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    whole = dataclasses.replace(facts, sha256=cache.sha256_file(disk), made=made, system=system)
    cache.write_json(
        new / "base.json", {field: value for field, value in vars(whole).items() if field != "directory"}
    )
    made_from.write(new / inputs.SUFFIX)
    kept.replace(new, facts.directory)


def _look_into(raw: Path, to: Path) -> str:
    """Copy out what the host must know: the kernel, the archive's addresses and keys, what is installed.

    :return: which system it is (:attr:`CachedBase.system`).
    """
    root = FileSystem.root_of(raw)
    kernel.copy(raw, to / "vmlinuz")
    root.copy_out("/var/lib/dpkg/status", to / "status")
    root.copy_tree_out("/etc/apt", to)
    if "keyrings" in root.names("/usr/share"):
        root.copy_tree_out("/usr/share/keyrings", to)
    _trust_all(to / "apt", to / "keyrings")
    return _system(root)


def _system(root: FileSystem) -> str:
    """ID-VERSION_ID: shell assignments in a file, quoted or not (os-release(5))."""
    told = {}
    for line in root.read("/usr/lib/os-release").decode(errors="replace").splitlines():
        name, sign, value = line.partition("=")
        if sign:
            told[name] = "".join(shlex.split(value))
    return f"{told['ID']}-{told['VERSION_ID']}" if {"ID", "VERSION_ID"} <= set(told) else ""


def _trust_all(apt: Path, keyrings: Path) -> None:
    """Let the host's apt find the keys that archives are signed by, wherever the system has them.

    Sources name them by paths of that system. Each of its keys is trusted for each of its archives
    instead; in the bake itself and on the machine it stays as its publisher made it.
    """
    for file in [apt / "sources.list", *apt.glob("sources.list.d/*")]:
        if file.is_file():
            file.write_text(_SIGNED_BY.sub("", file.read_text(errors="replace")))
    trusted = apt / "trusted.gpg.d"
    trusted.mkdir(exist_ok=True)
    for key in keyrings.glob("*-archive-keyring.*"):
        # Debian 13 has each under its old name too.
        if not key.is_symlink():
            key.rename(trusted / f"{key.stem}{'.asc' if key.suffix == '.asc' else '.gpg'}")
