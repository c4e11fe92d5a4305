"""The list with which Raspberry Pi Imager offers an image, its customisation dialog included.

https://github.com/raspberrypi/rpi-imager/blob/main/doc/json-schema/os-list-schema.json
"""

import time
from pathlib import Path

from builder.core import cache
from builder.defs.definition import Image

SUFFIX = ".os-list.json"
# 64-bit boards, as Imager's own list tags them.
_DEVICES = ["pi5-64bit", "pi4-64bit", "pi3-64bit"]


def write(image: Image, packed: Path, raw: Path, to: Path) -> None:
    """Write a list of one image.

    :param packed: the image as it is downloaded; it is expected beside the list.
    :param raw: the same, unpacked.
    """
    entry = {
        "name": "Microblog",
        "description": image.description,
        "url": packed.name,
        "extract_size": raw.stat().st_size,
        "extract_sha256": cache.sha256_file(raw),
        "image_download_size": packed.stat().st_size,
        "image_download_sha256": cache.sha256_file(packed),
        "release_date": time.strftime("%Y-%m-%d", time.gmtime()),
        # cloud-init's user-data and network-config on the boot partition.
        "init_format": "cloudinit",
        "devices": _DEVICES,
    }
    cache.write_json(to, {"os_list": [entry]})
