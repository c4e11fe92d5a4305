"""A publisher's disk image: found, downloaded, believed only when signature and checksum are right."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder import cache, download, paths, signature
from builder.definition import FILE, DownloadedBase
from builder.errors import BuildError
from builder.mirrors import mirrored
from builder.progress import say, step

_TAMPERED = "Do not use it: it was changed on the way or at its source. Compare with the publisher's sums"


@dataclass(frozen=True)
class Verified:
    """A file that is what its publisher made."""

    file: Path
    source: dict[str, str]
    """For the manifest: url, sha256, and signed_by where a key signed it."""


def obtain(base: DownloadedBase, given: Path | None = None) -> Verified:
    """Have a base's file in the cache, checked.

    The signature first, then the checksum that it covers, then the file. A publisher that signs the
    image itself has that checked before its checksum.

    :param given: this file instead of a download; signature and checksums are looked for beside it,
        and downloaded if they are not there.
    :raises BuildError: it can't be had, or anything of it is not right; nothing of it is kept then.
    """
    store = paths.cache_dir() / "downloads" / base.name
    store.mkdir(parents=True, exist_ok=True)
    if given and not given.is_file():
        raise BuildError(f"there is no file {given}", "Name the publisher's image, as it was downloaded")
    url = _address(base, given)
    name = given.name if given else url.rpartition("/")[2]
    # Each address has a directory of its own: two days' files may have one name.
    kept = store / cache.key(url)[:16]
    kept.mkdir(exist_ok=True)
    for other in store.iterdir():
        if other != kept:
            shutil.rmtree(other, ignore_errors=True)
    file = kept / name
    sums, signed = (pattern.replace(FILE, name) for pattern in (base.sums, base.signature))
    wanted = base.sha256
    if base.sums:
        for small in (sums, signed):
            _have_small(url, small, kept, given)
        if base.signs_sums:
            with _forgotten_if_wrong(kept / sums, kept / signed):
                signature.verify(kept / sums, kept / signed, base.key)
        wanted = _sum_of(kept / sums, name)
    if given:
        shutil.copyfile(given, file)
    elif not file.exists():
        download.fetch(url, file)
    with _forgotten_if_wrong(kept), step(f"Checking {name}", f"Checked {name}"):
        if base.sums and not base.signs_sums:
            signature.verify(file, kept / signed, base.key)
        found = cache.sha256_file(file)
        if found != wanted:
            raise BuildError(
                f"{given or url} has the checksum {found[:16]}..., not {wanted[:16]}... as "
                + ("its publisher says" if base.sums else "its definition says"),
                _TAMPERED,
            )
    source = {"url": url, "sha256": found}
    return Verified(file, {**source, "signed_by": base.key} if base.key else source)


def _address(base: DownloadedBase, given: Path | None) -> str:
    """Where the file is, or where it would be."""
    beside = [base.sums, base.signature]
    if given and all((given.parent / name.replace(FILE, given.name)).exists() for name in beside if name):
        return given.resolve().as_uri()
    return download.newest(base.url) if base.sums else mirrored(base.url)


def _have_small(url: str, name: str, kept: Path, given: Path | None) -> None:
    beside = given.parent / name if given else None
    if beside and beside.exists():
        shutil.copyfile(beside, kept / name)
        return
    if not (kept / name).exists():
        address = f"{url.rpartition('/')[0]}/{name}"
        cache.write_bytes(kept / name, download.small(address))


def _sum_of(sums: Path, name: str) -> str:
    """The SHA-256 that a file of checksums has for a name (sha256sum(1): HEX, space, space or *, NAME)."""
    for line in sums.read_text(errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line.strip())
        if match and match[2] == name:
            return match[1].lower()
    raise BuildError(
        f"{sums.name} has no checksum for {name}", "Is it the file's own name, and the same day's?"
    )


@contextmanager
def _forgotten_if_wrong(*files: Path) -> Iterator[None]:
    """What was found out to be wrong is fetched anew next time."""
    try:
        yield
    except BuildError:
        for path in files:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        say("Nothing of it is kept")
        raise
