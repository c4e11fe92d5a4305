"""A card is written, read back and compared: on loop devices, with the real bmaptool."""

import dataclasses
import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from builder import bmap, bootfs, card, disks, flash, manifest, media
from builder.command import program
from builder.errors import BuildError
from builder.ext4 import FileSystem

_SIZE = card.ROOT_START + (32 << 20)
_TEMPLATE = "# Settings\r\n#host name = microblog\r\n#wifi country = \r\n#ssh key = ...\r\n"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="loop devices are root's")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A card's image, small but real: both file systems, a deleted file, a file of zeros."""
    work = tmp_path_factory.mktemp("card")
    log, firmware, root = work / "log", work / "firmware", work / "root"
    firmware.mkdir()
    root.mkdir()
    (firmware / "microblog.txt").write_bytes(_TEMPLATE.encode())
    (firmware / "kernel").write_bytes(random.Random(1).randbytes(3 << 20))  # noqa: S311
    (root / "zeros").write_bytes(bytes(2 << 20))
    (root / "kept").write_bytes(b"kept" * 100_000)
    subprocess.run(["tar", "-cf", work / "root.tar", "-C", root, "."], check=True)
    (root / card.FIRMWARE).mkdir(parents=True)
    for file in firmware.iterdir():
        (root / card.FIRMWARE / file.name).write_bytes(file.read_bytes())
    subprocess.run(["tar", "-cf", work / "root.tar", "-C", root, "."], check=True)
    raw = work / "raw"
    made = work / "made"
    made.mkdir()
    card.assemble(work / "root.tar", raw, _SIZE, "test", made, log)
    image = work / "card-1.img.zst"
    bmap.write(bmap.of_card(raw, card.BOOT_START), work / "card-1.bmap")
    subprocess.run(["zstd", "-q", raw, "-o", image], check=True)
    facts = {"target": "pi", "files": manifest.files(image, work / "card-1.bmap")}
    manifest.path_for(image).write_text(json.dumps(facts))
    return image


@pytest.fixture
def loop(tmp_path, monkeypatch):
    """Makes loop devices pass for cards; attaches files, full of other things, as such."""
    monkeypatch.setattr(disks, "_TYPES", frozenset({"disk", "loop"}))
    real = disks._why_not
    monkeypatch.setattr(disks, "_why_not", lambda row, size: real({**row, "hotplug": True}, size))
    attached = []

    def attach(size=_SIZE + (8 << 20), folder=tmp_path, full=True):
        file = folder / f"card-{len(attached)}"
        noise = random.Random(2).randbytes(1 << 20)  # noqa: S311
        with file.open("wb") as out:
            for _ in range(size >> 20 if full else 0):
                out.write(noise)
            out.truncate(size)
        done = subprocess.run(
            ["losetup", "--find", "--show", file], capture_output=True, text=True, check=True
        )
        attached.append(done.stdout.strip())
        return attached[-1]

    yield attach
    for device in attached:
        subprocess.run(["losetup", "--detach", device], check=True)


def _flash(image, device, settings=(), yes=True):
    flash.flash(str(image), device, dict(settings), lambda *_: yes)


@needs_root
def test_a_used_card_holds_the_image_afterwards(image, loop, tmp_path, capfd):
    device = loop()
    _flash(image, device, {"host name": ["garden"], "ssh key": ["one", "two"]})
    root = FileSystem.root_of(Path(device))
    assert root.read("/kept") == b"kept" * 100_000
    root.copy_out("/zeros", tmp_path / "zeros")
    assert (tmp_path / "zeros").read_bytes() == bytes(2 << 20)
    subprocess.run(
        [program("e2fsck", "e2fsprogs"), "-fn", f"{device}?offset={root.offset}"],
        check=True, capture_output=True,
    )  # fmt: skip
    out = tmp_path / "out"
    out.mkdir()
    bootfs.read(Path(device), out, tmp_path / "log")
    assert (out / "microblog.txt").read_bytes() == (
        b"# Settings\r\nhost name = garden\r\n#wifi country = \r\nssh key = one\r\nssh key = two\r\n"
    )
    assert (out / "kernel").stat().st_size == 3 << 20
    assert "every block is as it should be" in capfd.readouterr().err


@needs_root
def test_what_is_not_in_use_is_not_written(image):
    block_map = bmap.read(image.with_name("card-1.bmap"))
    assert block_map.image_size == _SIZE
    assert block_map.mapped < 60 << 20


