"""Definitions: a short TOML file per image (images/) and per base (images/bases/)."""

import dataclasses
import difflib
import re
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from builder.core import paths
from builder.core.errors import BuildError

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
    leave_out: list[str] = dataclasses.field(default_factory=list)
    """Files beside the definition that say what of packages is left out, on the machine too (dpkg(1),
    path-exclude)."""
    mirror: str = ""
    """The archive's URL, instead of Debian's own, which mmdebstrap knows; its updates are taken, too."""
    security_mirror: str = "http://security.debian.org/debian-security"
    """Where, beside a ``mirror``, the security updates are; empty for none."""


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
    signed: bool = True
    """False of a publisher who signs nothing: his checksums, by https, are then all that there is."""
    layout: str = "cloud"
    """How the disk is laid out: ``cloud`` or ``card``."""
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
    by_name: bool = False
    """Made where it is named alone: who says nothing more wants a site on one machine."""


# How an image is baked, and the layout of the bases that it can be baked on so.
_LAYOUTS = {"machine": "cloud", "chroot": "card"}
# Layouts that are composed for some architectures alone.
_COMPOSED = {"cloud": ("amd64", "arm64"), "card": ("arm64",)}
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_PACKAGE = r"[a-z0-9][a-z0-9+.-]*"
# What the values of fields, or those in a list, look like; and what that is called.
_SHAPES: dict[str, tuple[str, str]] = {
    "template": (_NAME, "the name of a file"),
    "provision": (_NAME, "the name of a file"),
    "prepare": (_NAME, "the name of a file"),
    "customize": (_NAME, "the name of a file"),
    "leave_out": (_NAME, "the name of a file"),
    "packages": (_PACKAGE, "a package's name"),
    "hold": (r"[a-z0-9*?][a-z0-9+.*?-]*", "a package's name, or a pattern of such"),
    "components": (_PACKAGE, "a component's name"),
    "suite": (r"[a-z][a-z0-9./-]*", "a suite's name"),
    "user": (r"[a-z_][a-z0-9_-]*", "an account's name"),
    "scheme": ("https?", "https or http"),
    "layout": ("|".join(_LAYOUTS.values()), " or ".join(_LAYOUTS.values())),
    "url": (r"https?://[^\s\"']+", "an address"),
    "mirror": (r"https?://[^\s\"']+", "an address"),
    "security_mirror": (r"https?://[^\s\"']+", "an address"),
    "sums": (r"[^/\s]+", "the name of a file"),
    "signature": (r"[^/\s]+", "the name of a file"),
}
_MAY_BE_EMPTY = frozenset({"prepare", "mirror", "security_mirror", "sums", "signature"})
_SMALLEST_MB = 256

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
    return sorted({path.stem for top in _directories(kind) for path in top.glob("*.toml")})


def usual() -> list[str]:
    """The names of the images that are made where none is named."""
    return [name for name in names("images") if not load_image(name).by_name]


def _directories(kind: str) -> list[Path]:
    tops = [paths.DEFINITIONS, *paths.own_definitions()]
    return tops if kind == "images" else [top / "bases" for top in tops]


def _guess(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known) or 'none'}"


def _read(kind: str, name: str) -> tuple[Path, dict[str, Any]]:
    if name not in names(kind):
        raise BuildError(f"there is no {kind.rstrip('s')} {name!r}", _guess(name, names(kind)))
    there = [path for top in _directories(kind) if (path := top / f"{name}.toml").is_file()]
    if len(there) > 1:
        raise BuildError(f"{name} is defined twice: {there[0]} and {there[1]}", "Give yours another name")
    if not there:
        raise BuildError(f"{name}.toml is no file", "It is a folder, or a link that leads nowhere: remove it")
    path = there[0]
    try:
        return path, tomllib.loads(path.read_text())
    except OSError as error:
        raise BuildError(f"{path} can't be read: {error.strerror}", "Give yourself the right to") from error
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
            wanted = {str: "a string", int: "a whole number", bool: "true or false"}.get(
                hints[name], "a list of strings"
            )
            raise BuildError(f"{path}: {name} must be {wanted}, not {values[name]!r}", "Mend that line")
        else:
            _must_look_right(path, name, values[name])
    if values.get("architecture", "amd64") not in ARCHITECTURES:
        raise BuildError(
            f"{path}: architecture {values['architecture']!r} is unknown",
            f"Use one of: {', '.join(ARCHITECTURES)}",
        )
    return cls(name=path.stem, **values)


