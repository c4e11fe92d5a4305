"""Check what was downloaded: signature, checksums, manifests, bills of materials, one against the next."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from builder.bases import openpgp
from builder.core import cache
from builder.core.command import program
from builder.core.errors import BuildError
from builder.defs.endings import is_image
from builder.results import manifest, sbom, sign

_DO_NOT = "Do not use it: get it anew, and compare with another source"


def verify(directory: Path, key: str) -> list[str]:
    """Check a directory of images.

    :param key: whose signature it must be: the fingerprint of a key in the user's GnuPG keyring, or
        minisign's public key or its file; any key of the keyring if empty.
    :return: what was found out, a line each.
    :raises BuildError: something is not right, or not there.
    """
    sums = directory / manifest.SUMS
    if not sums.is_file():
        raise BuildError(f"there is no {sums}", "It comes with the images; download it, too")
    said = [_check_signature(sums, key)]
    listed = _listed(sums)
    for name, wanted in listed.items():
        file = directory / name
        if not file.is_file():
            raise BuildError(f"{name} is listed in {sums.name} and not there", "Download it, too")
        if cache.sha256_file(file) != wanted:
            raise BuildError(f"{name} is not what {sums.name} says", _DO_NOT)
    for file in directory.iterdir():
        if file.name not in listed and (is_image(file.name) or file.name.endswith(manifest.SUFFIX)):
            raise BuildError(f"{file.name} is not listed in {sums.name}", _DO_NOT)
    said.append(f"{len(listed)} files are what {sums.name} says")
    said += [_check_manifest(directory, name) for name in listed if name.endswith(manifest.SUFFIX)]
    return said


def _listed(sums: Path) -> dict[str, str]:
    found = {}
    for line in sums.read_text(errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  ([^/\0]+)", line)
        if not match:
            raise BuildError(f"{sums} has a line that is no checksum: {line[:60]!r}", _DO_NOT)
        found[match[2]] = match[1]
    return found


def _check_manifest(directory: Path, name: str) -> str:
    try:
        facts = manifest.load(directory / name)
    except BuildError as error:
        raise BuildError(error.message, _DO_NOT) from error
    if not facts.intact(directory):
        raise BuildError(f"{name} does not tell of the files that are here", _DO_NOT)
    line = f"{facts.target} {facts.version} on {facts.base.name}, built {facts.built}"
    source = facts.base.source or {}
    if source:
        line += f" from {source.get('url') or source.get('file')}"
    there = {(one.name, one.version) for one in facts.packages}
    try:
        listed = sbom.packages(directory / facts.sbom)
    except (KeyError, TypeError, ValueError, OSError) as error:
        what = f"its bill of materials, {facts.sbom}, can't be read"
        raise BuildError(f"{name} does not tell all that it should: {what}", _DO_NOT) from error
    if listed != there:
        raise BuildError(f"{facts.sbom} lists other packages than {name}", _DO_NOT)
    return f"{line}, {len(there)} packages"


def _check_signature(sums: Path, key: str) -> str:
    there = {
        ending: sums.with_name(sums.name + ending)
        for ending in _CHECKS
        if sums.with_name(sums.name + ending).is_file()
    }
    if not there:
        if key:
            raise BuildError(f"{sums.name} is not signed", "Download its signature, too")
        return f"WARNING: {sums.name} is not signed: all of this is as trustworthy as where it is from"
    return "; ".join(_CHECKS[ending](sums, file, key) for ending, file in there.items())


def _by_gnupg(sums: Path, file: Path, key: str) -> str:
    done = subprocess.run(
        [program("gpg", "gnupg", optional=True),
         "--batch", "--no-tty", "--status-fd", "1", "--verify", file, sums],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    good, refusals = openpgp.judge(done.stdout)
    wanted = key.replace(" ", "").upper()
    if not good or (wanted and wanted not in good):
        why = openpgp.reason(refusals)
        if "NO_PUBKEY" in refusals:
            raise BuildError(
                f"{sums.name}: {why} than those in your keyring",
                "Import the signer's key, gpg --import FILE, once you know it to be theirs",
            )
        raise BuildError(f"{sums.name}: {why}", _DO_NOT)
    return f"{sums.name} is signed by {wanted or sorted(good)[0]}" + (
        "" if key else " (with --key no other will do)"
    )


def _by_minisign(sums: Path, file: Path, key: str) -> str:
    if not key:
        return f"WARNING: {file.name} was not checked: name minisign's public key with --key"
    given = ["-p", key] if Path(key).is_file() else ["-P", key]
    done = subprocess.run(
        [program("minisign", "minisign", optional=True),
         "-V", "-q", *given, "-m", str(sums), "-x", str(file)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BuildError(
            f"{sums.name}: {(done.stderr.strip() or 'its signature is not good')[:200]}", _DO_NOT
        )
    return f"{sums.name} is signed by {key}"


_CHECKS: dict[str, Callable[[Path, Path, str], str]] = {
    sign.GNUPG: _by_gnupg,
    sign.MINISIGN: _by_minisign,
}
