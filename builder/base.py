"""Have a base at hand: from the cache, composed, or downloaded."""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import cache, compose, download, media, package, paths
from builder.command import program, run
from builder.definition import Base, ComposedBase, DownloadedBase, Image, load_base
from builder.errors import BuildError
from builder.ext4 import FileSystem
from builder.progress import say, step


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
        return cache.key(dataclasses.asdict(base), sorted(include), files=compose.sources(base))
    return cache.key(dataclasses.asdict(base))


def obtain(image: Image, deb: Path, insist: str | None = None, fresh: bool = False) -> CachedBase:
    """The first of an image's bases that can be had.

    One that is composed has in it already what the package needs: installed here it takes a
    fraction of what it takes inside of an emulated machine.

    :param deb: the package that the image is for.
    :param insist: this base, or an error.
    :param fresh: make it anew, whatever is in the cache.
    :raises BuildError: none can be had, or the one insisted upon can't.
    """
    include = [*image.packages, *package.dependencies(deb)]
    if insist:
        return get(load_base(insist), include, fresh)
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
    base: Base, include: Sequence[str] = (), fresh: bool = False, store: Path | None = None
) -> CachedBase:
    """One base, from the cache where it is there and whole.

    :param include: packages that a composed base gets besides its own.
    :param store: where it is kept; the cache, if not given.
    :raises BuildError: it can't be made or downloaded.
    """
    wanted = key(base, include)
    store = store or paths.cache_dir() / "bases"
    directory = store / f"{base.name}-{wanted[:16]}"
    with cache.lock(store / f"{base.name}.lock", f"preparing the base {base.name}"):
        if not fresh:
            found = _from_cache(directory)
            if found:
                say(f"Base {base.name} is in the cache")
                return found
        _make(base, include, wanted, store, directory)
        made = _from_cache(directory)
        if made is None:
            raise BuildError(f"the base {base.name} changed while it was written", "Is the disk sound?")
        for other in store.glob(f"{base.name}-*"):
            if other != directory:
                shutil.rmtree(other, ignore_errors=True)
        return made


def _from_cache(directory: Path) -> CachedBase | None:
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


def _compose(base: Base, include: Sequence[str], raw: Path, work: Path, log: Path) -> None:
    assert isinstance(base, ComposedBase)  # noqa: S101
    compose.compose(base, include, raw, work, log)


def _download(base: Base, _include: Sequence[str], raw: Path, work: Path, log: Path) -> None:
    assert isinstance(base, DownloadedBase)  # noqa: S101
    store = paths.cache_dir() / "downloads"
    store.mkdir(exist_ok=True)
    file = store / base.sha256
    if not file.exists():
        download.fetch(base.url, base.sha256, file)
    with step(f"Unpacking {base.name}", f"Unpacked {base.name}"):
        run([program("qemu-img", "qemu-utils"), "convert", "-O", "raw", file, raw], log)


_MAKERS: dict[type[Base], Callable[[Base, Sequence[str], Path, Path, Path], None]] = {
    ComposedBase: _compose,
    DownloadedBase: _download,
}


def _make(base: Base, include: Sequence[str], wanted: str, store: Path, directory: Path) -> None:
    log = store / f"{base.name}.log"
    log.unlink(missing_ok=True)
    with cache.scratch(store) as work:
        raw, new = work / "base.raw", work / "new"
        new.mkdir()
        _MAKERS[type(base)](base, include, raw, work, log)
        with step(f"Packing {base.name}", f"Packed {base.name}"):
            _look_into(raw, new)
            disk = new / "base.qcow2"
            run(
                [program("qemu-img", "qemu-utils"), "convert", "-c", "-O", "qcow2",
                 "-o", "compression_type=zstd", raw, disk],
                log,
            )  # fmt: skip
            made = CachedBase(
                directory=directory,
                name=base.name,
                architecture=base.architecture,
                user=base.user,
                key=wanted,
                sha256=cache.sha256_file(disk),
                made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            )
            facts = {field: value for field, value in vars(made).items() if field != "directory"}
            cache.write_json(new / "base.json", facts)
        if directory.exists():
            shutil.rmtree(directory)
        new.rename(directory)


def _look_into(raw: Path, to: Path) -> None:
    """Copy out what the host must know: the kernel, the archive's addresses and keys, what is installed."""
    root = FileSystem.root_of(raw)
    _copy_kernel(root, to / "vmlinuz")
    root.copy_out("/var/lib/dpkg/status", to / "status")
    root.copy_tree_out("/etc/apt", to)


def _copy_kernel(root: FileSystem, to: Path) -> None:
    kernels = [name for name in root.names("/boot") if name.startswith("vmlinuz-")]
    if not kernels:
        raise BuildError("there is no kernel in /boot", "Is a linux-image package among the base's packages?")
    root.copy_out(f"/boot/{kernels[-1]}", to)


def kernel_of(image: Path, work: Path) -> Path:
    """The kernel of a disk image of any format, copied into a directory for half-done work.

    :raises BuildError: there is none.
    """
    raw, kernel = work / "kernel.raw", work / "vmlinuz"
    media.unpack(image, raw, work / "tools.log")
    _copy_kernel(FileSystem.root_of(raw), kernel)
    raw.unlink()
    return kernel
