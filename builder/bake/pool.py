"""Everything a bake installs, resolved and downloaded on the host.

The host's apt works out, from the base's own package list, archives and keys, what an
installation would fetch; it verifies signatures and checksums as ever. The bake then installs
from a flat repository of just these files, on a disk of its own. So the emulated machine neither
downloads nor parses the archive's indexes, and a second bake needs no network.
"""

import gzip
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from builder.bases import absent, compose, snapshot
from builder.bases.cached import CachedBase
from builder.core import cache, inputs, paths
from builder.core.command import output, program
from builder.core.errors import BuildError
from builder.core.inputs import Inputs
from builder.core.needs import Program
from builder.core.progress import Step, detail, say, step
from builder.core.request import USUAL, Request
from builder.core.work import Work, scratch
from builder.defs.definition import ComposedBase

_KEEP_DAYS = 30
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_UNPACKERS = {"xz": Program("xz", "xz-utils"), "gz": Program("gzip", "gzip")}
_PACKER = Program("zstd", "zstd")
_DISK_OVERHEAD = 16 << 20


class Archived(NamedTuple):
    """A file of an archive. In the pool it goes by its checksum: distributions have files of one name."""

    name: str
    sha256: str


def question(base: CachedBase, deb: Path | None, packages: Sequence[str], asked: Request = USUAL) -> Inputs:
    """What decides which packages are needed, but for the archive's indexes."""
    dpkg_deb = program("dpkg-deb", "dpkg")
    fields = output([dpkg_deb, "--field", deb, "Depends", "Recommends", "Pre-Depends"]) if deb else ""
    values = {
        "base": {"name": base.name, "digest": base.digest, "sha256": base.sha256},
        "deb": fields,
        "packages": sorted(packages),
        **({"snapshot": asked.snapshot} if asked.snapshot else {}),
    }
    return inputs.of(values, code=[Path(__file__)])


def needed(
    base: CachedBase, deb: Path | None, packages: Sequence[str], log: Path, asked: Request = USUAL
) -> list[Archived]:
    """Have in the cache what a base lacks for a .deb and some packages, and the base's updates.

    The day's answer is kept too, and where the archive can't be reached, that of an earlier day counts.

    :return: the files, sorted.
    :raises BuildError: the archive can't be reached, or something can't be installed.
    """
    store = _store()
    store.mkdir(parents=True, exist_ok=True)
    made_from = question(base, deb, packages, asked)
    stem, day = made_from.digest[:16], time.strftime("%Y-%m-%d", time.gmtime())
    with cache.lock(store / "lock", "downloading packages"):
        # None at all is an answer too: a composed base has all of them in it.
        known = None if asked.fresh else _answer(store, store / f"{stem}.{day}.list")
        if known is not None:
            return known
        _forget_old(store)
        found: list[Archived] = []
        with (
            step("Downloading packages", lambda: f"Downloaded {len(found)} packages") as now,
            scratch(store, log) as asking,
        ):
            try:
                found = _resolve(base, deb, packages, store, asking, now, asked.snapshot)
            except _UnreachableError as error:
                earlier = None if asked.fresh else _earlier(store, stem)
                if earlier is None:
                    raise
                found, of = earlier
                say(f"WARNING: {error.message}; taking the packages of {of}")
                return found
        made_from.write(store / f"{stem}.{inputs.SUFFIX}")
        cache.write_text(store / f"{stem}.{day}.list", "".join(f"{one.name} {one.sha256}\n" for one in found))
        return found


