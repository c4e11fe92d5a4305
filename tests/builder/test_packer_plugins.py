"""What newer Packers are told of plugins, and fetch: as far as a parser of HCL and a stand-in can show."""

import hashlib
import re

import hcl2
import pytest

from builder.bake import bake, packer, packer_release
from builder.core import paths
from builder.core.errors import BuildError

TEMPLATES = sorted(paths.PACKER.rglob("*.pkr.hcl"))
NEEDED = {
    "cloud": {"qemu": "github.com/hashicorp/qemu"},
    "pi": {},
    "aws": {"amazon": "github.com/hashicorp/amazon"},
    "digitalocean": {"digitalocean": "github.com/digitalocean/digitalocean"},
    "linode": {"linode": "github.com/linode/linode"},
}


def _name(template):
    return template.name.removesuffix(".pkr.hcl")


def _parsed(text):
    """HCL as values, less the quotes that the parser leaves around strings, and less its notes."""

    def plain(value):
        if isinstance(value, dict):
            return {plain(key): plain(inner) for key, inner in value.items() if not str(key).startswith("__")}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return value.strip('"') if isinstance(value, str) else value

    return plain(hcl2.loads(text))


def _required(directory):
    """The plugins that the files of a directory require: source and version by name."""
    files = [_parsed(path.read_text()) for path in directory.glob("*.pkr.hcl")]
    blocks = [block for file in files for block in file.get("packer", [])]
    return {
        name: (wanted["source"], wanted["version"])
        for block in blocks
        for plugins in block["required_plugins"]
        for name, wanted in plugins.items()
    }


@pytest.fixture
def newer(tmp_path, cache, monkeypatch):
    """A stand-in for a Packer without plugins of its own: it notes how it was called, and installs one."""
    monkeypatch.setattr(packer_release, "_chosen", [])
    monkeypatch.delenv("PACKER_PLUGIN_PATH", raising=False)
    program = tmp_path / "packer"
    program.write_text(
        f"""#!/bin/sh
case $1 in
version) echo 'Packer v1.16.1' ;;
init)
    echo "$*" >> '{tmp_path}/calls'
    cat "$3"/*.pkr.hcl > '{tmp_path}/required'
    if [ -e '{tmp_path}/fails' ]; then
        echo '1,,ui,error,Failed getting the "github.com/hashicorp/qemu" plugin:'
        echo '1,,ui,error,1 error occurred:\\n\\t* the plugin host does not answer'
        exit 1
    fi
    folder=$PACKER_PLUGIN_PATH/github.com/hashicorp/qemu
    mkdir -p "$folder"
    name=packer-plugin-qemu_v{packer_release.PLUGINS["qemu"].version}_x5.0_linux_amd64
    printf plugin > "$folder/$name"
    printf %s {hashlib.sha256(b"plugin").hexdigest()} > "$folder/${{name}}_SHA256SUM" ;;
esac
"""
    )
    program.chmod(0o755)
    packer_release.choose(program)
    return tmp_path


def _calls(newer):
    calls = newer / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


def test_the_templates_are_those_that_are_known():
    assert {_name(template) for template in TEMPLATES} == set(NEEDED)


@pytest.mark.parametrize("template", TEMPLATES, ids=_name)
def test_a_template_is_hcl(template):
    """And what it uses beside plugins is what every Packer has."""
    read = _parsed(template.read_text())
    assert set(read) <= {"variable", "locals", "source", "build"}
    kinds = {kind for build in read["build"] for each in build.get("provisioner", []) for kind in each}
    assert kinds <= {"shell", "shell-local", "file"}


@pytest.mark.parametrize("template", TEMPLATES, ids=_name)
@pytest.mark.parametrize("version", [(1, 7, 0), (1, 16, 1)], ids=["1.7", "1.16"])
def test_newer_packers_are_told_of_what_a_template_uses_and_no_more(template, version, tmp_path):
    packer.name_plugins(template, version, tmp_path)
    required = _required(tmp_path)
    assert {name: source for name, (source, _) in required.items()} == NEEDED[_name(template)]
    for _, pinned in required.values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", pinned)
    # A source's kind is its plugin's name, and what of it follows a dash.
    kinds = {kind for source in _parsed(template.read_text())["source"] for kind in source}
    assert {kind.partition("-")[0] for kind in kinds} - packer_release.BUILT_IN == set(required)


@pytest.mark.parametrize("template", TEMPLATES, ids=_name)
def test_older_packers_are_told_nothing(template, tmp_path):
    packer.name_plugins(template, (1, 6, 6), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["cloud", "pi"])
def test_what_a_bake_gives_packer_requires_that(name, tmp_path):
    bake._lay_out(paths.PACKER / f"{name}.pkr.hcl", (1, 16, 1), tmp_path)
    assert {key: source for key, (source, _) in _required(tmp_path).items()} == NEEDED[name]


def test_a_source_of_an_unknown_kind_is_refused(tmp_path):
    template = tmp_path / "x.pkr.hcl"
    template.write_text('source "qmeu" "x" {\n}\n')
    with pytest.raises(BuildError, match=r"x.pkr.hcl has a source 'qmeu', whose plugin is not known"):
        packer.plugins(template)


def test_plugins_are_fetched_before_the_bake_once(newer, cache):
    assert packer.ready(paths.PACKER / "cloud.pkr.hcl") == str(newer / "packer")
    (call,) = _calls(newer)
    assert re.fullmatch(r"init -machine-readable /.+", call)
    assert _parsed((newer / "required").read_text())["packer"]
    assert list((cache / "packer-plugins").rglob("packer-plugin-qemu_*_amd64"))
    packer.ready(paths.PACKER / "cloud.pkr.hcl")
    assert len(_calls(newer)) == 1


def test_a_plugin_that_was_damaged_is_fetched_anew(newer, cache):
    packer.ready(paths.PACKER / "cloud.pkr.hcl")
    (plugin,) = (cache / "packer-plugins").rglob("packer-plugin-qemu_*_amd64")
    plugin.write_bytes(b"plug")
    packer.ready(paths.PACKER / "cloud.pkr.hcl")
    assert plugin.read_bytes() == b"plugin"


def test_the_users_own_plugins_are_used_where_he_says_so(newer, cache, monkeypatch):
    monkeypatch.setenv("PACKER_PLUGIN_PATH", str(newer / "own"))
    packer.ready(paths.PACKER / "cloud.pkr.hcl")
    assert list((newer / "own").rglob("packer-plugin-qemu_*_amd64"))
    assert not (cache / "packer-plugins").exists()


def test_the_pis_bake_fetches_no_plugin(newer):
    packer.ready(paths.PACKER / "pi.pkr.hcl")
    assert _calls(newer) == []


def test_a_plugin_that_cannot_be_had_is_one_line_with_its_reason(newer, cache):
    (newer / "fails").touch()
    with pytest.raises(BuildError, match=r"packer init failed: Failed getting the \S+ plugin: .*") as error:
        packer.ready(paths.PACKER / "cloud.pkr.hcl")
    assert "\n" not in error.value.message
    assert str(cache / "packer-init.log") in error.value.hint
    assert not [path for path in (cache / "tools").iterdir() if path.is_dir()]


def test_every_pin_is_one_release():
    for kind, plugin in packer_release.PLUGINS.items():
        assert kind.partition("-")[0] == plugin.name
        assert re.fullmatch(rf"github\.com/[a-z]+/{plugin.name}", plugin.source)
