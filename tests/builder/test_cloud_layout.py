"""The disk of a composed cloud base: what starts it, by BIOS and by UEFI, on each architecture."""

import io
import subprocess
import tarfile

import pytest

from builder.core.errors import BuildError
from builder.core.work import Work
from builder.defs import definition
from builder.disk.ext4 import FileSystem
from builder.disk.layouts import cloud

_BIOS = {"boot/grub/i386-pc/boot.img": b"\xeb" * 512, "boot/grub/i386-pc/core.img": b"c" * 2048}
_LOADERS = {
    "amd64": {
        "usr/lib/shim/shimx64.efi.signed": b"shim",
        "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": b"grub",
    },
    "arm64": {
        "usr/lib/shim/shimaa64.efi.signed": b"shim",
        "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed": b"grub",
    },
}
_FOUND = {"amd64": ("BOOTX64.EFI", "grubx64.efi"), "arm64": ("BOOTAA64.EFI", "grubaa64.efi")}


def _root(path, files):
    """A root file system, as mmdebstrap packs it."""
    with tarfile.open(path, "w") as tar:
        folders = sorted({"/".join(name.split("/")[:depth]) for name in files for depth in range(1, 6)})
        for folder in folders:
            if folder not in files:
                entry = tarfile.TarInfo(f"./{folder}")
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize(("architecture", "bios"), [("amd64", _BIOS), ("arm64", {})])
def test_a_disk_has_what_its_firmware_looks_for(tmp_path, architecture, bios):
    tar = _root(tmp_path / "root.tar", {"etc/hostname": b"x\n", **_LOADERS[architecture], **bios})
    disk = tmp_path / "disk"
    cloud.assemble(tar, disk, 256 << 20, "seed", Work.at(tmp_path))
    for name, content in zip(_FOUND[architecture], (b"shim", b"grub"), strict=True):
        place = f"{disk}@@{cloud._EFI_START}"
        read = subprocess.run(["mtype", "-i", place, f"::EFI/BOOT/{name}"], capture_output=True, check=True)
        assert read.stdout == content
    config = subprocess.check_output(["mtype", "-i", f"{disk}@@{cloud._EFI_START}", "::EFI/debian/grub.cfg"])
    assert b"cloudimg-rootfs" in config
    assert FileSystem.root_of(disk).read("/etc/hostname") == b"x\n"
    with disk.open("rb") as opened:
        # BIOS code in the first sector, or none.
        assert opened.read(1) == (b"\xeb" if bios else b"\0")
    subprocess.run(["/usr/sbin/sgdisk", "--verify", disk], check=True, stdout=subprocess.DEVNULL)


def test_a_system_that_nothing_starts_is_refused(tmp_path):
    tar = _root(tmp_path / "root.tar", {"etc/hostname": b"x\n"})
    with pytest.raises(BuildError, match="no boot loader for UEFI") as error:
        cloud.assemble(tar, tmp_path / "disk", 256 << 20, "seed", Work.at(tmp_path))
    assert "shim-signed" in error.value.hint


@pytest.mark.parametrize("name", ["debian-12", "debian-12-arm64", "debian-13"])
def test_the_bases_that_cloud_can_be_composed_on(name):
    base = definition.load_base_for(definition.load_image("cloud"), name)
    assert isinstance(base, definition.ComposedBase)
    # The kernel and the loader of its own architecture, and of no other.
    other = {"amd64": "arm64", "arm64": "amd64"}[base.architecture]
    assert f"linux-image-cloud-{base.architecture}" in base.packages
    assert not [package for package in base.packages if package.endswith(other)]


def test_cloud_offers_debian_13():
    assert "debian-13" in definition.load_image("cloud").bases
