"""Disk image files, as qemu-img knows them."""

import json
from pathlib import Path

from builder.core.command import output, program


def virtual_size(image: Path) -> int:
    """The size of the disk that an image file holds, in bytes."""
    told = output([program("qemu-img", "qemu-utils"), "info", "--output=json", image])
    return int(json.loads(told)["virtual-size"])
