"""Raspberry Pi OS as the Pi's base: signed, packed by xz, laid out in its own way; a stand-in for it."""

import dataclasses
import hashlib
import json
import lzma
import os
import subprocess

import pytest

from builder import make
from builder.bake import layer
from builder.bake.methods import chroot
from builder.bases import base
from builder.bases.cached import CachedBase
from builder.core import paths
from builder.core.command import program
from builder.core.request import Request
from builder.core.work import Work
from builder.deb import package
from builder.defs import definition
from builder.disk import bmap, bootfs, fat, media
from builder.disk.ext4 import FileSystem
from builder.disk.partition import table
from builder.disk.sparse import copy

_MIB = 1 << 20
# Not where a card that is composed here has them.
_BOOT, _BOOT_SIZE = 4 * _MIB, 64 * _MIB
_ROOT = _BOOT + _BOOT_SIZE
_DISK_ID = "0x4e639091"
_CMDLINE = "console=tty1 root=PARTUUID=4e639091-02 rootwait resize cfg80211.ieee80211_regdom=GB\n"

# The test has a cache of its own; Debian's card takes a quarter of an hour to compose.
_CACHE = paths.cache_dir()

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a card is baked in a chroot, as root")


def _lay_out(raw, boot_size, root_size, work):
    """An empty card in the layout of pi-gen's images: two partitions, nothing behind them."""
    with raw.open("wb") as out:
        out.truncate(_BOOT + boot_size + root_size)
    text = (
        f"label: dos\nlabel-id: {_DISK_ID}\nstart={_BOOT // 512}, size={boot_size // 512}, type=c\n"
        f"start={(_BOOT + boot_size) // 512}, type=83\n"
    )
    sfdisk = [program("sfdisk", "fdisk"), "--quiet", raw]
    subprocess.run(sfdisk, input=text, text=True, check=True)
    fat.make(raw, _BOOT, boot_size, "bootfs", _DISK_ID.removeprefix("0x"), work)


@pytest.fixture
def small(tmp_path):
    """A card with little on it, packed by xz."""
    root, raw, work = tmp_path / "root", tmp_path / "raw", Work.at(tmp_path)
    for directory in ("boot/firmware", "var/lib/dpkg", "etc/apt", "etc/systemd/system"):
        (root / directory).mkdir(parents=True)
    (root / "boot/vmlinuz-6.12.47+rpt-rpi-2712").write_bytes(b"the Pi 5's kernel")
    (root / "boot/vmlinuz-6.12.47+rpt-rpi-v8").write_bytes(b"a kernel")
    (root / "var/lib/dpkg/status").write_text("")
    (root / "etc/fstab").write_text("PARTUUID=4e639091-02 / ext4 defaults,noatime 0 1\n")
    _lay_out(raw, _BOOT_SIZE, 24 * _MIB, work)
    mke2fs = [
        program("mke2fs", "e2fsprogs"),
        "-q",
        "-F",
        "-t",
        "ext4",
        "-b",
        "4096",
        "-E",
        f"offset={_ROOT}",
        "-d",
        root,
        raw,
    ]
    subprocess.run([*mke2fs, "24M"], check=True, capture_output=True)
    for name, text in {"cmdline.txt": _CMDLINE, "kernel8.img": "a kernel", "issue.txt": "x"}.items():
        (tmp_path / name).write_text(text)
        fat.copy_in(raw, _BOOT, [tmp_path / name], work)
    return lzma.compress(raw.read_bytes(), preset=0)


def _published(server, keys, content):
    """Publish a card as Raspberry Pi OS is; returns its definition, in the place of the real one's."""
    name = "2026-10-01-raspios-trixie-arm64-lite.img.xz"
    server.files |= {
        f"/images/{name}": content,
        f"/images/{name}.sha256": f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode(),
        f"/images/{name}.sig": keys.sign(content, "good"),
    }
    server.faults["/raspios_lite_arm64_latest"] = [f"/images/{name}"] * 9
    return dataclasses.replace(
        definition.load_base("raspios"),
        url=f"{server.url}/raspios_lite_arm64_latest",
        key=keys.made["good"],
        disk_size="160M",
    )


def test_is_taken_as_it_is_laid_out(server, keys, small, definitions, cache, tmp_path):
    got = base.get(_published(server, keys, small))
    assert got.source["url"].endswith("-lite.img.xz")
    assert got.kernel.read_bytes() == b"a kernel"
    assert "linux-image-*" in got.hold
    work = Work.at(tmp_path / "work")
    work.directory.mkdir()
    given = chroot.prepare(definition.load_image("pi"), got, "", work)
    # The root file system has grown in its place, the firmware's files are the publisher's.
    assert (given["offset"], given["size"]) == (_ROOT, 160 * _MIB - _ROOT)
    assert (work / "firmware/cmdline.txt").read_text() == _CMDLINE
    (work / "firmware/microblog.txt").write_text("# settings\n")
    card_file = tmp_path / "card.raw"
    chroot.flatten(work, card_file)
    told = table(card_file)
    assert told.identifier == _DISK_ID
    assert [(one.offset, one.size) for one in told.partitions] == [
        (_BOOT, _BOOT_SIZE), (_ROOT, 160 * _MIB - _ROOT),
    ]  # fmt: skip
    for name, text in {"microblog.txt": "# settings\n", "cmdline.txt": _CMDLINE}.items():
        assert fat.read(card_file, bootfs.start(card_file), name, work).decode() == text
    # The volume's number, at byte 67 of a FAT32 file system.
    assert card_file.read_bytes()[_BOOT + 67 :][:4] == bytes.fromhex("4e639091")[::-1]
    root = FileSystem.root_of(card_file)
    assert b"4e639091-02" in root.read("/etc/fstab")
    where = f"{card_file}?offset={root.offset}"
    assert (
        subprocess.run(["/usr/sbin/e2fsck", "-fn", where], capture_output=True, check=False).returncode == 0
    )
    assert bmap.of_card(card_file, bootfs.start(card_file)).image_size == 160 * _MIB


