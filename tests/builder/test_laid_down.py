"""What is laid down on a card as it stands in packer/files: each file by the tool that reads its kind."""

import configparser
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from builder.bake import bake
from builder.core import paths
from builder.core.command import program
from builder.defs import definition

_FILES = paths.PACKER / "files"
_PI = _FILES / "pi"
_UNITS = sorted((_PI / "etc/systemd/system").iterdir())


def _here(unit: Path, to: Path) -> Path:
    """A unit that runs what there is on this machine."""
    copy = to / unit.name
    copy.write_text(re.sub(r"/usr/bin/microblog\b", "/bin/true", unit.read_text()))
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
    assert len(_UNITS) > 4
    assert not _verify(*[_here(unit, tmp_path) for unit in _UNITS])


@pytest.mark.parametrize("broken", ["Typ=oneshot", "ExecStat=/bin/true", "Restart=perhaps"])
def test_systemd_would_say_it(tmp_path, broken):
    unit = tmp_path / "broken.service"
    unit.write_text(f"[Service]\nType=oneshot\nExecStart=/bin/true\n{broken}\n")
    assert "broken.service" in _verify(unit)


def test_every_file_is_of_its_kind():
    """The shell's are test_style's."""
    kinds = 0
    for file in filter(Path.is_file, _PI.rglob("*")):
        text, name = file.read_text(), file.relative_to(_PI).as_posix()
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
        elif file.stat().st_mode & 0o100:
            assert text.startswith("#!/bin/sh\n"), name
        else:
            assert name in ("etc/hostname", "etc/ssh/sshd_config.d/20-microblog.conf")
        kinds += 1
    assert kinds > 15


def test_no_script_writes_what_could_be_a_file():
    for script in (paths.PACKER / "provision").glob("pi.sh"):
        assert "<<" not in script.read_text()


def test_a_file_that_is_laid_down_counts_for_the_image_and_for_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PACKER", tmp_path / "packer")
    shutil.copytree(Path(_FILES).parent, tmp_path / "packer")
    found = {name: bake.sources(definition.load_image(name)) for name in ("pi", "cloud")}
    assert tmp_path / "packer/files/pi" in found["pi"]
    assert tmp_path / "packer/files/pi" not in found["cloud"]
