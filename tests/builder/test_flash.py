"""A card is written, read back and compared: on loop devices, with the real bmaptool."""

import dataclasses
import fcntl
import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from conftest import facts_of

from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk import bmap, bootfs, media
from builder.disk.ext4 import FileSystem
from builder.disk.layouts import card
from builder.ship import block_devices, card_settings, flash
from microblog.host.card import bootfile

_SIZE = card.ROOT_START + (32 << 20)
_TEMPLATE = "# Settings\r\n#host name = microblog\r\n#wifi country = \r\n#ssh key = ...\r\n"

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="loop devices are root's")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A card's image, small but real: both file systems, a deleted file, a file of zeros."""
    work = tmp_path_factory.mktemp("card")
    firmware, root = work / "firmware", work / "root"
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
    card.assemble(work / "root.tar", raw, _SIZE, "test", Work.at(made))
    image = work / "card-1.img.zst"
    bmap.write(bmap.of_card(raw, card.BOOT_START), work / "card-1.bmap")
    subprocess.run(["zstd", "-q", raw, "-o", image], check=True)
    facts_of(image, work / "card-1.bmap", target="pi").write(image)
    return image


@pytest.fixture
def loop(tmp_path, monkeypatch):
    """Makes loop devices pass for cards; attaches files, full of other things, as such."""
    monkeypatch.setattr(block_devices, "_TYPES", frozenset({"disk", "loop"}))
    real = block_devices._why_not
    monkeypatch.setattr(block_devices, "_why_not", lambda row, size: real({**row, "hotplug": True}, size))
    monkeypatch.setattr(block_devices, "_caution", lambda _: "")
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


def _flash(image, device, settings=(), yes=True, asked=lambda: None):
    flash.flash(str(image), device, dict(settings), lambda *_: (asked(), yes)[1])


@needs_root
def test_a_used_card_holds_the_image_afterwards(image, loop, tmp_path, capfd):
    device = loop()
    _flash(image, device, {"host name": ["garden"], "ssh key": [_KEY, f"{_KEY} two"]})
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
    bootfs.read(Path(device), out, Work.at(tmp_path))
    assert (out / "microblog.txt").read_bytes() == (
        b"# Settings\r\nhost name = garden\r\n#wifi country = \r\n"
        + f"ssh key = {_KEY}\r\nssh key = {_KEY} two\r\n".encode()
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
        ({"rm": False, "hotplug": True, "tran": "mmc", "card": "MMC"}, "it is built in"),
        ({"rm": False, "hotplug": True, "tran": "mmc", "card": "SD"}, ""),
        ({"children": [{"type": "part", "path": "/dev/x1"}]}, ""),
        ({"children": [{"type": "raid1", "path": "/dev/md0"}]}, r"a part of /dev/md0 (raid1)"),
        (
            {"children": [{"type": "part", "children": [{"type": "lvm", "path": "/dev/v/l"}]}]},
            "part of /dev/v/l",
        ),
        (
            {"children": [{"type": "part", "children": [{"type": "crypt", "path": "/dev/c"}]}]},
            "part of /dev/c",
        ),
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
    assert why in block_devices._why_not(whole, 1000)
    assert bool(why) == bool(block_devices._why_not(whole, 1000))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"size": "31914983424", "rm": True, "tran": "usb"}, ""),
        ({"size": "31914983424", "rm": False, "tran": "mmc"}, ""),
        ({"size": "2000398934016", "rm": True, "tran": "usb"}, "a disk of 2000 GB"),
        ({"size": "250059350016", "rm": False, "tran": "usb"}, "a disk, no card"),
        ({"size": "250059350016", "rm": False, "tran": "sata"}, "a disk, no card"),
    ],
)
def test_what_looks_like_no_card_wants_its_size_named(row, why, monkeypatch):
    assert why in block_devices._caution(row)
    assert bool(why) == bool(block_devices._caution(row))
    size = int(row["size"])
    disk = block_devices.Disk(Path("/dev/null"), size, "Some Disk", "", block_devices._caution(row))
    monkeypatch.setattr(block_devices, "listing", lambda _: [disk])
    if why:
        with pytest.raises(BuildError, match=why) as error:
            block_devices.choose("/dev/null", 0)
        assert error.value.hint.endswith(f"--size {size}")
        with pytest.raises(BuildError, match="no disk was named") as error:
            block_devices.choose(None, 0)
        assert "Some Disk" not in error.value.hint
    assert block_devices.choose("/dev/null", 0, size) == disk
    with pytest.raises(BuildError, match=f"has {size} bytes, not 7"):
        block_devices.choose("/dev/null", 0, 7)


def test_an_emmc_is_told_from_a_card(tmp_path, monkeypatch):
    for name, kind in {"mmcblk0": "MMC", "mmcblk1": "SD"}.items():
        (tmp_path / name / "device").mkdir(parents=True)
        (tmp_path / name / "device" / "type").write_text(f"{kind}\n")
    monkeypatch.setattr(block_devices, "_SYS", tmp_path)
    row = {"size": 10**10, "vendor": None, "model": None, "serial": None, "rm": False, "hotplug": True,
           "ro": False, "type": "disk", "mountpoints": [None], "tran": "mmc"}  # fmt: skip
    rows = [{**row, "path": f"/dev/{name}"} for name in ("mmcblk0", "mmcblk0boot0", "mmcblk1", "sda")]
    monkeypatch.setattr(block_devices, "output", lambda _: json.dumps({"blockdevices": rows}))
    assert [bool(disk.why_not) for disk in block_devices.listing()] == [True, True, False, False]


