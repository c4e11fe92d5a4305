"""A result is made anew when something changed that it is made from, and not when something else did."""

import json

import pytest

from builder.bake import bake, pool
from builder.bases import base, cached
from builder.bases.cached import CachedBase
from builder.core import inputs, needs, paths, progress
from builder.deb import package
from builder.defs import definition
from builder.vm import check


def _of_base(name):
    return base.made_from(definition.load_base(name)).files


def _of_image(name, tmp_path):
    (tmp_path / "a.deb").write_bytes(b"")
    below = CachedBase(tmp_path, "base", "amd64", "u", "k", "s", "m")
    return bake.made_from(definition.load_image(name), below, tmp_path / "a.deb").files


@pytest.mark.parametrize(
    ("name", "there", "absent"),
    [
        (
            "debian-12",
            {"bases/base.py", "bases/compose.py", "bases/cached.py", "disk/ext4.py", "disk/layouts/cloud.py",
             "disk/rootfs.py", "bases/interpreter.py", "disk/kernel.py"},
            {"disk/layouts/card.py", "disk/fat.py", "disk/bootfs.py", "bases/upstream.py", "bake/packer.py"},
        ),
        ("debian-13-pi", {"disk/layouts/card.py", "disk/fat.py"}, {"disk/layouts/cloud.py"}),
        (
            "ubuntu-22.04",
            {"bases/downloaded.py", "bases/grow.py", "bases/upstream.py", "bases/signature.py"},
            {"bases/compose.py", "bases/interpreter.py", "bake/packer.py"},
        ),
    ],
)  # fmt: skip
def test_the_code_that_makes_a_base_counts(name, there, absent):
    found = {file.removeprefix("builder/") for file in _of_base(name) if file.startswith("builder/")}
    assert there <= found
    assert not absent & found
    assert not {file for file in found if file.startswith(("ship/", "vm/", "dev/", "results/", "make"))}


@pytest.mark.parametrize(
    ("name", "there", "absent"),
    [
        (
            "cloud",
            {"builder/bake/bake.py", "builder/bake/packer.py", "builder/bake/pool.py", "builder/vm/seed.py",
             "builder/bake/methods/machine.py", "builder/disk/compact.py", "packer/cloud.pkr.hcl",
             "packer/seed/user-data.j2", "packer/provision/tune.sh"},
            {"builder/bake/methods/chroot.py", "builder/disk/bmap.py", "packer/provision/pi.sh"},
        ),
        (
            "pi",
            {"builder/bake/methods/chroot.py", "builder/disk/bmap.py", "builder/results/oslist.py",
             "packer/provision/pi.sh", "packer/files/pi/etc/hostname", "packer/chroot.sh"},
            {"builder/bake/methods/machine.py", "builder/vm/seed.py"},
        ),
    ],
)  # fmt: skip
def test_the_code_that_bakes_an_image_counts(name, there, absent, tmp_path):
    found = {*_of_image(name, tmp_path)}
    assert there <= found
    assert not absent & found


def test_the_code_of_other_results_counts(tmp_path):
    assert {"builder/vm/drive.py", "tests/images/conftest.py"} <= {*check.checked_by().files}
    assert {"builder/deb/assets.py", "microblog/__init__.py"} <= {*package.made_from().files}
    below = CachedBase(tmp_path, "base", "amd64", "u", "k", "s", "m")
    assert "builder/bake/pool.py" in pool.question(below, None, []).files


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with a step, one, which uses two, and a module that has nothing to do with it."""
    monkeypatch.setattr(needs, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    for name, text in {
        "one.py": "from builder import two\n", "two.py": "", "other.py": "from builder import one\n",
    }.items():  # fmt: skip
        (tmp_path / "builder").mkdir(exist_ok=True)
        (tmp_path / "builder" / name).write_text(text)
    needs._tree.cache_clear()
    needs._reached.cache_clear()
    yield tmp_path / "builder"
    needs._tree.cache_clear()
    needs._reached.cache_clear()


def test_an_edit_of_what_a_step_imports_changes_its_digest_and_no_other_does(checkout):
    before = inputs.of({}, code=[checkout / "one.py"])
    assert [*before.files] == ["builder/one.py", "builder/two.py"]
    (checkout / "other.py").write_text("# edited\n")
    assert inputs.of({}, code=[checkout / "one.py"]) == before
    (checkout / "two.py").write_text("# edited\n")
    after = inputs.of({}, code=[checkout / "one.py"])
    assert after.digest != before.digest


def test_what_changed_is_named(tmp_path, capsys, monkeypatch):
    file = tmp_path / "file"
    file.write_text("one")
    before = inputs.of({"image": {"memory_mb": 1, "name": "x"}}, [file])
    before.write(tmp_path / "made.inputs.json")
    assert json.loads((tmp_path / "made.inputs.json").read_text())["values"]["image"]["memory_mb"] == 1
    file.chmod(0o755)
    now = inputs.of({"image": {"memory_mb": 2, "name": "x"}, "more": []}, [file])
    assert inputs.changed(tmp_path / "made.inputs.json", now) == ["file", "image.memory_mb", "more"]
    inputs.explain("made", tmp_path / "made.inputs.json", now)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "_detailed", False)
    progress.show_details()
    inputs.explain("made", tmp_path / "made.inputs.json", now)
    assert "made is not up to date. Changed: file, image.memory_mb, more" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"values": 1}', '{"values": {}, "files": 3}'])
def test_what_was_kept_and_is_damaged_explains_nothing(tmp_path, text):
    (tmp_path / "old").write_text(text)
    assert inputs.changed(tmp_path / "old", inputs.Inputs({})) == []
    assert inputs.changed(tmp_path / "none", inputs.Inputs({})) == []


def test_a_base_goes_by_its_inputs_and_says_which_changed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_detailed", True)
    old, new = (inputs.Inputs({"base": {"name": "b", "suite": suite}}) for suite in ("old", "new"))
    there = cached.directory_for(tmp_path, "b", old)
    assert there.name == f"b-{old.digest[:16]}"
    there.mkdir()
    old.write(there / inputs.SUFFIX)
    assert cached.directory_for(tmp_path, "b", new) != there
    assert "b is not up to date. Changed: base.suite\n" in capsys.readouterr().err
