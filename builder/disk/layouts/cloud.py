"""Lay out a cloud disk image from a root file system: no root rights, no mounts, no loop devices.

The layout is that of Ubuntu's cloud images: a GPT with the root partition first, a BIOS boot
partition (14) and an EFI system partition (15) before it on the disk.
"""

import struct
import tarfile
import uuid
from pathlib import Path

from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk import rootfs

_SECTOR = 512
_MIB = 1 << 20
_BIOS_START = 1 * _MIB
_BIOS_SIZE = 4 * _MIB
_EFI_START = _BIOS_START + _BIOS_SIZE
_EFI_SIZE = 106 * _MIB
ROOT_START = _EFI_START + _EFI_SIZE
"""Where the root file system begins, in bytes."""
_TAIL = 1 * _MIB  # the backup GPT

# Offsets in GRUB's boot sector and in the first sector of its core image, from
# GRUB's include/grub/i386/pc/boot.h and grub-core/boot/i386/pc/diskboot.S.
_BOOT_CODE_SIZE = 440
_BOOT_KERNEL_SECTOR = 0x5C
_BOOT_DRIVE_CHECK = 0x66
_CORE_BLOCKLIST = 0x1F4
_NOP_NOP = b"\x90\x90"

_BIOS = "./boot/grub/i386-pc"
# What the firmware looks for on a disk that it does not know (UEFI 2.10, 3.5.1.1), by the loader that
# the system has of its architecture.
_EFI_FILES = {
    "./usr/lib/shim/shimx64.efi.signed": {
        "EFI/BOOT/BOOTX64.EFI": "./usr/lib/shim/shimx64.efi.signed",
        "EFI/BOOT/grubx64.efi": "./usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    },
    "./usr/lib/shim/shimaa64.efi.signed": {
        "EFI/BOOT/BOOTAA64.EFI": "./usr/lib/shim/shimaa64.efi.signed",
        "EFI/BOOT/grubaa64.efi": "./usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed",
    },
}
_EFI_GRUB_CFG = """\
search --no-floppy --label cloudimg-rootfs --set=root
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
"""


_PACKAGES = "Is grub-cloud-amd64 among its packages, or grub-efi-arm64-signed and shim-signed?"


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        stream = tar.extractfile(name)
    except KeyError:
        stream = None
    if stream is None:
        raise BuildError(f"the composed system has no {name[1:]}", _PACKAGES)
    return stream.read()


def _efi_files(tar: tarfile.TarFile) -> dict[str, str]:
    there = set(tar.getnames())
    for loader, files in _EFI_FILES.items():
        if loader in there:
            return files
    raise BuildError("the composed system has no boot loader for UEFI", _PACKAGES)


def _partition(image: Path, seed: str, work: Work) -> None:
    def guid(what: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}/{what}"))

    def place(number: int, start: int, size: int | None, code: str, name: str) -> list[str]:
        end = f"{(start + size) // _SECTOR - 1}" if size else "0"
        return [
            f"--new={number}:{start // _SECTOR}:{end}",
            f"--typecode={number}:{code}",
            f"--change-name={number}:{name}",
            f"--partition-guid={number}:{guid(name)}",
        ]

    work.run(
        [
            program("sgdisk", "gdisk"),
            "--clear",
            f"--disk-guid={guid('disk')}",
            *place(14, _BIOS_START, _BIOS_SIZE, "ef02", "bios"),
            *place(15, _EFI_START, _EFI_SIZE, "ef00", "efi"),
            *place(1, ROOT_START, None, "8300", "root"),
            image,
        ],
    )


def _install_bios_grub(image: Path, boot: bytes, core: bytes) -> None:
    """Do what grub-bios-setup does, which insists on a mounted file system."""
    if len(core) > _BIOS_SIZE:
        raise BuildError("GRUB's core image does not fit into the BIOS boot partition")
    sector = _BIOS_START // _SECTOR
    boot_code = bytearray(boot[:_BOOT_CODE_SIZE])
    struct.pack_into("<Q", boot_code, _BOOT_KERNEL_SECTOR, sector)
    boot_code[_BOOT_DRIVE_CHECK : _BOOT_DRIVE_CHECK + 2] = _NOP_NOP
    loader = bytearray(core)
    struct.pack_into("<Q", loader, _CORE_BLOCKLIST, sector + 1)
    with image.open("r+b") as disk:
        disk.write(boot_code)
        disk.seek(_BIOS_START)
        disk.write(loader)


def _install_efi(image: Path, files: dict[str, bytes], work: Work) -> None:
    esp = work / "esp.img"
    with esp.open("wb") as out:
        out.truncate(_EFI_SIZE)
    work.run([program("mkfs.vfat", "dosfstools"), "-F", "32", "-n", "UEFI", "-i", "55454649", esp])
    for directory in ("EFI", "EFI/BOOT", "EFI/debian"):
        work.run([program("mmd", "mtools"), "-i", esp, f"::{directory}"])
    for name, content in files.items():
        source = work / "esp-file"
        source.write_bytes(content)
        work.run([program("mcopy", "mtools"), "-i", esp, source, f"::{name}"])
    with image.open("r+b") as disk, esp.open("rb") as content_stream:
        disk.seek(_EFI_START)
        while chunk := content_stream.read(_MIB):
            if chunk.strip(b"\0"):
                disk.write(chunk)
            else:
                disk.seek(len(chunk), 1)


def assemble(root_tar: Path, image: Path, size: int, seed: str, work: Work) -> None:
    """Write a raw disk image that boots from UEFI, and from BIOS where its architecture has one.

    :param root_tar: the root file system; for BIOS, /boot/grub/i386-pc holds boot.img and core.img.
    :param image: the sparse file to write.
    :param size: of the disk, in bytes.
    :param seed: what the partitions' and the file system's identifiers are derived from.
    :raises BuildError: a tool fails, or the root does not fit.
    """
    with tarfile.open(root_tar) as tar:
        bios = [_member(tar, f"{_BIOS}/{name}.img") for name in ("boot", "core") if _BIOS in tar.getnames()]
        efi = {name: _member(tar, source) for name, source in _efi_files(tar).items()}
    efi["EFI/debian/grub.cfg"] = _EFI_GRUB_CFG.encode()

    with image.open("wb") as out:
        out.truncate(size)
    _partition(image, seed, work)

    rootfs.write(root_tar, image, ROOT_START, size - ROOT_START - _TAIL, "cloudimg-rootfs", seed, work)
    if bios:
        _install_bios_grub(image, *bios)
    _install_efi(image, efi, work)