def look_for(base: ComposedBase, packages: Sequence[str], asked: Request = USUAL) -> None:
    """See that the archive of a base has some packages, before the base is composed with them in it.

    Names that were found are kept. Where the archive can't be reached, composing will say so, if it has to.

    :raises BuildError: one is not there.
    """
    store, lines, day = _store(), compose.all_archives(base), asked.snapshot
    store.mkdir(parents=True, exist_ok=True)
    known = store / f"{cache.digest(lines, base.architecture, day)[:16]}.known"
    there = known.read_text().split() if known.exists() and not asked.fresh else []
    if not (unknown := sorted({*packages}.difference(there))):
        return
    apt, names = program("apt-get", "apt"), " ".join(unknown)
    with (
        step(f"Looking for {names} in the archive", f"Looked for {names}"),
        cache.scratch(store) as own,
    ):
        work = Work.at(own)
        # Of a system with nothing on it.
        empty = work / "base"
        (empty / "apt").mkdir(parents=True)
        (empty / "apt/sources.list").write_text("".join(f"{line}\n" for line in lines))
        (empty / "status").touch()
        of = CachedBase(empty, base.name, base.architecture, base.user, digest="", sha256="", made="")
        env = {"APT_CONFIG": str(_configured(of, work, day))}
        try:
            _update(apt, env, "", work)
        except _UnreachableError as error:
            detail(f"The archive can't be asked: {error.message}")
            return
        for name in unknown:
            try:
                # A log of its own: of each, the first error counts.
                Work(own, own / f"{name}.log").run(
                    [apt, "--simulate", "--no-install-recommends", "install", name], env=env
                )
            except BuildError as error:
                if (clear := absent.named(error, [name], base.name)) is not error:
                    raise clear from error
    cache.write_text(known, "".join(f"{name}\n" for name in sorted({*there, *unknown})))


class _UnreachableError(BuildError):
    """The archive's indexes can't be had."""


def _answer(store: Path, answer: Path) -> list[Archived] | None:
    """What was found out before; None where a file of it is not there, or damaged."""
    if not answer.exists():
        return None
    found = [Archived(*line.split()) for line in answer.read_text().splitlines()]
    missing = [one for one in found if not _is_whole(store, one)]
    return found if not missing else None


def _earlier(store: Path, stem: str) -> tuple[list[Archived], str] | None:
    for answer in sorted(store.glob(f"{stem}.*.list"), reverse=True):
        found = _answer(store, answer)
        if found is not None:
            return found, answer.suffixes[-2].lstrip(".")
    return None


def _place(store: Path, package: Archived) -> Path:
    return store / "debs" / f"{package.sha256}.deb"


def _is_whole(store: Path, package: Archived) -> bool:
    """Whether a package is in the pool; one that is damaged goes. What is used is kept longer."""
    file = _place(store, package)
    if not file.exists():
        return False
    if cache.sha256_file(file) != package.sha256:
        say(f"WARNING: {package.name} in the pool is damaged; fetching it anew")
        file.unlink()
        return False
    os.utime(file)
    return True


def prepare(
    base: CachedBase, deb: Path | None, packages: Sequence[str], to: Path, work: Work, asked: Request = USUAL
) -> None:
    """Fill a directory with a flat apt repository: the .deb, the packages, all they need, and updates.

    :param to: an existing directory, where ``Packages.gz`` and the .debs are put (links where possible).
    :raises BuildError: as :func:`needed`.
    """
    wanted = needed(base, deb, packages, work.log, asked)
    store = _store()
    with (
        cache.lock(store / "lock", "repacking packages"),
        step("Repacking packages", "Repacked packages") as now,
    ):
        for done, one in enumerate(wanted):
            now.update(one.name, done / len(wanted))
            _link(_repacked(_place(store, one), store / "zstd"), to / one.name)
    if deb:
        shutil.copy(deb, to / deb.name)
    index = output([program("apt-ftparchive", "apt-utils"), "packages", to])
    # apt wants paths relative to the repository, apt-ftparchive prints them as it was given them.
    index = index.replace(f"Filename: {to}/", "Filename: ./")
    (to / "Packages.gz").write_bytes(gzip.compress(index.encode(), compresslevel=1, mtime=0))


def _store() -> Path:
    return paths.cache_dir() / "pool"


