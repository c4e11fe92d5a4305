"""Have a base at hand: from the cache, composed, or downloaded."""

import dataclasses
import json
import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.bases import compose, grow, publisher
from builder.core import cache, kept, paths
from builder.core.errors import BuildError
from builder.core.progress import say, step
from builder.deb import package
from builder.defs.definition import (
    Base,
    ComposedBase,
    DownloadedBase,
    Image,
    load_base,
    load_base_for,
    size_in_bytes,
)
from builder.disk import kernel, media
from builder.disk.ext4 import FileSystem, quoted

_UNITS = "/etc/systemd/system"
_BAKE_TARGET = "bake.target"
_DEFAULT_TARGET = "default.target"
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
    key: str
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


def key(base: Base, include: Sequence[str] = ()) -> str:
    """Hash of all that a base is made from."""
    if isinstance(base, ComposedBase):
        besides = sorted(set(include) - set(base.packages))
        return cache.key(dataclasses.asdict(base), besides, files=compose.sources(base))
    return cache.key(dataclasses.asdict(base), files=[paths.DEFINITIONS / "bases" / _BAKE_TARGET])


def obtain(
    image: Image, deb: Path, insist: str | None = None, fresh: bool = False, given: Path | None = None
) -> CachedBase:
    """The first of an image's bases that can be had.

    One that is composed has in it already what the package needs: installed here it takes a
    fraction of what it takes inside of an emulated machine.

    :param deb: the package that the image is for.
    :param insist: this base, or an error.
    :param fresh: make it anew, whatever is in the cache.
    :param given: the publisher's file of the base insisted upon, instead of a download.
    :raises BuildError: none can be had, or the one insisted upon can't.
    """
    include = [*image.packages, *package.dependencies(deb)]
    if insist:
        return get(load_base_for(image, insist), include, fresh, given=given)
    failures = []
    for name in image.bases:
        try:
            got = get(load_base(name), include, fresh)
        except BuildError as error:
            failures.append(f"{name}: {error.message}")
            if len(image.bases) == 1:
                raise
            say(f"WARNING: the base {name} can't be had: {error.message}")
            continue
        if failures:
            say(f"WARNING: {image.name} is baked on {name} instead of {image.bases[0]}")
        return got
    raise BuildError(f"none of the bases of {image.name} can be had", "; ".join(failures))


def get(
    base: Base,
    include: Sequence[str] = (),
    fresh: bool = False,
    store: Path | None = None,
    given: Path | None = None,
) -> CachedBase:
    """One base, from the cache where it is there and whole.

    :param include: packages that a composed base gets besides its own.
    :param store: where it is kept; the cache, if not given.
    :param given: the publisher's file, instead of a download; it is checked all the same.
    :raises BuildError: it can't be made or downloaded.
    """
    if given and not isinstance(base, DownloadedBase):
        raise BuildError(f"the base {base.name} is not one that is downloaded", "Leave out --base-file")
    wanted = key(base, include)
    store = store or paths.cache_dir() / "bases"
    directory = store / f"{base.name}-{wanted[:16]}"
    with cache.lock(store / f"{base.name}.lock", f"preparing the base {base.name}"):
        if not fresh and not given:
            found = from_cache(directory)
            if found:
                say(f"Base {base.name} is in the cache")
                return found
        _make(base, include, wanted, store, directory, given)
        made = from_cache(directory)
        if made is None:
            raise BuildError(f"the base {base.name} changed while it was written", "Is the disk sound?")
        kept.forget(store)
        return made


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


def _compose(
    base: Base, include: Sequence[str], raw: Path, work: Path, log: Path, _given: Path | None
) -> None:
    assert isinstance(base, ComposedBase)  # noqa: S101
    compose.compose(base, include, raw, work, log)


def _download(
    base: Base, _include: Sequence[str], raw: Path, work: Path, log: Path, given: Path | None
) -> dict[str, str]:
    assert isinstance(base, DownloadedBase)  # noqa: S101
    got = publisher.obtain(base, given)
    with step(f"Unpacking {base.name}", f"Unpacked {base.name}"):
        media.unpack_published(got.file, raw, log)
        if base.disk_size:
            grow.grow(raw, size_in_bytes(base.disk_size), work, log)
        _boot_for_ssh(raw)
    return got.source


