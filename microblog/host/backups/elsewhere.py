"""``microblog backup --to``: each backup in a second place, encrypted, what is there already only once.

What is sent is the local backup's file, unpacked: packed, a changed row would change all that follows.
The local file stays, whatever becomes of the other.
"""

import gzip
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from microblog.errors import HostError
from microblog.host.backups import archive, backup, journal, key, places, restic
from microblog.host.backups.places import Access, Place
from microblog.host.backups.progress import Progress, span
from microblog.host.machine import apt, files, layout, privileges

# So called that setup deletes it at the boot after a power cut; of a process's own, for others fetch, too.
_FETCHED = ".microblog-elsewhere-{}.partial"
_PIECE = 2**20
_SPARE_BYTES = 32 * 2**20
# The least work for the processor: the file is read once and deleted.
_LEVEL = 1


@dataclass(frozen=True)
class Chosen:
    """Where this machine's backups go.

    :ivar shown: whether somebody has seen the key.
    :ivar by_root: chosen on the command line. What was chosen in a browser gets nothing that root alone
        may read: neither is the certificate's key sent there.
    """

    place: Place
    access: Access
    shown: bool
    by_root: bool = True


def chosen() -> Chosen | None:
    """:return: None, if backups stay on this machine.

    :raises HostError: if what is written about it cannot be read.
    """
    path = places.FOLDER / "where.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}", "mend that, and try again") from None
    try:
        found = json.loads(text)
        words = (places.FOLDER / "key").read_text(encoding="utf-8").strip()
        access = Access(words, found["secrets"])
        return Chosen(places.of(found["address"]), access, bool(found["shown"]), found.get("by_root", True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(f"{path} cannot be read: {error}", "microblog backup --to writes it anew") from None


def choose(
    address: str,
    say: Callable[[str], None],
    *,
    secrets: Mapping[str, str] | None = None,
    words: str = "",
    by_root: bool = True,
) -> Chosen:
    """Have backups go to a place from now on; a repository is made there where there is none.

    :param secrets: values of the place's :attr:`Place.secrets`; if not given, those known for
        the same address.
    :param words: the key of a repository that is there; who gives it has it.
    :param by_root: as :class:`Chosen` has it. What root has chosen, nobody else changes; and of one that
        was chosen in a browser, somebody else may know the key.
    :raises restic.WrongKey: there is one, and its key is not known here, or another.
    :raises HostError: what was chosen before stays.
    """
    privileges.require_root("say where backups go", "sudo microblog backup --to")
    place = places.of(address)
    before = _before()
    same = before is not None and before.place == place
    if not by_root:
        # What cannot be read may be root's.
        see_not_roots(chosen())
    if before and not (same or before.shown) and journal.read().get("sent"):
        raise HostError(
            f"nobody has the recovery sheet of {before.place.address} yet: what was sent there could not be"
            " opened any more",
            f"microblog backup --sheet FILE.html writes it; then: microblog backup --to {place.address}",
        )
    if before and same:
        secrets, words = secrets or before.access.secrets, words or before.access.key
        if by_root and not before.by_root:
            say(f"{address} was chosen in a browser: the certificate is not sent there, as to another place")
        by_root = by_root and before.by_root
    access = Access(key.read(words) if words else key.new(), dict(secrets or {}))
    _see_secrets(place, access)
    apt.ensure(say, *place.packages)
    place.prepare()
    shown = before.shown if before and same else bool(words)
    now = Chosen(place, access, shown, by_root)
    with place.opened() as opened:
        repository = restic.Repository(place, opened, access)
        try:
            there = repository.exists()
        except restic.WrongKey as error:
            if words:
                raise
            raise restic.WrongKey(
                f"there is a repository at {place.address} already",
                "its key is needed, from its recovery sheet",
            ) from error
        if not there and words and not same:
            raise restic.Missing(
                f"there is no repository at {place.address} that the key would open",
                "see that the address is right; without a key, one is made",
            )
        # The key first: a repository whose key is lost is lost.
        _write(now)
        if not there:
            try:
                repository.make()
            except HostError:
                _write(before)
                raise
            say(f"Made a repository at {place.address}")
    journal.note(sent=None if not same else journal.read().get("sent"))
    journal.done("send")
    return now


def see_not_roots(before: Chosen | None) -> None:
    """:raises HostError: root has said where backups go."""
    if before and before.by_root:
        raise HostError(
            "where backups go was said on the command line, and is changed there alone",
            f"sudo microblog backup --to {before.place.address}, or --off, or --sheet",
        )


def off(*, by_root: bool = True) -> bool:
    """Send backups nowhere else any more; what is there stays.

    :return: whether they were sent.
    """
    privileges.require_root("say where backups go", "sudo microblog backup --off")
    before = _before()
    if not by_root:
        # What cannot be read may be root's.
        see_not_roots(chosen())
    if before and not before.shown:
        raise HostError(
            "nobody has the recovery sheet yet: what is there could not be opened any more",
            "microblog backup --sheet FILE.html writes it; then: microblog backup --off",
        )
    # An SSH key that another machine knows stays, for the next time.
    _write(None)
    journal.note(sent=None)
    journal.done("send")
    return before is not None


def seen() -> None:
    """Somebody has the key now."""
    if now := chosen():
        _write(replace(now, shown=True))


def send(path: Path, manifest: Mapping[str, Any], say: Callable[[str], None]) -> str:
    """Send a backup's file to the chosen place, and let go there of what the rule does not keep.

    :param manifest: the backup's.
    :return: the beginning of the snapshot's id; empty, if no place is chosen.
    :raises HostError: the file stays, and so does what is there.
    """
    now = chosen()
    if now is None:
        return ""
    try:
        with _opened(now.place, now.access, say) as repository:
            try:
                snapshot = _send(repository, path, manifest, now, say)
            except restic.Full:
                # What it could not finish takes room, until then.
                with suppress(HostError):
                    repository.tidy()
                raise
            repository.forget()
    except HostError as error:
        journal.failed("send", error)
        raise
    return snapshot


def _send(
    repository: restic.Repository,
    path: Path,
    manifest: Mapping[str, Any],
    now: Chosen,
    say: Callable[[str], None],
) -> str:
    progress = Progress("Sending", sum(member["size"] for member in manifest["members"].values()), say)
    digest = hashlib.sha256()

    def feed(write: Callable[[bytes], object]) -> None:
        def give(data: bytes) -> int:
            digest.update(data)
            write(data)
            progress.add(len(data))
            return len(data)

        if not now.by_root:
            sink = cast(BinaryIO, _Sink(give))
            with path.open("rb") as file:
                archive.copy(file, sink, without=backup.TLS_MEMBERS, packed=False)
            return
        with gzip.open(path) as unpacked:
            while data := unpacked.read(_PIECE):
                give(data)

    try:
        snapshot = repository.save(feed)
    except (OSError, EOFError) as error:
        raise HostError(f"{path} cannot be read: {error}", "microblog backup makes another") from None
    journal.done(
        "send",
        sent={
            "when": time.time(),
            "snapshot": snapshot,
            "bytes": progress.done,
            "sha256": digest.hexdigest(),
        },
    )
    say(f"Sent to {now.place.address}: {progress.done / 2**20:.1f} MiB in {span(progress.seconds())}")
    return snapshot


class _Sink:
    """As much of a file as a tar needs: what is written is given to a function."""

    def __init__(self, give: Callable[[bytes], int]) -> None:
        self.write = give

    def tell(self) -> int:
        return 0


@contextmanager
def fetched(
    place: Place, access: Access, say: Callable[[str], None], *, snapshot: str = ""
) -> Iterator[tuple[Path, restic.Snapshot, str]]:
    """A backup from a repository, as a file of this machine's; deleted again at the end.

    :param snapshot: its id's beginning; empty: the newest.
    :return: the file, unchecked; the snapshot; the SHA-256 of its content.
    :raises HostError: if there is none, no room for it, or the repository is damaged.
    """
    privileges.require_root("read backups", "sudo microblog restore --from")
    layout.BACKUPS.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = layout.BACKUPS / _FETCHED.format(os.getpid())
    try:
        with _opened(place, access, say) as repository:
            wanted = _pick(repository, place, snapshot)
            digest = _fetch(repository, wanted, path, say)
        yield path, wanted, digest
    finally:
        path.unlink(missing_ok=True)


def snapshots(place: Place, access: Access, say: Callable[[str], None]) -> list[restic.Snapshot]:
    """What is in a repository, oldest first, with sizes."""
    privileges.require_root("read backups", "sudo microblog restore --from")
    with _opened(place, access, say) as repository:
        return repository.sized()


def tidy(now: Chosen, say: Callable[[str], None]) -> None:
    """Weekly: give back the room of what was let go, and check the repository's structure."""
    with _opened(now.place, now.access, say) as repository:
        repository.tidy()


def _fetch(
    repository: restic.Repository, wanted: restic.Snapshot, path: Path, say: Callable[[str], None]
) -> str:
    size = repository.size(wanted.id)
    needed, free = size // 2 + _SPARE_BYTES, shutil.disk_usage(path.parent).free
    if free < needed:
        raise HostError(
            f"{path.parent} has {free // 2**20} MiB free, {needed // 2**20} MiB are needed",
            "nothing was changed: delete something there, and try again",
        )
    say(f"Fetching the backup of {wanted.made()} by {wanted.host}: {size / 2**20:.1f} MiB")
    progress, digest = Progress("Fetching", size, say), hashlib.sha256()
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=raw) as file:

                def take(data: bytes) -> None:
                    # A repository that somebody has made may say one size, and have another.
                    if progress.done + len(data) > size:
                        raise HostError(
                            "the backup there is larger than it says", "take another one: --snapshot"
                        )
                    if shutil.disk_usage(path.parent).free < _SPARE_BYTES:
                        raise HostError(
                            f"{path.parent} has no room for it", "delete something there, and try again"
                        )
                    digest.update(data)
                    file.write(data)
                    progress.add(len(data))

                repository.load(wanted.id, take)
            raw.flush()
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "mend that, and try again") from None
    return digest.hexdigest()


