"""A machine's own disk, made of an image that stays as it is, and how QEMU is told to start from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.core.command import output, program
from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk import bootfs, fat, kernel, media
from builder.disk.ext4 import FileSystem
from builder.disk.formats.qcow2 import virtual_size
from builder.vm import seed
from builder.vm.emulator import EMULATORS

OVERLAY = "overlay.qcow2"
"""The disk of a machine that was started from a cloud image: what has changed since, and no more."""
CARD = "card.img"
"""That of one that was started from a card's: a copy."""
# A card's kernel, started under emulation, finds its devices slowly.
_PATIENCE = "systemd.default_device_timeout_sec=600"


@dataclass(frozen=True)
class Wanted:
    """What is asked for."""

    image: Path
    directory: Path
    """For the disk; one that is there already is used again."""
    size: int
    """Of the disk, in bytes; never less than the image's."""
    architecture: str
    files: Mapping[str, str]
    """For cloud-init: name -> text (:func:`builder.vm.seed.files`)."""
    extra: Sequence[Path] = ()
    """Files for a card's boot partition."""


def _overlay(wanted: Wanted, work: Work) -> list[str]:
    """An overlay on a cloud image, and cloud-init's files on a disk of their own."""
    overlay, seed_disk = wanted.directory / OVERLAY, wanted.directory / "seed.img"
    if not overlay.exists():
        part = wanted.directory / "overlay.part"
        work.run(
            [program("qemu-img", "qemu-utils"), "create", "-q", "-f", "qcow2", "-F", "qcow2",
             "-b", wanted.image.resolve(), part, str(max(wanted.size, virtual_size(wanted.image)))],
        )  # fmt: skip
        part.rename(overlay)
    seed.write(seed_disk, wanted.files, work)
    return [
        *EMULATORS[wanted.architecture].firmware_arguments,
        "-drive", f"if=virtio,format=qcow2,file={overlay},discard=unmap",
        "-drive", f"if=virtio,format=raw,file={seed_disk},readonly=on",
    ]  # fmt: skip


def _card(wanted: Wanted, work: Work) -> list[str]:
    """A copy of a card, cloud-init's files on its boot partition; QEMU starts the kernel itself,
    as the Pi's firmware does, with the card's own command line."""
    disk = wanted.directory / CARD
    if not disk.exists():
        part = wanted.directory / "card.part"
        media.unpack(wanted.image, part, work)
        with part.open("r+b") as out:
            out.truncate(max(wanted.size, part.stat().st_size))
        part.rename(disk)
    boot = bootfs.start(disk)
    for name, text in wanted.files.items():
        source = wanted.directory / name
        source.write_text(text)
        fat.copy_in(disk, boot, [source], work)
        source.unlink()
    if wanted.extra:
        fat.copy_in(disk, boot, list(wanted.extra), work)
    root = FileSystem.root_of(disk)
    linux, initrd = wanted.directory / "vmlinuz", wanted.directory / "initrd"
    newest = _newest_kernel(root)
    root.copy_out(f"/boot/{newest}", linux)
    root.copy_out(f"/boot/{newest.replace('vmlinuz', 'initrd.img')}", initrd)
    told = output([program("mtype", "mtools"), "-i", f"{disk}@@{boot}", "::cmdline.txt"])
    console = EMULATORS[wanted.architecture].console
    return [
        "-kernel", str(linux), "-initrd", str(initrd),
        "-append", f"{told.strip()} console={console} {_PATIENCE}",
        "-drive", f"if=virtio,format=raw,file={disk},discard=unmap",
    ]  # fmt: skip


def why_not(image: Path, work: Work) -> str:
    """Why QEMU's virtual board can't start a card's image; empty where it can.

    Raspberry Pi OS's kernel has no driver for that board's disks, and QEMU's model of a Pi no network.
    """
    if media.suffix(image) != media.CARD:
        return ""
    disk = work / "card.raw"
    media.unpack(image, disk, work)
    root = FileSystem.root_of(disk)
    newest = _newest_kernel(root).removeprefix("vmlinuz-")
    config = root.read(f"/boot/config-{newest}")
    disk.unlink()
    # Where the kernel does not tell, it is tried.
    if config and b"\nCONFIG_VIRTIO_BLK=" not in config:
        return f"its kernel {newest} has no driver for QEMU's disks; try the image on a Pi"
    return ""


def _newest_kernel(root: FileSystem) -> str:
    found = kernel.newest(root.names("/boot"))
    if found is None:
        raise BuildError("there is no kernel in /boot", "Is it the image of a Raspberry Pi's card?")
    return found


class _Make(Protocol):
    """Makes a disk where there is none yet. Returns QEMU's arguments."""

    def __call__(self, wanted: Wanted, work: Work) -> list[str]: ...


_MAKERS: dict[str, _Make] = {media.QCOW2: _overlay, media.CARD: _card}


def make(wanted: Wanted, work: Work) -> list[str]:
    """Make the disk where there is none yet.

    :return: QEMU's arguments.
    :raises BuildError: the image is damaged, or a tool fails.
    """
    return _MAKERS[media.suffix(wanted.image)](wanted, work)
