"""Bake an image: render what Packer needs, run it, pack the result."""

import dataclasses
import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from builder import cache, emulator, packer, paths, pool, seed
from builder.base import CachedBase
from builder.command import program
from builder.compact import compact
from builder.definition import Image
from builder.progress import Step, step
from builder.qcow2 import virtual_size

_SPACE = 5 << 30
_PLUGINS_NEEDED_SINCE = (1, 7, 0)
# apt's status lines (apt's README.progress-reporting): pmstatus:PACKAGE:PERCENT:TEXT
_APT_STATUS = re.compile(r"(?:pm|dl)status:[^:]*:([0-9.]+):(.*)")


@dataclass
class Baked:
    """What came out of a bake."""

    disk: Path
    packages: Path
    """One line a package: name, version, architecture, installed size in KiB."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase."""
    bake_seconds: float = 0.0
    """From Packer's start to its end."""


def key(image: Image, base: CachedBase, deb: Path) -> str:
    """Hash of all that an image is baked from."""
    here = Path(__file__).parent
    return cache.key(
        dataclasses.asdict(image), base.key, base.sha256, cache.sha256_file(deb),
        files=[paths.PACKER, *(here / name for name in ("bake.py", "compact.py", "pool.py", "seed.py"))],
    )  # fmt: skip


class _Progress:
    """Turns Packer's stream into phases and a line of progress."""

    def __init__(self, now: Step) -> None:
        self._now = now
        self._phase = "boot"
        self._since = time.monotonic()
        self.phases: dict[str, float] = {}

    def enter(self, phase: str) -> None:
        now = time.monotonic()
        self.phases[self._phase] = round(self.phases.get(self._phase, 0.0) + now - self._since, 1)
        self._phase, self._since = phase, now
        self._now.update(phase)

    def hear(self, line: packer.Line) -> None:
        text = line.text.strip()
        apt = _APT_STATUS.search(text)
        if apt:
            self._now.update(f"{self._phase}: {apt[2]}", float(apt[1]) / 100)
        elif "phase: " in text:
            self.enter(text.rpartition("phase: ")[2])
        elif "Gracefully halting" in text:
            self.enter("shutdown")
        elif text.startswith("==>"):
            self._now.update(f"{self._phase}: {text.partition(':')[2].strip()}")


def bake(
    image: Image, base: CachedBase, deb: Path, accelerator: str, work: Path, log: Path, fresh: bool = False
) -> Baked:
    """Bake an image.

    :param accelerator: ``kvm`` or ``tcg``.
    :param work: a directory for half-done files; the result is in it.
    :param log: where Packer's stream is kept.
    :param fresh: ask the archive again what is needed.
    :raises BuildError: anything of it fails.
    """
    executable = packer.find()
    version = packer.version(executable)
    cache.need_space(work, _SPACE, f"baking {image.name}")
    http, templates = work / "http", work / "templates"
    for directory in (http / "seed", work / "pool", templates):
        directory.mkdir(parents=True)
    began = time.monotonic()
    pool.prepare(base, deb, image.packages, work / "pool", log.with_suffix(".pool.log"), fresh)
    pool.as_disk(work / "pool", work / "pool.img", log.with_suffix(".pool.log"))
    pooled = time.monotonic()

    public_key = seed.make_key(work / "key", log.with_suffix(".tools.log"))
    _render(image, version, templates, http / "seed", public_key)
    variables = templates / "variables.pkrvars.json"
    packed = work / "packer"
    variables.write_text(json.dumps(_variables(image, base, accelerator, work, packed)))
    options = {"var_file": str(variables)}
    if version >= _PLUGINS_NEEDED_SINCE:
        with step("Fetching Packer's plugins", "Packer's plugins are there"):
            packer.call(executable, "init", templates, {}, _ignore, log)
    packer.call(executable, "validate", templates, options, _ignore, log)
    with step(f"Baking {image.name}", f"Baked {image.name}") as now:
        progress = _Progress(now)
        packer.call(executable, "build", templates, options, progress.hear, log)
        progress.enter("")
        bake_seconds = now.seconds
    packing = time.monotonic()
    disk = work / "image.qcow2"
    with step(f"Packing {image.name}", f"Packed {image.name}"):
        compact(packed / "image.qcow2", disk, work, log.with_suffix(".tools.log"))
    phases = {
        "pool": round(pooled - began, 1),
        **progress.phases,
        "pack": round(time.monotonic() - packing, 1),
    }
    return Baked(disk, work / "packer.packages", phases, round(bake_seconds, 1))


def _ignore(_: packer.Line) -> None:
    pass


def _render(
    image: Image, version: tuple[int, ...], templates: Path, http_seed: Path, public_key: str
) -> None:
    """Put together the directory that Packer reads, and the seed that the machine reads."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.PACKER),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701
    )
    template = paths.PACKER / f"{image.template}.pkr.hcl"
    (templates / template.name).symlink_to(template)
    (templates / "provision").symlink_to(paths.PACKER / "provision")
    if version >= _PLUGINS_NEEDED_SINCE:
        plugins = environment.get_template("plugins.pkr.hcl.j2").render()
        (templates / "plugins.pkr.hcl").write_text(plugins)
    user_data = environment.get_template("seed/user-data.j2").render(public_key=public_key)
    (http_seed / "user-data").write_text(user_data)
    (http_seed / "meta-data").write_bytes((paths.PACKER / "seed" / "meta-data").read_bytes())


def _variables(
    image: Image, base: CachedBase, accelerator: str, work: Path, packed: Path
) -> dict[str, object]:
    qemu = emulator.EMULATORS[base.architecture]
    return {
        "base": str(base.disk),
        "base_checksum": f"sha256:{base.sha256}",
        "disk_size": f"{virtual_size(base.disk) >> 20}M",
        "output": str(packed),
        "http": str(work / "http"),
        "pool": str(work / "pool.img"),
        "ssh_key": str(work / "key"),
        "packages": image.packages,
        "provision": image.provision,
        "qemu": program(qemu.binary, qemu.package),
        "accelerator": accelerator,
        "accelerator_options": emulator.ACCELERATOR_OPTIONS[accelerator],
        "cpus": min(4, os.cpu_count() or 1),
        "memory_mb": image.memory_mb,
    }
