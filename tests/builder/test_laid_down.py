"""What is laid down in an image as it stands in packer/files: each file by the tool that reads its kind."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from builder.bake import bake
from builder.core import paths
from builder.core.command import program
from builder.defs import definition

_FILES = paths.PACKER / "files"
_TREES = sorted(tree for tree in _FILES.iterdir() if tree.is_dir())
_UNITS = sorted(file for tree in _TREES for file in tree.glob("etc/systemd/system/*") if file.is_file())


def _here(unit: Path, to: Path) -> Path:
    """A unit that runs what there is on this machine."""
    copy = to / unit.name
    ours = r"/usr/bin/microblog\b|/usr/local/(sbin|lib/fleet)/[a-z-]+|/usr/bin/mariadb\b"
    copy.write_text(re.sub(ours, "/bin/true", unit.read_text()))
    return copy


def _verify(*units: Path) -> str:
    done = subprocess.run(
        [program("systemd-analyze", "systemd"), "verify", "--man=no", *units],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # What it says of this machine's own units is not ours.
    names = {unit.name for unit in units}
    return "\n".join(line for line in done.stderr.splitlines() if any(name in line for name in names))


def test_systemd_has_nothing_to_say_of_the_units(tmp_path):
    assert len(_UNITS) > 6
    assert not _verify(*[_here(unit, tmp_path) for unit in _UNITS])


@pytest.mark.parametrize("broken", ["Typ=oneshot", "ExecStat=/bin/true", "Restart=perhaps"])
def test_systemd_would_say_it(tmp_path, broken):
    unit = tmp_path / "broken.service"
    unit.write_text(f"[Service]\nType=oneshot\nExecStart=/bin/true\n{broken}\n")
    assert "broken.service" in _verify(unit)


def test_every_file_is_of_its_kind():
    """The shell's are test_style's."""
    kinds = 0
    for file in filter(Path.is_file, _FILES.glob("*/**/*")):
        text, name = file.read_text(), "/".join(file.relative_to(_FILES).parts[1:])
        if "systemd" in name or "/rpi/" in name:
            parser = configparser.RawConfigParser(strict=False, delimiters="=")
            parser.read_string(text)
            assert parser.sections(), name
        elif "/sysctl.d/" in name:
            assert all(re.fullmatch(r"#.*|[a-z0-9_.]+ = [0-9 ]+", line) for line in text.splitlines()), name
        elif "/avahi/" in name:
            assert ET.fromstring(text).tag == "service-group"
        elif name.endswith(".env"):
            assert all(re.fullmatch(r"#.*|[A-Z_]+=\S*", line) for line in text.splitlines()), name
        elif "/cloud.cfg.d/" in name:
            assert isinstance(yaml.safe_load(text), dict), name
        elif text.startswith("#!/usr/bin/python3\n"):
            ast.parse(text)
            assert file.stat().st_mode & 0o100, name
        elif file.stat().st_mode & 0o100:
            assert text.startswith("#!/bin/sh\n"), name
        else:
            assert name in ("etc/hostname", "etc/ssh/sshd_config.d/20-microblog.conf")
        kinds += 1
    assert kinds > 25


def test_no_script_writes_what_could_be_a_file():
    # What apt is told for the bake alone is gone with it.
    own = {"install.sh"}
    scripts = [one for one in (paths.PACKER / "provision").glob("*.sh") if one.name not in own]
    assert [one.name for one in scripts if "<<" in one.read_text()] == []
    laid = {name for one in scripts for name in re.findall(r'sh "\$FILES/lay" (\S+)', one.read_text())}
    # Each by the script that has its name: so it counts among the inputs of the images that run that.
    assert laid == {tree.name for tree in _TREES}
    assert all(
        f'"$FILES/lay" {name}\n' in (paths.PACKER / f"provision/{name}.sh").read_text() for name in laid
    )


@pytest.mark.parametrize("runs", [True, False], ids=["", "noexec"])
def test_a_tree_is_laid_down_with_its_modes(tmp_path, runs):
    """Also from where nothing can be run: /run of a machine is mounted so."""
    files, root = tmp_path / "files", tmp_path / "root"
    (files / "one/etc/a b").mkdir(parents=True)
    (files / "one/etc/a b/text").write_text("text\n")
    (files / "one/etc/program").write_text("#!/bin/sh\n")
    (files / "one/etc/a b/text").chmod(0o600)
    (files / "one/etc/program").chmod(0o700)
    shutil.copy(_FILES / "lay", files / "lay")
    root.mkdir()
    # "install" is told of another root than this machine's.
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "install").write_text(
        f'#!/bin/sh\nexec {shutil.which("install")} "$1" "$2" "$3" "$4" "{root}$5"\n'
    )
    (fake / "install").chmod(0o755)
    enter = "" if runs else 'mount --bind "$0" "$0" && mount -o remount,bind,noexec "$0" && '
    subprocess.run(
        ["unshare", "--mount", "--map-root-user",
         "sh", "-eu", "-c", f'{enter} umask 077; sh "$0/lay" one', files],
        env={**os.environ, "PATH": f"{fake}:{os.environ['PATH']}"}, check=True,
    )  # fmt: skip
    assert (root / "etc/a b/text").stat().st_mode & 0o777 == 0o644
    assert (root / "etc/program").stat().st_mode & 0o777 == 0o755
    assert (root / "etc/a b/text").read_text() == "text\n"


def test_every_template_hands_the_files_over():
    """By a mount, in the machine's /run, and where not everybody may write there, in /tmp, which clean.sh
    empties."""
    told = {
        file.name: re.findall(r"\bFILES=(/\w+/files)\b", file.read_text())
        for file in [paths.PACKER / "chroot.sh", *paths.PACKER.rglob("*.pkr.hcl")]
    }
    native = {f"{name}.pkr.hcl": ["/tmp/files"] for name in ("aws", "digitalocean", "linode")}
    assert told == {"chroot.sh": ["/run/files"], "cloud.pkr.hcl": ["/run/files"], "pi.pkr.hcl": [], **native}


def test_a_file_that_is_laid_down_counts_for_the_image_and_for_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PACKER", tmp_path / "packer")
    shutil.copytree(Path(_FILES).parent, tmp_path / "packer")
    found = {name: bake.sources(definition.load_image(name)) for name in ("pi", "cloud")}
    assert all(
        {tmp_path / "packer/files/tune", tmp_path / "packer/files/lay"} <= {*one} for one in found.values()
    )
    assert tmp_path / "packer/files/pi" in found["pi"]
    assert tmp_path / "packer/files/pi" not in found["cloud"]
