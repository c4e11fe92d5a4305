"""The conductor: what it makes lies beside its inputs, is found again, and is made anew when one changes."""

import json
import subprocess

import pytest
from click.testing import CliRunner

import build
from builder import make
from builder.bake import bake
from builder.bases.cached import CachedBase
from builder.core import inputs, paths, progress
from builder.core.errors import BuildError
from builder.core.request import Request
from builder.results import manifest, verify


@pytest.fixture
def conducted(definitions, cache, tmp_path, monkeypatch):
    """All of it but what takes minutes: the package, the base, Packer. Returns what was baked, in order."""
    deb = tmp_path / "microblog_0.1.0_all.deb"
    deb.write_bytes(b"a package")
    below = CachedBase(tmp_path, "debian-12", "amd64", "debian", "d", "1" * 64, "2026-01-01T00:00:00Z")
    baked = []

    def bake_it(image, _base, _deb, accelerator, work, name, asked):
        baked.append((image.name, accelerator, asked))
        raw, file, listing = work / "raw", work / f"{name}.qcow2", work / "packages"
        raw.write_bytes(b"\x55" * (1 << 20))
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, file], check=True)
        listing.write_text("nginx\t1.22\tamd64\t1000\tnginx\t1.22\n")
        return bake.Baked([file], listing, {"install": 1.5}, 12.5)

    monkeypatch.setattr(make.package, "build", lambda _fresh: deb)
    monkeypatch.setattr(make.base, "obtain", lambda *_: below)
    monkeypatch.setattr(make.layer, "obtain", lambda _image, on, *_: on)
    monkeypatch.setattr(make.packer, "ready", lambda _: "packer")
    monkeypatch.setattr(make.packer, "find", lambda: "packer")
    monkeypatch.setattr(make.packer, "version", lambda _: (1, 6, 6))
    monkeypatch.setattr(make.bake, "bake", bake_it)
    baked_with = Request(accelerator="tcg", checked=False)
    return baked, lambda **more: make.produce("cloud", Request(**{**vars(baked_with), **more}))


def test_what_is_made_is_whole_and_told_of(conducted):
    baked, produce = conducted
    made = produce()
    assert [name for name, _, _ in baked] == ["cloud"]
    assert manifest.load(made.manifest) == made.facts
    assert (made.facts.bake_s, made.facts.packer, made.facts.accelerator) == (12.5, "1.6.6", "tcg")
    assert made.facts.base == manifest.Base("1" * 64, "2026-01-01T00:00:00Z", "debian-12")
    assert "1 packages" in "".join(verify.verify(paths.OUT, ""))
    beside = json.loads((paths.OUT / f"{made.image.name.removesuffix('.qcow2')}.{inputs.SUFFIX}").read_text())
    assert beside["values"]["image"]["name"] == "cloud"
    assert "builder/bake/bake.py" in beside["files"]


def test_it_is_found_again_and_made_anew_when_an_input_changes(conducted, definitions, monkeypatch, capfd):
    baked, produce = conducted
    first = produce()
    assert produce() == first
    assert len(baked) == 1
    monkeypatch.setattr(progress, "_detailed", True)
    file = definitions / "cloud.toml"
    file.write_text(file.read_text().replace("memory_mb = 2048", "memory_mb = 1024"))
    produce()
    assert len(baked) == 2
    assert "Changed: image.memory_mb\n" in capfd.readouterr().err
    produce(packages=("vim",))
    assert "Changed: image.packages\n" in capfd.readouterr().err
    produce(packages=("vim",), snapshot="20260131")
    assert "Changed: snapshot.day\n" in capfd.readouterr().err
    assert len(baked) == 4
    assert produce(packages=("vim",), snapshot="20260131", fresh=True).facts.memory_mb == 1024
    assert len(baked) == 5


def test_a_package_that_there_is_not_is_told_before_anything_is_made(definitions, monkeypatch):
    asked_for = []

    def look_for(base, packages, asked):
        asked_for.append((base.name, packages, asked.snapshot))
        raise BuildError("there is no package vmi", "")

    monkeypatch.setattr(make.pool, "look_for", look_for)
    monkeypatch.setattr(make, "produce", lambda *_: pytest.fail("something was made"))
    wanted = ["images", "cloud", "--package", "vmi", "--snapshot", "20260131"]
    done = CliRunner().invoke(build.main, [*wanted, "--base", "debian-12"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert asked_for == [("debian-12", ("vmi",), "20260131")]
    # The definition's first is a publisher's: what that installs from is known when it is there.
    make.look_at(["cloud"], Request(packages=("vmi",)))
    make.look_at(["cloud"], Request(insist="debian-12"))
    assert len(asked_for) == 1
    file = definitions / "cloud.toml"
    file.write_text(file.read_text().replace('"ubuntu-22.04", ', ""))
    with pytest.raises(BuildError):
        make.look_at(["cloud"], Request(packages=("vmi",)))


def test_what_was_asked_for_reaches_the_bake(conducted, tmp_path):
    baked, produce = conducted
    produce(keep_failed=True, overlay=tmp_path)
    assert baked[0][2].keep_failed
    assert baked[0][2].overlay == tmp_path


@pytest.mark.parametrize(
    ("base", "architecture", "ends"),
    [("debian-12", "amd64", "debian-12-amd64"), ("debian-12-arm64", "arm64", "debian-12-arm64")],
)
def test_the_architecture_is_in_the_name_once(conducted, tmp_path, monkeypatch, base, architecture, ends):
    _, produce = conducted
    below = CachedBase(tmp_path, base, architecture, "debian", "d", "1" * 64, "2026-01-01T00:00:00Z")
    monkeypatch.setattr(make.base, "obtain", lambda *_: below)
    assert produce().image.name == f"microblog-{make.package.version()}-cloud-{ends}.qcow2"
