"""Definitions: a short TOML file per image (images/) and per base (images/bases/)."""

import dataclasses
import difflib
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from builder import paths
from builder.errors import BuildError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ARCHITECTURES = ("amd64", "arm64")
FILE = "{file}"
"""In a base's ``sums`` and ``signature``: the name of its image."""
_UNITS = {"M": 1 << 20, "G": 1 << 30}


@dataclasses.dataclass(frozen=True)
class Definition:
    """What every definition says."""

    name: str
    description: str


@dataclasses.dataclass(frozen=True)
class ComposedBase(Definition):
    """A base made here, from a Debian archive's packages (``method = "compose"``)."""

    architecture: str
    user: str
    """The account that cloud-init makes for the owner."""
    suite: str
    """The archive's suite: ``bookworm``."""
    components: list[str]
    layout: str
    """How the disk is laid out: ``cloud`` or ``card``."""
    disk_size: str
    """Of the disk, as ``3G`` or ``3500M``."""
    customize: str
    """The script beside the definition that mmdebstrap runs on the finished root directory."""
    packages: list[str]
    prepare: str = ""
    """The script beside the definition that mmdebstrap runs before the first package is installed."""
    mirror: str = ""
    """The archive's URL; mmdebstrap knows Debian's."""


@dataclasses.dataclass(frozen=True)
class DownloadedBase(Definition):
    """A base that its publisher offers as a disk image (``method = "download"``)."""

    architecture: str
    user: str
    url: str
    """Of the image, or of what its server redirects to it; ``{date}`` stands for the newest one there."""
    sha256: str = ""
    """Of the image, in hexadecimal, where it is always the same one."""
    sums: str = ""
    """Else: the publisher's checksums, a file beside the image; ``{file}`` stands for the image's name."""
    signature: str = ""
    """The detached signature of these or of the image, which it is named after: ``SHA256SUMS.gpg``."""
    key: str = ""
    """The fingerprint of the key that signs, 40 hexadecimal digits."""
    disk_size: str = ""
    """What the disk is grown to, as ``5G``: publishers leave no room on it."""
    hold: list[str] = dataclasses.field(default_factory=list)
    """Packages that no bake upgrades, as patterns: ``linux-image-*``."""

    @property
    def signs_sums(self) -> bool:
        """Whether the signature is one of the checksums, not of the image."""
        return self.signature.rpartition(".")[0] == self.sums


Base = ComposedBase | DownloadedBase


@dataclasses.dataclass(frozen=True)
class Image(Definition):
    """An image: which bases it can be baked on, how, and how it is checked."""

    bases: list[str]
    """Names of bases, the preferred one first."""
    method: str
    """How it is baked: in a ``machine``, or in a ``chroot``, which makes an SD card."""
    template: str
    """The Packer template under packer/, without its .pkr.hcl."""
    packages: list[str]
    """What is installed beside microblog itself."""
    provision: list[str]
    """The scripts under packer/provision/ that Packer runs, in this order."""
    memory_mb: int
    """Memory of the machine that bakes it, and of the one that checks it."""
    scheme: str = "https"
    """How its site is reached: ``https`` or ``http``."""


_METHODS: dict[str, type[Base]] = {"compose": ComposedBase, "download": DownloadedBase}
_Definition = TypeVar("_Definition", bound=Definition)


def size_in_bytes(text: str) -> int:
    """``3G`` or ``3500M`` in bytes.

    :raises ValueError: it is neither.
    """
    match = re.fullmatch(r"([1-9][0-9]*)([MG])", text)
    if not match:
        raise ValueError(f"{text!r} is not a size such as 3G or 3500M")
    return int(match[1]) * _UNITS[match[2]]


def names(kind: str) -> list[str]:
    """The names of all definitions. :param kind: ``images`` or ``bases``."""
    return sorted(path.stem for path in _directory(kind).glob("*.toml"))


def _directory(kind: str) -> Path:
    return paths.DEFINITIONS if kind == "images" else paths.DEFINITIONS / "bases"


def _guess(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known) or 'none'}"


