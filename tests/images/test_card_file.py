"""The SD card's image before it ever ran: what a Pi's firmware, Imager and bmaptool find on it."""

import json
import random
import subprocess

import pytest

from builder.core.cache import sha256_file
from builder.core.work import Work
from builder.disk import bmap, bootfs, media
from builder.disk.ext4 import FileSystem
from builder.disk.layouts import card

pytestmark = pytest.mark.pi


def _beside(image, name):
    return image.image.with_name(f"{media.stem(image.image)}{name}")


@pytest.fixture
def of_debian(image):
    """For the card that is composed here; another publisher's is laid out, and starts, in its own way."""
    if image.facts.base.name != "debian-13-pi":
        pytest.skip("the card is not Debian's")


@pytest.fixture(scope="module")
def boot_files(raw, tmp_path_factory):
    directory = tmp_path_factory.mktemp("bootfs")
    bootfs.read(raw, directory, Work.at(directory.parent))
    return directory


def test_partitions_are_raspberry_pi_oss(of_debian, raw):
    table = json.loads(subprocess.check_output(["sfdisk", "--json", raw]))["partitiontable"]
    assert (table["label"], table["id"]) == ("dos", f"0x{card.DISK_ID}")
    boot, root = table["partitions"]
    assert (boot["start"], boot["size"], boot["type"]) == (16384, 1048576, "c")
    assert (root["start"], root["type"]) == (16384 + 1048576, "83")


def test_firmware_finds_all_it_needs(of_debian, boot_files):
    config = dict(
        line.replace(" ", "=", 1).split("=", 1)
        for line in (boot_files / "config.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert config["arm_64bit"] == "1"
    for name in ("kernel", "initramfs"):
        assert (boot_files / config[name]).stat().st_size > 1 << 20
    names = {path.name for path in boot_files.iterdir()}
    assert {"bootcode.bin", "start.elf", "start4.elf", "fixup.dat", "fixup4.dat", "overlays"} <= names
    for board in ("bcm2710-rpi-3-b", "bcm2710-rpi-zero-2-w", "bcm2711-rpi-4-b", "bcm2712-rpi-5-b"):
        assert any(name.startswith(board.replace("bcm2710", "bcm2837")) or name.startswith(board)
                   for name in names), board  # fmt: skip
    assert f"root=PARTUUID={card.DISK_ID}-02 " in (boot_files / "cmdline.txt").read_text()


def test_kernel_of_the_boot_partition_is_the_systems(of_debian, raw, boot_files, tmp_path):
    (kernel,) = boot_files.glob("vmlinuz-*")
    FileSystem.root_of(raw).copy_out(f"/boot/{kernel.name}", tmp_path / "vmlinuz")
    assert sha256_file(kernel) == sha256_file(tmp_path / "vmlinuz")


def test_owner_finds_files_to_edit(boot_files):
    text = (boot_files / "microblog.txt").read_bytes()
    assert b"#wifi name" in text
    assert b"\r\n" in text
    assert all(line.startswith(b"#") or not line.strip() for line in text.splitlines())
    assert (boot_files / "user-data").read_text().startswith("#cloud-config\n")
    assert (boot_files / "meta-data").exists()


def test_it_is_found_by_the_name_that_is_promised(raw):
    """And no name of the machine that it was built on is in it."""
    root = FileSystem.root_of(raw)
    assert root.read("/etc/hostname") == b"microblog\n"
    assert b"127.0.1.1 microblog\n" in root.read("/etc/hosts")
    assert root.read("/etc/microblog/name") in (b"", b"localhost\n")


def test_settings_in_the_image_are_no_secrets(raw):
    text = FileSystem.root_of(raw).read("/etc/microblog/microblog.env").decode()
    assert {line.split("=")[0] for line in text.splitlines() if not line.startswith("#")} == {
        "CLAIM_NEARBY",
        "HTTPS",
        "WEB_CONCURRENCY",
    }


def test_mapped_blocks_are_all_that_matters(image, raw, tmp_path):
    """Written over a card that was full of other things, they make the same file systems."""
    block_map = bmap.read(_beside(image, ".bmap"))
    assert block_map.image_size == raw.stat().st_size
    assert block_map.mapped < 0.9 * block_map.image_size
    used = tmp_path / "used-card"
    noise = random.Random(1).randbytes(1 << 20)  # noqa: S311
    with used.open("wb") as out:
        for _ in range(-(-block_map.image_size // len(noise))):
            out.write(noise)
    copy = ["bmaptool", "copy", "--bmap", _beside(image, ".bmap"), image.image, used]
    subprocess.run(copy, check=True, capture_output=True)
    root = FileSystem.root_of(used)
    checked = subprocess.run(
        ["/usr/sbin/e2fsck", "-fn", f"{used}?offset={root.offset}"], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout[-500:]
    out = tmp_path / "bootfs"
    out.mkdir()
    bootfs.read(used, out, Work.at(tmp_path))
    there = tmp_path / "there"
    there.mkdir()
    bootfs.read(raw, there, Work.at(tmp_path))
    subprocess.run(["diff", "-r", out, there], check=True)
    used.unlink()


def test_imager_is_offered_the_image(image, raw):
    (entry,) = json.loads(_beside(image, ".os-list.json").read_text())["os_list"]
    assert entry["init_format"] == "cloudinit"
    assert entry["url"] == image.image.name
    assert entry["extract_size"] == raw.stat().st_size
    assert entry["extract_sha256"] == sha256_file(raw)
    assert entry["image_download_sha256"] == image.facts.image.sha256


def test_manifest_has_all_files(image):
    assert [file.name.removeprefix(media.stem(image.image)) for file in image.facts.files] == [
        ".img.zst", ".bmap", ".os-list.json", ".cdx.json",
    ]  # fmt: skip
