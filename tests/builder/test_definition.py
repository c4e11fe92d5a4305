"""Definitions: the good ones load; each way of being bad has its one clear line."""

import pytest

from builder import definition
from builder.errors import BuildError


@pytest.mark.parametrize("name", definition.names("images"))
def test_every_image_loads(name):
    image = definition.load_image(name)
    assert image.name == name
    assert all(definition.load_base(base) for base in image.bases)


@pytest.mark.parametrize("name", definition.names("bases"))
def test_every_base_loads(name):
    assert definition.load_base(name).name == name


def test_unknown_image_is_guessed():
    with pytest.raises(BuildError, match="there is no image 'clod'") as error:
        definition.load_image("clod")
    assert error.value.hint == "Did you mean cloud?"


def test_unknown_base_is_guessed():
    with pytest.raises(BuildError, match="there is no base 'debian12'") as error:
        definition.load_base("debian12")
    assert "debian-12" in error.value.hint


def test_a_path_is_no_name():
    with pytest.raises(BuildError, match="there is no image"):
        definition.load_image("bases/debian-12")


BROKEN_IMAGES = {
    "missing": ("template = ", "#", "the field 'template' is missing"),
    "misspelt": ("template = ", "tempalte = ", "there is no field 'tempalte'"),
    "wrong type": ("memory_mb = 2048", 'memory_mb = "2048"', "memory_mb must be a whole number"),
    "boolean for a number": ("memory_mb = 2048", "memory_mb = true", "memory_mb must be a whole number"),
    "number in a list": ('"nginx"', "80", "packages must be a list of strings"),
    "not TOML": ("template = ", "template : ", "is not TOML"),
    "unknown base": ('bases = ["', 'bases = ["x', "there is no base"),
    "no base": ('bases = ["ubuntu-22.04", "debian-12"]', "bases = []", "bases is empty"),
    "unknown template": ('template = "', 'template = "x', "which is not there"),
    "unknown script": ('"clean.sh"', '"cleen.sh"', "names cleen.sh, which is not there"),
}


@pytest.mark.parametrize("how", BROKEN_IMAGES)
def test_broken_image_is_named_in_one_line(definitions, how):
    old, new, message = BROKEN_IMAGES[how]
    path = definitions / "cloud.toml"
    good = path.read_text()
    assert old in good
    path.write_text(good.replace(old, new, 1))
    with pytest.raises(BuildError, match=message) as error:
        definition.load_image("cloud")
    assert "\n" not in error.value.message
    assert error.value.hint
    assert "cloud.toml" in error.value.message


BROKEN_BASES = {
    "missing": ("suite = ", "# ", "the field 'suite' is missing"),
    "misspelt": ("suite = ", "siute = ", "there is no field 'siute'"),
    "wrong type": ('components = ["main"]', 'components = "main"', "components must be a list of strings"),
    "no method": ("method = ", "# ", "method must be one of compose, download, not None"),
    "unknown method": ('"compose"', '"compost"', "method must be one of"),
    "size": ('"3G"', '"3 Gigs"', "is not a size such as 3G"),
    "architecture": ('"amd64"', '"amd46"', "architecture 'amd46' is unknown"),
    "customize": ('"cloud.sh"', '"klaud.sh"', "names klaud.sh, which is not there"),
}


@pytest.mark.parametrize("how", BROKEN_BASES)
def test_broken_base_is_named_in_one_line(definitions, how):
    old, new, message = BROKEN_BASES[how]
    path = definitions / "bases" / "debian-12.toml"
    good = path.read_text()
    assert old in good
    path.write_text(good.replace(old, new, 1))
    with pytest.raises(BuildError, match=message) as error:
        definition.load_base("debian-12")
    assert "\n" not in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(("text", "size"), [("3G", 3 << 30), ("3500M", 3500 << 20)])
def test_sizes(text, size):
    assert definition.size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "3", "3g", "-3G", "0G", "3.5G", "3GB"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size"):
        definition.size_in_bytes(text)


def test_the_pi_prefers_raspberry_pi_os_and_leaves_its_kernel():
    assert definition.load_image("pi").bases == ["raspios", "debian-13-pi"]
    assert "linux-image-*" in definition.load_base("raspios").hold
    assert definition.load_base("ubuntu-22.04").hold == []