def _read(kind: str, name: str) -> tuple[Path, dict[str, Any]]:
    if name not in names(kind):
        raise BuildError(f"there is no {kind.rstrip('s')} {name!r}", _guess(name, names(kind)))
    path = _directory(kind) / f"{name}.toml"
    try:
        return path, tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BuildError(f"{path} is not TOML: {error}", "Mend that line") from error


def _is_a(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, types.GenericAlias):
        (item,) = typing.get_args(wanted)
        return isinstance(value, list) and all(_is_a(one, item) for one in value)
    return isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))


def _fill(cls: type[_Definition], path: Path, values: dict[str, Any]) -> _Definition:
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.name != "name"}
    for given in values:
        if given not in fields:
            raise BuildError(f"{path}: there is no field {given!r}", _guess(given, list(fields)))
    for name, field in fields.items():
        if name not in values:
            if field.default is field.default_factory is dataclasses.MISSING:
                raise BuildError(f"{path}: the field {name!r} is missing", f"Add a line: {name} = ...")
        elif not _is_a(values[name], hints[name]):
            wanted = {str: "a string", int: "a whole number"}.get(hints[name], "a list of strings")
            raise BuildError(f"{path}: {name} must be {wanted}, not {values[name]!r}", "Mend that line")
    if values.get("architecture", "amd64") not in ARCHITECTURES:
        raise BuildError(
            f"{path}: architecture {values['architecture']!r} is unknown",
            f"Use one of: {', '.join(ARCHITECTURES)}",
        )
    return cls(name=path.stem, **values)


def load_image(name: str) -> Image:
    """Read images/NAME.toml.

    :raises BuildError: there is none, or a field is missing, misspelt or of the wrong type.
    """
    path, values = _read("images", name)
    image = _fill(Image, path, values)
    if not image.bases:
        raise BuildError(f"{path}: bases is empty", f"Name at least one of: {', '.join(names('bases'))}")
    for base in image.bases:
        if base not in names("bases"):
            raise BuildError(f"{path}: there is no base {base!r}", _guess(base, names("bases")))
    _must_exist(path, paths.PACKER / f"{image.template}.pkr.hcl")
    for script in image.provision:
        _must_exist(path, paths.PACKER / "provision" / script)
    return image


def load_base(name: str) -> Base:
    """Read images/bases/NAME.toml.

    :raises BuildError: as :func:`load_image`.
    """
    path, values = _read("bases", name)
    method = values.pop("method", None)
    if method not in _METHODS:
        raise BuildError(
            f"{path}: method must be one of {', '.join(_METHODS)}, not {method!r}", "Mend that line"
        )
    base = _fill(_METHODS[method], path, values)
    if isinstance(base, ComposedBase):
        for script in filter(None, (base.prepare, base.customize)):
            _must_exist(path, path.with_name(script))
    else:
        _must_be_checkable(path, base)
    if base.disk_size:
        try:
            size_in_bytes(base.disk_size)
        except ValueError as error:
            raise BuildError(f"{path}: disk_size: {error}", "Mend that line") from error
    return base


def _must_be_checkable(path: Path, base: DownloadedBase) -> None:
    """:raises BuildError: a base says neither which bytes it wants nor whose."""
    if base.sha256 and not re.fullmatch("[0-9a-f]{64}", base.sha256):
        raise BuildError(f"{path}: sha256 is not 64 hexadecimal digits", "Copy it from the publisher's sums")
    signed = (base.sums, base.signature, base.key)
    if bool(base.sha256) == any(signed) or (any(signed) and not all(signed)):
        raise BuildError(
            f"{path} does not say how its image is checked",
            "Give sha256 for one image, or sums, signature and key for whichever the publisher signs",
        )
    if base.signature and base.signature.rpartition(".")[0] not in (base.sums, FILE):
        raise BuildError(
            f"{path}: signature {base.signature!r} is named after neither {base.sums!r} nor {FILE!r}",
            "A detached signature has the name of what it signs, and an ending",
        )
    if base.key and not re.fullmatch("[0-9A-F]{40}", base.key):
        raise BuildError(f"{path}: key is not the 40 hexadecimal digits of a fingerprint", "Mend that line")


def _must_exist(definition: Path, named: Path) -> None:
    if not named.is_file():
        raise BuildError(
            f"{definition} names {named.name}, which is not there", f"Make {named}, or mend the name"
        )
