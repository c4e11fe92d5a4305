"""What comes with an image: its bill of materials, its signature, and how a user checks them."""

import dataclasses
import json
import re
import subprocess
import sys
import time
import types
from pathlib import Path

import cyclonedx.schema
import cyclonedx.validation.json
import pytest

from builder import make
from builder.bases import cached
from builder.core import needs, paths, typed
from builder.core.command import program
from builder.core.errors import BuildError
from builder.disk.ext4 import FileSystem
from builder.results import manifest, sbom, sign, verify

STEM = "microblog-0.1.0-cloud-debian-12-amd64"


def _bill():
    return paths.OUT / f"{STEM}{sbom.SUFFIX}"


def _components():
    """The operating system, and the packages."""
    found = json.loads(_bill().read_text())["components"]
    return [[one for one in found if one["type"] == kind] for kind in ("operating-system", "library")]


def test_the_bill_is_valid_and_names_each_package(baked):
    """By the schema that its library brings."""
    text = _bill().read_text()
    validator = cyclonedx.validation.json.JsonStrictValidator(cyclonedx.schema.SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    (system,), packages = _components()
    assert (system["type"], system["name"], system["version"]) == ("operating-system", "debian", "12")
    assert [one["purl"].removeprefix("pkg:deb/debian/") for one in packages] == [
        "adduser@3.134?arch=all&distro=debian-12",
        "g%2B%2B@4:12.2.0-3~a?arch=amd64&distro=debian-12&upstream=gcc-defaults%401.203",
    ]
    properties = {one["name"].rpartition(":")[2]: one["value"] for one in packages[1]["properties"]}
    assert properties == {"SrcName": "gcc-defaults", "SrcVersion": "1.203"}
    assert json.loads(text)["metadata"]["component"]["components"][0]["hashes"][0]["content"] == "0" * 64


def test_the_bill_is_the_same_every_time(baked, tmp_path):
    facts = manifest.read(paths.OUT / f"{STEM}{manifest.SUFFIX}")
    sbom.write(facts, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == _bill().read_bytes()


def test_all_that_is_right_is_told(baked):
    said = verify.verify(paths.OUT, "")
    assert said == [
        "WARNING: SHA256SUMS is not signed: all of this is as trustworthy as where it is from",
        "3 files are what SHA256SUMS says",
        "cloud 0.1.0 on debian-12, built 2026-01-02T03:04:05Z, 2 packages",
    ]


def _rewrite_sums():
    manifest.write_sums(paths.OUT)


def _spoil_image():
    with (paths.OUT / f"{STEM}.qcow2").open("r+b") as stream:
        stream.write(b"?")


def _spoil_manifest():
    file = paths.OUT / f"{STEM}{manifest.SUFFIX}"
    file.write_text(file.read_text().replace('"bytes": ', '"bytes": 1'))
    _list_again()


def _spoil_bill():
    _bill().write_text(_bill().read_text().replace("3.134", "3.135"))
    file = paths.OUT / f"{STEM}{manifest.SUFFIX}"
    facts = json.loads(file.read_text())
    facts["files"] = typed.as_dict(manifest.files(paths.OUT / f"{STEM}.qcow2", _bill()))
    file.write_text(json.dumps(facts))
    _list_again()


def _list_again():
    sums = paths.OUT / manifest.SUMS
    names = [line.split("  ")[1] for line in sums.read_text().splitlines()]
    listed = subprocess.check_output(["sha256sum", *names], cwd=paths.OUT)
    sums.write_bytes(listed)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_spoil_image, "is not what SHA256SUMS says"),
        (lambda: _bill().unlink(), "is listed in SHA256SUMS and not there"),
        (lambda: (paths.OUT / "more.qcow2").touch(), "more.qcow2 is not listed"),
        (lambda: (paths.OUT / manifest.SUMS).unlink(), "there is no .*SHA256SUMS"),
        (lambda: (paths.OUT / manifest.SUMS).write_text("../x\n"), "a line that is no checksum"),
        (lambda: (paths.OUT / manifest.SUMS).write_text("0" * 64 + "  ../x\n"), "a line that is no checksum"),
        (_spoil_manifest, "does not tell of the files"),
        (_spoil_bill, "lists other packages"),
    ],
    ids=["image", "missing", "more", "no sums", "no line", "another directory", "manifest", "bill"],
)
def test_what_is_wrong_is_named(baked, spoil, why):
    spoil()
    with pytest.raises(BuildError, match=why):
        verify.verify(paths.OUT, "")


