"""Reading ext4 in a disk's image, in whatever state the power left it."""

import re
import subprocess

import pytest

from builder.core.command import output, program
from builder.core.errors import BuildError
from builder.disk import kernel
from builder.disk.ext4 import FileSystem, quoted

_SIZES = ("Block size", "Block count")


@pytest.fixture
def system(tmp_path):
    """A file system with one file in it."""
    root, raw = tmp_path / "root", tmp_path / "disk.raw"
    root.mkdir()
    (root / "kept").write_bytes(b"kept" * 1000)
    subprocess.run([program("mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-d", root, raw, "20M"], check=True)
    return FileSystem(raw, 0, 20 << 20)


def test_a_bitmap_that_the_power_cut_short_is_no_obstacle(system, tmp_path):
    told = output([program("dumpe2fs", "e2fsprogs"), system.image])
    block, size = (int(re.search(rf"{what} *(\d+)", told)[1]) for what in ("Inode bitmap at", "Block size:"))
    with system.image.open("r+b") as disk:
        disk.seek(block * size)
        disk.write(b"\x55" * size)
    assert system.names("/") == ["kept", "lost+found"]
    assert system.read("/kept") == b"kept" * 1000
    system.copy_out("/kept", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"kept" * 1000


def test_free_blocks_are_told_wherever_it_begins(system, tmp_path):
    """As dumpe2fs(8) tells them, where it can read it."""
    told = output([program("dumpe2fs", "e2fsprogs"), system.image])
    free = []
    for runs in re.findall(r"^  Free blocks: (.+)$", told, re.MULTILINE):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", runs):
            free += range(int(first), int(last or first) + 1)
    size, count = (int(re.search(rf"^{what}: +(\d+)$", told, re.MULTILINE)[1]) for what in _SIZES)
    assert len(free) > count // 2
    assert system.blocks() == (size, count, free)
    disk = tmp_path / "another disk.raw"
    disk.write_bytes(bytes(1 << 20) + system.image.read_bytes())
    assert FileSystem(disk, 1 << 20, system.size).blocks() == (size, count, free)


def test_names_may_have_spaces_and_quotation_marks(tmp_path):
    here = tmp_path / 'my "own" disk'
    (here / "root/a folder").mkdir(parents=True)
    (here / 'root/a folder/its "file"').write_bytes(b"kept")
    raw = here / "disk.raw"
    mke2fs = [program("mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-d", here / "root", raw, "20M"]
    subprocess.run(mke2fs, check=True)
    system = FileSystem(raw, 0, 20 << 20)
    assert system.names("/a folder") == ['its "file"']
    assert system.read('/a folder/its "file"') == b"kept"
    system.copy_out('/a folder/its "file"', here / "a copy")
    assert (here / "a copy").read_bytes() == b"kept"
    system.copy_tree_out("/a folder", here / "a tree")
    assert (here / 'a tree/a folder/its "file"').read_bytes() == b"kept"


def test_what_is_no_file_system_is_said(system):
    with system.image.open("r+b") as disk:
        disk.write(bytes(1 << 20))
    with pytest.raises(BuildError, match=r"disk\.raw has no ext4 file system: .*magic number"):
        system.names("/")


@pytest.mark.parametrize("name", ["with spaces in it", 'with "quotes"'])
def test_any_path_will_do(system, tmp_path, name):
    """MICROBLOG_CACHE may be anywhere."""
    folder = tmp_path / name
    folder.mkdir()
    disk = system.image.rename(folder / "disk.raw")
    there = FileSystem(disk, 0, 20 << 20)
    (folder / "new").write_text("new")
    there.change(f"write {quoted(folder / 'new')} {quoted('/a new one')}")
    assert there.names("/") == ["a new one", "kept", "lost+found"]
    assert there.read("/a new one") == b"new"
    there.copy_out("/kept", folder / "copy of it")
    assert (folder / "copy of it").read_bytes() == b"kept" * 1000
    there.copy_tree_out("/", folder / "a tree")
    assert (folder / "a tree" / "a new one").read_text() == "new"


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["vmlinuz-6.12.57-amd64", "vmlinuz-6.12.9-amd64", "vmlinux-7"], "vmlinuz-6.12.57-amd64"),
        (["vmlinuz-6.1.0-9-cloud-amd64", "vmlinuz-6.1.0-41-cloud-amd64"], "vmlinuz-6.1.0-41-cloud-amd64"),
        (["vmlinuz-6.13~rc7", "vmlinuz-6.12.1", "vmlinuz-6.13"], "vmlinuz-6.13"),
        (["vmlinuz-6.12.47+rpt-rpi-2712", "vmlinuz-6.12.47+rpt-rpi-v8"], "vmlinuz-6.12.47+rpt-rpi-v8"),
        (["initrd.img-6"], None),
        ([], None),
    ],
)
def test_the_newest_kernel_is_the_newest(names, newest):
    assert kernel.newest(names) == newest
    assert kernel.newest(reversed(names)) == newest
