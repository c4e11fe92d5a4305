"""Reading ext4 in a disk's image, in whatever state the power left it."""

import re
import subprocess

import pytest

from builder.command import output, program
from builder.errors import BuildError
from builder.ext4 import FileSystem


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
