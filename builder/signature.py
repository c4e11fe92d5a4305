"""Is a file what its publisher signed? GnuPG answers, with the one key that a definition pins."""

import subprocess
import tempfile
from pathlib import Path

from builder import download, paths
from builder.command import program
from builder.errors import BuildError

KEY_SERVER = "https://keyserver.ubuntu.com/pks/lookup?op=get&options=mr&search=0x{}"
"""Where the key of a fingerprint is fetched if it is not in images/keys/."""
PUBLISHED = {
    "C874011F0AB405110D02105534365D9472D7468F": "https://www.hashicorp.com/.well-known/pgp-key.txt",
}
"""Where a key's owner publishes it, and asked first: a key server may still have it with an earlier end."""
_HOME_PREFIX = "gnupg-"
# gpg's status lines (GnuPG's doc/DETAILS) that refuse a signature, the most telling first.
_REFUSALS = {
    "BADSIG": "it is not what the publisher signed",
    "REVKEYSIG": "it is signed with a key that its owner revoked",
    "EXPKEYSIG": "it is signed with a key that has expired",
    "EXPSIG": "its signature has expired",
    "NO_PUBKEY": "it is signed with another key",
    "ERRSIG": "its signature can't be checked",
}


def key_of(fingerprint: str) -> Path:
    """The file of a public key: images/keys/FINGERPRINT.asc, else fetched once, compared and kept.

    Nobody need be trusted for it: it is the fingerprint that says which key it is.

    :raises BuildError: it can't be fetched, or what came is another key.
    """
    shipped = paths.DEFINITIONS / "keys" / f"{fingerprint}.asc"
    if shipped.exists():
        return shipped
    kept = paths.cache_dir() / "keys" / shipped.name
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        part = kept.with_suffix(".part")
        source = _fetch_key(fingerprint, part)
        found = _fingerprints(part)
        if fingerprint not in found:
            part.unlink()
            raise BuildError(
                f"{source} gave another key than {fingerprint}",
                f"Get that key from its owner and save it as {shipped}",
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

    :param fingerprint: of the key, or of the key that its subkey belongs to.
    :raises BuildError: it is not a good one by that key, valid today.
    """
    key = key_of(fingerprint)
    with tempfile.TemporaryDirectory(prefix=_HOME_PREFIX) as home:
        _gpg(home, "--import", key)
        said = _gpg(home, "--status-fd", "1", "--verify", signature, signed)
    good, refusals = judge(said)
    if fingerprint not in good:
        raise BuildError(
            f"{signed.name}: {reason(refusals)} (expected: {fingerprint})",
            "Do not use it. If the publisher has a new key, its fingerprint is on their own pages",
        )


def judge(said: str) -> tuple[set[str], set[str]]:
    """Read gpg's status lines.

    :return: the fingerprints by which there is a good signature, and the status words that refuse one.
    """
    # A file may have several signatures, NEWSIG begins each. VALIDSIG names the key that signed and,
    # last, the one that it belongs to; an expired or a revoked key has it too, but no GOODSIG.
    good: set[str] = set()
    refusals: set[str] = set()
    for block in said.split("[GNUPG:] NEWSIG"):
        lines = [line.split()[1:] for line in block.splitlines() if line.startswith("[GNUPG:] ")]
        words = {line[0] for line in lines}
        refusals |= words & set(_REFUSALS)
        if "GOODSIG" in words and not words & set(_REFUSALS):
            good |= {name for line in lines if line[0] == "VALIDSIG" for name in (line[1], line[-1])}
    return good, refusals


def reason(refusals: set[str]) -> str:
    """Why a signature is refused, in words."""
    return next(
        (why for word, why in _REFUSALS.items() if word in refusals), "its signature is none by that key"
    )


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
