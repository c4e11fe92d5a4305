"""What is deleted on a disk is not in the image; what boots it is."""

import os
import subprocess

import pytest

from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk.compact import compact
from builder.disk.ext4 import FileSystem, quoted

_MIB = 1 << 20
_SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.fixture
def disk(tmp_path):
    """A disk with boot code, a partition table, and a file system in which one of two files is deleted."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "kept").write_bytes(b"kept" * 5000)
    (root / "deleted").write_bytes(_SECRET * 500)
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as out:
        out.truncate(64 * _MIB)
    subprocess.run([program("sgdisk", "gdisk"), "--new=1:2048:0", raw], check=True, capture_output=True)
    with raw.open("r+b") as out:
        out.write(b"boot code")
        out.seek(100 * 512)
        out.write(b"boot loader")
    offset = f"offset={_MIB}"
    mke2fs = [program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-E", offset, "-d", root, raw, "60M"]
    subprocess.run(mke2fs, check=True, capture_output=True)
    debugfs = [program("debugfs", "e2fsprogs"), "-w", "-R", "rm /deleted", f"{raw}?{offset}"]
    subprocess.run(debugfs, check=True, capture_output=True)
    assert _SECRET in raw.read_bytes()
    return raw


def test_only_what_is_in_use_is_copied(disk, tmp_path):
    back = tmp_path / "back.raw"
    compact(disk, back, Work.at(tmp_path))
    assert back.stat().st_size == 64 * _MIB
    content = back.read_bytes()
    assert _SECRET not in content
    assert content.startswith(b"boot code")
    assert content[100 * 512 :].startswith(b"boot loader")
    # Both partition tables, at the start and at the end.
    assert content[:_MIB] == disk.read_bytes()[:_MIB]
    assert content[-33 * 512 :] == disk.read_bytes()[-33 * 512 :]
    assert FileSystem.root_of(back).read("/kept") == b"kept" * 5000
    assert not list(tmp_path.glob("partition*"))


def test_a_journal_is_replayed(disk, tmp_path):
    """As after a power cut: what was written last is in the journal alone."""
    root = FileSystem.root_of(disk)
    where = f"{disk}?offset={root.offset}"
    debugfs = program("debugfs", "e2fsprogs")
    text = subprocess.run([debugfs, "-R", "blocks /kept", where], capture_output=True, text=True, check=True)
    last = tmp_path / "last"
    last.write_bytes(b"last" * 256)
    script = tmp_path / "script"
    write = f"journal_write -b {text.stdout.split()[0]} {quoted(last)}"
    script.write_text(f"journal_open\n{write}\njournal_close\n")
    subprocess.run([debugfs, "-w", "-f", script, where], check=True, capture_output=True)
    back = tmp_path / "back.raw"
    compact(disk, back, Work.at(tmp_path))
    assert FileSystem.root_of(back).read("/kept").startswith(b"last" * 256 + b"kept")


def test_a_damaged_file_system_is_no_image(disk, tmp_path):
    with disk.open("r+b") as out:
        out.seek(_MIB)
        out.write(os.urandom(4 * _MIB))
    with pytest.raises(BuildError, match="failed"):
        compact(disk, tmp_path / "back.raw", Work.at(tmp_path))


def test_boot_of_its_own_is_compacted_too(tmp_path):
    """As on Ubuntu 24.04: /boot is a partition behind the root's number, and before it on the disk."""
    raw, back = tmp_path / "disk.raw", tmp_path / "back.raw"
    with raw.open("wb") as out:
        out.truncate(64 * _MIB)
    sgdisk = program("sgdisk", "gdisk")
    table = ["--new=16:2048:+20M", "--typecode=16:ea00", "--new=1:45056:+30M", "--new=15:0:0"]
    subprocess.run([sgdisk, *table, "--typecode=15:ef00", raw], check=True, capture_output=True)
    starts = {"boot": (1, "20M"), "root": (22, "30M")}
    for name, (start, size) in starts.items():
        tree = tmp_path / name
        tree.mkdir()
        (tree / "kept").write_bytes(name.encode() * 5000)
        (tree / "deleted").write_bytes(_SECRET * 500)
        offset = f"offset={start * _MIB}"
        mke2fs = [program("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-E", offset, "-d", tree, raw]
        subprocess.run([*mke2fs, size], check=True, capture_output=True)
        debugfs = [program("debugfs", "e2fsprogs"), "-w", "-R", "rm /deleted", f"{raw}?{offset}"]
        subprocess.run(debugfs, check=True, capture_output=True)
    with raw.open("r+b") as out:
        out.seek(53 * _MIB)
        out.write(b"the EFI partition")
    compact(raw, back, Work.at(tmp_path))
    content = back.read_bytes()
    assert _SECRET in raw.read_bytes()
    assert _SECRET not in content
    assert content[53 * _MIB :].startswith(b"the EFI partition")
    assert content[: 1 * _MIB] == raw.read_bytes()[: 1 * _MIB]
    boot = FileSystem.boot_of(back)
    assert boot is not None
    assert boot.read("/kept") == b"boot" * 5000
    assert FileSystem.root_of(back).read("/kept") == b"root" * 5000
