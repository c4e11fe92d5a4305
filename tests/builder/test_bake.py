"""What Packer is given, what it says, and how it is ended: with the real Packer and QEMU."""

import dataclasses
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from builder.bake import bake, packer, pool
from builder.bake.methods import machine
from builder.bases.cached import CachedBase
from builder.core import paths
from builder.core.cache import sha256_file
from builder.core.errors import BuildError
from builder.core.work import Work
from builder.defs import definition
from builder.vm import emulator

TEMPLATE = paths.PACKER / "cloud.pkr.hcl"


@pytest.fixture(params=["amd64"])
def small(request, tmp_path):
    """A base that boots nothing: an empty disk."""
    directory = tmp_path / "base"
    directory.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", directory / "base.qcow2", "16M"], check=True)
    return CachedBase(
        directory=directory, name="small", architecture=request.param, user="u", digest="k",
        sha256=sha256_file(directory / "base.qcow2"), made="2026-01-01T00:00:00Z",
    )  # fmt: skip


@pytest.fixture
def rendered(small, tmp_path):
    """The directory that Packer is given, for a version of Packer; and its variables."""

    def render(version):
        image = definition.load_image("cloud")
        templates = tmp_path / "templates"
        for directory in (templates, tmp_path / "pool"):
            directory.mkdir()
        variables = machine.prepare(image, small, "tcg", Work.at(tmp_path))
        (templates / "variables.pkrvars.json").write_text(json.dumps(variables))
        bake._lay_out(TEMPLATE, version, templates)
        return templates

    return render


def _options(templates):
    return {"var_file": str(templates / "variables.pkrvars.json")}


def test_the_installed_packer_takes_the_template(rendered, tmp_path):
    executable = packer.ready(TEMPLATE)
    templates = rendered(packer.version(executable))
    packer.call(executable, "validate", templates, _options(templates), lambda _: None, tmp_path / "log")


def test_a_broken_template_is_one_clear_line(rendered, tmp_path):
    executable = packer.ready(TEMPLATE)
    templates = rendered(packer.version(executable))
    (templates / "broken.pkr.hcl").write_text('variable "x" {\n  tpye = string\n}\n')
    with pytest.raises(BuildError, match=r"packer validate failed: .*argument") as error:
        packer.call(executable, "validate", templates, _options(templates), lambda _: None, tmp_path / "log")
    assert "\n" not in error.value.message
    assert str(tmp_path / "log") in error.value.hint


def test_the_seed_is_cloud_config_with_the_key_alone(rendered, tmp_path):
    rendered((1, 6, 6))
    text = (tmp_path / "http" / "seed" / "user-data").read_text()
    assert text.startswith("#cloud-config\n")
    assert (tmp_path / "key.pub").read_text().strip() in text
    assert "PRIVATE" not in text
    assert "passw" not in text


def _processes_with(text):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and str(os.getpid()) != process.name:
            found.append(command)
    return found


@pytest.mark.parametrize("small", ["amd64", "arm64"], indirect=True)
def test_an_interrupted_bake_leaves_no_machine_and_no_file(small, rendered, tmp_path):
    """Ctrl-C while the machine boots: Packer ends, its QEMU ends, its output goes."""
    executable = packer.ready(TEMPLATE)
    templates = rendered(packer.version(executable))
    marker = str(tmp_path / "packer")

    def press_ctrl_c(line):
        if "Waiting for SSH" in line.text:
            (running,) = [command for command in _processes_with(marker) if "qemu-system" in command]
            assert f" {emulator.EMULATORS[small.architecture].machine[1]} " in running
            assert (" -bios " in running) == (small.architecture == "arm64")
            signal.raise_signal(signal.SIGINT)

    # A shell's background job is born with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            packer.call(executable, "build", templates, _options(templates), press_ctrl_c, tmp_path / "log")
    finally:
        signal.signal(signal.SIGINT, before)
    end = time.monotonic() + 60
    while _processes_with(marker):
        assert time.monotonic() < end, _processes_with(marker)
        time.sleep(0.2)
    assert not (tmp_path / "packer").exists()


@pytest.mark.parametrize(
    ("raw", "kind", "text"),
    [
        ("1600000000,,ui,say,==> Waiting%!(PACKER_COMMA) a while\n", "ui", "==> Waiting, a while"),
        ("1600000000,qemu.cloud,artifact,0,id,VM\n", "artifact", ""),
    ],
)  # fmt: skip
def test_the_stream_is_read(raw, kind, text):
    line = packer.parse(raw)
    assert (line.kind, line.text) == (kind, text)


