"""Bake in a chroot: Packer runs packer/chroot.sh on the base's file systems; an SD card's image comes out."""

import shlex
from pathlib import Path

from builder.bake.method import Method
from builder.bases import interpreter
from builder.bases.cached import CachedBase
from builder.core import processes
from builder.core.command import program
from builder.core.work import Work
from builder.defs.definition import Image
from builder.disk import bmap, bootfs, media
from builder.disk.compact import compact
from builder.disk.ext4 import FileSystem
from builder.results import oslist


def prepare(image: Image, base: CachedBase, accelerator: str, work: Work) -> dict[str, object]:
    """Unpack the base's disk, and its boot partition beside it.

    :return: the template's variables.
    :raises BuildError: there is no qemu-user.
    """
    interpreter.require(base.architecture)
    disk, firmware = work / "card.raw", work / "firmware"
    media.unpack(base.disk, disk, work)
    firmware.mkdir()
    bootfs.read(disk, firmware, work)
    root = FileSystem.root_of(disk)
    return {
        "disk": str(disk),
        "offset": root.offset,
        "size": root.size,
        "firmware": str(firmware),
        "pool": str(work / "pool"),
        "output": str(work / "packer"),
        "packages": image.packages,
        "provision": image.provision,
        "qemu_cpu": interpreter.environment(base.architecture).get("QEMU_CPU", "max"),
    }


def flatten(work: Work, to: Path) -> None:
    """Write a raw disk of what the base's disk holds by now."""
    disk = work / "card.raw"
    bootfs.write(disk, work / "firmware", work)
    compact(disk, to, work)
    # e2image makes files that are its user's alone.
    to.chmod(0o644)
    disk.unlink()


def pack(image: Image, work: Work, to: Path) -> list[Path]:
    """Make the image of a card, packed with zstd, its block map, and Imager's list."""
    raw = to.with_name(f"{to.name}.img")
    flatten(work, raw)
    block_map = to.with_name(f"{to.name}.bmap")
    bmap.write(bmap.of_card(raw, bootfs.start(raw)), block_map)
    packed = to.with_name(f"{to.name}{media.CARD}")
    media.pack_card(raw, packed, work)
    listed = to.with_name(f"{to.name}{oslist.SUFFIX}")
    oslist.write(image, packed, raw, listed)
    raw.unlink()
    return [packed, block_map, listed]


def way_in(work: Work) -> str:
    """By the namespaces of the shell that runs packer/chroot.sh: its environment names the work."""
    mark = f"OUTPUT={work / 'packer'}".encode()
    for process in processes.all_of():
        if process.arguments[-1:] == ["inside"] and mark in process.environment:
            enter = [program("nsenter", "util-linux"), "--target", str(process.pid), "--mount", "--pid"]
            return shlex.join([*enter, "--uts", "chroot", str(work / "root"), "/bin/bash"])
    return ""


METHOD = Method(prepare, flatten, pack, way_in, media.CARD, emulates=False, needs_root=True)
