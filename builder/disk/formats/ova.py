"""ova: a whole machine in one file, its description (OVF 1.0, DMTF DSP0243) and its disk, a vmdk.

A tar archive (ustar) of the description, the checksums of it and of the disk, and the disk, in this order.
"""

import tarfile
from pathlib import Path

import jinja2

from builder.core import cache, paths
from builder.core.errors import BuildError
from builder.core.work import Work
from builder.disk.format import Format
from builder.disk.formats import vmdk

_NAME = "microblog"
_DISK = f"{_NAME}-disk1.vmdk"


def pack(raw: Path, to: Path, work: Work) -> None:
    """Make a machine with a raw disk: two processors, 1 GB of memory, paravirtual disk and network."""
    disk, ovf, sums = work / _DISK, work / f"{_NAME}.ovf", work / f"{_NAME}.mf"
    vmdk.pack(raw, disk, work)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((paths.PACKER / "export/machine.ovf.j2").read_text())
    ovf.write_text(template.render(disk=_DISK, bytes=disk.stat().st_size, capacity=raw.stat().st_size))
    sums.write_text("".join(f"SHA256({file.name})= {cache.sha256_file(file)}\n" for file in (ovf, disk)))
    with tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as archive:
        for file in (ovf, sums, disk):
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as stream:
                archive.addfile(entry, stream)
    disk.unlink()


def unpack(image: Path, raw: Path, work: Work) -> None:
    """Unpack its first disk.

    :raises BuildError: there is none.
    """
    disk = work / _DISK
    with tarfile.open(image) as archive:
        found = next((one for one in archive if one.isfile() and one.name.endswith(".vmdk")), None)
        stream = archive.extractfile(found) if found else None
        if stream is None:
            raise BuildError(f"there is no disk in {image.name}")
        with disk.open("wb") as out:
            while chunk := stream.read(1 << 20):
                out.write(chunk)
    vmdk.FORMAT.unpack(disk, raw, work)
    disk.unlink()


FORMAT = Format(".ova", pack, unpack, is_for="VMware ESXi, vCenter, Workstation, Fusion")
