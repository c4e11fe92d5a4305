"""Which Packer: the one named, the one on PATH, or HashiCorp's own release, fetched and checked.

Debian 12 and Ubuntu 22.04 package Packer 1.6.6; what came after them packages none. The release goes
into the cache as every download does: signed checksums first, then what they cover. It is run
before it gets its name there, so that what has that name is Packer.

Only the standard library is imported here, but for what fetches: build.py asks before it has more.
"""

import functools
import os
import platform
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from builder.core import cache, needs, paths
from builder.core.errors import BuildError
from builder.core.mirrors import mirrored
from builder.core.needs import Need, Program
from builder.core.progress import say, step

PACKER = Program("packer", "packer", optional=True)
VERSION = "1.16.1"
"""The release that is fetched."""
SERVER = "https://releases.hashicorp.com"
KEY = "C874011F0AB405110D02105534365D9472D7468F"
"""HashiCorp Security (hashicorp.com/security) <security@hashicorp.com>, which signs every release since
April 2021 (HashiCorp's bulletin HCSEC-2021-12, when it replaced 91A6E7F85D05C65630BEF18951852D87348FFC4C).
Compared in HashiCorp's own installer (hc-install, internal/pubkey), in the debops.hashicorp role and in
Docker's official images of Consul and Vault. In March 2026 it was extended to 2030-03-01, its fingerprint
unchanged. What HashiCorp's apt repository is signed with since September 2026 (HCSEC-2026-33) is another."""
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
}
"""HashiCorp's names of them, by the machine's own (uname -m)."""


@dataclass(frozen=True)
class Plugin:
    """What Packer itself fetches for a template, with checksums of its own."""

    name: str
    source: str
    version: str


# From 1.7 on Packer fetches them; it has none of its own since 1.10.
PLUGINS = {
    "qemu": Plugin("qemu", "github.com/hashicorp/qemu", "1.1.6"),
    "amazon-ebs": Plugin("amazon", "github.com/hashicorp/amazon", "1.8.2"),
    "digitalocean": Plugin("digitalocean", "github.com/digitalocean/digitalocean", "1.4.1"),
    "linode": Plugin("linode", "github.com/linode/linode", "1.12.0"),
}
"""By the kind of source that a template has."""
BUILT_IN = frozenset({"null", "file"})
"""Kinds of sources that Packer has itself, all versions of it."""

_MEMBER = "packer"
# Packer 1.16 has 60 MB.
_MOST = 300 << 20
_SAYS = 4096
_CONNECT_SECONDS = 6.0
_WAY_OUT = (
    "Name one: --packer FILE, or have one in PATH (https://developer.hashicorp.com/packer/install); "
    "or name a mirror in MICROBLOG_MIRRORS"
)
_NAMED = "Name the program itself, as --packer ~/bin/packer; https://developer.hashicorp.com/packer/install"

_chosen: list[Path] = []


def choose(given: Path) -> None:
    """Use this Packer from now on, and no other.

    :raises BuildError: it is not Packer.
    """
    _checked(given)
    _chosen[:] = [given.resolve()]


def find(given: Path | None = None) -> str:
    """The path of a Packer: the one given or chosen, else on PATH, else HashiCorp's, fetched if need be.

    :raises BuildError: the one given is not Packer; or there is none and none can be had.
    """
    if given or _chosen:
        return _checked(given or _chosen[0])
    return at_hand() or str(obtain())


def at_hand() -> str | None:
    """A Packer that is here already, on PATH or in the cache."""
    # cracklib has a program of that name too.
    for candidate in filter(None, (PACKER.found, str(_place()))):
        if Path(candidate).is_file() and _is_packer(candidate):
            return candidate
    return None


