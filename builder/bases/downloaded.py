"""A base that its publisher offers as a disk image: fetched, unpacked, made fit for a bake."""

from pathlib import Path

from builder.bases import grow, upstream
from builder.core import paths
from builder.core.errors import BuildError
from builder.core.progress import step
from builder.core.work import Work
from builder.defs.definition import DownloadedBase, size_in_bytes
from builder.disk import media
from builder.disk.ext4 import FileSystem, quoted

BAKE_TARGET = "bake.target"
"""What a base boots into while it is baked on: beside its definition."""
_UNITS = "/etc/systemd/system"
_DEFAULT_TARGET = "default.target"


def fetch(base: DownloadedBase, raw: Path, work: Work, given: Path | None) -> dict[str, str]:
    """Write a raw disk of the base.

    :param given: the publisher's file, instead of a download; it is checked all the same.
    :return: where it is from: url, sha256, and signed_by, the fingerprint of the key.
    :raises BuildError: it can't be had, is not right, or has no systemd on it.
    """
    got = upstream.obtain(base, given)
    with step(f"Unpacking {base.name}", f"Unpacked {base.name}"):
        media.unpack_published(got.file, raw, work)
        if base.disk_size:
            grow.grow(raw, size_in_bytes(base.disk_size), work)
        _boot_for_ssh(raw)
    return got.source


def _boot_for_ssh(raw: Path) -> None:
    """Let a system boot into bake.target until clean.sh takes that away."""
    root = FileSystem.root_of(raw)
    units = root.names(_UNITS)
    requests = [
        f"write {quoted(paths.DEFINITIONS / 'bases' / BAKE_TARGET)} {_UNITS}/{BAKE_TARGET}",
        f"set_inode_field {_UNITS}/{BAKE_TARGET} mode 0100644",
        f"set_inode_field {_UNITS}/{BAKE_TARGET} uid 0",
        f"set_inode_field {_UNITS}/{BAKE_TARGET} gid 0",
    ]
    if _DEFAULT_TARGET in units:
        # The same inode under another name.
        requests.append(f"ln {_UNITS}/{_DEFAULT_TARGET} {_UNITS}/{_DEFAULT_TARGET}.base")
        requests.append(f"unlink {_UNITS}/{_DEFAULT_TARGET}")
    root.change(*requests, f"symlink {_UNITS}/{_DEFAULT_TARGET} {BAKE_TARGET}")
    if not {BAKE_TARGET, _DEFAULT_TARGET} <= set(root.names(_UNITS)):
        raise BuildError(f"{raw.name} has no {_UNITS}", "Is it the disk of a system with systemd?")
