"""Bake in a machine: Packer boots the base in QEMU and works over SSH; a qcow2 file comes out."""

import os
import re
import shlex
from pathlib import Path

from builder.bake import packer, pool
from builder.bake.method import Method
from builder.bases.cached import CachedBase
from builder.core import paths, processes
from builder.core.command import program
from builder.core.work import Work
from builder.defs.definition import Image
from builder.disk import media
from builder.disk.compact import compact
from builder.disk.formats.qcow2 import virtual_size
from builder.vm import emulator, seed
from builder.vm.accelerator import ACCELERATOR_OPTIONS

_FORWARD = re.compile(r"hostfwd=tcp:127\.0\.0\.1:(\d+)-:22\b")


def prepare(image: Image, base: CachedBase, accelerator: str, work: Work) -> dict[str, object]:
    """Make the seed and the disk of packages that the machine reads.

    :param accelerator: ``kvm`` or ``tcg``.
    :param work: holds ``pool/``, the packages; gets what the machine needs.
    :return: the template's variables.
    """
    pool.as_disk(work / "pool", work / "pool.img", work)
    http_seed = work / "http/seed"
    http_seed.mkdir(parents=True)
    public_key = seed.make_key(work / "key", work)
    user_data = packer.render("seed/user-data.j2", public_key=public_key)
    (http_seed / "user-data").write_text(user_data)
    (http_seed / "meta-data").write_bytes((paths.PACKER / "seed" / "meta-data").read_bytes())
    qemu = emulator.EMULATORS[base.architecture]
    return {
        "base": str(base.disk),
        "base_checksum": f"sha256:{base.sha256}",
        "disk_size": f"{virtual_size(base.disk) >> 20}M",
        "output": str(work / "packer"),
        "http": str(work / "http"),
        "pool": str(work / "pool.img"),
        "ssh_key": str(work / "key"),
        "packages": image.packages,
        "provision": image.provision,
        "qemu": program(qemu.binary, qemu.package),
        "machine": qemu.machine[1],
        "cpu": qemu.cpu(accelerator),
        "firmware": str(qemu.firmware.path) if qemu.firmware else "",
        "accelerator": accelerator,
        "accelerator_options": ACCELERATOR_OPTIONS[accelerator],
        "cpus": min(4, os.cpu_count() or 1),
        "memory_mb": image.memory_mb,
    }


def flatten(work: Work, to: Path) -> None:
    """Write a raw disk of what the machine's disk holds."""
    compact(work / "packer/image.qcow2", to, work)


def pack(image: Image, work: Work, to: Path) -> list[Path]:
    """Make a qcow2 file, packed with zstd, of what the machine's disk holds."""
    used, packed = work / "used.raw", to.with_name(f"{to.name}{media.QCOW2}")
    flatten(work, used)
    media.pack_qcow2(used, packed, work)
    used.unlink()
    return [packed]


def way_in(work: Work) -> str:
    """By SSH: which port Packer has taken stands on QEMU's command line, as does the work."""
    for process in processes.all_of():
        line = " ".join(process.arguments)
        found = _FORWARD.search(line)
        if found and str(work / "packer") in line:
            options = ("UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "IdentitiesOnly=yes")
            return shlex.join(
                ["ssh", "-F", "/dev/null", "-i", str(work / "key"), "-p", found[1],
                 *(word for option in options for word in ("-o", option)), "root@127.0.0.1"]
            )  # fmt: skip
    return ""


METHOD = Method(prepare, flatten, pack, way_in, media.QCOW2, emulates=True, needs_root=False)