def version(executable: str) -> tuple[int, ...]:
    """Packer's version: ``(1, 6, 6)``.

    :raises BuildError: it is not Packer, or can't be run.
    """
    try:
        with subprocess.Popen(
            [executable, "version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        ) as process:
            assert process.stdout is not None  # noqa: S101
            # No more than Packer says: another program may have no end.
            said = process.stdout.read(_SAYS).decode(errors="replace")
            process.kill()
    except OSError as error:
        raise BuildError(f"{executable} can't be run: {error.strerror}", _NAMED) from error
    match = re.match(r"Packer v(\d+)\.(\d+)\.(\d+)", said)
    if not match:
        raise BuildError(f"{executable} is not Packer: it says {said.strip()[:80]!r}", _NAMED)
    return tuple(int(part) for part in match.groups())


def settle(wanted: list[Need], arguments: list[str]) -> list[Need]:
    """Find out, before anything is installed, where a verb's Packer is to come from. Nothing is fetched.

    :param wanted: what the verb needs of the distribution.
    :param arguments: of build.py, without its name.
    :return: the same, less Packer where another one is taken.
    :raises BuildError: the one given is not Packer; or there is none and HashiCorp's can't be had.
    """
    others = [need for need in wanted if need != PACKER]
    given = _given_in(arguments)
    if given:
        _checked(given)
    if given or others == wanted or at_hand():
        return others
    bakes = not {"images", "--native"}.isdisjoint(arguments)
    words = [argument for argument in arguments if not argument.startswith("-")]
    if bakes or words[:2] in (["bench", "bake"], ["bench", "pi"]):
        if not needs.may_be_had(PACKER.package):
            _reach(f"{_address()}_SHA256SUMS")
        return wanted
    # A benchmark may bake; what else reaches the code that does, as check and publish, does not.
    return wanted if "bench" in arguments else others


def _given_in(arguments: list[str]) -> Path | None:
    """The FILE of ``--packer FILE`` or ``--packer=FILE`` in a command line that nothing has parsed yet."""
    for option, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if option == "--packer" and following:
            return Path(following)
        if option.startswith("--packer="):
            return Path(option.removeprefix("--packer="))
    return None


def obtain() -> Path:
    """HashiCorp's Packer, from the cache; fetched and checked if it is not there.

    :raises BuildError: it can't be had, or anything of it is not right; nothing of it is kept then.
    """
    # They need what build.py's environment has.
    from builder.bases import upstream
    from builder.defs.definition import DownloadedBase

    place = _place()
    address = _address()
    sums = f"{address.rpartition('/')[2]}_SHA256SUMS"
    store = place.parent.parent
    with cache.lock(place.parent.with_suffix(".lock"), "fetching Packer"):
        if place.is_file() and _is_packer(str(place)):
            return place
        say(f"There is no Packer: HashiCorp's {VERSION} is fetched")
        try:
            # A publisher's file with signed checksums beside it, as a base is.
            got = upstream.obtain(
                DownloadedBase(
                    name="packer", description="", architecture=_architecture(), user="",
                    url=f"{address}_linux_{_architecture()}.zip",
                    sums=sums, signature=f"{sums}.sig", key=KEY,
                )
            )  # fmt: skip
        except BuildError as error:
            raise BuildError(
                f"there is no Packer: {error.message}", f"{error.hint}. Or name another: --packer FILE"
            ) from error
        with cache.scratch(store) as work, step("Unpacking Packer", f"Packer {VERSION} is in the cache"):
            try:
                _unpack(got.file, work / _MEMBER)
            finally:
                # Not needed once it is unpacked, and not to be tried again if that is wrong.
                shutil.rmtree(got.file.parent)
            place.parent.mkdir(exist_ok=True)
            (work / _MEMBER).replace(place)
    return place


def _place() -> Path:
    # Two build machines may share a home.
    return paths.cache_dir() / "tools" / f"packer-{VERSION}-{platform.machine()}" / _MEMBER


def _address() -> str:
    """What the names of a release's files begin with."""
    _architecture()
    return f"{SERVER}/packer/{VERSION}/packer_{VERSION}"


def _architecture() -> str:
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise BuildError(f"there is no Packer, and HashiCorp makes none for {machine}", _WAY_OUT)
    return ARCHITECTURES[machine]


def _checked(given: Path) -> str:
    path = given.expanduser()
    if not path.is_file():
        raise BuildError(f"there is no file {given}", _NAMED)
    executable = str(path.resolve())
    version(executable)
    return executable


def _is_packer(executable: str) -> bool:
    status = Path(executable).stat()
    return _says_so(executable, status.st_mtime_ns, status.st_size)


@functools.cache
def _says_so(executable: str, _changed: int, _size: int) -> bool:
    """Asked once for each file."""
    try:
        version(executable)
    except BuildError as error:
        say(f"{error.message}; looking further")
        return False
    return True


def _reach(url: str) -> None:
    """:raises BuildError: no server has it. Proxies are those of the environment, as for all downloads."""
    url = mirrored(url)
    authority = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    try:
        trust = ssl.create_default_context()
        if authority:
            trust.load_verify_locations(**{"capath" if Path(authority).is_dir() else "cafile": authority})
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310
        urllib.request.urlopen(request, timeout=_CONNECT_SECONDS, context=trust).close()  # noqa: S310
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise BuildError(f"there is no Packer, and {url} can't be reached: {reason}", _WAY_OUT) from error


def _unpack(archive: Path, to: Path) -> None:
    """Take Packer out of its release, and let it say its version.

    The name is looked up, never written to: whatever else an archive holds stays in it.
    """
    try:
        with zipfile.ZipFile(archive) as release:
            member = release.getinfo(_MEMBER)
            if not 0 < member.file_size <= _MOST:
                raise BuildError(f"{archive.name} holds a Packer of {member.file_size} bytes", _WAY_OUT)
            cache.need_space(to.parent, member.file_size, "unpacking Packer")
            with release.open(member) as stream, to.open("wb") as out:
                shutil.copyfileobj(stream, out)
    except KeyError as error:
        raise BuildError(f"{archive.name} holds no file {_MEMBER}", _WAY_OUT) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise BuildError(f"{archive.name} is damaged: {error}", _WAY_OUT) from error
    to.chmod(0o755)
    said = ".".join(str(part) for part in version(str(to)))
    if said != VERSION:
        raise BuildError(f"{archive.name} holds Packer {said}, not {VERSION}", _WAY_OUT)
