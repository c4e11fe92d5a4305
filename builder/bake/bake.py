"""Bake an image: render what Packer needs, run it, pack the result."""

import dataclasses
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from builder.bake import method, overlay, packer, pool
from builder.bases.cached import CachedBase
from builder.core import cache, inputs, paths
from builder.core.inputs import Inputs
from builder.core.progress import Step, say, step
from builder.core.request import USUAL, Request
from builder.core.work import Work
from builder.defs.definition import Image

_SPACE = 8 << 30
# What all templates share.
_COMMON = ("chroot.sh", "plugins.pkr.hcl.j2", "seed", "files/lay")
# apt's status lines (apt's README.progress-reporting): pmstatus:PACKAGE:PERCENT:TEXT
_APT_STATUS = re.compile(r"(?:pm|dl)status:[^:]*:([0-9.]+):(.*)")


@dataclass
class Baked:
    """What came out of a bake."""

    files: list[Path]
    """The image first."""
    packages: Path
    """One line a package: name, version, architecture, installed size in KiB."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase."""
    bake_seconds: float = 0.0
    """From Packer's start to its end."""


def made_from(image: Image, base: CachedBase, deb: Path, asked: Request = USUAL) -> Inputs:
    """All that an image is baked from."""
    values = {
        "image": dataclasses.asdict(image),
        "base": {"name": base.name, "digest": base.digest, "sha256": base.sha256},
        "deb": {"name": deb.name, "sha256": cache.sha256_file(deb)},
    }
    if asked.snapshot:
        values["snapshot"] = {"day": asked.snapshot}
    if asked.sources:
        values["repository"] = {"sources": asked.sources}
    laid = [*([asked.overlay] if asked.overlay else []), paths.PACKER / "provision" / overlay.SCRIPT]
    laid = laid if overlay.wanted(asked) else []
    return inputs.of(values, [*sources(image), *laid], code(image))


def sources(image: Image) -> list[Path]:
    """The files, besides its definition and code, that decide how an image is baked."""
    return [
        *(paths.PACKER / name for name in (f"{image.template}.pkr.hcl", *_COMMON)),
        *(paths.script(name) for name in image.provision),
        *_laid_down(image.provision),
    ]  # fmt: skip


def code(image: Image) -> list[ModuleType]:
    """The modules that bake it: of the methods its own alone."""
    return [sys.modules[__name__], method.code(image.method)]


def _laid_down(scripts: Sequence[str]) -> list[Path]:
    """The files that scripts lay down: those of pi.sh are in packer/files/pi."""
    trees = (paths.PACKER / "files" / Path(name).stem for name in scripts)
    return [tree for tree in trees if tree.is_dir()]


class _Progress:
    """Turns Packer's stream into phases and a line of progress."""

    def __init__(self, now: Step, way_in: Callable[[], str]) -> None:
        """:param way_in: the command by which somebody gets into what failed and is kept."""
        self._now, self._way_in = now, way_in
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
        elif text.endswith("phase: kept"):
            self.enter("kept")
            say("A script failed. What it has left is kept until Ctrl-C. To get in:")
            say(f"  {self._way_in()}")
        elif "phase: " in text:
            self.enter(text.rpartition("phase: ")[2])
        elif "Gracefully halting" in text:
            self.enter("shutdown")
        elif text.startswith("==>"):
            self._now.update(f"{self._phase}: {text.partition(':')[2].strip()}")


def bake(
    image: Image,
    base: CachedBase,
    deb: Path,
    accelerator: str,
    work: Work,
    name: str = "image",
    asked: Request = USUAL,
) -> Baked:
    """Bake an image.

    :param accelerator: ``kvm`` or ``tcg``.
    :param work: the results are in its directory; its log is Packer's stream.
    :param name: of the results, less what their names end with.
    :raises BuildError: anything of it fails.
    """
    phases, seconds = install(image, base, deb, accelerator, work, asked)
    packing = time.monotonic()
    with step(f"Packing {image.name}", f"Packed {image.name}"):
        files = method.load(image.method).pack(image, work.logging(".tools.log"), work / name)
    phases["pack"] = round(time.monotonic() - packing, 1)
    return Baked(files, work / "packer.packages", phases, seconds)


def install(
    image: Image,
    base: CachedBase,
    deb: Path | None,
    accelerator: str,
    work: Work,
    asked: Request = USUAL,
) -> tuple[dict[str, float], float]:
    """Let Packer run an image's scripts on a base. The disk is then its method's to flatten or pack.

    :param deb: the package; None for a layer without it.
    :return: seconds by phase, and from Packer's start to its end; the rest is as in :func:`bake`.
    """
    template = paths.PACKER / f"{image.template}.pkr.hcl"
    executable = packer.ready(template)
    cache.need_space(work.directory, _SPACE, f"baking {image.name}")
    templates = work / "templates"
    for directory in (work / "pool", templates):
        directory.mkdir(parents=True)
    began = time.monotonic()
    pool.prepare(base, deb, image.packages, work / "pool", work.logging(".pool.log"), asked)
    wanted = dataclasses.replace(image, packages=[*(["microblog"] if deb else []), *image.packages])
    if overlay.wanted(asked):
        overlay.pack(asked, work / "pool")
        wanted = dataclasses.replace(wanted, provision=overlay.scripts(wanted.provision))
    variables = templates / "variables.pkrvars.json"
    given = method.load(image.method).prepare(wanted, base, accelerator, work.logging(".tools.log"))
    variables.write_text(json.dumps({**given, "keep_failed": asked.keep_failed}))
    _lay_out(template, packer.version(executable), templates)
    prepared = time.monotonic()

    options = {"var_file": str(variables)}
    packer.call(executable, "validate", templates, options, _ignore, work.log)
    what = image.name if deb else f"what {image.name} needs"
    with step(f"Baking {what}", f"Baked {what}") as now:
        progress = _Progress(now, lambda: method.load(image.method).way_in(work))
        packer.call(executable, "build", templates, options, progress.hear, work.log)
        progress.enter("")
        bake_seconds = now.seconds
    return {"pool": round(prepared - began, 1), **progress.phases}, round(bake_seconds, 1)


def _ignore(_: packer.Line) -> None:
    pass


def _lay_out(template: Path, version: tuple[int, ...], templates: Path) -> None:
    """Put together the directory that Packer reads."""
    (templates / template.name).symlink_to(template)
    packer.lay_out_scripts(templates)
    (templates / "chroot.sh").symlink_to(paths.PACKER / "chroot.sh")
    packer.name_plugins(template, version, templates)
