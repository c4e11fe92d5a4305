"""Vagrant's boxes of an image, for libvirt and for VirtualBox, and the catalogue that offers them.

https://developer.hashicorp.com/vagrant/docs/boxes/format; libvirt's: version 2 of
https://vagrant-libvirt.github.io/vagrant-libvirt/usage.html ("box format"); VirtualBox's is an OVF (DMTF
DSP0243) with streamOptimized VMDK disks. Each has a second disk: cloud-init finds the user there that
Vagrant logs in as, with the key that Vagrant replaces when it first does.
"""

import json
import tarfile
import urllib.parse
from pathlib import Path
from typing import Any, Protocol

import jinja2

from builder.core import cache, paths
from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.progress import step
from builder.core.work import Work, scratch
from builder.disk.formats import vmdk
from builder.disk.formats.qcow2 import virtual_size
from builder.results import library
from builder.vm import seed

CATALOGUE = "vagrant.json"
_TEMPLATES = paths.PACKER / "vagrant"
# Vagrant's own; it is published, and opens a box until its first start only.
# (https://github.com/hashicorp/vagrant/tree/main/keys)
_PUBLISHED_KEY = "vagrant.pub"


def _user_data() -> dict[str, object]:
    return {
        "users": [
            {
                "name": "vagrant",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "shell": "/bin/bash",
                "lock_passwd": True,
                "ssh_authorized_keys": [(_TEMPLATES / _PUBLISHED_KEY).read_text().strip()],
            }
        ]
    }


def _libvirt(image: Path, seed_disk: Path, work: Work) -> list[Path]:
    """A box for libvirt: disks are qcow2; packed by zlib, which old versions of QEMU read, too."""
    for source, name in ((image, "box.img"), (seed_disk, "seed.img")):
        work.run([program("qemu-img", "qemu-utils"), "convert", "-c", "-O", "qcow2", source, work / name])
    told = {
        "provider": "libvirt",
        "format": "qcow2",
        # In GB, rounded up.
        "virtual_size": -(-virtual_size(image) // (1 << 30)),
        "disks": [{"path": "box.img"}, {"path": "seed.img"}],
    }
    (work / "metadata.json").write_text(json.dumps(told))
    return [work / name for name in ("metadata.json", "Vagrantfile", "box.img", "seed.img")]


def _virtualbox(image: Path, seed_disk: Path, work: Work) -> list[Path]:
    """A box for VirtualBox."""
    disks: list[dict[str, object]] = []
    names = ("box-disk001.vmdk", "box-disk002.vmdk")
    for source, name in zip((image, seed_disk), names, strict=True):
        vmdk.pack(source, work / name, work)
        size = (work / name).stat().st_size
        disks.append({"file": name, "bytes": size, "capacity": virtual_size(source)})
    (work / "metadata.json").write_text(json.dumps({"provider": "virtualbox"}))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    ovf = environment.from_string((_TEMPLATES / "box.ovf.j2").read_text())
    (work / "box.ovf").write_text(ovf.render(disks=disks))
    return [work / name for name in ("metadata.json", "Vagrantfile", "box.ovf", *names)]


class _Box(Protocol):
    """Makes what is in a box. Returns its files."""

    def __call__(self, image: Path, seed_disk: Path, work: Work) -> list[Path]: ...


_PROVIDERS: dict[str, _Box] = {
    "libvirt": _libvirt,
    "virtualbox": _virtualbox,
}
PROVIDERS = tuple(_PROVIDERS)
_OVF_IS_FOR = "amd64"


def make(name: str, providers: tuple[str, ...]) -> list[Path]:
    """Make boxes of a baked image, beside it.

    :param name: of the image, or its file.
    :param providers: for which; all that start a machine of its architecture if none is named.
    :return: the boxes' paths, and the catalogue's.
    :raises BuildError: there is no such image, or it does not boot in such a machine.
    """
    image = library.find(name)
    if not image.image.name.endswith(".qcow2"):
        raise BuildError(f"{image.image.name} is an SD card's image", "Vagrant takes the image cloud")
    architecture = image.facts.architecture
    fitting = [one for one in PROVIDERS if architecture == _OVF_IS_FOR or one != "virtualbox"]
    for provider in providers:
        if provider not in fitting:
            raise BuildError(
                f"{image.image.name} is for {architecture}, and {provider}'s box a machine of {_OVF_IS_FOR}",
                f"Name another with --provider: {', '.join(fitting)}",
            )
    log = library.log_directory(image.image) / "vagrant.log"
    stem = image.image.name.removesuffix(".qcow2")
    made = {}
    for provider in providers or fitting:
        box = image.image.with_name(f"{stem}-{provider}.box")
        with (
            scratch(image.image.parent / "work", log) as work,
            step(f"Making {box.name}", f"Made {box.name}"),
        ):
            seed_disk = work / "seed"
            seed.write(seed_disk, seed.files(_user_data(), f"vagrant-{stem}", None), work)
            (work / "Vagrantfile").write_text((_TEMPLATES / f"Vagrantfile.{provider}").read_text())
            files = _PROVIDERS[provider](image.image, seed_disk, work)
            told = json.loads((work / "metadata.json").read_text())
            (work / "metadata.json").write_text(json.dumps({**told, "architecture": architecture}))
            _pack(files, work / "box")
            (work / "box").replace(box)
        made[provider] = box
    return [*made.values(), _catalogue(image, made)]


def _pack(files: list[Path], to: Path) -> None:
    """A tar archive; what is in it is packed already."""
    with tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as box:
        for file in files:
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as stream:
                box.addfile(entry, stream)


def _catalogue(image: library.Result, made: dict[str, Path]) -> Path:
    """What ``vagrant box add FILE`` reads: a version, and its boxes with their checksums."""
    catalogue = image.image.with_name(CATALOGUE)
    boxes: list[dict[str, Any]] = [
        {
            "name": provider,
            "url": box.resolve().as_uri(),
            "checksum_type": "sha256",
            "checksum": cache.sha256_file(box),
            # Known to Vagrant 2.4 and newer, by the names that Debian has for them.
            "architecture": image.facts.architecture,
            "default_architecture": image.facts.architecture == _OVF_IS_FOR,
        }
        for provider, box in made.items()
    ]
    # Each build is a version of its own, so that a newer one is taken for newer.
    built = "".join(filter(str.isdigit, image.facts.built))[:12]
    number = f"{image.facts.version}.{built}"
    versions = {number: boxes}
    for earlier, box in _still_there(catalogue):
        if all(box["url"] != other["url"] for of in versions.values() for other in of):
            versions.setdefault(earlier, []).append(box)
    # An older Vagrant takes the last of a provider's.
    told: list[dict[str, Any]] = [
        {"version": one, "providers": sorted(versions[one], key=_is_usual)} for one in versions
    ]
    cache.write_json(catalogue, {"name": "microblog", "description": "Microblog", "versions": told})
    return catalogue


def _is_usual(box: dict[str, Any]) -> bool:
    """Whether a box is of the architecture that a catalogue without architectures is of."""
    return bool(box.get("default_architecture", True))


def _still_there(catalogue: Path) -> list[tuple[str, dict[str, Any]]]:
    """Of an earlier catalogue the boxes that are what it says they are, each with its version."""
    try:
        versions = json.loads(catalogue.read_text())["versions"]
        boxes = [(one["version"], box) for one in versions for box in one["providers"]]
        return [(version, box) for version, box in boxes if _sum_of(box["url"]) == box["checksum"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def _sum_of(url: str) -> str:
    file = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    return cache.sha256_file(file) if file.is_file() else ""
