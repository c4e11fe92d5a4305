"""Definitions outside of the checkout: found, named by name, and never mistaken for the checkout's."""

import pytest

from builder.bake import bake, packer
from builder.bases import compose
from builder.core import paths
from builder.core.errors import BuildError
from builder.defs import definition


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A directory with an image, a base and a script of somebody's own."""
    directory = tmp_path / "of mine"
    for folder in ("bases", "provision"):
        (directory / folder).mkdir(parents=True)
    cloud = (paths.DEFINITIONS / "cloud.toml").read_text()
    (directory / "club.toml").write_text(
        cloud.replace('"clean.sh"', '"club.sh", "clean.sh"').replace('bases = ["', 'bases = ["club-base", "')
    )
    base = (paths.DEFINITIONS / "bases/debian-12.toml").read_text()
    (directory / "bases/club-base.toml").write_text(base.replace('"cloud.sh"', '"club-hook.sh"'))
    (directory / "bases/club-hook.sh").write_text("#!/bin/sh\nset -eu\n")
    (directory / "provision/club.sh").write_text("#!/bin/sh\nset -eu\n")
    monkeypatch.setenv("MICROBLOG_DEFINITIONS", str(directory))
    return directory


def test_an_image_of_ones_own_is_baked_as_any_other(mine, tmp_path):
    assert {"club", "cloud", "pi"} <= {*definition.names("images")}
    image = definition.load_image("club")
    base = definition.load_base_for(image, "club-base")
    assert mine / "bases/club-hook.sh" in compose.scripts(base)
    assert mine / "provision/club.sh" in bake.sources(image)
    assert paths.PACKER / "provision/tune.sh" in bake.sources(image)
    packer.lay_out_scripts(tmp_path)
    assert (tmp_path / "provision/club.sh").read_text() == "#!/bin/sh\nset -eu\n"
    assert (tmp_path / "provision/tune.sh").is_file()
    assert compose._hook("customize", "club-hook.sh") == ["--customize-hook=#!/bin/sh\nset -eu\n"]


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("cloud.toml", lambda: definition.load_image("cloud")),
        ("bases/debian-12.toml", lambda: definition.load_base("debian-12")),
        ("provision/tune.sh", lambda: definition.load_image("cloud")),
        ("bases/cloud.sh", lambda: definition.load_base("debian-12")),
    ],
)
def test_a_name_that_is_taken_is_refused(mine, name, load):
    (mine / name).write_text("description = 1\n")
    with pytest.raises(BuildError, match=r"twice|two files") as error:
        load()
    assert error.value.hint == "Give yours another name"


@pytest.mark.parametrize("kind", ["folder", "link", "unreadable"])
def test_a_definition_that_can_not_be_read_is_named(mine, kind, build):
    (mine / "club.toml").unlink()
    if kind == "folder":
        (mine / "club.toml").mkdir()
    else:
        (mine / "club.toml").symlink_to("nowhere" if kind == "link" else "/proc/self/mem")
    done = build("images", "club")
    assert done.returncode == 1
    said = {"unreadable": "club.toml can't be read: Input/output error"}.get(kind, "club.toml is no file")
    assert said in done.stderr.splitlines()[0]
    assert len(done.stderr.splitlines()) == 2


def test_a_script_that_is_nowhere_is_named(mine):
    (mine / "provision/club.sh").unlink()
    with pytest.raises(BuildError, match=r"club\.toml names club\.sh, which is not there"):
        definition.load_image("club")


def test_a_directory_that_is_not_there_is_told(monkeypatch, build):
    monkeypatch.setenv("MICROBLOG_DEFINITIONS", "/no/such")
    done = build("images", "cloud")
    assert done.returncode == 1
    assert "MICROBLOG_DEFINITIONS names /no/such, which is no directory" in done.stderr


def test_the_verb_knows_them(mine, build):
    done = build("check", "club")
    assert "the image club is not baked yet" in done.stderr
