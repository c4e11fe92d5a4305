"""A signed apt repository of the package, by apt-ftparchive: machines that know it update by ``apt upgrade``.

It keeps some versions, so that a machine can go back. The key may be on another machine: the
repository is then prepared here, one file of it signed there, and finished here. What is passed between
the two may be carried by hand, and the machine with the key, which needs gpg alone, answers nobody (an
agent that is forwarded would sign whatever this machine asks, as long as the connection lasts).
"""

import gzip
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from builder.core import cache, paths
from builder.core.command import program
from builder.core.errors import BuildError
from builder.core.progress import say, step
from builder.deb import package

SUITE = "stable"
# Files of the repository, beside its lists.
KEY_FILE = "microblog.asc"
SOURCES_FILE = "microblog.sources"
# What machines read, and so what is published.
PUBLISHED = ("pool", "dists", KEY_FILE, SOURCES_FILE)
UNSIGNED = "unsigned"
KEPT = 5
# An "all" package is listed under each architecture that a machine may have.
_ARCHITECTURES = ("amd64", "arm64", "armhf")
POOL = "pool/main/m/microblog"
_RELEASE, _SIGNED = "Release", "InRelease"
_USER = "Microblog packages"


def make(
    folder: Path | None = None, key: str | None = None, url: str | None = None, keep: int = KEPT
) -> Path:
    """Put the newest package into a repository, beside those of earlier versions.

    :param folder: of the repository, made if missing; any web server can serve it.
    :param key: the fingerprint of the signing key in the user's GnuPG keyring; None: a key of
        this command's own, made at its first use and kept in :func:`_own_keyring`.
    :param url: where machines will find the folder; None: the folder itself.
    :param keep: how many versions stay.
    :return: the folder.
    :raises BuildError: a tool is missing or fails.
    """
    if key is not None:
        _require(key)
    folder = _folder(folder)
    deb = package.build()
    environment = dict(os.environ)
    if key is None:
        environment["GNUPGHOME"] = str(_own_keyring())
        key = _own_key(environment)
    with step("Making the apt repository", f"Made the apt repository {folder}"):
        lists = _prepared(folder, deb, keep)
        gpg = [program("gpg", "gnupg"), "--batch", "--yes", "--local-user", key]
        _run([*gpg, "--clearsign", "--output", str(lists / _SIGNED), str(lists / _RELEASE)], environment)
        _published(folder, lists, _exported(key, environment), url)
    return folder


def look_at(url: str | None) -> None:
    """See that machines can find a repository at an address, before anything is made for it.

    :raises BuildError: it is none.
    """
    if url is not None and not url.startswith("file:/"):
        _require_address(url)


def _require_address(url: str) -> None:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
        raise BuildError(f"{url!r} is no address of a repository", "Name it as https://apt.example.org")


def prepare(folder: Path | None = None, keep: int = KEPT) -> Path:
    """Like :func:`make`, up to the signature: what machines read is not touched.

    :return: the file to sign, where the key is.
    :raises BuildError: a tool is missing or fails.
    """
    folder = _folder(folder)
    lists = _prepared(folder, package.build(), keep)
    say(f"Sign {lists / _RELEASE} where the key is, and put what comes beside it:")
    say(f"  gpg --local-user KEY --clearsign --output {_SIGNED} {_RELEASE}")
    say(f"  gpg --armor --export KEY > {KEY_FILE}")
    return lists / _RELEASE


def _folder(named: Path | None) -> Path:
    """Where a repository is to be, before the package takes its time.

    :raises BuildError: it was named, and nothing can be made there.
    """
    usual = paths.DIST / "repository"
    return (paths.make_named(named, "--output") if named else usual).absolute()


