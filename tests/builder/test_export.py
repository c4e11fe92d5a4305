"""A baked image in each of the forms that hosts take: opened by the tools that know it, and compared."""

import re
import struct
import subprocess
import tarfile
import xml.etree.ElementTree as ET

import pytest

from builder.core import paths
from builder.core.cache import sha256_file
from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk import format as formats
from builder.disk.formats import vhd
from builder.ship import export

_OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"


@pytest.mark.parametrize("form", formats.names())
def test_each_form_has_the_disk_in_it(baked, tmp_path, form):
    made, listed = export.export("cloud", form)
    assert made.parent == paths.OUT / "exported"
    assert made.name == f"microblog-0.1.0-cloud-debian-12-amd64{formats.find(form).suffix}"
    subprocess.run(["sha256sum", "--check", "--strict", listed.name], cwd=listed.parent, check=True)
    formats.find(form).unpack(made, tmp_path / "raw", Work.at(tmp_path))
    assert (tmp_path / "raw").read_bytes() == baked
    assert {path.name for path in made.parent.iterdir()} == {made.name, listed.name}


@pytest.mark.parametrize("form", [name for name in formats.names() if formats.find(name).driver])
def test_qemu_reads_it_as_what_it_is(baked, form):
    made, _ = export.export("cloud", form)
    driver = formats.find(form).driver
    if driver in ("qcow2", "vmdk"):
        subprocess.run(["qemu-img", "check", "-q", "-f", driver, made], check=True)
    original = next(paths.OUT.glob("*.qcow2"))
    subprocess.run(["qemu-img", "compare", "-q", "-f", driver, "-F", "qcow2", made, original], check=True)


@pytest.mark.parametrize(("form", "tool"), [("raw.gz", "gzip"), ("raw.zst", "zstd")])
def test_what_is_packed_is_whole(baked, form, tool):
    made, _ = export.export("cloud", form)
    subprocess.run([tool, "-t", "-q", made], check=True)


def test_a_vhd_is_a_fixed_one_of_whole_mebibytes(baked, tmp_path):
    """As Azure wants it: the disk, then a footer of 512 bytes (Virtual Hard Disk Image Format, 1.0)."""
    made, _ = export.export("cloud", "vhd")
    footer = made.read_bytes()[-512:]
    assert footer[:8] == b"conectix"
    size, kind = struct.unpack(">Q", footer[48:56])[0], struct.unpack(">I", footer[60:64])[0]
    assert (size, kind) == (len(baked), 2)
    assert made.stat().st_size == len(baked) + 512
    (tmp_path / "odd").write_bytes(bytes(1000))
    with pytest.raises(BuildError, match="no whole number of MiB"):
        vhd.pack(tmp_path / "odd", tmp_path / "vhd", Work.at(tmp_path))


def test_an_ova_describes_the_machine_first(baked):
    made, _ = export.export("cloud", "ova")
    with tarfile.open(made) as archive:
        names = archive.getnames()
        assert [name.rpartition(".")[2] for name in names] == ["ovf", "mf", "vmdk"]
        content = {name: archive.extractfile(name).read() for name in names}
        (made.parent / "disk").write_bytes(content[names[2]])
    machine = ET.fromstring(content[names[0]])
    (file,), (disk,) = machine.iter(f"{_OVF}File"), machine.iter(f"{_OVF}Disk")
    assert file.get(f"{_OVF}href") == names[2]
    assert int(file.get(f"{_OVF}size")) == len(content[names[2]])
    assert int(disk.get(f"{_OVF}capacity")) == len(baked)
    sums = dict(re.findall(r"^SHA256\((.+)\)= ([0-9a-f]{64})$", content[names[1]].decode(), re.MULTILINE))
    assert sums[names[2]] == sha256_file(made.parent / "disk")
    assert set(sums) == {names[0], names[2]}
    # Each id once, and the disk on the controller that is there.
    ids = [one.text for one in machine.iter() if one.tag.endswith("}InstanceID")]
    assert len(set(ids)) == len(ids)


def test_what_is_no_form_is_a_mistake(build):
    done = build("export", "cloud", "--format", "vdi")
    assert done.returncode == 2
    assert "vhd" in done.stderr


def test_what_is_no_form_is_told(baked):
    with pytest.raises(BuildError, match="there is no format 'vdi'"):
        export.export("cloud", "vdi")


def test_a_failure_leaves_what_was_there_before(baked, monkeypatch):
    made, listed = export.export("cloud", "raw")
    before = made.read_bytes(), listed.read_text()

    def broken(*_):
        raise BuildError("no")

    monkeypatch.setattr(export.media, "unpack", broken)
    with pytest.raises(BuildError):
        export.export("cloud", "raw")
    assert (made.read_bytes(), listed.read_text()) == before
    assert len([*made.parent.iterdir()]) == 2


def test_the_image_itself_is_not_written_over(baked):
    """Packed anew it would be another file than its manifest, the list of sums and who signs it tell of."""
    image = next(paths.OUT.glob("*.qcow2"))
    before = sha256_file(image)
    for place in (paths.OUT, paths.OUT / "../out"):
        with pytest.raises(BuildError, match="is the baked image itself") as error:
            export.export("cloud", "qcow2", place)
        assert error.value.hint == "Name another directory with --output"
    assert sha256_file(image) == before
    assert export.export(str(image), "raw", paths.OUT)


@pytest.mark.parametrize(
    ("place", "said"),
    [("file", "it is no directory"), ("file/x", "Not a directory"), ("/proc/x", "No such file or directory")],
)
def test_a_place_that_can_not_be_written_to_is_named(baked, build, tmp_path, monkeypatch, place, said):
    # What it runs in is there already.
    monkeypatch.delenv("MICROBLOG_CACHE")
    (tmp_path / "file").touch()
    lines = [
        ("export", str(next(paths.OUT.glob("*.qcow2"))), "--format", "raw", "--output"),
        ("boot", str(next(paths.OUT.glob("*.qcow2"))), "--keep"),
        ("repo", "--output"),
    ]
    for line in lines:
        done = build(*line, str(tmp_path / place))
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            f"build.py: {tmp_path / place} can't be written to: {said}",
            f"  Name another directory with {line[-1]}",
        ]


def test_another_directory_is_made(baked, tmp_path):
    made, _ = export.export("cloud", "raw.gz", tmp_path / "of mine")
    assert made.parent == tmp_path / "of mine"


def test_every_host_of_the_page_has_a_form_that_there_is():
    page = (paths.ROOT / "docs/export.md").read_text()
    named = set(re.findall(r"--format ([a-z0-9.]+)", page))
    assert named <= {*formats.names()}
    assert {"qcow2", "raw.zst", "vmdk", "ova", "vhd"} <= named
    assert all(f"`{name}`" in page for name in formats.names())