def as_disk(directory: Path, image: Path, work: Work) -> None:
    """Write a directory's files into an ext4 file system in a file of its own, labelled ``pool``."""
    size = sum(path.stat().st_size for path in directory.iterdir())
    with image.open("wb") as out:
        out.truncate(size + size // 10 + _DISK_OVERHEAD)
    work.run([program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-L", "pool", "-d", directory, image])


def _repacked(deb: Path, store: Path) -> Path:
    """The same package with its members packed by zstd, kept in a directory.

    To unpack xz is quick here, and a good part of an installation under emulation. A .deb is an
    ar(5) archive of debian-binary, control.tar and data.tar, the last two packed or not (deb(5)).
    """
    repacked = store / deb.name
    noted = repacked.with_suffix(".sha256")
    if repacked.exists() and noted.exists() and cache.sha256_file(repacked) == noted.read_text():
        os.utime(repacked)
        return repacked
    store.mkdir(exist_ok=True)
    part = repacked.with_suffix(".part")
    try:
        with deb.open("rb") as source, part.open("wb") as out:
            _repack(source, out)
    except (ValueError, EOFError, subprocess.CalledProcessError) as error:
        part.unlink(missing_ok=True)
        deb.unlink()
        raise BuildError(
            f"{deb.name} is not a Debian package, or it is damaged: {error}",
            "It is removed: run it again to fetch it anew",
        ) from error
    cache.write_text(noted, cache.sha256_file(part))
    part.replace(repacked)
    return repacked


def _repack(source: BinaryIO, out: BinaryIO) -> None:
    """:raises ValueError: it is no archive; or another error of its members."""
    if source.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise ValueError("it does not begin as one")
    out.write(_AR_MAGIC)
    while header := source.read(_AR_HEADER):
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        content = source.read(size)
        if len(content) != size:
            raise EOFError("it ends too early")
        source.read(size % 2)
        stem, _, kind = name.rpartition(".")
        if kind in _UNPACKERS:
            content = _filter([_UNPACKERS[kind].path, "-dc"], content)
            name, content = f"{stem}.zst", _filter([_PACKER.path, "-q", "-3", "-c"], content)
        out.write(f"{name:<16}".encode() + header[16:48] + f"{len(content):<10}`\n".encode() + content)
        out.write(b"\n" * (len(content) % 2))


def _filter(command: Sequence[str], content: bytes) -> bytes:
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy(source, target)


def _forget_old(store: Path) -> None:
    oldest = time.time() - _KEEP_DAYS * 86400
    # Each has the time of its last use.
    kinds = ("*.list", "*.known", "*.json", "*/*.deb", "*/*.sha256")
    for path in [path for kind in kinds for path in store.glob(kind)]:
        if path.stat().st_mtime < oldest:
            path.unlink()


def _resolve(
    base: CachedBase,
    deb: Path | None,
    packages: Sequence[str],
    store: Path,
    work: Work,
    now: Step,
    day: str,
) -> list[Archived]:
    """Let apt download what the base lacks, into the pool."""
    archives = work / "archives"
    config = _configured(base, work, day)
    env = {"APT_CONFIG": str(config), "DEBIAN_FRONTEND": "noninteractive"}
    hint = f"Is the archive reachable? The whole log: {work.log}"
    apt = program("apt-get", "apt")
    now.update("the archive's indexes")
    _update(apt, env, hint, work)
    now.update("the packages")
    install = ["install", "--no-install-recommends", *([str(deb.resolve())] if deb else []), *packages]
    actions = (["dist-upgrade"], install)
    try:
        wanted = sorted({one for action in actions for one in _files(apt, action, config)})
    except BuildError as error:
        raise absent.named(error, packages, base.name) from error
    for one in wanted:
        # apt takes what it finds under a name that is as long as it should be.
        if _is_whole(store, one):
            _link(_place(store, one), archives / one.name)
    for action in actions:
        work.run([apt, "--yes", "--download-only", *action], env=env, hint=hint)
    (store / "debs").mkdir(exist_ok=True)
    for one in wanted:
        if not _place(store, one).exists():
            _keep(archives / one.name, _place(store, one), one, hint)
    return wanted


def _update(apt: str, env: dict[str, str], hint: str, work: Work) -> None:
    """Have the archive's indexes.

    :raises _UnreachableError: they can't be had.
    """
    try:
        work.run([apt, "update", "--error-on=any"], env=env, hint=hint)
    except BuildError as error:
        raise _UnreachableError(error.message, error.hint) from error


def _configured(base: CachedBase, work: Work, day: str) -> Path:
    """What apt is to go by, to answer for a base: a file of its configuration."""
    config, pins, archives = work / "apt.conf", work / "preferences", work / "archives"
    for directory in ("lists/partial", "cache", "archives/partial"):
        (work / directory).mkdir(parents=True)
    # How the host reaches archives (proxies, certificates), and nothing else of its configuration.
    host = output([program("apt-config", "apt"), "dump", "Acquire"]).splitlines()
    reach = [line for line in host if line.startswith(("Acquire::http", "Acquire::https", "Acquire::Check"))]
    status = base.dpkg_status.read_text(errors="replace")
    # Of packages too that are beside the system's own: they are upgraded together.
    architectures = {base.architecture, *re.findall(r"(?m)^Architecture: (?!all$)(\S+)$", status)}
    own = base.apt / "preferences"
    pinned = [own.read_text()] if own.is_file() else []
    if base.hold:
        # One with a negative priority is never installed, and what is installed stays.
        pinned.append(f"Package: {' '.join(base.hold)}\nPin: release *\nPin-Priority: -1\n")
    pins.write_text("\n\n".join(pinned))
    # Phased: Ubuntu hands updates out bit by bit, by a machine's identity. This one's is not the image's.
    config.write_text(
        "\n".join(reach)
        + f"""
Acquire::Languages "none";
Acquire::ForceHash "SHA256";
APT::Architecture "{base.architecture}";
APT::Architectures {{ {" ".join(f'"{name}";' for name in sorted(architectures))} }};
APT::Get::Never-Include-Phased-Updates "true";
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "{"false" if day else "true"}";
Dir::Etc "{_sources(base, work, day)}";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "{pins}";
Dir::State "{work.directory}";
Dir::State::status "{base.dpkg_status}";
Dir::Cache "{work.directory}/cache";
Dir::Cache::archives "{archives}";
"""
    )
    return config


def _sources(base: CachedBase, work: Work, day: str) -> Path:
    """The base's /etc/apt, whose archives are those of a day if there is one."""
    if not day:
        return base.apt
    etc = work / "etc"
    shutil.copytree(base.apt, etc, symlinks=True)
    for file in [etc / "sources.list", *etc.glob("sources.list.d/*")]:
        if file.is_file():
            file.write_text(snapshot.sources(file.read_text(errors="replace"), day))
    return etc


def _keep(file: Path, to: Path, package: Archived, hint: str) -> None:
    if not file.exists() or cache.sha256_file(file) != package.sha256:
        raise BuildError(f"apt did not download {package.name} as its archive lists it", hint)
    # apt gives a file the date of its publication; here it counts when it came.
    os.utime(file)
    file.replace(to)


def _files(apt: str, action: Sequence[str], config: Path) -> list[Archived]:
    """The archive's files that an apt-get action would use, also those that are downloaded already."""
    empty = config.parent / "empty"
    (empty / "partial").mkdir(parents=True, exist_ok=True)
    printed = output(
        [apt, "--yes", "--print-uris", "-qq", "-o", f"Dir::Cache::archives={empty}", *action],
        env={"APT_CONFIG": str(config)},
    )
    # 'URI' FILE SIZE KIND:HASH; a local file has no URI to fetch.
    rows = [line.split() for line in printed.splitlines() if line.startswith("'")]
    return [
        Archived(row[1], row[3].removeprefix("SHA256:"))
        for row in rows
        if row[0].startswith(("'http", "'https", "'mirror", "'ftp"))
    ]
