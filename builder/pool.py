"""Everything a bake installs, resolved and downloaded on the host.

The host's apt works out, from the base's own package list, archives and keys, what an
installation would fetch; it verifies signatures and checksums as ever. The bake then installs
from a flat repository of just these files, on a disk of its own. So the emulated machine neither
downloads nor parses the archive's indexes, and a second bake needs no network.
"""

import gzip
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from builder import cache, paths
from builder.base import CachedBase
from builder.command import output, program, run
from builder.errors import BuildError
from builder.needs import Program
from builder.progress import Step, step

_KEEP_DAYS = 30
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_UNPACKERS = {"xz": Program("xz", "xz-utils"), "gz": Program("gzip", "gzip")}
_PACKER = Program("zstd", "zstd")
_DISK_OVERHEAD = 16 << 20


def key(base: CachedBase, deb: Path | None, packages: Sequence[str], day: str) -> str:
    """Hash of what decides which packages are needed. :param day: of the archive's indexes, ISO 8601."""
    dpkg_deb = program("dpkg-deb", "dpkg")
    fields = output([dpkg_deb, "--field", deb, "Depends", "Recommends", "Pre-Depends"]) if deb else ""
    return cache.key(base.key, base.sha256, fields, sorted(packages), day, files=[Path(__file__)])


def needed(
    base: CachedBase, deb: Path | None, packages: Sequence[str], log: Path, fresh: bool = False
) -> list[str]:
    """Have in the cache what a base lacks for a .deb and some packages, and the base's updates.

    The day's answer is kept too.

    :return: the names of the files, sorted.
    :raises BuildError: the archive can't be reached, or something can't be installed.
    """
    store = _store()
    archives = store / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    wanted = key(base, deb, packages, time.strftime("%Y-%m-%d", time.gmtime()))
    answer = store / f"{wanted[:16]}.list"
    with cache.lock(store / "lock", "downloading packages"):
        # None at all is an answer too: a composed base has all of them in it.
        known = answer.exists() and not fresh
        names = answer.read_text().split() if known else []
        if not known or not all((archives / name).exists() for name in names):
            _forget_old(store)
            with step("Downloading packages", lambda: f"Downloaded {len(names)} packages") as now:
                with cache.scratch(store) as work:
                    names = _resolve(base, deb, packages, archives, work, log, now)
                cache.write_text(answer, "\n".join(names) + "\n")
    return names


def prepare(
    base: CachedBase, deb: Path | None, packages: Sequence[str], to: Path, log: Path, fresh: bool = False
) -> None:
    """Fill a directory with a flat apt repository: the .deb, the packages, all they need, and updates.

    :param to: an existing directory, where ``Packages.gz`` and the .debs are put (links where possible).
    :raises BuildError: as :func:`needed`.
    """
    names = needed(base, deb, packages, log, fresh)
    store = _store()
    with (
        cache.lock(store / "lock", "repacking packages"),
        step("Repacking packages", "Repacked packages") as now,
    ):
        for done, name in enumerate(names):
            now.update(name, done / len(names))
            _link(_repacked(store / "archives" / name, store / "zstd"), to / name)
    if deb:
        shutil.copy(deb, to / deb.name)
    index = output([program("apt-ftparchive", "apt-utils"), "packages", to])
    # apt wants paths relative to the repository, apt-ftparchive prints them as it was given them.
    index = index.replace(f"Filename: {to}/", "Filename: ./")
    (to / "Packages.gz").write_bytes(gzip.compress(index.encode(), compresslevel=1, mtime=0))


def _store() -> Path:
    return paths.cache_dir() / "pool"