def finish(folder: Path | None = None, url: str | None = None) -> Path:
    """Go on with a repository that was prepared, and signed elsewhere.

    :return: the folder.
    :raises BuildError: there is none, or it is another one, or by another key, that was signed.
    """
    folder = (folder or paths.DIST / "repository").absolute()
    lists = folder / UNSIGNED
    if not (lists / _RELEASE).is_file():
        raise BuildError(f"nothing was prepared in {folder}", "./build.py repo --prepare")
    if not (lists / _SIGNED).is_file():
        raise BuildError(
            f"{lists / _SIGNED} is missing",
            f"Sign {_RELEASE} where the key is: gpg --clearsign --output {_SIGNED} {_RELEASE}",
        )
    given = lists / KEY_FILE if (lists / KEY_FILE).is_file() else folder / KEY_FILE
    if not given.is_file():
        raise BuildError(f"{lists / KEY_FILE} is missing", f"gpg --armor --export KEY > {KEY_FILE}")
    if _signed_text(lists / _SIGNED, given).strip() != (lists / _RELEASE).read_text().strip():
        raise BuildError(f"{lists / _SIGNED} signs another {_RELEASE}", "Sign the one that is there now")
    _published(folder, lists, given.read_text(), url)
    return folder


def _signed_text(signed: Path, key: Path) -> str:
    """What was signed.

    :raises BuildError: not by that key.
    """
    with tempfile.TemporaryDirectory(prefix="microblog-gpg-") as home:
        environment = {**os.environ, "GNUPGHOME": home}
        gpg = [program("gpg", "gnupg"), "--batch", "--quiet", "--no-autostart"]
        _run([*gpg, "--import", str(key)], environment)
        done = subprocess.run(
            [*gpg, "--trust-model", "always", "--output", "-", "--decrypt", str(signed)],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise BuildError(
            f"{signed} is not signed by the key in {key}", "Sign it by that key, or replace both"
        )
    return done.stdout


def _prepared(folder: Path, deb: Path, keep: int) -> Path:
    """The pool as it will be, and the lists of it, unsigned.

    :return: the lists' folder.
    """
    pool = folder / POOL
    pool.mkdir(parents=True, exist_ok=True)
    # Built anew at the same version, it takes the place of that.
    partial = pool / f".{deb.name}.partial"
    shutil.copyfile(deb, partial)
    partial.replace(pool / deb.name)
    lists = folder / UNSIGNED
    shutil.rmtree(lists, ignore_errors=True)
    lists.mkdir()
    ftparchive = program("apt-ftparchive", "apt-utils")
    kept = {str(path.relative_to(folder)) for path in _by_age(pool)[:keep]}
    every = _run([ftparchive, "packages", "pool"], dict(os.environ), folder).strip().split("\n\n")
    packages = "".join(f"{entry}\n\n" for entry in every if kept & _files([entry]))
    for architecture in _ARCHITECTURES:
        place = lists / f"main/binary-{architecture}"
        place.mkdir(parents=True)
        (place / "Packages").write_text(packages)
        # No time within: the same packages make the same lists.
        (place / "Packages.gz").write_bytes(gzip.compress(packages.encode(), mtime=0))
    fields = {
        **{"Origin": "Microblog", "Label": "Microblog", "Suite": SUITE, "Codename": SUITE},
        **{"Components": "main", "Architectures": " ".join(_ARCHITECTURES)},
    }
    options = [
        part for name, value in fields.items() for part in ("-o", f"APT::FTPArchive::Release::{name}={value}")
    ]
    (lists / _RELEASE).write_text(_run([ftparchive, *options, "release", "."], dict(os.environ), lists))
    return lists


def _files(entries: Iterable[str]) -> set[str]:
    """The files that entries of a list name."""
    return {name for entry in entries for name in re.findall(r"(?m)^Filename: (.+)$", entry)}


def _by_age(pool: Path) -> list[Path]:
    """The packages of a pool, the newest version first."""

    def newer(one: Path, than: Path) -> bool:
        versions = [path.name.split("_")[1] for path in (one, than)]
        command = [program("dpkg", "dpkg"), "--compare-versions", versions[0], "gt", versions[1]]
        return subprocess.run(command, check=False).returncode == 0

    found: list[Path] = []
    for path in pool.glob("microblog_*.deb"):
        place = next((index for index, other in enumerate(found) if newer(path, other)), len(found))
        found.insert(place, path)
    return found


def _published(folder: Path, lists: Path, armoured: str, url: str | None) -> None:
    """Have machines read the lists that were signed: what signs the others comes last."""
    place = folder / "dists" / SUITE
    for source in sorted(path for path in lists.rglob("*") if path.is_file() and path.name != KEY_FILE):
        if source.name not in (_RELEASE, _SIGNED):
            target = place / source.relative_to(lists)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
    for name in (_RELEASE, _SIGNED):
        (lists / name).replace(place / name)
    # Those that are not kept go when nobody is told of them any more.
    listed = _files([(place / f"main/binary-{_ARCHITECTURES[0]}/Packages").read_text()])
    for deb in (folder / POOL).glob("microblog_*.deb"):
        if str(deb.relative_to(folder)) not in listed:
            deb.unlink()
    # An earlier tool's, which signs what was there before.
    (place / "Release.gpg").unlink(missing_ok=True)
    cache.write_text(folder / KEY_FILE, armoured)
    cache.write_text(folder / SOURCES_FILE, sources(url or folder.as_uri(), armoured))
    shutil.rmtree(lists)


def _require(key: str) -> None:
    """:raises BuildError: nothing can be signed by that key."""
    listing = subprocess.run(
        [program("gpg", "gnupg"), "--batch", "--list-secret-keys", key], capture_output=True, check=False
    )
    if listing.returncode:
        raise BuildError(f"there is no key {key} to sign by", "gpg --list-secret-keys shows those there are")


def _exported(key: str, environment: dict[str, str]) -> str:
    return _run([program("gpg", "gnupg"), "--batch", "--armor", "--export", key], environment)


def sources(url: str, armoured: str) -> str:
    """The file for /etc/apt/sources.list.d/, the key within (sources.list(5), Signed-By)."""
    lines = "".join(f" {line or '.'}\n" for line in armoured.strip().splitlines())
    return f"Types: deb\nURIs: {url}\nSuites: {SUITE}\nComponents: main\nSigned-By:\n{lines}"


def known_by(url: str, key: Path) -> str:
    """What tells a machine of a repository, and whom to believe.

    :param url: where machines find it.
    :param key: the file of its public key, as :data:`KEY_FILE` is.
    :raises BuildError: the address or the key is none.
    """
    _require_address(url)
    try:
        text = key.read_text()
    except (OSError, UnicodeDecodeError):
        text = ""
    begin, end = (f"-----{word} PGP PUBLIC KEY BLOCK-----" for word in ("BEGIN", "END"))
    if begin not in text or end not in text or "PRIVATE KEY" in text:
        raise BuildError(
            f"{key} is no public key", f"The repository's {KEY_FILE}, or: gpg --armor --export KEY"
        )
    return sources(url, text[text.index(begin) : text.index(end) + len(end)])


def _own_keyring() -> Path:
    """Among the user's data, not in the cache: a lost key would cut off every machine that trusts it."""
    folder = paths.data_dir() / "gnupg"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _own_key(environment: dict[str, str]) -> str:
    """The fingerprint of this command's own key, made if there is none."""
    gpg = program("gpg", "gnupg")
    for _ in range(2):
        listing = _run([gpg, "--batch", "--with-colons", "--list-secret-keys"], environment)
        for line in listing.splitlines():
            if line.startswith("fpr:"):
                return line.split(":")[9]
        # No passphrase: it signs where nobody is there to type one. Its directory is its owner's.
        key = ["--quick-generate-key", _USER, "ed25519", "sign", "never"]
        _run([gpg, "--batch", "--passphrase", "", *key], environment)
    raise BuildError("gpg makes no key", f"see gpg --homedir {environment['GNUPGHOME']} --list-secret-keys")


def _run(command: list[str], environment: dict[str, str], folder: Path | None = None) -> str:
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise BuildError(f"{Path(command[0]).name} failed: {''.join(said)}", "run it by hand to see more")
    return done.stdout
