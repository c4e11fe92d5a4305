"""Vagrant's boxes: what is in them, and that Vagrant takes them."""

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from builder.core import paths
from builder.core.errors import BuildError
from builder.core.needs import Program
from builder.ship import vagrant

NEEDS = (Program("vagrant", "vagrant", optional=True),)

STEM = "microblog-0.1.0-cloud-debian-12-amd64"
needs_vagrant = pytest.mark.skipif(not shutil.which("vagrant"), reason="this distribution has no Vagrant")


@pytest.fixture
def boxes(baked, tmp_path):
    """The boxes, unpacked: provider -> directory."""
    *made, _ = vagrant.make("cloud", ())
    found = {}
    for box in made:
        provider = box.stem.rpartition("-")[2]
        found[provider] = tmp_path / provider
        found[provider].mkdir()
        subprocess.run(["tar", "--extract", "--file", box, "--directory", found[provider]], check=True)
    return found


def _raw(disk, to):
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, to], check=True)
    return to


@pytest.mark.parametrize(
    ("provider", "root", "seed"),
    [("libvirt", "box.img", "seed.img"), ("virtualbox", "box-disk001.vmdk", "box-disk002.vmdk")],
)
def test_a_box_has_the_images_disk_and_vagrants_user(boxes, baked, tmp_path, provider, root, seed):
    here = boxes[provider]
    assert json.loads((here / "metadata.json").read_text())["provider"] == provider
    assert _raw(here / root, tmp_path / "raw").read_bytes() == baked
    read = subprocess.check_output(
        ["mtype", "-i", _raw(here / seed, tmp_path / "seed"), "::user-data"], text=True
    )
    (user,) = json.loads(read.removeprefix("#cloud-config\n"))["users"]
    assert (user["name"], user["lock_passwd"]) == ("vagrant", True)
    assert user["ssh_authorized_keys"][0].endswith("vagrant insecure public key")


def test_libvirts_box_tells_of_its_disks(boxes):
    told = json.loads((boxes["libvirt"] / "metadata.json").read_text())
    assert [disk["path"] for disk in told["disks"]] == ["box.img", "seed.img"]
    assert told["virtual_size"] == 1


def test_virtualboxs_box_is_an_ovf_of_its_files(boxes):
    here = boxes["virtualbox"]
    cim = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
    spaces = {"": "http://schemas.dmtf.org/ovf/envelope/1", "r": cim}
    tree = ElementTree.parse(here / "box.ovf")
    files = tree.findall("References/File", spaces)
    name, size = (f"{{{spaces['']}}}{attribute}" for attribute in ("href", "size"))
    assert {file.get(name): int(file.get(size)) for file in files} == {
        disk.name: disk.stat().st_size for disk in here.glob("*.vmdk")
    }
    items = tree.findall(".//Item", spaces)
    ids = [item.findtext("r:InstanceID", namespaces=spaces) for item in items]
    assert len(set(ids)) == len(ids)
    attached = [item.findtext("r:HostResource", namespaces=spaces) for item in items]
    assert [disk for disk in attached if disk] == ["/disk/disk1", "/disk/disk2"]
    # streamOptimized (VMware, Virtual Disk Format: sparse extent header, compressAlgorithm at 77).
    for disk in here.glob("*.vmdk"):
        assert disk.read_bytes()[:4] == b"KDMV"
        assert disk.read_bytes()[77] == 1


