"""What is known of an image: a JSON file beside it, and the SHA256SUMS of them all."""

import json
from pathlib import Path
from typing import Any

from builder.core import cache
from builder.core.errors import BuildError
from builder.core.progress import say
from builder.defs import endings
from builder.results import sign

SUFFIX = ".manifest.json"
SUMS = "SHA256SUMS"


def path_for(image: Path) -> Path:
    """The manifest's path, for an image's."""
    return image.with_name(endings.stem(image) + SUFFIX)


def read(path: Path) -> dict[str, Any] | None:
    """A manifest; None where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def packages(listing: Path) -> list[dict[str, object]]:
    """The installed packages, from dpkg-query's lines: name, version, architecture, size in KiB, and the
    source package's name and version.

    :raises BuildError: a line is not of that form.
    """
    found: list[dict[str, object]] = []
    for line in listing.read_text().splitlines():
        fields = line.split("\t")
        if len(fields) != 6 or not (fields[3] or "0").isdigit():
            raise BuildError(f"the list of packages has a line that is none: {line!r}")
        name, version, architecture, size, source, source_version = fields
        found.append(
            {
                "name": name,
                "version": version,
                "architecture": architecture,
                "installed_kib": int(size or 0),
                "source": source,
                "source_version": source_version,
            }
        )
    return found


def files(*paths: Path) -> list[dict[str, object]]:
    """Name, size in bytes and SHA-256 of each file."""
    return [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": cache.sha256_file(path)} for path in paths
    ]


def intact(directory: Path, manifest: dict[str, Any]) -> bool:
    """Whether the files that a manifest names are there, with the sizes and checksums it gives."""
    try:
        return bool(manifest["files"]) and all(
            (directory / entry["name"]).stat().st_size == entry["bytes"]
            and cache.sha256_file(directory / entry["name"]) == entry["sha256"]
            for entry in manifest["files"]
        )
    except (KeyError, TypeError, FileNotFoundError):
        return False


def write_sums(directory: Path) -> Path:
    """Write SHA256SUMS, as sha256sum(1) reads it, over every image here and its manifest."""
    lines = []
    for manifest in sorted(directory.glob(f"*{SUFFIX}")):
        for entry in (read(manifest) or {}).get("files", []):
            lines.append(f"{entry['sha256']}  {entry['name']}")
        lines.append(f"{cache.sha256_file(manifest)}  {manifest.name}")
    sums = directory / SUMS
    text = "\n".join(lines) + "\n"
    if not sums.exists() or sums.read_text() != text:
        if sign.forget(sums):
            say(f"WARNING: {sums.name} is another now: its signature is removed; sign it with --sign KEY")
        cache.write_text(sums, text)
    return sums
