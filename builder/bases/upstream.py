"""A publisher's disk image: found, downloaded, believed only when signature and checksum are right."""

import contextlib
import itertools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.bases import download, signature
from builder.core import cache, paths
from builder.core.errors import BuildError, NotThere
from builder.core.mirrors import mirrored
from builder.core.progress import say, step
from builder.defs.definition import FILE, DownloadedBase

_TAMPERED = "Do not use it: it was changed on the way or at its source. Compare with the publisher's sums"
_ANOTHER_DAY = (
    "Either it is of another day than these checksums, or it was changed on the way: do not use it then"
)
_KINDS = {64: "sha256", 128: "sha512"}
"""Of checksums, by the number of their hexadecimal digits."""
_DATES = 3
"""How many of the newest are looked at for one that is published whole."""


class _WrongError(BuildError):
    """Something is not what its publisher made."""


@dataclass(frozen=True)
class Verified:
    """A file that is what its publisher made."""

    file: Path
    source: dict[str, str]
    """For the manifest: url (or file, the name of one that was given), sha256, and signed_by where a key
    signed it."""


def obtain(base: DownloadedBase, given: Path | None = None) -> Verified:
    """Have a base's file in the cache, checked.

    The key first, then the signature, then the checksum that it covers, then the file. A publisher that
    signs the image itself has that checked before its checksum. Where the newest is published by half,
    the one before is taken.

    :param given: this file instead of a download; signature and checksums are looked for beside it,
        and downloaded if they are not there.
    :raises BuildError: it can't be had, or anything of it is not right. What is wrong is not kept, and
        what was right before is.
    """
    store = paths.cache_dir() / "downloads" / base.name
    store.mkdir(parents=True, exist_ok=True)
    if given and not given.is_file():
        raise BuildError(f"there is no file {given}", "Name the publisher's image, as it was downloaded")
    if base.key:
        signature.keys_of(base.key)
    if given and all((given.parent / name).exists() for name in _beside(base, given.name)):
        return _forget_others(store, _checked(base, store, "", given))
    if not base.sums:
        return _forget_others(store, _checked(base, store, mirrored(base.url), given))
    urls = download.dated(base.url)
    if given:
        return _forget_others(store, _of_some_day(base, store, urls, given))
    return _forget_others(store, _newest(base, store, urls[:_DATES]))


def _beside(base: DownloadedBase, name: str) -> list[str]:
    return [pattern.replace(FILE, name) for pattern in (base.sums, base.signature) if pattern]


def _newest(base: DownloadedBase, store: Path, urls: list[str]) -> Verified:
    """The newest that is there as a whole."""
    for url, another in itertools.zip_longest(urls, urls[1:]):
        try:
            return _checked(base, store, url, None)
        except NotThere as error:
            if another is None:
                raise
            say(f"WARNING: {error.message}: it is published by half; taking the one before")
    raise AssertionError


def _of_some_day(base: DownloadedBase, store: Path, urls: list[str], given: Path) -> Verified:
    """A file that was given, as the checksums of the day that it is of have it."""
    found = {cache.sum_file(given, kind) for kind in _KINDS.values()}
    for url in urls:
        directory = _directory(store, url)
        with contextlib.suppress(NotThere):
            sums, _ = _have_sums(base, url, directory, given.name, None)
            if _sum_of(sums, given.name) in found:
                return _checked(base, store, url, given)
    raise BuildError(
        f"{given} is none that its publisher offers by now",
        f"Put {' and '.join(_beside(base, given.name))} of its day beside it; if they are: do not use it",
    )


def _directory(store: Path, of: str) -> Path:
    """Each address has a directory of its own: two days' files may have one name."""
    directory = store / cache.digest(of)[:16]
    directory.mkdir(exist_ok=True)
    return directory


def _forget_others(store: Path, verified: Verified) -> Verified:
    for other in store.iterdir():
        if other != verified.file.parent:
            shutil.rmtree(other, ignore_errors=True)
    return verified


def _have_sums(
    base: DownloadedBase, url: str, kept: Path, name: str, given: Path | None
) -> tuple[Path, Path | None]:
    """The publisher's checksums and the signature, checked where it is theirs; None where there is none."""
    for small in _beside(base, name):
        _have_small(url, small, kept, given)
    sums = kept / base.sums.replace(FILE, name)
    if not base.signed:
        say(f"WARNING: {base.name}: its publisher signs nothing. That {sums.name} came by https is all")
        return sums, None
    signed = kept / base.signature.replace(FILE, name)
    if base.signs_sums:
        with _forgotten_if_wrong(sums, signed):
            signature.verify(sums, signed, base.key)
    return sums, signed


def _checked(base: DownloadedBase, store: Path, url: str, given: Path | None) -> Verified:
    """Have the file of an address, or one that was given, and check it. :param url: none if all is given."""
    name = given.name if given else url.rpartition("/")[2]
    kept = _directory(store, url or f"given/{name}")
    file = kept / name
    wanted, signed = base.sha256, None
    if base.sums:
        sums, signed = _have_sums(base, url, kept, name, given if not url else None)
        wanted = _sum_of(sums, name)
    if given:
        shutil.copyfile(given, file)
    elif not file.exists():
        download.fetch(url, file)
    with _forgotten_if_wrong(kept), step(f"Checking {name}", f"Checked {name}"):
        if signed and not base.signs_sums:
            signature.verify(file, signed, base.key)
        found = cache.sum_file(file, _KINDS[len(wanted)])
        if found != wanted:
            raise _WrongError(
                f"{given or url} has the checksum {found[:16]}..., not {wanted[:16]}... as "
                + ("its publisher says" if base.sums else "its definition says"),
                _ANOTHER_DAY if given else _TAMPERED,
            )
    source = {**({"url": url} if url else {"file": name}), "sha256": cache.sha256_file(file)}
    return Verified(file, {**source, "signed_by": base.key} if base.key else source)


def _have_small(url: str, name: str, kept: Path, given: Path | None) -> None:
    beside = given.parent / name if given else None
    if beside and beside.exists():
        shutil.copyfile(beside, kept / name)
        return
    if not (kept / name).exists():
        address = f"{url.rpartition('/')[0]}/{name}"
        cache.write_bytes(kept / name, download.small(address))


def _sum_of(sums: Path, name: str) -> str:
    """The SHA-256 or SHA-512 that a file of checksums has for a name (sha256sum(1): HEX, space, space or
    *, NAME)."""
    for line in sums.read_text(errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{128}) [ *](?:\./)?(.+)", line.strip())
        if match and match[2] == name:
            return match[1].lower()
    raise NotThere(
        f"{sums.name} has no checksum for {name}", "Is it the file's own name, and the same day's?"
    )


@contextmanager
def _forgotten_if_wrong(*files: Path) -> Iterator[None]:
    """What was found out to be wrong is fetched anew next time."""
    try:
        yield
    except (_WrongError, signature.BadSignatureError):
        for path in files:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        say("Nothing of it is kept")
        raise
