"""A bill of materials: what an image is made of, in CycloneDX's JSON, for scanners to read.

https://cyclonedx.org/docs/1.6/json/; packages are named by package URLs (purl, type deb).
"""

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from builder import cache

SUFFIX = ".cdx.json"
_NAMESPACE = uuid.UUID("7d1f2f0c-6b8e-5c52-9a2b-3d6f0a4f7c11")
# By the beginning of a base's name; what is not here is Debian's.
_VENDORS = {"ubuntu": "ubuntu"}


def write(facts: dict[str, Any], to: Path) -> None:
    """Write the bill of one image.

    :param facts: its manifest's content; the same content gives the same bytes.
    """
    base = facts["base"]["name"]
    vendor = _VENDORS.get(base.partition("-")[0], "debian")
    bill = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, facts["key"]),
        components=[_component(package, vendor, base) for package in facts["packages"]],
    )
    bill.metadata.timestamp = datetime.fromisoformat(facts["built"].replace("Z", "+00:00"))
    bill.metadata.component = Component(
        type=ComponentType.OPERATING_SYSTEM,
        name=f"microblog-{facts['target']}",
        version=facts["version"],
        description=facts["description"],
        bom_ref=f"microblog-{facts['target']}",
        components=[
            Component(
                type=ComponentType.FILE,
                name=facts["deb"]["name"],
                bom_ref=facts["deb"]["name"],
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=facts["deb"]["sha256"])],
            )
        ],
    )
    bill.register_dependency(bill.metadata.component, bill.components)
    text = make_outputter(bill, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    cache.write_json(to, json.loads(text))


def packages(bill: Path) -> set[tuple[str, str]]:
    """Name and version of each package that a bill lists."""
    return {(one["name"], one["version"]) for one in json.loads(bill.read_text())["components"]}


def _component(package: dict[str, Any], vendor: str, distro: str) -> Component:
    purl = PackageURL(
        "deb",
        vendor,
        package["name"],
        package["version"],
        {"arch": package["architecture"], "distro": distro},
    )
    return Component(
        type=ComponentType.LIBRARY,
        name=package["name"],
        version=package["version"],
        purl=purl,
        bom_ref=purl.to_string(),
    )