def _must_look_right(path: Path, name: str, value: Any) -> None:
    if name not in _SHAPES or (value == "" and name in _MAY_BE_EMPTY):
        return
    shape, called = _SHAPES[name]
    for one in value if isinstance(value, list) else [value]:
        if not re.fullmatch(shape, one):
            raise BuildError(f"{path}: {name}: {one!r} is not {called}", "Mend that line")


def load_image(name: str) -> Image:
    """Read images/NAME.toml.

    :raises BuildError: there is none, or a field is missing, misspelt or of the wrong type.
    """
    path, values = _read("images", name)
    image = _fill(Image, path, values)
    if not image.bases:
        raise BuildError(f"{path}: bases is empty", f"Name at least one of: {', '.join(names('bases'))}")
    if image.method not in _LAYOUTS:
        raise BuildError(
            f"{path}: method must be one of {', '.join(_LAYOUTS)}, not {image.method!r}", "Mend that line"
        )
    if image.memory_mb < _SMALLEST_MB:
        raise BuildError(
            f"{path}: memory_mb is {image.memory_mb}, and less than {_SMALLEST_MB}", "Mend that line"
        )
    for base in image.bases:
        if base not in names("bases"):
            raise BuildError(f"{path}: there is no base {base!r}", _guess(base, names("bases")))
        load_base_for(image, base)
    _must_exist(path, paths.PACKER / f"{image.template}.pkr.hcl")
    for script in image.provision:
        _must_exist(path, paths.script(script))
    return image


def with_packages(image: Image, packages: Sequence[str]) -> Image:
    """The same image with more packages in it.

    :raises BuildError: what is named can't be a package.
    """
    for name in packages:
        if not re.fullmatch(_PACKAGE, name):
            raise BuildError(f"{name!r} is not a package's name", "Name packages as apt does: --package vim")
    return dataclasses.replace(image, packages=[*image.packages, *packages])


def load_base_for(image: Image, name: str) -> Base:
    """Read images/bases/NAME.toml, if it is one that an image can be baked on.

    :raises BuildError: as :func:`load_base`, or it is laid out in another way.
    """
    base = load_base(name)
    wanted = _LAYOUTS[image.method]
    if base.layout != wanted:
        fitting = [other for other in names("bases") if load_base(other).layout == wanted]
        raise BuildError(
            f"{image.name}.toml: {image.name} can't be baked on {name}: it is baked in a {image.method},"
            f" on a disk laid out as a {wanted}, and that is a {base.layout}",
            f"There are: {', '.join(fitting)}",
        )
    return base


def downloaded() -> list[str]:
    """The names of the bases that somebody offers as a file."""
    return [name for name in names("bases") if isinstance(load_base(name), DownloadedBase)]


def must_be_downloaded(base: Base) -> None:
    """:raises BuildError: it is composed: no file of anybody's can be in its place."""
    if not isinstance(base, DownloadedBase):
        raise BuildError(f"the base {base.name} is not one that is downloaded", "Leave out --base-file")


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
        for named in filter(None, (base.prepare, base.customize, *base.leave_out)):
            _must_exist(path, paths.base_file(named))
        if base.architecture not in _COMPOSED[base.layout]:
            raise BuildError(
                f"{path}: a {base.layout} is composed for {' or '.join(_COMPOSED[base.layout])},"
                f" not for {base.architecture}",
                "Take a base that its publisher offers for it",
            )
    else:
        _must_be_checkable(path, base)
    if base.disk_size or isinstance(base, ComposedBase):
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
    if not base.signed:
        if (
            base.sha256
            or signed != (base.sums, "", "")
            or not base.sums
            or not base.url.startswith("https://")
        ):
            raise BuildError(
                f"{path}: signed = false goes with sums at an address that begins with https://, and with no"
                " sha256, signature or key",
                "Where there is a signature, give it",
            )
        return
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
