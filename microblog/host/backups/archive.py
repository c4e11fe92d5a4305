"""A backup's file: a tar, gzip-packed, whose last member says what the others must be.

Any ``tar xzf`` opens it. ``manifest.json`` holds facts about the site and each member's size
and SHA-256; being last, it also tells a whole file from one that was cut short.
"""

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from microblog.errors import HostError

FORMAT = 1
MANIFEST = "manifest.json"
# What is read into memory at once; ours are smaller, a stranger's may claim anything.
MEMBER_MAX = 64 * 2**20
# A table's rows are in pieces of a MiB and more.
MEMBERS_MAX = 200_000
# Of what stands before a member, with its name, say.
_HEADER_MAX = 64 * 2**10
# The usual level: higher ones take several times as long for a few percent.
_LEVEL = 6


class _Header(tarfile.TarInfo):
    """One of a stranger's: those that tell of another member are read into memory, and taken apart."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if not (self.isfile() or self.isdir()) and self.size > _HEADER_MAX:
            raise tarfile.ReadError("a header in it is too large")
        return super()._proc_member(archive)  # type: ignore[misc]


class Writer:
    """Writes a backup to a file that is open for writing; nothing of it is kept in memory.

    :param packed: else it is the plain tar.
    """

    def __init__(self, file: BinaryIO, *, packed: bool = True) -> None:
        self._gzip = (
            gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file) if packed else None
        )
        self._tar = tarfile.TarFile(fileobj=self._gzip or file, mode="w", format=tarfile.PAX_FORMAT)
        self._members: dict[str, dict[str, Any]] = {}

    def add(self, name: str, data: bytes) -> None:
        self._members[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self._write(name, data)

    def close(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Write the manifest and end the archive; the file is the caller's to close.

        :return: the manifest.
        """
        manifest = {"format": FORMAT, **facts, "members": self._members}
        self._write(MANIFEST, json.dumps(manifest, indent=1).encode())
        self._tar.close()
        if self._gzip:
            self._gzip.close()
        return manifest

    def _write(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        # It holds secrets: unpacked too, it is its owner's alone.
        member.size, member.mode = len(data), 0o600
        self._tar.addfile(member, io.BytesIO(data))


def members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """The members of a backup in their order, the manifest last; unchecked.

    :raises HostError: if it is no such file, or damaged.
    """
    file.seek(0)
    try:
        with (
            gzip.GzipFile(fileobj=file, mode="rb") as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Header) as tar,
        ):
            for number, member in enumerate(tar):
                # Each is remembered; a small file can hold as many empty ones as there are.
                tar.members.clear()  # type: ignore[attr-defined]
                if number > MEMBERS_MAX:
                    raise _damaged("there are more parts in it than a backup has")
                if member.isdir():
                    continue  # as somebody's own tar adds them
                if not member.isfile() or member.size > MEMBER_MAX:
                    raise _damaged(f"{member.name[:80]!r} is nothing that a backup holds")
                content = tar.extractfile(member)
                data = content.read() if content else b""
                if len(data) != member.size:
                    raise _damaged("it is cut short")
                yield member.name, data
    # Headers that tell of headers are as deep as there are.
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, RecursionError) as error:
        raise _damaged(str(error) or "it is cut short") from None


def copy(file: BinaryIO, target: BinaryIO, *, without: Iterable[str], packed: bool = True) -> None:
    """Write a backup anew, without some of its members.

    :param target: needs to be able to write, and no more.
    :raises HostError: it is damaged; what was written is not whole then.
    """
    writer, facts = Writer(target, packed=packed), None
    for name, data in members(file):
        if name == MANIFEST:
            facts = read_manifest(data)
        elif name not in without:
            writer.add(name, data)
    if facts is None:
        raise HostError("the backup cannot be used: it has no manifest", "take another one")
    writer.close({key: value for key, value in facts.items() if key not in ("format", "members")})


def verify(file: BinaryIO) -> dict[str, Any]:
    """Read a backup to its end and check all of it against its manifest.

    :return: the manifest.
    :raises HostError: if anything is missing, changed, or of a later format.
    """
    found: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    for name, data in members(file):
        if manifest is not None:
            raise _damaged("something follows its manifest")
        if name in found:
            # Who restores might take the other one.
            raise _damaged(f"{name[:80]!r} is in it twice")
        if name == MANIFEST:
            manifest = read_manifest(data)
        else:
            found[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if manifest is None:
        raise _damaged("it has no manifest: it is cut short, or something else")
    if manifest.get("format") != FORMAT:
        raise HostError(
            f"the backup's format is {str(manifest.get('format'))[:20]!r}, this version reads {FORMAT}",
            "restore it with the version that made it, or a newer one",
        )
    expected = manifest.get("members")
    if not isinstance(expected, dict):
        raise _damaged("its manifest names no members")
    wrong = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
    if wrong:
        raise _damaged(f"{wrong[0][:80]!r} is not what it was")
    return manifest


def read_manifest(data: bytes) -> dict[str, Any]:
    """The manifest's member, unchecked.

    :raises HostError: if it cannot be read.
    """
    try:
        manifest = json.loads(data)
    # Brackets by the thousand are too deep for it.
    except (ValueError, RecursionError):
        raise _damaged("its manifest cannot be read") from None
    if not isinstance(manifest, dict):
        raise _damaged("its manifest cannot be read")
    return manifest


def _damaged(why: str) -> HostError:
    return HostError(f"the backup cannot be used: {why}", "take another one; nothing was changed")