@pytest.fixture
def gnupg(monkeypatch):
    """A GnuPG home with two keys. Returns their fingerprints."""
    # gpg-agent's socket has a path of 107 characters at most.
    home = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    monkeypatch.setenv("GNUPGHOME", str(home))
    made = []
    for name in ("one", "two"):
        said = subprocess.check_output(
            ["gpg", "--batch", "--quiet", "--status-fd=1", "--pinentry-mode=loopback", "--passphrase=",
             "--quick-generate-key", f"{name}@example.org", "ed25519", "sign", "never"], text=True,
        )  # fmt: skip
        made.append(re.search(r"KEY_CREATED \S+ (\S+)", said)[1])
    yield made
    subprocess.run(["gpgconf", "--kill", "all"], check=False)
    subprocess.run(["rm", "-rf", home], check=True)


def test_a_gnupg_signature_is_checked(baked, gnupg):
    one, two = gnupg
    sums = paths.OUT / manifest.SUMS
    sign.sign(sums, one)
    assert verify.verify(paths.OUT, one)[0] == f"SHA256SUMS is signed by {one}"
    assert one in verify.verify(paths.OUT, "")[0]
    with pytest.raises(BuildError, match="SHA256SUMS: its signature is none by that key"):
        verify.verify(paths.OUT, two)
    sums.write_text(sums.read_text() + "\n")
    with pytest.raises(BuildError, match="not what the publisher signed"):
        verify.verify(paths.OUT, one)


def test_an_unknown_signer_is_told(baked, gnupg):
    sign.sign(paths.OUT / manifest.SUMS, gnupg[0])
    subprocess.run(["gpg", "--batch", "--yes", "--delete-secret-and-public-key", gnupg[0]], check=True)
    with pytest.raises(BuildError, match="another key than those in your keyring"):
        verify.verify(paths.OUT, "")


def test_a_signature_of_other_sums_does_not_stay(baked, gnupg):
    made = sign.sign(paths.OUT / manifest.SUMS, gnupg[0])
    manifest.write_sums(paths.OUT)
    assert made.exists()
    file = paths.OUT / f"{STEM}{manifest.SUFFIX}"
    file.write_text(file.read_text() + "\n")
    manifest.write_sums(paths.OUT)
    assert not made.exists()


def test_a_signature_that_is_asked_for_must_be_there(baked):
    with pytest.raises(BuildError, match="is not signed"):
        verify.verify(paths.OUT, "A" * 40)


def test_a_minisign_signature_is_checked(baked, tmp_path):
    for name in ("one", "two"):
        subprocess.run(
            ["minisign", "-G", "-W", "-f", "-p", tmp_path / f"{name}.pub", "-s", tmp_path / f"{name}.key"],
            check=True, capture_output=True,
        )  # fmt: skip
    sign.sign(paths.OUT / manifest.SUMS, str(tmp_path / "one.key"))
    assert "signed by" in verify.verify(paths.OUT, str(tmp_path / "one.pub"))[0]
    assert "signed by" in verify.verify(paths.OUT, (tmp_path / "one.pub").read_text().splitlines()[1])[0]
    assert "was not checked" in verify.verify(paths.OUT, "")[0]
    with pytest.raises(BuildError, match="SHA256SUMS: "):
        verify.verify(paths.OUT, str(tmp_path / "two.pub"))


def test_a_key_that_is_not_there_is_one_clear_line(baked, gnupg):
    with pytest.raises(BuildError, match="can't be signed with nobody"):
        sign.sign(paths.OUT / manifest.SUMS, "nobody")


def test_verify_is_a_verb(build, baked, monkeypatch):
    # build.py's own environment is in the real cache.
    monkeypatch.setenv("MICROBLOG_CACHE", str(Path(sys.prefix).parent))
    done = build("verify", str(paths.OUT))
    assert done.returncode == 0
    assert "3 files are what SHA256SUMS says" in done.stdout
    _spoil_image()
    done = build("verify", str(paths.OUT))
    assert done.returncode == 1
    assert "Do not use it" in done.stderr


@pytest.mark.parametrize(
    ("base", "wanted"),
    [
        (("debian-13-pi", "debian-13"), "debian-13"),
        (("debian-13-pi",), "debian-13"),
        (("raspios", "debian-13"), "debian-13"),
        (("ubuntu-22.04-arm64",), "ubuntu-22.04"),
    ],
)
def test_the_bill_names_a_distribution_that_there_is(baked, base, wanted):
    facts = manifest.load(paths.OUT / f"{STEM}{manifest.SUFFIX}")
    sbom.write(dataclasses.replace(facts, base=manifest.Base("", "", *base)), _bill())
    (system,), packages = _components()
    assert f"{system['name']}-{system['version']}" == wanted
    assert {one["purl"].partition("distro=")[2].partition("&")[0] for one in packages} == {wanted}
    assert f"pkg:deb/{wanted.partition('-')[0]}/" in _bill().read_text()