def test_the_pi_falls_back_to_debian_and_says_so(server, definitions, cache, monkeypatch, capfd, tmp_path):
    """Where its publisher's server can't be reached."""
    path = definitions / "bases" / "raspios.toml"
    path.write_text(path.read_text().replace("https://downloads.raspberrypi.com", "https://127.0.0.1:9"))
    debian = CachedBase(tmp_path, "debian-13-pi", "arm64", "pi", "k", "", "")
    real = base.get
    monkeypatch.setattr(package, "dependencies", lambda _: [])
    monkeypatch.setattr(
        base, "get", lambda wanted, *rest, **_: debian if wanted.name == debian.name else real(wanted, *rest)
    )
    assert base.obtain(definition.load_image("pi"), tmp_path / "a.deb") is debian
    said = capfd.readouterr().err
    assert "WARNING: the base raspios can't be had" in said
    assert "WARNING: pi is baked on debian-13-pi instead of raspios" in said


def _disguised(raw, include, work, tmp_path):
    """Debian's card, laid out and set up as Raspberry Pi OS."""
    plain, boot_size = tmp_path / "plain.raw", 512 * _MIB
    got = base.get(definition.load_base("debian-13-pi"), include, store=_CACHE / "bases")
    media.unpack(got.disk, plain, work)
    old = table(plain)
    firmware, root = tmp_path / "firmware", FileSystem.root_of(plain)
    firmware.mkdir()
    bootfs.read(plain, firmware, work)
    _lay_out(raw, boot_size, root.size, work)
    for name in ("user-data", "meta-data", "network-config"):
        (firmware / name).write_text("# Raspberry Pi OS's own\n")
    cmdline = firmware / "cmdline.txt"
    cmdline.write_text(cmdline.read_text().replace(old.identifier.removeprefix("0x"), _DISK_ID[2:]))
    bootfs.write(raw, firmware, work)
    copy(plain, root.offset, raw, _BOOT + boot_size, root.size)
    files = {
        "/etc/fstab": root.read("/etc/fstab").decode().replace(old.identifier[2:], _DISK_ID[2:]),
        "/etc/machine-id": "uninitialized\n",
        "/etc/hostname": "raspberrypi\n",
        "/etc/rpi-issue": "Raspberry Pi reference 2026-10-01\n",
    }
    there = FileSystem.root_of(raw)
    for name, text in files.items():
        (tmp_path / "file").write_text(text)
        there.change(f"rm {name}", f"write {tmp_path / 'file'} {name}")
    return cmdline.read_text()


def test_a_real_one(thorough, server, keys, definitions, tmp_path, monkeypatch, record_testsuite_property):
    """The whole way, from a signed xz file to the image of a card, twice: the second on the layer."""
    if not thorough:
        pytest.skip("bakes two cards under qemu-user: --thorough")
    work, raw = Work.at(tmp_path), tmp_path / "raw"
    image, deb = definition.load_image("pi"), package.build()
    cmdline = _disguised(raw, [*image.packages, *package.dependencies(deb)], work, tmp_path)
    subprocess.run([program("xz", "xz-utils"), "-0", "-T0", raw], check=True)
    stand_in = _published(server, keys, raw.with_name("raw.xz").read_bytes())
    path = definitions / "bases" / "raspios.toml"
    text = path.read_text()
    for old, new in ((definition.load_base("raspios").url, stand_in.url),
                     (definition.load_base("raspios").key, stand_in.key), ("4G", "4500M")):  # fmt: skip
        text = text.replace(old, new)
    path.write_text(text)
    made = make.produce("pi", Request(checked=False))
    assert made.facts.base.name == "raspios"
    seconds = made.facts.seconds
    layer.obtain(image, base.obtain(image, deb), deb, lambda: pytest.fail("baked again"))
    print(json.dumps(seconds))
    for phase, value in seconds.items():
        record_testsuite_property(phase, f"{value:.1f}")
    card_file = tmp_path / "card.raw"
    media.unpack(made.image, card_file, work)
    assert table(card_file).identifier == _DISK_ID
    root, firmware = FileSystem.root_of(card_file), tmp_path / "baked"
    firmware.mkdir()
    bootfs.read(card_file, firmware, work)
    assert (firmware / "cmdline.txt").read_text() == cmdline
    assert (firmware / "user-data").read_text() == "# Raspberry Pi OS's own\n"
    assert "#wifi name" in (firmware / "microblog.txt").read_text()
    assert root.read("/etc/machine-id") == b"uninitialized\n"
    assert root.read("/etc/hostname") == b"microblog\n"
    assert "20-microblog.cfg" not in root.names("/etc/cloud/cloud.cfg.d")
    assert "bake.target" not in root.names("/etc/systemd/system")
    kernels = [name for name in root.names("/boot") if name.startswith("vmlinuz-")]
    before = base.get(definition.load_base("raspios"))
    kernel = tmp_path / "kernel"
    root.copy_out(f"/boot/{kernels[-1]}", kernel)
    assert kernel.read_bytes() == before.kernel.read_bytes()