def as_disk(directory: Path, image: Path, log: Path) -> None:
    """Write a directory's files into an ext4 file system in a file of its own, labelled ``pool``."""
    size = sum(path.stat().st_size for path in directory.iterdir())
    with image.open("wb") as out:
        out.truncate(size + size // 10 + _DISK_OVERHEAD)
    run([program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-L", "pool", "-d", directory, image], log)


def _repacked(deb: Path, store: Path) -> Path:
    """The same package with its members packed by zstd, kept in a directory.

    To unpack xz is quick here, and a good part of an installation under emulation. A .deb is an
    ar(5) archive of debian-binary, control.tar and data.tar, the last two packed or not (deb(5)).
    """
    repacked = store / deb.name
    if not repacked.exists():
        store.mkdir(exist_ok=True)
        part = repacked.with_suffix(".part")
        with deb.open("rb") as source, part.open("wb") as out:
            if source.read(len(_AR_MAGIC)) != _AR_MAGIC:
                raise BuildError(f"{deb} is not a Debian package", f"Remove it: rm {deb}")
            out.write(_AR_MAGIC)
            while header := source.read(_AR_HEADER):
                name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
                content = source.read(size)
                source.read(size % 2)
                stem, _, kind = name.rpartition(".")
                if kind in _UNPACKERS:
                    content = _filter([_UNPACKERS[kind].path, "-dc"], content)
                    name, content = f"{stem}.zst", _filter([_PACKER.path, "-q", "-3", "-c"], content)
                out.write(
                    f"{name:<16}".encode() + header[16:48] + f"{len(content):<10}`\n".encode() + content
                )
                out.write(b"\n" * (len(content) % 2))
        part.replace(repacked)
    return repacked


def _filter(command: Sequence[str], content: bytes) -> bytes:
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy(source, target)


def _forget_old(store: Path) -> None:
    oldest = time.time() - _KEEP_DAYS * 86400
    for path in [*store.glob("*.list"), *store.glob("*/*.deb")]:
        if path.stat().st_mtime < oldest:
            path.unlink()


def _resolve(
    base: CachedBase,
    deb: Path | None,
    packages: Sequence[str],
    archives: Path,
    work: Path,
    log: Path,
    now: Step,
) -> list[str]:
    """Let apt download what the base lacks. Returns the files' names in ``archives``."""
    config, pins = work / "apt.conf", work / "preferences"
    for directory in ("lists/partial", "cache"):
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
APT::Architecture "{base.architecture}";
APT::Architectures {{ {" ".join(f'"{name}";' for name in sorted(architectures))} }};
APT::Get::Never-Include-Phased-Updates "true";
APT::Sandbox::User "root";
Dir::Etc "{base.apt}";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "{pins}";
Dir::State "{work}";
Dir::State::status "{base.dpkg_status}";
Dir::Cache "{work}/cache";
Dir::Cache::archives "{archives}";
"""
    )
    env = {"APT_CONFIG": str(config), "DEBIAN_FRONTEND": "noninteractive"}
    hint = f"Is the archive reachable? The whole log: {log}"
    apt = program("apt-get", "apt")
    now.update("the archive's indexes")
    run([apt, "update", "--error-on=any"], log, env=env, hint=hint)
    now.update("the packages")
    wanted: set[str] = set()
    install = ["install", "--no-install-recommends", *([str(deb.resolve())] if deb else []), *packages]
    for action in (["dist-upgrade"], install):
        run([apt, "--yes", "--download-only", *action], log, env=env, hint=hint)
        wanted.update(_names(apt, action, config))
    missing = [name for name in wanted if not (archives / name).exists()]
    if missing:
        raise BuildError(f"apt did not download {missing[0]}", hint)
    return sorted(wanted)


def _names(apt: str, action: Sequence[str], config: Path) -> list[str]:
    """The archive files that an apt-get action would use: of all, also those that are downloaded already."""
    empty = config.parent / "empty"
    (empty / "partial").mkdir(parents=True, exist_ok=True)
    printed = output(
        [apt, "--yes", "--print-uris", "-qq", "-o", f"Dir::Cache::archives={empty}", *action],
        env={"APT_CONFIG": str(config)},
    )
    # 'URI' FILE SIZE HASH; a local file has no URI to fetch.
    rows = [line.split() for line in printed.splitlines() if line.startswith("'")]
    return [row[1] for row in rows if row[0].startswith(("'http", "'https", "'mirror", "'ftp"))]
