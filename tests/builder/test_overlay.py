"""More in an image without a fork: files of one's own, packages of one's own."""

import os
import subprocess
import tarfile

import pytest

from builder.bake import bake, overlay
from builder.bases.cached import CachedBase
from builder.core import paths
from builder.core.errors import BuildError
from builder.core.request import Request
from builder.deb import repository
from builder.defs import definition


@pytest.fixture
def mine(tmp_path):
    """A directory as somebody keeps it: by a umask of their own."""
    directory = tmp_path / "of mine"
    (directory / "etc").mkdir(parents=True, mode=0o700)
    (directory / "usr/local/bin").mkdir(parents=True)
    (directory / "bin").mkdir()
    (directory / "etc/motd").write_text("welcome\n")
    (directory / "etc/motd").chmod(0o600)
    (directory / "usr/local/bin/tool").write_text("#!/bin/sh\n")
    (directory / "usr/local/bin/tool").chmod(0o700)
    (directory / "bin/other").write_text("x")
    (directory / "etc/link").symlink_to("motd")
    return directory


def test_files_are_roots_and_everybodys_to_read(mine, tmp_path):
    overlay.pack(Request(overlay=mine), tmp_path)
    with tarfile.open(tmp_path / "overlay.tar") as archive:
        found = {one.name: one for one in archive}
    assert {(one.uid, one.gid, one.uname) for one in found.values()} == {(0, 0, "root")}
    assert found["etc/motd"].mode == 0o644
    assert found["usr/local/bin/tool"].mode == 0o755
    assert found["etc"].mode == 0o755
    assert found["etc/link"].linkname == "motd"


def test_what_is_no_file_is_refused(mine, tmp_path):
    os.mkfifo(mine / "pipe")
    with pytest.raises(BuildError, match="pipe is no file, folder or link"):
        overlay.pack(Request(overlay=mine), tmp_path)


def test_the_script_lays_them_and_leaves_what_is_there(mine, tmp_path):
    """/bin is a link, /etc has a mode of its own: both stay."""
    root, pool = tmp_path / "root", tmp_path / "pool"
    (root / "usr/bin").mkdir(parents=True)
    (root / "etc").mkdir(mode=0o711)
    (root / "bin").symlink_to("usr/bin")
    (root / "etc/motd").write_text("old")
    pool.mkdir()
    overlay.pack(Request(overlay=mine), pool)
    script = (paths.PACKER / "provision" / overlay.SCRIPT).read_text()
    script = script.replace("-C / ", f"-C '{root}' ")
    script = script.replace("/run/pool/overlay.tar", f"'{pool}/overlay.tar'")
    subprocess.run(["sh", "-eu", "-c", script], check=True, stdout=subprocess.DEVNULL)
    assert (root / "etc/motd").read_text() == "welcome\n"
    assert (root / "bin").is_symlink()
    assert (root / "usr/bin/other").read_text() == "x"
    assert (root / "etc").stat().st_mode & 0o777 == 0o711
    assert (root / "usr/local/bin/tool").stat().st_mode & 0o777 == 0o755


KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----"


def test_a_repository_and_its_key_are_laid_into_an_image(mine, tmp_path):
    key = tmp_path / "key.asc"
    key.write_text(f"Here it is:\n{KEY}\n")
    sources = repository.known_by("https://apt.example.org", key)
    for asked in (Request(sources=sources), Request(sources=sources, overlay=mine)):
        overlay.pack(asked, tmp_path)
        with tarfile.open(tmp_path / "overlay.tar") as archive:
            member = archive.extractfile("etc/apt/sources.list.d/microblog.sources")
            assert ("etc/motd" in archive.getnames()) == bool(asked.overlay)
            said = member.read().decode()
    assert said.splitlines() == [
        *("Types: deb", "URIs: https://apt.example.org", "Suites: stable", "Components: main", "Signed-By:"),
        *(" -----BEGIN PGP PUBLIC KEY BLOCK-----", " .", " abc", " -----END PGP PUBLIC KEY BLOCK-----"),
    ]
    below = CachedBase(tmp_path, "base", "amd64", "u", "k", "s", "m")
    (tmp_path / "a.deb").write_bytes(b"")
    with_it, without = (
        bake.made_from(definition.load_image("cloud"), below, tmp_path / "a.deb", Request(sources=text))
        for text in (sources, "")
    )
    assert with_it.digest != without.digest


@pytest.mark.parametrize(
    ("url", "text", "said"),
    [
        ("apt.example.org", KEY, "is no address of a repository"),
        ("https://a b", KEY, "is no address of a repository"),
        ("https://apt.example.org\nTrusted: yes", KEY, "is no address of a repository"),
        ("https://apt.example.org", "hello", "is no public key"),
        ("https://apt.example.org", KEY.replace("PUBLIC KEY", "PRIVATE KEY"), "is no public key"),
    ],
)
def test_what_is_no_repository_is_not_baked(tmp_path, url, text, said):
    (tmp_path / "key.asc").write_text(text)
    with pytest.raises(BuildError, match=said):
        repository.known_by(url, tmp_path / "key.asc")


@pytest.mark.parametrize("name", ["cloud", "pi"])
def test_it_comes_last_but_for_the_tidying_up(name):
    assert overlay.scripts(definition.load_image(name).provision)[-2:] == ["overlay.sh", "clean.sh"]


def test_what_is_laid_counts_for_the_image(mine, tmp_path):
    (tmp_path / "a.deb").write_bytes(b"")
    below = CachedBase(tmp_path, "base", "amd64", "u", "k", "s", "m")
    image = definition.load_image("cloud")

    def made_from(asked):
        return bake.made_from(image, below, tmp_path / "a.deb", asked)

    one = made_from(Request(overlay=mine))
    assert {"of mine/etc/motd", "packer/provision/overlay.sh"} <= set(one.files)
    assert made_from(Request()).digest != one.digest
    (mine / "etc/motd").write_text("another\n")
    assert made_from(Request(overlay=mine)).digest != one.digest


def test_packages_are_added_to_the_definitions():
    image = definition.load_image("cloud")
    assert definition.with_packages(image, ["vim"]).packages == [*image.packages, "vim"]
    with pytest.raises(BuildError, match="'--purge' is not a package's name"):
        definition.with_packages(image, ["--purge"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--package", "a b"), "is not a package's name"),
        (("--overlay", "/no/such"), "does not exist"),
        (("--repository", "https://a"), "go together"),
        (("--overlay", "OF MINE"), "is no file, folder or link"),
        (("--snapshot", "20269999"), "is no day"),
    ],
)
def test_what_can_not_be_is_refused_at_once(build, mine, options, said):
    os.mkfifo(mine / "etc/pipe")
    options = [str(mine) if one == "OF MINE" else one for one in options]
    done = build("images", "cloud", *options)
    assert done.returncode != 0
    assert said in done.stderr
