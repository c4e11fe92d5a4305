"""A bill of materials: what an image is made of, in CycloneDX's JSON, for scanners to read.

https://cyclonedx.org/docs/1.6/json/; packages are named by package URLs (purl, type deb).
"""

import json
import re
import uuid
from datetime import datetime
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from builder.core import cache
from builder.results.manifest import Base, Installed, Manifest

SUFFIX = ".cdx.json"
_NAMESPACE = uuid.UUID("7d1f2f0c-6b8e-5c52-9a2b-3d6f0a4f7c11")
_SYSTEM = re.compile(r"(debian|ubuntu)-[0-9.]+")


def write(facts: Manifest, to: Path) -> None:
    """Write the bill of one image.

    :param facts: its manifest; the same one gives the same bytes.
    """
    system = _system(facts.base)
    vendor, _, release = system.partition("-")
    bill = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, facts.made_from),
        components=[
            # What scanners take the distribution from.
            Component(type=ComponentType.OPERATING_SYSTEM, name=vendor, version=release, bom_ref=system),
            *(_component(package, vendor, system) for package in facts.packages),
        ],
    )
    bill.metadata.timestamp = datetime.fromisoformat(facts.built.replace("Z", "+00:00"))
    bill.metadata.component = Component(
        type=ComponentType.OPERATING_SYSTEM,
        name=f"microblog-{facts.target}",
        version=facts.version,
        description=facts.description,
        bom_ref=f"microblog-{facts.target}",
        components=[
            Component(
                type=ComponentType.FILE,
                name=facts.deb.name,
                bom_ref=facts.deb.name,
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=facts.deb.sha256)],
            )
        ],
    )
    bill.register_dependency(bill.metadata.component, bill.components)
    text = make_outputter(bill, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    cache.write_json(to, json.loads(text))


def packages(bill: Path) -> set[tuple[str, str]]:
    """Name and version of each package that a bill lists."""
    listed = json.loads(bill.read_text())["components"]
    return {(one["name"], one["version"]) for one in listed if one["type"] == ComponentType.LIBRARY.value}


def _system(base: Base) -> str:
    """ID and VERSION_ID of a base's os-release(5); by its name where they were not noted yet."""
    found = _SYSTEM.match(base.name)
    return base.system or (found[0] if found else "debian-0")


def _component(package: Installed, vendor: str, distro: str) -> Component:
    source = package.source or package.name
    version = package.source_version or package.version
    # Security notices name source packages: syft and grype read upstream=, trivy its own properties.
    upstream = source if version == package.version else f"{source}@{version}"
    purl = PackageURL(
        "deb",
        vendor,
        package.name,
        package.version,
        {
            "arch": package.architecture,
            "distro": distro,
            **({"upstream": upstream} if upstream != package.name else {}),
        },
    )
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=purl,
        bom_ref=purl.to_string(),
        properties=[
            Property(name=f"aquasecurity:trivy:{name}", value=value)
            for name, value in {"SrcName": source, **_parts(version)}.items()
            if value
        ],
    )


def _parts(version: str) -> dict[str, str]:
    """[EPOCH:]UPSTREAM[-REVISION] (deb-version(7))."""
    epoch, colon, rest = version.partition(":")
    upstream, hyphen, revision = (rest if colon else epoch).rpartition("-")
    return {
        "SrcVersion": upstream if hyphen else revision,
        "SrcRelease": revision if hyphen else "",
        "SrcEpoch": epoch if colon else "",
    }