@needs_root
def test_a_no_leaves_the_disk_as_it_is(image, loop):
    device = loop()
    before = Path(device).read_bytes()[: 16 << 20]
    with pytest.raises(BuildError, match="was left as it is"):
        _flash(image, device, yes=False)
    assert Path(device).read_bytes()[: 16 << 20] == before


@needs_root
def test_a_disk_too_small_is_refused(image, loop):
    device = loop(64 << 20)
    with pytest.raises(BuildError, match=r"it has 0\.1 GB, the image needs 0\.6 GB"):
        _flash(image, device)


@needs_root
def test_a_mounted_disk_is_refused(image, loop, tmp_path):
    device = loop(_SIZE, full=False)
    subprocess.run([program("mke2fs", "e2fsprogs"), "-q", "-F", device], check=True, capture_output=True)
    where = tmp_path / "mounted"
    where.mkdir()
    subprocess.run(["mount", device, where], check=True)
    try:
        with pytest.raises(BuildError, match=f"it is in use, at {where}: unmount it first"):
            _flash(image, device)
    finally:
        subprocess.run(["umount", where], check=True)


@pytest.mark.parametrize("device", [None, "/dev/null", "/etc/passwd", "/dev/none"])
def test_what_is_no_disk_is_refused(image, device):
    with pytest.raises(BuildError, match="no disk"):
        _flash(image, device)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({}, ""),
        ({"rm": False, "tran": "usb"}, ""),
        ({"rm": False, "tran": "mmc"}, ""),
        ({"rm": False, "tran": "nvme"}, "it is built in"),
        ({"ro": True}, "write-protected"),
        ({"size": 10}, "the image needs"),
        ({"mountpoints": ["/media/x"]}, "it is in use, at /media/x"),
        ({"children": [{"mountpoints": [None, "/"]}]}, "this machine runs from it"),
        ({"children": [{"mountpoints": [], "children": [{"mountpoints": ["[SWAP]"]}]}]}, "runs from it"),
    ],
)
def test_which_disks_may_be_written_to(row, why):
    whole = {
        "rm": True,
        "hotplug": False,
        "ro": False,
        "tran": None,
        "size": 1000,
        "mountpoints": [None],
        **row,
    }
    assert why in disks._why_not(whole, 1000)
    assert bool(why) == bool(disks._why_not(whole, 1000))


@needs_root
def test_a_card_that_fails_half_way_is_told(image, loop, tmp_path):
    """As one that is pulled out: behind the loop device there is no room for all of it."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", small], check=True)
    try:
        device = loop(_SIZE, small, full=False)
        with pytest.raises(BuildError, match=r"could not be written: .*"):
            _flash(image, device)
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


@needs_root
def test_a_corrupted_card_is_noticed(image, loop, monkeypatch):
    device = loop()
    write = flash._write

    def write_badly(*arguments):
        write(*arguments)
        with Path(device).open("r+b") as out:
            out.seek(card.BOOT_START + (1 << 20))
            out.write(b"?")

    monkeypatch.setattr(flash, "_write", write_badly)
    with pytest.raises(BuildError, match="holds something else than was written"):
        _flash(image, device)


def test_a_damaged_map_is_refused(image, tmp_path):
    text = image.with_name("card-1.bmap").read_text()
    broken = tmp_path / "x.bmap"
    broken.write_text(text.replace("<Range", "<Range ", 1))
    with pytest.raises(BuildError, match="its checksum is wrong"):
        bmap.read(broken)


def test_an_image_that_is_no_card_is_refused(tmp_path):
    image = tmp_path / f"cloud{media.QCOW2}"
    image.write_bytes(b"")
    manifest.path_for(image).write_text(json.dumps({"files": manifest.files(image)}))
    with pytest.raises(BuildError, match="is no image for a card"):
        _flash(image, "/dev/null")


def test_a_setting_that_the_card_does_not_know_is_told():
    with pytest.raises(BuildError, match="has no line for 'wifi name'"):
        flash.with_settings(_TEMPLATE, {"wifi name": ["x"]})


def test_disks_are_listed_with_name_and_size():
    disk = disks.Disk(Path("/dev/sdb"), 31_900_000_000, "Generic SD", "")
    assert str(disk) == "/dev/sdb  31.9 GB  Generic SD"
    assert dataclasses.asdict(disk)["why_not"] == ""
