"""Sign SHA256SUMS, and with it all that it lists: by GnuPG or by minisign."""

import subprocess
from pathlib import Path

from builder.core.command import program
from builder.core.errors import BuildError

GNUPG = ".asc"
MINISIGN = ".minisig"
# A file of minisign's: a comment, and a key in base64. The secret one has 158 bytes, the public one 42.
_COMMENT = b"untrusted comment:"
_SECRET_CHARACTERS = 200
_WHICH = "Name a key that gpg --list-secret-keys shows, or the file of minisign's secret key"


def sign(sums: Path, key: str) -> Path:
    """Write a detached signature beside a file of checksums.

    The tools may ask for the key's password.

    :param key: the path of minisign's secret key, or what GnuPG finds its own by: a fingerprint, a name.
    :return: the signature's path.
    :raises BuildError: there is no such key, or it was not opened.
    """
    if Path(key).is_file():
        signature = sums.with_name(sums.name + MINISIGN)
        command = [program("minisign", "minisign", optional=True), "-S", "-s", key,
                   "-m", str(sums), "-x", str(signature)]  # fmt: skip
    else:
        signature = sums.with_name(sums.name + GNUPG)
        command = [program("gpg", "gnupg", optional=True), "--yes", "--quiet", "--local-user", key, "--armor",
                   "--output", str(signature), "--detach-sign", str(sums)]  # fmt: skip
    forget(sums)
    done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise BuildError(f"{sums.name} can't be signed with {key}: {said}", _WHICH)
    return signature


def require(key: str) -> None:
    """See that there is a key to sign with, before what is to be signed is made.

    :raises BuildError: there is none, or it is not one that signs today.
    """
    if Path(key).is_file():
        lines = Path(key).read_bytes()[:1000].splitlines()
        if len(lines) < 2 or not lines[0].startswith(_COMMENT) or len(lines[1]) < _SECRET_CHARACTERS:
            raise BuildError(f"{key} is no file of a secret key of minisign's", _WHICH)
        return
    done = subprocess.run(
        [program("gpg", "gnupg", optional=True), "--batch", "--no-tty", "--with-colons",
         "--list-secret-keys", "--", key],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    # GnuPG's doc/DETAILS: the second field is the validity, the twelfth what the whole key can do.
    rows = [line.split(":") for line in done.stdout.splitlines() if line.startswith("sec:")]
    if not rows:
        raise BuildError(f"there is no secret key {key}", _WHICH)
    if not any(row[1] not in ("e", "r", "d", "i") and "S" in row[11] for row in rows):
        raise BuildError(
            f"the key {key} can't sign: it has expired, was revoked, or is not made for that", _WHICH
        )


def forget(sums: Path) -> bool:
    """Remove signatures of what a file was before. Returns whether there were any."""
    there = [file for ending in (GNUPG, MINISIGN) if (file := sums.with_name(sums.name + ending)).exists()]
    for file in there:
        file.unlink(missing_ok=True)
    return bool(there)