def _pick(repository: restic.Repository, place: Place, snapshot: str) -> restic.Snapshot:
    every = repository.snapshots()
    found = [one for one in every if one.id.startswith(snapshot)] if snapshot else every[-1:]
    if len(found) != 1:
        raise HostError(
            f"there is no backup {snapshot} at {place.address}".replace("  ", " "),
            "microblog restore --from REPOSITORY --list tells what is there",
        )
    return found[0]


@contextmanager
def _opened(place: Place, access: Access, say: Callable[[str], None]) -> Iterator[restic.Repository]:
    _see_secrets(place, access)
    apt.ensure(say, *place.packages)
    with place.opened() as opened:
        yield restic.Repository(place, opened, access)


def _see_secrets(place: Place, access: Access) -> None:
    for name in place.secrets:
        if not access.secrets.get(name):
            raise HostError(f"{place.address} needs {name}", f"give it in the environment: {name}=...")


def _before() -> Chosen | None:
    with suppress(HostError):
        return chosen()
    return None


def _write(now: Chosen | None) -> None:
    where, words = places.FOLDER / "where.json", places.FOLDER / "key"
    if now is None:
        where.unlink(missing_ok=True)
        words.unlink(missing_ok=True)
        return
    places.FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(words, f"{now.access.key}\n", 0o600)
    text = {
        **{"address": now.place.address, "secrets": dict(now.access.secrets)},
        **{"shown": now.shown, "by_root": now.by_root},
    }
    files.write(where, json.dumps(text, indent=1) + "\n", 0o600)