def _boot_for_ssh(raw: Path) -> None:
    """Let a system boot into bake.target until clean.sh takes that away."""
    root = FileSystem.root_of(raw)
    units = root.names(_UNITS)
    requests = [
        f"write {quoted(paths.DEFINITIONS / 'bases' / _BAKE_TARGET)} {_UNITS}/{_BAKE_TARGET}",
        f"set_inode_field {_UNITS}/{_BAKE_TARGET} mode 0100644",
        f"set_inode_field {_UNITS}/{_BAKE_TARGET} uid 0",
        f"set_inode_field {_UNITS}/{_BAKE_TARGET} gid 0",
    ]
    if _DEFAULT_TARGET in units:
        # The same inode under another name.
        requests.append(f"ln {_UNITS}/{_DEFAULT_TARGET} {_UNITS}/{_DEFAULT_TARGET}.base")
        requests.append(f"unlink {_UNITS}/{_DEFAULT_TARGET}")
    root.change(*requests, f"symlink {_UNITS}/{_DEFAULT_TARGET} {_BAKE_TARGET}")
    if not {_BAKE_TARGET, _DEFAULT_TARGET} <= set(root.names(_UNITS)):
        raise BuildError(f"{raw.name} has no {_UNITS}", "Is it the disk of a system with systemd?")


_MAKERS: dict[
    type[Base], Callable[[Base, Sequence[str], Path, Path, Path, Path | None], dict[str, str] | None]
] = {
    ComposedBase: _compose,
    DownloadedBase: _download,
}


def _make(
    base: Base, include: Sequence[str], wanted: str, store: Path, directory: Path, given: Path | None
) -> None:
    log = store / f"{base.name}.log"
    log.unlink(missing_ok=True)
    with cache.scratch(store) as work:
        raw = work / "base.raw"
        source = _MAKERS[type(base)](base, include, raw, work, log, given)
        with step(f"Packing {base.name}", f"Packed {base.name}"):
            facts = CachedBase(
                directory=directory,
                name=base.name,
                architecture=base.architecture,
                user=base.user,
                key=wanted,
                sha256="",
                made="",
                source=source,
                hold=list(getattr(base, "hold", [])),
            )
            keep(raw, facts, work, log)


def keep(raw: Path, facts: CachedBase, work: Path, log: Path) -> None:
    """Keep a raw disk as a base, in the place of what is in its directory.

    :param facts: what is known of it but its checksum and time, which are found here.
    :param work: a directory for half-done files, on the same disk.
    :raises BuildError: it is not the disk of a Debian or Ubuntu system.
    """
    new = work / "new"
    new.mkdir()
    system = _look_into(raw, new)
    disk = new / "base.qcow2"
    media.pack_qcow2(raw, disk, log)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    whole = dataclasses.replace(facts, sha256=cache.sha256_file(disk), made=made, system=system)
    cache.write_json(
        new / "base.json", {field: value for field, value in vars(whole).items() if field != "directory"}
    )
    kept.replace(new, facts.directory)


def _look_into(raw: Path, to: Path) -> str:
    """Copy out what the host must know: the kernel, the archive's addresses and keys, what is installed.

    :return: which system it is (:attr:`CachedBase.system`).
    """
    root = FileSystem.root_of(raw)
    _copy_kernel(raw, to / "vmlinuz")
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


def _copy_kernel(raw: Path, to: Path) -> None:
    boot = FileSystem.boot_of(raw)
    system, directory = (boot, "") if boot else (FileSystem.root_of(raw), "/boot")
    newest = kernel.newest(system.names(directory or "/"))
    if newest is None:
        raise BuildError("there is no kernel in /boot", "Is a linux-image package among the base's packages?")
    system.copy_out(f"{directory}/{newest}", to)


def kernel_of(image: Path, work: Path) -> Path:
    """The kernel of a disk image of any format, copied into a directory for half-done work.

    :raises BuildError: there is none.
    """
    raw, found = work / "kernel.raw", work / "vmlinuz"
    media.unpack(image, raw, work / "tools.log")
    _copy_kernel(raw, found)
    raw.unlink()
    return found
