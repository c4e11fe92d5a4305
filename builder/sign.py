"""Sign SHA256SUMS, and with it all that it lists: by GnuPG or by minisign."""

import subprocess
from pathlib import Path

from builder.command import program
from builder.errors import BuildError

GNUPG = ".asc"
MINISIGN = ".minisig"


def sign(sums: Path, key: str) -> Path:
    """Write a detached signature beside a file of checksums.

    The tools may ask for the key's password.

    :param key: the path of minisign's secret key, or what GnuPG finds its own by: a fingerprint, a name.
    :return: the signature's path.
    :raises BuildError: there is no such key, or it was not opened.
    """
    if Path(key).is_file():
        signature = sums.with_name(sums.name + MINISIGN)
        command = [program("minisign", "minisign"), "-S", "-s", key, "-m", str(sums), "-x", str(signature)]
    else:
        signature = sums.with_name(sums.name + GNUPG)
        command = [program("gpg", "gnupg"), "--yes", "--quiet", "--local-user", key, "--armor",
                   "--output", str(signature), "--detach-sign", str(sums)]  # fmt: skip
    forget(sums)
    done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise BuildError(
            f"{sums.name} can't be signed with {key}: {said}",
            "Name a key that gpg --list-secret-keys shows, or the file of minisign's secret key",
        )
    return signature


def forget(sums: Path) -> None:
    """Remove signatures of what a file was before."""
    for ending in (GNUPG, MINISIGN):
        sums.with_name(sums.name + ending).unlink(missing_ok=True)
