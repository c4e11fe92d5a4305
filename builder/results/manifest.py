"""What is known of an image: a JSON file beside it, and the SHA256SUMS of them all."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.core import cache, typed
from builder.core.errors import BuildError
from builder.core.progress import say
from builder.defs import endings
from builder.results import sign

SUFFIX = ".manifest.json"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class ImageFile:
    """A file that belongs to an image."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Installed:
    """A package that is installed in an image."""

    name: str
    version: str
    architecture: str
    installed_kib: int = 0
    source: str = ""
    """The source package's name; the package's own if empty."""
    source_version: str = ""


@dataclass(frozen=True)
class Made:
    """A disk that a bake began with: a base's, or a layer's."""

    sha256: str
    made: str
    """When it came into the cache, UTC, ISO 8601."""


@dataclass(frozen=True)
class Base(Made):
    """The base that an image was baked on."""

    name: str
    system: str = ""
    """ID and VERSION_ID of its os-release(5); empty where they are not known."""
    source: dict[str, str] | None = None
    """Of one that was downloaded: url or file, sha256, signed_by."""
    layer: Made | None = None
    """What was baked onto it before, if anything was."""


@dataclass(frozen=True)
class Check:
    """The check that an image has passed."""

    checked_by: str
    """The digest of that: of the tests, and of the code that they use."""
    thorough: bool
    passed: int
    """Tests that passed."""
    seconds: float
    accelerator: str
    when: str
    """UTC, ISO 8601."""
    left_out: int = 0
    boot_to_https_s: float | None = None
    idle_memory_mib: float | None = None


@dataclass(frozen=True)
class Manifest:
    """What is known of an image."""

    target: str
    """The name of its definition."""
    description: str
    version: str
    architecture: str
    user: str
    """The account that is made for the owner."""
    memory_mb: int
    scheme: str
    built: str
    """UTC, ISO 8601."""
    made_from: str
    """The digest of that, which is in NAME.inputs.json."""
    base: Base
    deb: ImageFile
    packer: str
    accelerator: str | None
    """None where nothing was emulated."""
    seconds: dict[str, float]
    """By phase."""
    bake_s: float
    """From Packer's start to its end."""
    packages: list[Installed]
    sbom: str
    """The name of its bill of materials."""
    files: list[ImageFile]
    """The image first."""
    check: Check | None = None

    @property
    def image(self) -> ImageFile:
        """The image's file."""
        return self.files[0]

    def intact(self, directory: Path) -> bool:
        """Whether the files are there, with the sizes and checksums that it gives."""
        return bool(self.files) and all(
            (directory / one.name).is_file()
            and (directory / one.name).stat().st_size == one.bytes
            and cache.sha256_file(directory / one.name) == one.sha256
            for one in self.files
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        found: dict[str, Any] = typed.as_dict(self)
        return found

    def write(self, image: Path) -> Path:
        """Write it beside an image. Returns its path."""
        path = path_for(image)
        cache.write_json(path, self.as_dict())
        return path


def path_for(image: Path) -> Path:
    """The manifest's path, for an image's."""
    return image.with_name(endings.stem(image) + SUFFIX)


def load(path: Path) -> Manifest:
    """A manifest.

    :raises BuildError: there is none, or it does not tell all that it should.
    """
    try:
        return typed.load(Manifest, json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise BuildError(f"there is no {path.name} beside the image", _ANEW) from error
    except ValueError as error:
        raise BuildError(f"{path.name} is damaged: it is no JSON", _ANEW) from error
    except typed.WrongValue as error:
        raise BuildError(f"{path.name} does not tell all that it should: {error.message}", _ANEW) from error


_ANEW = "Bake the image anew with: ./build.py images --fresh; one from elsewhere, get anew"


def read(path: Path) -> Manifest | None:
    """A manifest; None where there is none, or none that can be read."""
    try:
        return load(path)
    except BuildError:
        return None


def packages(listing: Path) -> list[Installed]:
    """The installed packages, from dpkg-query's lines: name, version, architecture, size in KiB, and the
    source package's name and version.

    :raises BuildError: a line is not of that form.
    """
    found = []
    for line in listing.read_text().splitlines():
        fields = line.split("\t")
        if len(fields) != 6 or not (fields[3] or "0").isdigit():
            raise BuildError(f"the list of packages has a line that is none: {line!r}")
        name, version, architecture, size, source, source_version = fields
        found.append(Installed(name, version, architecture, int(size or 0), source, source_version))
    return found


def files(*paths: Path) -> list[ImageFile]:
    """Name, size in bytes and SHA-256 of each file."""
    return [ImageFile(path.name, path.stat().st_size, cache.sha256_file(path)) for path in paths]


def write_sums(directory: Path) -> Path:
    """Write SHA256SUMS, as sha256sum(1) reads it, over every image here and its manifest."""
    lines = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        found = read(path)
        lines += [f"{one.sha256}  {one.name}" for one in (found.files if found else [])]
        lines.append(f"{cache.sha256_file(path)}  {path.name}")
    sums = directory / SUMS
    text = "\n".join(lines) + "\n"
    if not sums.exists() or sums.read_text() != text:
        if sign.forget(sums):
            say(f"WARNING: {sums.name} is another now: its signature is removed; sign it with --sign KEY")
        cache.write_text(sums, text)
    return sums
