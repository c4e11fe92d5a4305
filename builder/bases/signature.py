"""Is a file what its publisher signed? GnuPG answers, with the one key that a definition pins."""

import subprocess
import tempfile
from pathlib import Path

from builder.bases import download
from builder.bases.openpgp import judge, reason
from builder.core import paths
from builder.core.command import program
from builder.core.errors import BuildError

KEY_SERVER = "https://keyserver.ubuntu.com/pks/lookup?op=get&options=mr&search=0x{}"
"""Where the key of a fingerprint is fetched if it is not in images/keys/."""
PUBLISHED = {
    "C874011F0AB405110D02105534365D9472D7468F": "https://www.hashicorp.com/.well-known/pgp-key.txt",
}
"""Where a key's owner publishes it, and asked first: a key server may still have it with an earlier end."""
_HOME_PREFIX = "gnupg-"


class BadSignatureError(BuildError):
    """Something is not what the owner of a key has signed."""


def keys_of(fingerprint: str) -> list[Path]:
    """The files of a public key: images/keys/FINGERPRINT.asc, and what was fetched of it since.

    Where there is neither, it is fetched once, compared and kept.

    Nobody need be trusted for it: it is the fingerprint that says which key it is.

    :raises BuildError: it can't be fetched, or what came is another key.
    """
    found = [file for file in (_shipped(fingerprint), _kept(fingerprint)) if file.exists()]
    return found or [_fetch(fingerprint)]


def _shipped(fingerprint: str) -> Path:
    return paths.DEFINITIONS / "keys" / f"{fingerprint}.asc"


def _kept(fingerprint: str) -> Path:
    return paths.cache_dir() / "keys" / f"{fingerprint}.asc"


def _fetch(fingerprint: str) -> Path:
    kept = _kept(fingerprint)
    kept.parent.mkdir(exist_ok=True)
    part = kept.with_suffix(".part")
    source = _fetch_key(fingerprint, part)
    if fingerprint not in _fingerprints(part):
        part.unlink()
        raise BuildError(
            f"{source} gave another key than {fingerprint}",
            f"Get that key from its owner and save it as {_shipped(fingerprint)}",
        )
    part.replace(kept)
    return kept


def _fetch_key(fingerprint: str, to: Path) -> str:
    """:return: the address that had it."""
    server = KEY_SERVER.format(fingerprint)
    published = PUBLISHED.get(fingerprint, server)
    try:
        to.write_bytes(download.small(published))
    except BuildError:
        if published == server:
            raise
        to.write_bytes(download.small(server))
        return server
    return published


def verify(signed: Path, signature: Path, fingerprint: str) -> None:
    """Check a detached signature.

    A key that has expired by what is known of it here is fetched anew first: owners prolong them.

    :param fingerprint: of the key, or of the key that its subkey belongs to.
    :raises BadSignatureError: it is not a good one by that key, valid today.
    :raises BuildError: the key can't be had.
    """
    good, refusals = _ask(signed, signature, keys_of(fingerprint))
    if fingerprint not in good and "EXPKEYSIG" in refusals:
        try:
            _fetch(fingerprint)
        except BuildError as error:
            # Nothing is wrong with what was signed, as far as anybody knows.
            raise BuildError(
                f"{signed.name}: {reason(refusals)} ({fingerprint}), and it can't be fetched anew:"
                f" {error.message}",
                "Try again when the key server is there; what was downloaded is kept",
            ) from error
        good, refusals = _ask(signed, signature, keys_of(fingerprint))
    if fingerprint not in good:
        raise BadSignatureError(
            f"{signed.name}: {reason(refusals)} (expected: {fingerprint})",
            "Do not use it. If the publisher has a new key, its fingerprint is on their own pages",
        )


def _ask(signed: Path, signature: Path, keys: list[Path]) -> tuple[set[str], set[str]]:
    with tempfile.TemporaryDirectory(prefix=_HOME_PREFIX) as home:
        for key in keys:
            _gpg(home, "--import", key)
        return judge(_gpg(home, "--status-fd", "1", "--verify", signature, signed))


def _gpg(home: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [program("gpg", "gnupg"), "--homedir", home, "--batch", "--no-tty", "--quiet", "--no-autostart",
         "--no-auto-key-retrieve", *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    return done.stdout


def _fingerprints(key: Path) -> set[str]:
    with tempfile.TemporaryDirectory(prefix=_HOME_PREFIX) as home:
        listed = _gpg(home, "--with-colons", "--show-keys", key)
    return {line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")}