@pytest.mark.parametrize(
    ("version", "parts"),
    [
        ("4:12.2.0-3~a", ("12.2.0", "3~a", "4")),
        ("1.203", ("1.203", "", "")),
        ("2.36-9+deb12u10", ("2.36", "9+deb12u10", "")),
        ("1.0-rc1-2", ("1.0-rc1", "2", "")),
    ],
)
def test_versions_are_taken_apart(version, parts):
    assert tuple(sbom._parts(version).values()) == parts


def test_which_system_a_base_has_is_read_there(tmp_path):
    root = tmp_path / "root" / "usr/lib"
    root.mkdir(parents=True)
    text = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\n\nID=debian\n'
    (root / "os-release").write_text(text)
    raw = tmp_path / "raw"
    mke2fs = [program("mke2fs", "e2fsprogs"), "-q", "-t", "ext4", "-d", root.parents[1], raw, "8M"]
    subprocess.run(mke2fs, check=True)
    assert cached._system(FileSystem(raw, 0, 8 << 20)) == "debian-13"


@pytest.mark.parametrize("hole", ["target", "version", "built", "base", "packages", "sbom is elsewhere"])
def test_a_manifest_with_holes_is_one_clear_line(baked, hole):
    file = paths.OUT / f"{STEM}{manifest.SUFFIX}"
    facts = json.loads(file.read_text())
    if hole in facts:
        del facts[hole]
    else:
        facts["sbom"] = "none.cdx.json"
    file.write_text(json.dumps(facts))
    _list_again()
    with pytest.raises(BuildError, match="does not tell all that it should") as error:
        verify.verify(paths.OUT, "")
    assert "Do not use it" in error.value.hint


def test_to_verify_needs_no_debian():
    """Downloads are checked on Fedora and macOS, too: by whatever of the two is there."""
    assert {(need.name, need.optional) for need in needs.of_verb("verify")} == {
        ("gpg", True), ("minisign", True)
    }  # fmt: skip


def test_a_signature_that_goes_is_told_of(baked, gnupg, capfd):
    sign.sign(paths.OUT / manifest.SUMS, gnupg[0])
    file = paths.OUT / f"{STEM}{manifest.SUFFIX}"
    file.write_text(file.read_text() + "\n")
    manifest.write_sums(paths.OUT)
    assert "its signature is removed; sign it with --sign" in capfd.readouterr().err
    manifest.write_sums(paths.OUT)
    assert "signature" not in capfd.readouterr().err


def test_sums_that_a_killed_run_did_not_write_are_written_by_the_next(baked):
    """The image is up to date, and it is what its manifest says: nothing else would mend them."""
    (file,) = paths.OUT.glob("*.qcow2")
    right = (paths.OUT / manifest.SUMS).read_text()
    (paths.OUT / manifest.SUMS).write_text(f"{'0' * 64}  {file.name}\n")
    found = make._existing(file, types.SimpleNamespace(digest="k"))
    assert found.sums.read_text() == right
    verify.verify(paths.OUT, "")


def test_a_key_that_can_not_sign_is_refused_before_anything_is_baked(build, gnupg, tmp_path, monkeypatch):
    done = build("images", "cloud", "--sign", "nobody@example.org")
    assert done.returncode == 1
    assert "there is no secret key nobody@example.org" in done.stderr
    sign.require(gnupg[0])
    sign.require("one@example.org")
    subprocess.run(["gpg", "--batch", "--quick-set-expire", gnupg[0], "seconds=1"], check=True)
    while subprocess.check_output(["gpg", "--with-colons", "--list-keys", gnupg[0]]).count(b"pub:e:") == 0:
        time.sleep(0.2)
    with pytest.raises(BuildError, match="has expired"):
        sign.require(gnupg[0])
    keys = [tmp_path / "k.pub", tmp_path / "k.key"]
    subprocess.run(
        ["minisign", "-G", "-W", "-f", "-p", keys[0], "-s", keys[1]], check=True, capture_output=True
    )
    sign.require(str(keys[1]))
    with pytest.raises(BuildError, match="no file of a secret key"):
        sign.require(str(keys[0]))
