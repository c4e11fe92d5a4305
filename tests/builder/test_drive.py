"""Whether QEMU can start a card's image."""

import subprocess

import pytest

from builder.core.command import program
from builder.core.work import Work
from builder.vm import drive


@pytest.fixture
def card_with(tmp_path):
    """The image of a card whose kernel was configured so; or does not tell how."""

    def make(config):
        boot = tmp_path / "root" / "boot"
        boot.mkdir(parents=True)
        (boot / "vmlinuz-6.12.47+rpt-rpi-v8").write_bytes(b"a kernel")
        if config:
            (boot / "config-6.12.47+rpt-rpi-v8").write_text(config)
        raw = tmp_path / "raw"
        with raw.open("wb") as out:
            out.truncate(24 << 20)
        table = "label: dos\nstart=2048, type=83\n"
        subprocess.run([program("sfdisk", "fdisk"), "--quiet", raw], input=table, text=True, check=True)
        mke2fs = [program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-E", f"offset={1 << 20}"]
        subprocess.run([*mke2fs, "-d", tmp_path / "root", raw, "20M"], check=True, capture_output=True)
        subprocess.run(["zstd", "-q", raw, "-o", tmp_path / "card.img.zst"], check=True)
        return drive.why_not(tmp_path / "card.img.zst", Work.at(tmp_path))

    return make


def test_a_kernel_without_virtio_is_told_of(card_with):
    """Raspberry Pi OS's: a machine that is started on it finds no disk, and nobody waits for that."""
    assert "no driver for QEMU's disks" in card_with("CONFIG_ARM64=y\n# CONFIG_VIRTIO_BLK is not set\n")


@pytest.mark.parametrize("config", ["CONFIG_ARM64=y\nCONFIG_VIRTIO_BLK=m\n", ""])
def test_any_other_is_tried(card_with, config):
    assert card_with(config) == ""


def test_a_cloud_image_is_tried(tmp_path):
    assert drive.why_not(tmp_path / "image.qcow2", Work.at(tmp_path)) == ""
