"""Definitions: the good ones load; each way of being bad has its one clear line."""

import dataclasses

import pytest

from builder.core.errors import BuildError
from builder.defs import definition
from builder.vm import emulator


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
    "no base": ('bases = ["ubuntu-22.04", "debian-12", "debian-13"]', "bases = []", "bases is empty"),
    "unknown template": ('template = "', 'template = "x', "which is not there"),
    "unknown method": ('"machine"', '"machin"', "method must be one of machine, chroot, not 'machin'"),
    "no memory": ("memory_mb = 2048", "memory_mb = -1", "memory_mb is -1"),
    "scheme": ("memory_mb", 'scheme = "ftp"\nmemory_mb', "scheme: 'ftp' is not https or http"),
    "script elsewhere": ('"clean.sh"', '"../../x"', "provision: '../../x' is not the name of a file"),
    "hidden script": ('"clean.sh"', '".clean.sh"', "provision: '.clean.sh' is not the name of a file"),
    "template elsewhere": ('template = "', 'template = "../', "template: '../cloud' is not"),
    "an option for a package": (
        '"nginx"',
        '"--reinstall"',
        "packages: '--reinstall' is not a package's name",
    ),
    "two packages in one": ('"nginx"', '"nginx ufw"', "packages: 'nginx ufw' is not"),
    "a base of another layout": ('"ubuntu-22.04"', '"raspios"', "cloud can't be baked on raspios"),
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
    "layout of another architecture": ('"cloud"', '"card"', "a card is composed for arm64, not for amd64"),
    "no size": ('"3G"', '""', "is not a size such as 3G"),
    "layout": ('layout = "cloud"', 'layout = "clowd"', "layout: 'clowd' is not cloud or card"),
    "user": ('"debian"', '"-rf"', "user: '-rf' is not an account's name"),
    "suite": ('"bookworm"', '"book worm"', "suite: 'book worm' is not a suite's name"),
    "component": ('["main"]', '["main,contrib"]', "components: 'main,contrib' is not"),
    "mirror": ("suite = ", 'mirror = "file:///x"\nsuite = ', "mirror: 'file:///x' is not an address"),
    "script elsewhere": ('"cloud.sh"', '"../../x"', "customize: '../../x' is not the name of a file"),
    "customize": ('"cloud.sh"', '"klaud.sh"', "names klaud.sh, which is not there"),
    "left out": ('["leave-out"]', '["leave-in"]', "names leave-in, which is not there"),
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


@pytest.mark.parametrize(
    ("image", "base", "why"),
    [
        ("pi", "debian-12", "it is baked in a chroot, on a disk laid out as a card, and that is a cloud"),
        ("cloud", "raspios", "it is baked in a machine, on a disk laid out as a cloud, and that is a card"),
        ("cloud", "debian-13-pi", "laid out as a cloud"),
    ],
)
def test_a_base_of_another_layout_is_refused_at_once(build, image, base, why):
    done = build("images", image, "--base", base)
    assert done.returncode == 1
    first, second = done.stderr.strip().splitlines()[-2:]
    assert f"{image} can't be baked on {base}: " in first
    assert why in first
    fitting = second.partition("There are: ")[2].split(", ")
    assert all(definition.load_base_for(definition.load_image(image), name) for name in fitting)
    assert base not in fitting


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https://", "http://"),
        ('sums = "SHA512SUMS"\n', ""),
        ("signed = false", f'signed = false\nkey = "{"A" * 40}"'),
        ("signed = false", "signed = true"),
        ("signed = false", 'signed = "no"'),
    ],
)
def test_what_nobody_signs_is_said_to_be_so_and_comes_by_https(definitions, old, new):
    assert not definition.load_base("debian-13-genericcloud").signed
    path = definitions / "bases/debian-13-genericcloud.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(BuildError):
        definition.load_base("debian-13-genericcloud")


@pytest.mark.parametrize("name", ["ubuntu-22.04-arm64", "debian-12-arm64"])
def test_a_base_of_another_architecture_is_the_clouds_alone(name):
    """A card for the same processors is another thing. What starts it follows from the architecture."""
    base = definition.load_base_for(definition.load_image("cloud"), name)
    assert base.architecture == "arm64"
    assert emulator.EMULATORS[base.architecture].firmware
    with pytest.raises(BuildError, match=f"pi can't be baked on {name}: it is baked in a chroot"):
        definition.load_base_for(definition.load_image("pi"), name)
    with pytest.raises(BuildError, match="cloud can't be baked on debian-13-pi"):
        definition.load_base_for(definition.load_image("cloud"), "debian-13-pi")


@pytest.mark.parametrize("name", ["ubuntu-22.04", "debian-12"])
def test_a_base_differs_from_its_twin_in_its_processor_alone(name):
    """Its publisher was out of reach: what holds for the one that is tried by day holds for the other."""
    one, arm = (definition.load_base(base) for base in (name, f"{name}-arm64"))
    differ = {
        field.name
        for field in dataclasses.fields(one)
        if getattr(one, field.name) != getattr(arm, field.name)
    }
    if isinstance(one, definition.DownloadedBase):
        assert differ == {"name", "description", "architecture", "url"}
        assert arm.url == one.url.replace("-amd64.img", "-arm64.img")
    else:
        assert differ == {"name", "description", "architecture", "packages"}
        # Of what is the processor's own, each has its kind: kernel, and what starts it.
        own = {*one.packages} ^ {*arm.packages}
        assert own <= {
            *("linux-image-cloud-amd64", "grub-cloud-amd64"),
            *("linux-image-cloud-arm64", "grub-efi-arm64", "grub-efi-arm64-signed", "shim-signed"),
        }