@needs_root
def test_another_card_after_the_question_is_left_alone(image, loop, monkeypatch):
    device = loop()
    real = block_devices._told
    swapped = []
    monkeypatch.setattr(block_devices, "_told", lambda path, what: f"{real(path, what)}{swapped}")
    before = Path(device).read_bytes()[: 16 << 20]
    with pytest.raises(BuildError, match="is another disk by now"):
        _flash(image, device, asked=lambda: swapped.append(1))
    assert Path(device).read_bytes()[: 16 << 20] == before


def test_who_may_not_write_is_told_so(image, monkeypatch):
    """And not to take another card."""
    disk = block_devices.Disk(Path("/dev/null"), 1 << 40, "Card", "")
    monkeypatch.setattr(block_devices, "listing", lambda _: [disk])
    monkeypatch.setattr(block_devices.os, "access", lambda *_: False)
    with pytest.raises(BuildError, match="only root may write") as error:
        _flash(image, "/dev/null")
    assert "sudo" in error.value.hint


@needs_root
def test_udev_leaves_the_card_alone_until_it_is_done(image, loop, monkeypatch):
    """It asks for this lock before it looks at a disk, and a desktop hears of disks from udev."""
    device = loop()
    free = []

    def look(*_):
        with Path(device).open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
                free.append(True)
            except BlockingIOError:
                free.append(False)

    def looking(real):
        def work(*given):
            look()
            real(*given)
            look()

        return work

    for name in ("_write", "_compare", "_set", "_eject"):
        monkeypatch.setattr(flash, name, looking(getattr(flash, name)))
    _flash(image, device, {"host name": ["garden"]})
    assert free == [False] * 8
    look()
    assert free[-1]


@needs_root
def test_a_card_that_somebody_mounts_is_not_called_bad(image, loop, tmp_path, monkeypatch):
    device = loop()
    real = flash._compare

    def mounted_before(disk, *rest):
        # As a mounted file system holds its disk.
        holder = os.open(device, os.O_RDONLY | os.O_EXCL)
        monkeypatch.setattr(block_devices, "_tree", lambda row: [{**row, "mountpoints": ["/media/card"]}])
        try:
            real(disk, *rest)
        finally:
            os.close(holder)

    monkeypatch.setattr(flash, "_compare", mounted_before)
    with pytest.raises(BuildError, match="it is in use, at /media/card") as error:
        _flash(image, device)
    assert "Nothing is known to be wrong with the card" in error.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host name", "my_host name;"),
        ("host name", "localhost"),
        ("wifi country", "Germany"),
        ("wifi country", "XX"),
        ("wifi name", "g" * 33),
        ("wifi name", "two\nlines"),
        ("wifi password", "short"),
        ("wifi password", "fünfzehn Zeichen"),
        ("ssh key", "-----BEGIN OPENSSH PRIVATE KEY-----"),
        ("ssh key", "ssh-ed25519 AAAA"),
        ("ssh key", "ssh-rsa " + _KEY.split()[1]),
    ],
)
def test_what_the_pi_would_not_take_is_refused_before_writing(image, key, value):
    with pytest.raises(BuildError) as error:
        _flash(image, "/dev/null", {key: [value]})
    assert error.value.hint == "Nothing was written"
    assert "password" not in key or value not in error.value.message
    if "\n" not in value:
        assert bootfile.read(f"{key} = {value}\n").mistakes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host name", "Garden.local"),
        ("wifi country", "de"),
        ("wifi name", "Our Wi-Fi; = #1"),
        ("wifi name", "garden "),
        ("wifi name", '"home"'),
        ("wifi password", "a" * 8),
        ("wifi password", "0" * 64),
        ("ssh key", f"{_KEY} me@here"),
    ],
)
def test_what_the_pi_takes_is_taken(key, value):
    """By both the same: the rules are written down twice, since neither reaches the other."""
    assert card_settings._CHECKS[key](value) == ""
    assert bootfile._CHECKS[key](value) == ""


@pytest.mark.parametrize(
    "value", ["a garden", " garden", "garden ", '"garden"', "'garden'", "it's", '"', "''", "' '"]
)
def test_what_is_written_is_what_the_pi_reads(value):
    """Spaces and quotes at the ends included."""
    text = flash.with_settings(
        bootfile.TEMPLATE, {"wifi country": ["DE"], "wifi name": [value], "wifi open": ["yes"]}
    )
    assert bootfile.read(text).groups["wifi"]["wifi name"] == value


def test_keys_are_the_public_ones_of_a_file(tmp_path):
    file = tmp_path / "id_ed25519"
    file.write_text(f"# mine\n{_KEY} me\n\n{_KEY} too\n")
    assert card_settings.keys(file) == [f"{_KEY} me", f"{_KEY} too"]
    file.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n")
    with pytest.raises(BuildError, match="is a private key") as error:
        card_settings.keys(file)
    assert error.value.hint == f"Name {file}.pub instead"
    file.write_text("\n")
    with pytest.raises(BuildError, match="has no key in it"):
        card_settings.keys(file)


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
    facts_of(image).write(image)
    with pytest.raises(BuildError, match="is no image for a card"):
        _flash(image, "/dev/null")


def test_a_setting_that_the_card_does_not_know_is_told():
    with pytest.raises(BuildError, match="has no line for 'wifi name'"):
        flash.with_settings(_TEMPLATE, {"wifi name": ["x"]})


def test_disks_are_listed_with_name_and_size():
    disk = block_devices.Disk(Path("/dev/sdb"), 31_900_000_000, "Generic SD", "")
    assert str(disk) == "/dev/sdb  31.9 GB  Generic SD"
    assert dataclasses.asdict(disk)["why_not"] == ""
