"""Bake in a chroot: Packer runs packer/chroot.sh on the base's file systems; an SD card's image comes out.

The build machine's processor runs another architecture's programs by qemu-user, registered with
the kernel (binfmt_misc).
"""

import os
import platform
from pathlib import Path

from builder import bmap, card, media, oslist
from builder.base import CachedBase
from builder.command import program, run
from builder.compact import compact
from builder.definition import Image
from builder.emulator import EMULATORS
from builder.errors import BuildError
from builder.ext4 import FileSystem

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_BINFMT_CONF = Path("/usr/lib/binfmt.d")
_QEMU_NAMES = {"arm64": "qemu-aarch64", "amd64": "qemu-x86_64"}
QEMU_CPU = {"arm64": "cortex-a72"}
"""The processor that qemu-user plays: its default signs pointers, in software, 13 times slower."""


def require_interpreter(architecture: str) -> None:
    """See that this machine runs programs of an architecture; register qemu-user if need be.

    :raises BuildError: it does not, and can't be made to.
    """
    if platform.machine() in EMULATORS[architecture].native:
        return
    name = _QEMU_NAMES[architecture]
    if (_BINFMT / name).exists():
        return
    hint = f"As root: apt-get install qemu-user-static; then: systemctl restart systemd-binfmt ({name})"
    conf = _BINFMT_CONF / f"{name}.conf"
    if os.geteuid() != 0 or not conf.exists():
        raise BuildError(f"this machine can't run programs for {architecture}", hint)
    try:
        if not (_BINFMT / "register").exists():
            run([program("mount", "mount"), "-t", "binfmt_misc", "binfmt_misc", _BINFMT], Path(os.devnull))
        (_BINFMT / "register").write_bytes(conf.read_bytes().strip())
    except OSError as error:
        raise BuildError(
            f"this machine can't run programs for {architecture}: {error.strerror}", hint
        ) from error


def prepare(image: Image, base: CachedBase, _accelerator: str, work: Path, log: Path) -> dict[str, object]:
    """Unpack the base's disk, and its boot partition beside it.

    :return: the template's variables.
    :raises BuildError: not root, or there is no qemu-user.
    """
    if os.geteuid() != 0:
        raise BuildError(
            f"{image.name} is baked in a chroot, which needs root",
            f"Run: sudo ./build.py images {image.name}",
        )
    require_interpreter(base.architecture)
    disk, firmware = work / "card.raw", work / "firmware"
    media.unpack(base.disk, disk, log)
    firmware.mkdir()
    card.read_boot(disk, firmware, log)
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
        "qemu_cpu": QEMU_CPU.get(base.architecture, "max"),
    }


def pack(image: Image, work: Path, to: Path, log: Path) -> list[Path]:
    """Make the image of a card, packed with zstd, its block map, and Imager's list."""
    raw = to.with_name(f"{to.name}.img")
    disk = work / "card.raw"
    card.write_boot(disk, work / "firmware", log)
    compact(disk, raw, work, log)
    disk.unlink()
    block_map = to.with_name(f"{to.name}.bmap")
    bmap.write(bmap.of_card(raw, card.BOOT_START), block_map)
    packed = to.with_name(f"{to.name}{media.CARD}")
    run([program("zstd", "zstd"), "-q", "-T0", "-12", raw, "-o", packed], log)
    listed = to.with_name(f"{to.name}{oslist.SUFFIX}")
    oslist.write(image, packed, raw, listed)
    raw.unlink()
    return [packed, block_map, listed]
