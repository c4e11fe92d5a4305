"""A signed apt repository of the package, by reprepro: machines that know it update by ``apt upgrade``."""

import os
import subprocess
from pathlib import Path

from builder.core import paths
from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.progress import step
from builder.deb import package

SUITE = "stable"
# Files of the repository beside reprepro's own.
KEY_FILE = "microblog.asc"
SOURCES_FILE = "microblog.sources"
# An "all" package is listed under each architecture that a machine may have.
_ARCHITECTURES = "amd64 arm64 armhf"
_USER = "Microblog packages"


def make(folder: Path | None = None, key: str | None = None, url: str | None = None) -> Path:
    """Put the newest package into a repository; packages of earlier versions are replaced.

    :param folder: of the repository, made if missing; any web server can serve it.
    :param key: the fingerprint of the signing key in the user's GnuPG keyring; None: a key of
        this command's own, made at its first use and kept in :func:`_own_keyring`.
    :param url: where machines will find the folder; None: the folder itself.
    :return: the folder.
    :raises BuildError: a tool is missing or fails.
    """
    if key is not None:
        _require(key)
    deb = package.build()
    folder = (folder or paths.DIST / "repository").absolute()
    environment = dict(os.environ)
    if key is None:
        environment["GNUPGHOME"] = str(_own_keyring())
        key = _own_key(environment)
    with step("Making the apt repository", f"Made the apt repository {folder}"):
        (folder / "conf").mkdir(parents=True, exist_ok=True)
        (folder / "conf" / "distributions").write_text(
            f"Origin: Microblog\nLabel: Microblog\nSuite: {SUITE}\nCodename: {SUITE}\n"
            f"Components: main\nArchitectures: {_ARCHITECTURES}\nSignWith: {key}\n"
        )
        reprepro = [program("reprepro", "reprepro"), "--silent", "--basedir", str(folder)]
        known = _run([*reprepro, "--list-format", "${version}\n", "list", SUITE, "microblog"], environment)
        if package.version() in known.split():
            # Built anew at the same version: reprepro would refuse another file of that name.
            _run([*reprepro, "remove", SUITE, "microblog"], environment)
        _run([*reprepro, "includedeb", SUITE, str(deb)], environment)
        armoured = _run([program("gpg", "gnupg"), "--batch", "--armor", "--export", key], environment)
        (folder / KEY_FILE).write_text(armoured)
        (folder / SOURCES_FILE).write_text(sources(url or folder.as_uri(), armoured))
    return folder


def _require(key: str) -> None:
    """:raises BuildError: nothing can be signed by that key."""
    listing = subprocess.run(
        [program("gpg", "gnupg"), "--batch", "--list-secret-keys", key], capture_output=True, check=False
    )
    if listing.returncode:
        raise BuildError(f"there is no key {key} to sign by", "gpg --list-secret-keys shows those there are")


def sources(url: str, armoured: str) -> str:
    """The file for /etc/apt/sources.list.d/, the key within (sources.list(5), Signed-By)."""
    lines = "".join(f" {line or '.'}\n" for line in armoured.strip().splitlines())
    return f"Types: deb\nURIs: {url}\nSuites: {SUITE}\nComponents: main\nSigned-By:\n{lines}"


def _own_keyring() -> Path:
    """Among the user's data, not in the cache: a lost key would cut off every machine that trusts it."""
    folder = paths.data_dir() / "gnupg"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _own_key(environment: dict[str, str]) -> str:
    """The fingerprint of this command's own key, made if there is none."""
    for _ in range(2):
        listing = _run(
            [program("gpg", "gnupg"), "--batch", "--with-colons", "--list-secret-keys"], environment
        )
        for line in listing.splitlines():
            if line.startswith("fpr:"):
                return line.split(":")[9]
        # No passphrase: it signs where nobody is there to type one. Its directory is its owner's.
        generate = [
            "gpg",
            "--batch",
            "--passphrase",
            "",
            "--quick-generate-key",
            _USER,
            "ed25519",
            "sign",
            "never",
        ]
        _run(generate, environment)
    raise BuildError("gpg makes no key", f"see gpg --homedir {environment['GNUPGHOME']} --list-secret-keys")


def _run(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is missing", f"apt-get install {command[0]}") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise BuildError(f"{command[0]} failed: {''.join(said)}", "run it by hand to see more")
    return done.stdout