def _run(home, *arguments, **options):
    return subprocess.run(
        ["vagrant", *arguments],
        env={**os.environ, "VAGRANT_HOME": str(home), "VAGRANT_CHECKPOINT_DISABLE": "1"},
        capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


@needs_vagrant
def test_vagrant_takes_the_boxes_and_compares_their_checksums(baked, tmp_path):
    *made, catalogue = vagrant.make("cloud", ())
    for provider in vagrant.PROVIDERS:
        done = _run(tmp_path, "box", "add", "--provider", provider, catalogue)
        assert done.returncode == 0, done.stderr
    listed = _run(tmp_path, "box", "list").stdout
    for provider in vagrant.PROVIDERS:
        assert f"microblog ({provider}, 0.1.0.202601020304)" in listed
    with made[0].open("r+b") as stream:
        stream.seek(600)
        stream.write(b"?")
    done = _run(tmp_path, "box", "add", "--force", "--provider", vagrant.PROVIDERS[0], catalogue)
    assert done.returncode != 0
    assert "checksum" in done.stderr


@needs_vagrant
@pytest.mark.parametrize(
    "file", ["Vagrantfile", "packer/vagrant/Vagrantfile.virtualbox", "packer/vagrant/Vagrantfile.libvirt"]
)
def test_vagrantfiles_are_valid(tmp_path, file):
    text = (paths.ROOT / file).read_text()
    (tmp_path / "Vagrantfile").write_text(
        text + '\nVagrant.configure("2") { |config| config.vm.box = "b" }\n'
    )
    done = _run(tmp_path / "home", "validate", "--ignore-provider", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_card_is_no_box(baked):
    facts = paths.OUT / f"{STEM}.manifest.json"
    card = paths.OUT / "card.img.zst"
    card.write_bytes(b"x")
    told = json.loads(facts.read_text())
    told["files"] = [
        {
            "name": card.name,
            "bytes": 1,
            "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        }
    ]
    (paths.OUT / "card.manifest.json").write_text(json.dumps(told))
    with pytest.raises(BuildError, match="SD card"):
        vagrant.make(str(card), ())


def _offered(catalogue):
    return {
        (one["version"], box["name"]) for one in json.loads(catalogue.read_text())["versions"]
        for box in one["providers"]
    }  # fmt: skip


def test_a_provider_made_earlier_stays_in_the_catalogue(baked):
    vagrant.make("cloud", ("libvirt",))
    box, catalogue = vagrant.make("cloud", ("virtualbox",))
    version = "0.1.0.202601020304"
    assert _offered(catalogue) == {(version, "libvirt"), (version, "virtualbox")}
    # What is not there any more, or another by now, is not offered.
    box.unlink()
    _, catalogue = vagrant.make("cloud", ("libvirt",))
    assert _offered(catalogue) == {(version, "libvirt")}
    catalogue.write_text("{}")
    vagrant.make("cloud", ("libvirt",))
    assert _offered(catalogue) == {(version, "libvirt")}


def test_a_newer_build_takes_the_place_of_the_boxes_that_it_replaces(baked):
    vagrant.make("cloud", ())
    file = paths.OUT / f"{STEM}.manifest.json"
    file.write_text(file.read_text().replace("2026-01-02", "2026-01-03"))
    _, catalogue = vagrant.make("cloud", ("libvirt",))
    assert _offered(catalogue) == {
        ("0.1.0.202601030304", "libvirt"), ("0.1.0.202601020304", "virtualbox")
    }  # fmt: skip


@pytest.fixture
def arm64(baked):
    """The image is for another processor."""
    file = paths.OUT / f"{STEM}.manifest.json"
    file.write_text(file.read_text().replace('"architecture": "amd64"', '"architecture": "arm64"', 1))


def test_the_catalogue_names_the_architecture(baked, boxes):
    told = json.loads((paths.OUT / vagrant.CATALOGUE).read_text())
    for box in told["versions"][0]["providers"]:
        assert (box["architecture"], box["default_architecture"]) == ("amd64", True)
    for here in boxes.values():
        assert json.loads((here / "metadata.json").read_text())["architecture"] == "amd64"


def test_another_processors_box_is_libvirts_alone(arm64):
    box, catalogue = vagrant.make("cloud", ())
    assert box.stem.endswith("-libvirt")
    (one,) = json.loads(catalogue.read_text())["versions"][0]["providers"]
    assert (one["architecture"], one["default_architecture"]) == ("arm64", False)
    with pytest.raises(BuildError, match="is for arm64, and virtualbox's box a machine of amd64"):
        vagrant.make("cloud", ("virtualbox",))


def test_an_older_vagrant_which_takes_the_last_gets_the_usual_architecture(baked):
    box, _ = vagrant.make("cloud", ("libvirt",))
    other = box.with_name("other.box")
    box.rename(other)
    catalogue = paths.OUT / vagrant.CATALOGUE
    told = json.loads(catalogue.read_text())
    (one,) = told["versions"][0]["providers"]
    one.update(url=other.resolve().as_uri(), architecture="arm64", default_architecture=False)
    catalogue.write_text(json.dumps(told))
    vagrant.make("cloud", ("libvirt",))
    both = json.loads(catalogue.read_text())["versions"][0]["providers"]
    assert [one["architecture"] for one in both] == ["arm64", "amd64"]
