"""Two layers on a downloaded base: what the image needs once, the package each time."""

import dataclasses
import http.server
import shutil
import subprocess
import threading
import time

import pytest

from builder import make
from builder.bake import bake, layer, method, pool
from builder.bases import base, cached
from builder.bases.cached import CachedBase
from builder.core import paths
from builder.core.cache import sha256_file
from builder.core.errors import BuildError
from builder.core.request import Request
from builder.deb import package
from builder.defs import definition
from builder.disk.ext4 import FileSystem
from builder.results import manifest

# The real test has a cache of its own, but for the base that it is made from.
_CACHE = paths.cache_dir()


@pytest.fixture
def downloaded(tmp_path):
    """A base, as if downloaded; its disk is no system."""
    directory = tmp_path / "base"
    directory.mkdir()
    (directory / "base.qcow2").write_bytes(b"a disk")
    return CachedBase(
        directory=directory, name="some", architecture="amd64", user="u", digest="k",
        sha256="5" * 64, made="2026-01-01T00:00:00Z", source={"url": "https://x.example/y"},
    )  # fmt: skip


@pytest.fixture
def parts(cache, tmp_path, monkeypatch):
    """Packer and the disk's tools left out: what is asked of them is noted instead."""
    asked = []
    archive = [pool.Archived("lib_1_all.deb", "1")]
    monkeypatch.setattr(package, "dependencies", lambda _: ["lib", "nginx"])
    monkeypatch.setattr(pool, "needed", lambda *_: list(archive))
    monkeypatch.setattr(bake, "install", lambda image, *rest: asked.append((image, rest)))
    machine = method.load("machine")
    flat = dataclasses.replace(machine, flatten=lambda _, raw: raw.write_bytes(b"a layer's disk"))
    monkeypatch.setattr(method, "load", lambda _: flat)
    monkeypatch.setattr(cached, "_look_into", lambda *_: "debian-12")
    monkeypatch.setattr(cached.media, "pack_qcow2", lambda raw, to, _: shutil.copy(raw, to))
    return asked, archive


def _obtain(on, fresh=False):
    return layer.obtain(definition.load_image("cloud"), on, on.disk, lambda: "tcg", Request(fresh=fresh))


def test_is_baked_once_with_what_is_needed_and_no_package(downloaded, parts):
    asked, _ = parts
    made = _obtain(downloaded)
    assert _obtain(downloaded) == made
    ((image, (on, deb, accelerator, *_)),) = asked
    assert {"lib", "nginx", "default-mysql-server"} <= set(image.packages)
    assert len(image.packages) == len(set(image.packages))
    assert image.provision == ["prepare.sh", "install.sh", "clean.sh"]
    assert (on, deb, accelerator) == (downloaded, None, "tcg")
    assert made.disk.read_bytes() == b"a layer's disk"


def test_the_manifest_tells_of_both(downloaded, parts):
    made = _obtain(downloaded)
    alone = manifest.Base("5" * 64, downloaded.made, "some", source=downloaded.source)
    assert make._told(downloaded) == alone
    layer = manifest.Made(sha256_file(made.disk), made.made)
    assert make._told(made) == dataclasses.replace(alone, system="debian-12", layer=layer)


def test_newer_packages_or_another_base_make_another(downloaded, parts, cache):
    asked, archive = parts
    one = _obtain(downloaded)
    archive[0] = pool.Archived("lib_2_all.deb", "2")
    two = _obtain(downloaded)
    three = _obtain(dataclasses.replace(downloaded, sha256="6" * 64))
    assert len({one.digest, two.digest, three.digest}) == len(asked) == 3
    archive[0] = pool.Archived("lib_1_all.deb", "1")
    assert _obtain(downloaded) == one
    assert len(asked) == 3


def test_fresh_renews_it(downloaded, parts):
    asked, _ = parts
    assert _obtain(downloaded).digest == _obtain(downloaded, fresh=True).digest
    assert len(asked) == 2


def test_one_that_is_interrupted_leaves_nothing(downloaded, parts, cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bake, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _obtain(downloaded)
    assert not [path for path in (cache / "layers").iterdir() if path.is_dir()]


def test_a_damaged_one_is_baked_anew(downloaded, parts, capfd):
    asked, _ = parts
    _obtain(downloaded).disk.write_bytes(b"?")
    assert _obtain(downloaded).disk.read_bytes() == b"a layer's disk"
    assert len(asked) == 2
    assert "differs from its checksum" in capfd.readouterr().err


def test_a_composed_base_needs_none(downloaded, parts):
    composed = dataclasses.replace(downloaded, source=None)
    assert _obtain(composed) is composed
    assert parts[0] == []


@pytest.fixture
def served(tmp_path):
    """A directory on loopback, and its address."""
    directory = tmp_path / "served"
    directory.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield directory, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_real_one(thorough, definitions, cache, served, tmp_path, record_testsuite_property):
    """Debian 12's cloud image stands in for Ubuntu's: downloaded, grown, and baked on twice, emulated."""
    if not thorough:
        pytest.skip("two emulated bakes: --thorough")
    directory, url = served
    bare = base.get(definition.load_base("debian-12"), store=_CACHE / "tests")
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", bare.disk, raw], check=True)
    units = "/etc/systemd/system"
    FileSystem.root_of(raw).change(f"rm {units}/default.target", f"rm {units}/bake.target")
    published = directory / "stand-in-amd64.img"
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", raw, published], check=True)
    (definitions / "bases" / "stand-in.toml").write_text(
        'description = "A stand-in"\nmethod = "download"\narchitecture = "amd64"\nuser = "debian"\n'
        f'url = "{url}/{published.name}"\nsha256 = "{sha256_file(published)}"\ndisk_size = "3500M"\n'
    )
    first = make.produce("cloud", Request("stand-in", accelerator="tcg", checked=False))
    seconds = first.facts.seconds
    assert first.facts.base.source["sha256"] == sha256_file(published)
    assert first.facts.base.layer.sha256 != first.facts.base.sha256
    image, deb = definition.load_image("cloud"), package.build()
    below = base.get(definition.load_base("stand-in"))
    began = time.monotonic()
    on = layer.obtain(image, below, deb, lambda: pytest.fail("baked again"))
    again = time.monotonic() - began
    for phase, value in {**seconds, "layer, from the cache": again}.items():
        print(f"{phase}: {value:.1f} s")
        record_testsuite_property(phase, f"{value:.1f}")
    # What the layer holds, the second bake does not install again.
    assert pool.needed(on, deb, image.packages, tmp_path / "log") == []
    subprocess.run(["qemu-img", "convert", "-O", "raw", first.image, raw], check=True)
    root = FileSystem.root_of(raw)
    assert "bake.target" not in root.names(units)
    assert "default.target" not in root.names(units)
    assert "microblog-setup.service" in root.names("/usr/lib/systemd/system")
    assert root.read("/etc/machine-id") == b""
    assert {"auto.cnf", "ca-key.pem"} & set(root.names("/var/lib/mysql")) == set()


def test_no_space_is_one_clear_line(downloaded, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(package, "dependencies", lambda _: [])
    monkeypatch.setattr(pool, "needed", lambda *_: [])
    monkeypatch.setattr(bake, "_SPACE", 1 << 60)
    with pytest.raises(BuildError, match="baking cloud needs"):
        _obtain(downloaded)