@pytest.mark.parametrize("raw", ["", "\n", "panic: runtime error\n", "a,b,c\n"])
def test_what_is_not_of_the_stream_is_left_out(raw):
    assert packer.parse(raw) is None


def test_phases_are_told_from_the_stream(capsys):
    class Now:
        said = []

        def update(self, detail="", fraction=None):
            self.said.append((detail, fraction))

    progress = bake._Progress(Now(), lambda: "ssh there")
    for text in ("phase: install", "pmstatus:nginx:40.5:Unpacking nginx (amd64)"):
        progress.hear(packer.Line("ui", ["message", f"    qemu.cloud: {text}"]))
    assert Now.said[-1] == ("install: Unpacking nginx (amd64)", 0.405)
    progress.enter("")
    assert set(progress.phases) == {"boot", "install"}
    progress.hear(packer.Line("ui", ["message", "    null.pi: phase: kept"]))
    assert "  ssh there\n" in capsys.readouterr().err


def test_key_follows_every_input(small, tmp_path, monkeypatch):
    image = definition.load_image("cloud")
    deb = tmp_path / "a.deb"
    deb.write_bytes(b"1")
    one = bake.made_from(image, small, deb).digest
    assert bake.made_from(image, small, deb).digest == one
    assert bake.made_from(dataclasses.replace(image, memory_mb=1), small, deb).digest != one
    assert bake.made_from(image, dataclasses.replace(small, sha256="0"), deb).digest != one
    deb.write_bytes(b"2")
    assert bake.made_from(image, small, deb).digest != one


def test_no_disk_space_is_one_clear_line(small, tmp_path, monkeypatch):
    monkeypatch.setattr(bake, "_SPACE", 1 << 60)
    with pytest.raises(BuildError, match=r"baking cloud needs .* GB in .*, .* GB are free"):
        bake.bake(definition.load_image("cloud"), small, tmp_path / "a.deb", "tcg", Work.at(tmp_path))


@pytest.fixture
def deb(tmp_path):
    """A small package of each compression."""

    def make(compression):
        tree = tmp_path / f"tree-{compression}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            "Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: M <m@example.org>\nDescription: d\n"
        )
        (tree / "a").write_text("odd sized")
        (tmp_path / "in").mkdir(exist_ok=True)
        path = tmp_path / "in" / f"odd-{compression}_1_all.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", tree, path],
            check=True, capture_output=True,
        )  # fmt: skip
        return path

    return make


@pytest.mark.parametrize("compression", ["xz", "zstd", "gzip", "none"])
def test_a_repacked_package_is_the_same_package(deb, tmp_path, compression):
    packed = deb(compression)
    repacked = pool._repacked(packed, tmp_path / "repacked")
    for question in ("--info", "--contents"):
        answers = [
            subprocess.run(["dpkg-deb", question, path], check=True, capture_output=True, text=True).stdout
            for path in (packed, repacked)
        ]
        # The sizes of the archive itself are in the first lines of --info.
        assert answers[0].split("\n", 2)[-1] == answers[1].split("\n", 2)[-1]


def test_what_is_no_package_is_named(tmp_path):
    other = tmp_path / "a.deb"
    other.write_bytes(b"<html>")
    with pytest.raises(BuildError, match="is not a Debian package"):
        pool._repacked(other, tmp_path / "repacked")


def test_the_definitions_name_what_is_there():
    assert (paths.PACKER / "cloud.pkr.hcl").is_file()


def test_a_scripts_last_words_are_told_not_its_first_ones(tmp_path):
    """systemctl enable, among many, tells what it did as if it were an error."""
    (tmp_path / "x.pkr.hcl").write_text(
        """source "null" "x" {
  communicator = "none"
}
build {
  sources = ["source.null.x"]
  provisioner "shell-local" {
    inline = ["echo Created symlink >&2", "echo done", "echo lay: no such tree >&2", "exit 3"]
  }
}
"""
    )
    with pytest.raises(BuildError, match=r"^packer build failed: lay: no such tree$"):
        packer.call(packer.find(), "build", tmp_path, {}, lambda _: None, tmp_path / "log")
